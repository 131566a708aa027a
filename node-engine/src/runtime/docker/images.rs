//! Images that this worker fetched, and which of them go again.
//!
//! # Guarantees
//! - Only images that this worker fetched are removed, by their ids and never by force: one that somebody else has given
//!   another name stays, and so does one of which there is a container, whoever made it.
//! - An image that a desired instance names stays. The list of desired ones is complete some minutes after the start,
//!   when each has been started or tried; nothing is removed before.
//! - What was fetched is remembered in `images.json`; without that file nothing is removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveImageOptions};
use model::id::InstanceId;
use secrets::Login;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::fault::status;
use super::pull::{is_full, pull, with_tag};
use crate::runtime::{Cause, chain, wall};

/// After this long every desired instance was started, or tried: the longest wait between two attempts is 5 minutes.
const SETTLED: Duration = Duration::from_mins(10);
/// Between two looks.
const EVERY: Duration = Duration::from_mins(5);
/// An image that nobody used for so long goes, however much room there is.
const UNUSED: Duration = Duration::from_hours(24);
/// Below the limit by this much it is enough.
const ENOUGH: u8 = 5;

/// When images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimit {
    /// Percent of the container engine's disk in use from which unused images go, until it is 5 less.
    pub percent: u8,
    /// Unused ones go after this long, whatever the disk has.
    pub unused_after: Duration,
}

impl ImageLimit {
    /// That limit, and a day.
    pub const fn at(percent: u8) -> Self {
        Self {
            percent,
            unused_after: UNUSED,
        }
    }
}

/// What is remembered of an image that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fetched {
    /// Under which name; empty once the name means another image.
    reference: String,
    /// When a container or a desired instance was last seen to need it, in Unix milliseconds of this worker.
    used_at: i64,
}

/// The images of this worker.
#[derive(Debug)]
pub(super) struct Images {
    path: PathBuf,
    fetched: Mutex<BTreeMap<String, Fetched>>,
    desired: Mutex<HashMap<InstanceId, String>>,
    /// Since when desired instances are gathered.
    since: Instant,
    /// Whether any may go at all.
    may_go: AtomicBool,
}

impl Images {
    /// Reads what earlier engines fetched.
    pub(super) fn new(data_dir: &Path) -> Self {
        let path = data_dir.join("images.json");
        let fetched = fs::read(&path)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok());
        Self {
            path,
            fetched: Mutex::new(fetched.unwrap_or_default()),
            desired: Mutex::default(),
            since: Instant::now(),
            may_go: AtomicBool::new(false),
        }
    }

    /// The operator lets unused ones go.
    pub(super) fn may_go(&self) {
        self.may_go.store(true, Ordering::Relaxed);
    }

    /// An instance is to run with that image.
    pub(super) fn desire(&self, instance: InstanceId, image: &str) {
        lock(&self.desired).insert(instance, with_tag(image));
    }

    /// An instance is to be gone.
    pub(super) fn release(&self, instance: InstanceId) {
        lock(&self.desired).remove(&instance);
    }

    /// Remembers an image that was not here before.
    fn fetched(&self, id: String, reference: String) {
        let mut fetched = lock(&self.fetched);
        for known in fetched.values_mut() {
            if known.reference == reference {
                known.reference.clear();
            }
        }
        let used_at = wall().0;
        fetched.insert(id, Fetched { reference, used_at });
        self.save(&fetched);
    }

    /// Notes which are in use; the others, the one that was used longest ago first, with the time since.
    fn unused(&self, in_containers: &BTreeSet<String>) -> Vec<(String, Duration)> {
        let desired: BTreeSet<String> = lock(&self.desired).values().cloned().collect();
        let now = wall().0;
        let mut fetched = lock(&self.fetched);
        let mut unused = Vec::new();
        for (id, image) in fetched.iter_mut() {
            // A clock that was set back must not keep an image for ever.
            image.used_at = image.used_at.min(now);
            if in_containers.contains(id) || desired.contains(&image.reference) {
                image.used_at = now;
            } else {
                let since = u64::try_from(now - image.used_at).unwrap_or_default();
                unused.push((id.clone(), Duration::from_millis(since)));
            }
        }
        self.save(&fetched);
        unused.sort_by_key(|(_, since)| std::cmp::Reverse(*since));
        unused
    }

    fn forget(&self, id: &str) {
        let mut fetched = lock(&self.fetched);
        fetched.remove(id);
        self.save(&fetched);
    }

    fn is_empty(&self) -> bool {
        lock(&self.fetched).is_empty()
    }

    /// A list that cannot be written is made again from what is fetched later; at worst an image stays too long.
    fn save(&self, fetched: &BTreeMap<String, Fetched>) {
        let new = self.path.with_extension("json.new");
        let written = serde_json::to_vec(fetched)
            .map_err(io::Error::from)
            .and_then(|json| write(&new, &json))
            .and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::warn!(
                error = chain(&error),
                "cannot write the list of fetched images"
            );
        }
    }
}

impl Shared {
    /// Fetches an image, and remembers it if it was not here.
    pub(super) async fn fetch(
        &self,
        docker: &bollard::Docker,
        image: (&str, Option<&Login>),
    ) -> Result<(), Cause> {
        let reference = with_tag(image.0);
        let before = docker.inspect_image(&reference).await.ok();
        let pulled = pull(docker, image, self.host.patience.silence).await;
        if let Err(error) = &pulled
            && is_full(&chain(error.as_ref()))
        {
            self.make_room().await;
        }
        pulled?;
        // One that cannot be looked at is nobody's to remove.
        if let Ok(after) = docker.inspect_image(&reference).await
            && let Some(id) = after.id
            && before.and_then(|before| before.id).as_ref() != Some(&id)
            && after.repo_tags.is_none_or(|tags| tags.len() <= 1)
        {
            self.images.fetched(id, reference);
        }
        Ok(())
    }

    /// An image did not fit: unused ones go now, as far as they may go at all. What the engine has of an image that it
    /// could not fetch it drops itself.
    async fn make_room(&self) {
        let Images { since, may_go, .. } = &self.images;
        if !may_go.load(Ordering::Relaxed) || since.elapsed() < SETTLED {
            return;
        }
        match self.collect(ImageLimit::at(0), || Some(100)).await {
            Ok(gone) => tracing::warn!(
                images = gone.len(),
                "the container engine's disk is full; unused images were removed"
            ),
            Err(error) => tracing::debug!(error = chain(&error), "cannot make room now"),
        }
    }

    /// Removes unused images by these rules; the ids of those that went. `percent` says how full the disk is.
    pub(super) async fn collect(
        &self,
        limit: ImageLimit,
        percent: impl Fn() -> Option<u8>,
    ) -> Result<Vec<String>, Error> {
        if self.images.is_empty() {
            return Ok(Vec::new());
        }
        let docker = self.client().await?;
        // Of everybody: an image is used whoever runs it.
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let containers = docker.list_containers(Some(all)).await?;
        let in_containers = containers
            .into_iter()
            .filter_map(|it| it.image_id)
            .collect();
        let mut gone = Vec::new();
        let mut is_full = percent().is_some_and(|percent| percent >= limit.percent);
        for (id, since) in self.images.unused(&in_containers) {
            if !is_full && since < limit.unused_after {
                break;
            }
            match docker
                .remove_image(&id, None::<RemoveImageOptions>, None)
                .await
            {
                Ok(_) => {
                    tracing::info!(
                        image = id,
                        unused_seconds = since.as_secs(),
                        "removed an unused image"
                    );
                    self.images.forget(&id);
                    gone.push(id);
                }
                Err(error) if status(&error) == Some(404) => self.images.forget(&id),
                // Somebody made a container of it just now, or gave it a name.
                Err(error) if status(&error) == Some(409) => {}
                Err(error) => return Err(error),
            }
            let enough = limit.percent.saturating_sub(ENOUGH);
            is_full = is_full && percent().is_some_and(|percent| percent > enough);
        }
        Ok(gone)
    }

    /// Where the engine has its disk, if that is a folder of this machine.
    pub(super) async fn disk(&self) -> Option<PathBuf> {
        let info = self.client().await.ok()?.info().await.ok()?;
        info.docker_root_dir
            .map(PathBuf::from)
            .filter(|path| path.is_dir())
    }
}

/// Looks after the images for as long as the runtime lives.
pub(super) async fn look_after(shared: Arc<Shared>, limit: ImageLimit) {
    tokio::time::sleep(SETTLED).await;
    loop {
        let disk = shared.disk().await;
        let percent = || disk.as_deref().and_then(percent_used);
        if let Err(error) = shared.collect(limit, percent).await {
            tracing::debug!(error = chain(&error), "cannot look after images now");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How full a disk is for those who are not root, as `df` says it.
pub(super) fn percent_used(path: &Path) -> Option<u8> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let used = stat.f_blocks.checked_sub(stat.f_bfree)?;
    let all = used.checked_add(stat.f_bavail).filter(|all| *all > 0)?;
    u8::try_from(used.saturating_mul(100).div_ceil(all)).ok()
}

/// Writes a file that only its owner reads.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::File::options();
    let file = options.create(true).write(true).truncate(true).mode(0o600);
    file.open(path)?.write_all(content)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_is_remembered_and_what_is_needed_is_not_unused() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::new(folder.path());
        for (id, name) in [("a", "one:1"), ("b", "two:latest"), ("c", "three:3")] {
            images.fetched(id.to_owned(), name.to_owned());
        }
        let instance = InstanceId::from_bits(1);
        images.desire(instance, "two");
        let in_containers = BTreeSet::from(["a".to_owned(), "foreign".to_owned()]);
        let ids = |images: &Images| -> Vec<String> {
            let unused = images.unused(&in_containers);
            unused.into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(ids(&images), ["c"]);
        // The name means another image now: the old one is needed by nobody.
        images.fetched("d".to_owned(), "two:latest".to_owned());
        let mut unused = ids(&images);
        unused.sort();
        assert_eq!(unused, ["b", "c"]);
        images.forget("c");
        let again = Images::new(folder.path());
        let mut unused = ids(&again);
        unused.sort();
        assert_eq!(unused, ["b", "d"], "nothing is desired of a new engine yet");
        images.release(instance);
        assert_eq!(ids(&images).len(), 2);
    }

    #[test]
    fn a_damaged_list_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("images.json"), b"{\"a\":").unwrap();
        assert!(Images::new(folder.path()).is_empty());
    }

    #[test]
    fn a_disk_is_some_percent_full() {
        assert!(percent_used(Path::new("/")).unwrap() <= 100);
        assert_eq!(percent_used(Path::new("/no/such/folder")), None);
    }
}
