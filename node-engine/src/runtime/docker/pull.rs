//! Fetching images. Nothing else ever asks a registry.

use std::time::Duration;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::runtime::StartError;

/// A registry that says nothing for so long has failed. A large image on a thin line says something all the time.
const SILENCE: Duration = Duration::from_mins(2);

/// Fetches an image.
pub(super) async fn pull(docker: &bollard::Docker, image: &str) -> Result<(), StartError> {
    tracing::info!(image, "pulling an image");
    let options = CreateImageOptionsBuilder::new()
        .from_image(&with_tag(image))
        .build();
    let mut progress = Box::pin(docker.create_image(Some(options), None, None));
    let failed = |source| StartError::ImagePull {
        image: image.to_owned(),
        source,
    };
    loop {
        match timeout(SILENCE, progress.next()).await {
            Ok(Some(Ok(step))) => {
                if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                    return Err(failed(message.into()));
                }
            }
            Ok(Some(Err(error))) => return Err(failed(error.into())),
            Ok(None) => return Ok(()),
            Err(_) => {
                return Err(failed(
                    format!("nothing was heard for {} s", SILENCE.as_secs()).into(),
                ));
            }
        }
    }
}

/// The reference with `:latest` where it names no tag and no digest: without one the engine fetches every tag there is.
pub(super) fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn only_one_tag_is_fetched() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("host:5000/a/b"), "host:5000/a/b:latest");
        for whole in ["busybox:1", "host:5000/a:2", "a/b@sha256:00"] {
            assert_eq!(with_tag(whole), whole);
        }
    }
}
