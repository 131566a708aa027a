//! The end of the output of instances that are gone: for an hour, within bounds, on the worker's disk.
//!
//! Each instance has a folder. A native one holds the files of its output as [`crate::shim::output`] has them; one of a
//! container engine holds [`FRAMES`], also while a later run of it is under way, since each run is a container.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::id::InstanceId;
use tokio_util::sync::CancellationToken;

use crate::shim::output::segment::{self, Segment};
use crate::shim::output::times;

/// Between two looks for what is too old.
const TIDY: Duration = Duration::from_mins(5);
/// The file of a container's output.
const FRAMES: &str = "frames";
/// What a disk takes for the smallest folder and file.
const LEAST_BYTES: u64 = 4_096;

/// What was written at once, as a container engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// When, in nanoseconds since 1970.
    pub(crate) at: i64,
    /// A line with its end, or a part of a long one.
    pub(crate) bytes: Vec<u8>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of one instance.
    pub(crate) each: u64,
    /// Bytes of all, the folders included.
    pub(crate) total: u64,
    /// After its end.
    pub(crate) age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            each: 256 << 10,
            total: 64 << 20,
            age: Duration::from_hours(1),
        }
    }
}

/// What is kept, in one folder. Others may use the same one: all that it knows is on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Kept(Arc<Place>);

#[derive(Debug)]
struct Place {
    folder: PathBuf,
    limits: Limits,
}

impl Kept {
    /// In a data directory, where the folder is made with the first output.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self::with(data_dir, Limits::default())
    }

    pub(crate) fn with(data_dir: &Path, limits: Limits) -> Self {
        let folder = data_dir.join("logs");
        Self(Arc::new(Place { folder, limits }))
    }

    /// Where the output of an instance is kept.
    pub(crate) fn folder(&self, instance: InstanceId) -> PathBuf {
        self.0.folder.join(instance.to_string())
    }

    /// Whether there is any.
    pub(crate) fn has(&self, instance: InstanceId) -> bool {
        self.folder(instance).exists()
    }

    /// Takes the folder of a native instance's output; an absent or empty one is fine.
    ///
    /// # Errors
    /// What the system says. The folder is where it was, or taken.
    pub(crate) fn take(&self, instance: InstanceId, output: &Path) -> io::Result<()> {
        let segments = match segment::list(output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if segments.iter().all(|segment| segment.length() == 0) {
            return Ok(());
        }
        make(&self.0.folder)?;
        let folder = self.folder(instance);
        remove(&folder)?;
        fs::rename(output, &folder)?;
        shorten(&folder, self.0.limits.each)?;
        touch(&folder)?;
        self.sweep();
        Ok(())
    }

    /// Puts the output of a native instance back to where its next run goes on with it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn give_back(&self, instance: InstanceId, output: &Path) -> io::Result<()> {
        match fs::rename(self.folder(instance), output) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Adds what one run of a container wrote.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn add(&self, instance: InstanceId, run: &[Frame]) -> io::Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        let folder = self.folder(instance);
        make(&folder)?;
        let mut frames = self.frames(instance);
        // One that is kept again, since the last attempt to remove the container failed, is not there twice.
        let known = frames.last().map_or(i64::MIN, |last| last.at);
        frames.extend(run.iter().filter(|frame| frame.at > known).cloned());
        let mut bytes = 0;
        let kept = frames.iter().rev().take_while(|frame| {
            bytes += frame.bytes.len() as u64;
            bytes <= self.0.limits.each
        });
        let skip = frames.len() - kept.count();
        let mut file = Vec::new();
        for frame in frames.iter().skip(skip) {
            file.extend_from_slice(&frame.at.to_le_bytes());
            file.extend_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
            file.extend_from_slice(&frame.bytes);
        }
        replace(&folder.join(FRAMES), &file)?;
        touch(&folder)?;
        self.sweep();
        Ok(())
    }

    /// What runs of a container that are gone wrote, the oldest first.
    pub(crate) fn frames(&self, instance: InstanceId) -> Vec<Frame> {
        let Ok(bytes) = fs::read(self.folder(instance).join(FRAMES)) else {
            return Vec::new();
        };
        let mut rest = bytes.as_slice();
        let mut frames = Vec::new();
        while let Some(frame) = frame(&mut rest) {
            frames.push(frame);
        }
        frames
    }

    /// Removes what is too old from time to time, until the token is cancelled.
    pub(crate) async fn keep_tidy(self, shutdown: CancellationToken) {
        loop {
            let kept = self.clone();
            // A panic of it was logged when it happened.
            let _ended = tokio::task::spawn_blocking(move || kept.sweep()).await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(TIDY) => {}
            }
        }
    }

    /// Removes what is too old, and the oldest while there is too much.
    pub(crate) fn sweep(&self) {
        let now = SystemTime::now();
        let mut all: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.0.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let at = entry.metadata().ok()?.modified().ok()?;
                Some((at, size(&entry.path()), entry.path()))
            })
            .collect();
        all.sort_unstable_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let mut bytes = 0;
        for (at, size, path) in all {
            bytes += size;
            // One of the future was kept before the clock went back.
            let age = now.duration_since(at).unwrap_or_default();
            if (age >= self.0.limits.age || bytes > self.0.limits.total)
                && let Err(error) = remove(&path)
            {
                tracing::warn!(%error, "the output of an instance that is gone cannot be removed");
            }
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn frame(rest: &mut &[u8]) -> Option<Frame> {
    let at = i64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?);
    let length = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    let bytes = rest.split_off(..length as usize)?.to_vec();
    Some(Frame { at, bytes })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A folder's age is counted from now.
fn touch(folder: &Path) -> io::Result<()> {
    File::open(folder)?.set_modified(SystemTime::now())
}

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter_map(|entry| entry.metadata().ok());
    LEAST_BYTES + files.map(|file| file.len().max(LEAST_BYTES)).sum::<u64>()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    fs::rename(new, path)
}

/// Leaves the last `bytes` bytes of an output, from the beginning of a line, in one file.
fn shorten(folder: &Path, bytes: u64) -> io::Result<()> {
    let segments = segment::list(folder)?;
    let end = segment::end(&segments);
    let total: u64 = segments.iter().map(Segment::length).sum();
    if total <= bytes {
        return Ok(());
    }
    let from = end.saturating_sub(bytes);
    // The line that begins before it is left out.
    let first = segment::next_line(&segments, from);
    let (older, newest): (Vec<&Segment>, Vec<&Segment>) = segments
        .iter()
        .partition(|segment| segment.base + segment.length() <= first);
    older.into_iter().for_each(Segment::remove);
    let [holding, ..] = newest.as_slice() else {
        return Ok(());
    };
    // Later files are shorter than what may be kept, or there is none.
    let cut = first.saturating_sub(holding.base);
    if cut == 0 {
        return Ok(());
    }
    let rest = Segment::new(folder, first);
    let mut text = Vec::new();
    let mut file = File::open(&holding.path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(cut))?;
    file.read_to_end(&mut text)?;
    times::cut(&holding.times(), &rest.times(), cut)?;
    replace(&rest.path, &text)?;
    holding.remove();
    Ok(())
}

#[cfg(test)]
mod tests;
