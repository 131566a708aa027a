//! Fetching images. Nothing else ever asks a registry.
//!
//! # Guarantees
//! - An image is fetched once at a time, however many instances wait for it: they share what becomes of it.
//! - Nobody who has the image waits for one who has not.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, WeakShared};
use secrets::Login;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Shared;
use crate::runtime::{Cause, StartError, chain};

/// Images that are fetched at once; more would only make each slower.
const AT_ONCE: usize = 16;

/// What is being fetched.
#[derive(Debug)]
pub(super) struct Pulls {
    under_way: Mutex<HashMap<Wanted, WeakShared<Pulling>>>,
    turns: Semaphore,
}

/// An image, and with which login: what one may have, another one need not.
type Wanted = (String, Option<u64>);

/// One fetching, for all who wait for it. It is given up when nobody does any more.
type Pulling = BoxFuture<'static, Result<(), Failure>>;

/// What tells a login from others in this process, and nobody what it is.
fn told_apart(login: &Login) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let Login {
        registry,
        username,
        password,
    } = login;
    KEY.hash_one((registry, username, password))
}

/// Why an image is not to be had, for all who waited for it.
#[derive(Debug, Clone)]
struct Failure {
    source: Arc<Cause>,
    advice: &'static str,
}

impl Default for Pulls {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl Shared {
    /// Fetches an image, or waits for the one who does.
    pub(super) async fn pull_once(
        self: &Arc<Self>,
        docker: &bollard::Docker,
        image: &str,
        login: Option<&Login>,
    ) -> Result<(), StartError> {
        let key = (image.to_owned(), login.map(told_apart));
        let pulling = {
            let under_way = &self.pulls.under_way;
            let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.retain(|_, pulling| pulling.upgrade().is_some());
            let known = under_way.get(&key).and_then(WeakShared::upgrade);
            known.unwrap_or_else(|| {
                let (shared, docker) = (Arc::clone(self), docker.clone());
                let (name, login) = (image.to_owned(), login.cloned());
                let pulling = async move { shared.pull(&docker, (&name, login.as_ref())).await };
                let pulling = pulling.boxed().shared();
                under_way.extend(pulling.downgrade().map(|weak| (key, weak)));
                pulling
            })
        };
        pulling.await.map_err(|failure| StartError::ImagePull {
            image: image.to_owned(),
            advice: failure.advice,
            source: Box::new(failure),
        })
    }

    async fn pull(
        &self,
        docker: &bollard::Docker,
        image: (&str, Option<&Login>),
    ) -> Result<(), Failure> {
        let _turn = self.pulls.turns.acquire().await;
        let pulled = self.fetch(docker, image).await;
        pulled.map_err(|source| {
            let advice = advice(&chain(source.as_ref()));
            Failure {
                source: Arc::new(source),
                advice,
            }
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&chain(self.source.as_ref().as_ref()))
    }
}

impl std::error::Error for Failure {}

/// An image that is not there, although it was fetched.
pub(super) fn failed(image: &str, error: Error) -> StartError {
    StartError::ImagePull {
        image: image.to_owned(),
        advice: advice(&error.to_string()),
        source: error.into(),
    }
}

/// What is done about it, by the words of registries and engines.
fn advice(said: &str) -> &'static str {
    let said = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if is_full(&said) {
        "free disk on this worker's container engine, or run its node-engine with a lower --image-gc"
    } else if says(&[
        "unauthorized",
        "denied",
        "authentication required",
        "no basic auth",
    ]) {
        "check the image's name, and that this worker may read it: its container engine must be logged in to the registry"
    } else if says(&["manifest unknown", "not found", "does not exist"]) {
        "check the image's name and tag"
    } else if says(&["digest", "checksum", "unexpected eof"]) {
        "what the registry sent is damaged; it is tried again, and if that stays, push the image anew"
    } else {
        "check the image's name, and that this worker can reach and may read it"
    }
}

/// Whether the engine's disk is full.
pub(super) fn is_full(said: &str) -> bool {
    said.contains("no space left on device")
}

/// Fetches an image; a registry that says nothing for `silence` has failed.
pub(super) async fn pull(
    docker: &bollard::Docker,
    (image, login): (&str, Option<&Login>),
    silence: Duration,
) -> Result<(), Cause> {
    tracing::info!(image, "pulling an image");
    let options = CreateImageOptionsBuilder::new()
        .from_image(&with_tag(image))
        .build();
    let credentials = login.map(|login| DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.clone()),
        serveraddress: Some(login.registry.clone()),
        ..DockerCredentials::default()
    });
    let mut progress = Box::pin(docker.create_image(Some(options), None, credentials));
    loop {
        match timeout(silence, progress.next()).await {
            Ok(Some(Ok(step))) => {
                if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                    return Err(message.into());
                }
            }
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(None) => return Ok(()),
            Err(_) => return Err(format!("nothing was heard for {silence:?}").into()),
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
    use super::{advice, with_tag};

    #[test]
    fn each_kind_of_failure_has_its_remedy() {
        for (said, remedy) in [
            (
                "manifest for a:1 not found: manifest unknown: manifest unknown",
                "name and tag",
            ),
            (
                "unauthorized: authentication required",
                "logged in to the registry",
            ),
            (
                "pull access denied for a, repository does not exist or may require 'docker login'",
                "logged in to the registry",
            ),
            (
                "write /var/lib/docker/tmp/x: no space left on device",
                "--image-gc",
            ),
            (
                "filesystem layer verification failed for digest sha256:00",
                "push the image",
            ),
            (
                "dial tcp 127.0.0.1:1: connect: connection refused",
                "can reach",
            ),
            ("nothing was heard for 2s", "can reach"),
        ] {
            assert!(advice(said).contains(remedy), "{said}: {}", advice(said));
        }
    }

    #[test]
    fn only_one_tag_is_fetched() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("host:5000/a/b"), "host:5000/a/b:latest");
        for whole in ["busybox:1", "host:5000/a:2", "a/b@sha256:00"] {
            assert_eq!(with_tag(whole), whole);
        }
    }
}
