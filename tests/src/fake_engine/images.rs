//! The routes of images.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};

use super::answer::{fault, json as json_of, with};
use super::events::progress;
use super::knobs::Pulling;
use super::serve::Asked;
use super::world::with_tag;
use super::{SAID_EVERY, Shared};

/// A fetching under way; what it has of the image goes with it, however it ends.
struct Fetching {
    shared: Arc<Shared>,
    image: String,
    pulling: Pulling,
    begun: Instant,
    over: bool,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.shared.world().partial.remove(&self.image);
    }
}

pub(super) async fn pull(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let mut image = asked.text("fromImage").to_owned();
    let tag = asked.text("tag");
    if !tag.is_empty() {
        image = format!("{image}:{tag}");
    }
    let image = with_tag(&image);
    let pulling = shared.world().knobs.pulling(&image);
    match pulling {
        Pulling::NotFound => {
            let message =
                format!("manifest for {image} not found: manifest unknown: manifest unknown");
            return fault(404, &message);
        }
        Pulling::Unauthorized => {
            let message = format!(
                "Head \"https://registry.invalid/v2/{image}\": unauthorized: authentication required"
            );
            return fault(500, &message);
        }
        // It says nothing before the registry has.
        Pulling::Silent => std::future::pending().await,
        Pulling::Takes(_) | Pulling::BadDigest | Pulling::NoSpace | Pulling::Huge { .. } => {}
    }
    let fetching = Fetching {
        shared: Arc::clone(shared),
        image,
        pulling,
        begun: Instant::now(),
        over: false,
    };
    let lines = stream::unfold(fetching, |mut fetching| async {
        let line = fetching.next_line().await?;
        Some((Ok::<_, io::Error>(line), fetching))
    });
    with(200, "application/json", Body::from_stream(lines))
}

impl Fetching {
    async fn next_line(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let passed = self.begun.elapsed();
        let said = match self.pulling {
            Pulling::Takes(time) if passed >= time => self.done(),
            Pulling::BadDigest if passed >= SAID_EVERY => {
                self.failed("filesystem layer verification failed for digest sha256:00")
            }
            Pulling::NoSpace if passed >= SAID_EVERY => {
                self.failed("write /var/lib/docker/tmp/GetImageBlob1: no space left on device")
            }
            Pulling::Takes(_) | Pulling::BadDigest | Pulling::NoSpace => {
                self.part(passed, 1 << 20, 1 << 20)
            }
            Pulling::Huge { bytes, rate } if passed.as_secs_f64() * rate as f64 >= bytes as f64 => {
                self.done()
            }
            Pulling::Huge { bytes, rate } => self.part(passed, bytes, rate),
            Pulling::NotFound | Pulling::Unauthorized | Pulling::Silent => return None,
        };
        if !self.over {
            tokio::time::sleep(SAID_EVERY).await;
        }
        Some(said)
    }

    fn part(&self, passed: Duration, total: u64, rate: u64) -> Bytes {
        let here = ((passed.as_secs_f64() * rate as f64) as u64).min(total);
        let mut world = self.shared.world();
        world.partial.insert(self.image.clone(), here);
        progress("0123456789ab", here, total)
    }

    fn done(&mut self) -> Bytes {
        self.over = true;
        self.shared.world().add_image(&self.image);
        let status = format!("Status: Downloaded newer image for {}", self.image);
        line(&json!({"status": status}))
    }

    fn failed(&mut self, message: &str) -> Bytes {
        self.over = true;
        line(&json!({"errorDetail": {"message": message}, "error": message}))
    }
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\r\n"))
}

/// The image that a path names: all between `images` and `json`.
fn named(asked: &Asked) -> String {
    let mut parts = asked.path.get(1..).unwrap_or_default().to_vec();
    if parts.last().is_some_and(|last| last == "json") {
        parts.pop();
    }
    parts.join("/")
}

pub(super) fn inspect(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let name = named(asked);
    let world = shared.world();
    let Some(id) = world.image(&name) else {
        return fault(404, &format!("No such image: {name}"));
    };
    let names = world.images.get(&id);
    json_of(
        200,
        &json!({"Id": id, "RepoTags": names, "RepoDigests": [], "Size": 1 << 20, "Os": "linux", "Architecture": "amd64",
            "Config": {"Cmd": ["/run"]}, "RootFS": {"Type": "layers", "Layers": []}}),
    )
}

pub(super) fn list(shared: &Arc<Shared>) -> Response {
    let world = shared.world();
    let rows = world.images.iter().map(|(id, names)| {
        json!({"Id": id, "RepoTags": names, "RepoDigests": [], "ParentId": "", "Created": 0, "Size": 1 << 20,
            "SharedSize": -1, "Labels": {}, "Containers": -1})
    });
    json_of(200, &Value::Array(rows.collect()))
}

pub(super) fn remove(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let name = named(asked);
    shared.change(|world| {
        let Some(id) = world.image(&name) else {
            return fault(404, &format!("No such image: {name}"));
        };
        let user = world.containers.iter().find(|(_, it)| it.image_id == id);
        if let Some((user, _)) = user {
            let message = format!(
                "conflict: unable to delete {id} - image is being used by container {user}"
            );
            return fault(409, &message);
        }
        world.images.remove(&id);
        json_of(200, &json!([{"Deleted": id}]))
    })
}
