//! When the bytes of one file of output were written: a small file beside it.
//!
//! The first 16 bytes are the resolution in milliseconds and 0, the next are entries of 16 bytes: a time in milliseconds
//! since 1970, and the offset of the first byte that was written then; all little-endian. What follows an entry was
//! written within one resolution after it, up to the next entry. Times never go back, also when the clock does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::time::Wall;

/// Bytes of an entry, and of the head.
const ENTRY: usize = 16;
/// Entries at most: with more, every second one goes. Enough for 4 hours with a line in every second.
const ENTRIES: usize = 16_384;
/// Milliseconds between entries, while there are few of them.
const RESOLUTION: i64 = 1_000;

/// What the writer of a file keeps of it.
#[derive(Debug)]
pub(crate) struct Times {
    path: PathBuf,
    file: Option<File>,
    resolution: i64,
    count: usize,
    last: i64,
}

/// A file, as it is read.
struct Content {
    resolution: i64,
    entries: Vec<(i64, u64)>,
    is_whole: bool,
}

impl Times {
    /// Goes on with the file at `path`, or begins it.
    pub(crate) fn open(path: PathBuf) -> Self {
        let known = read(&path);
        let mut times = Self {
            path,
            file: None,
            resolution: known.as_ref().map_or(RESOLUTION, |known| known.resolution),
            count: known.as_ref().map_or(0, |known| known.entries.len()),
            last: i64::MIN,
        };
        match known {
            Some(known) => {
                times.last = known.entries.last().map_or(i64::MIN, |(at, _)| *at);
                // A shim that was killed may have left half an entry.
                times.file = if known.is_whole {
                    append(&times.path).ok()
                } else {
                    times.write(&known.entries).ok()
                };
            }
            None => times.file = times.write(&[]).ok(),
        }
        times
    }

    /// Notes that the byte at `offset` is written now. Without a disk that takes it, times are less exact and nothing else.
    pub(crate) fn note(&mut self, now: Wall, offset: u64) {
        let due = self.count == 0 || now.0 >= self.last.saturating_add(self.resolution);
        let Some(file) = self.file.as_mut().filter(|_| due) else {
            return;
        };
        if file.write_all(&entry(now.0, offset)).is_err() {
            // What follows would seem to be as old as the last entry. Without the file, nothing is believed to be old.
            self.file = None;
            let _ = fs::remove_file(&self.path);
            return;
        }
        self.last = now.0;
        self.count += 1;
        if self.count >= ENTRIES {
            self.thin();
        }
    }

    fn thin(&mut self) {
        let Some(Content { mut entries, .. }) = read(&self.path) else {
            return;
        };
        while entries.len() > ENTRIES / 2 {
            self.resolution = self.resolution.saturating_mul(2);
            let mut kept = i64::MIN;
            entries.retain(|(at, _)| {
                let keep = kept == i64::MIN || *at >= kept.saturating_add(self.resolution);
                if keep {
                    kept = *at;
                }
                keep
            });
        }
        self.count = entries.len();
        // The last entry may have gone, and what comes next belongs to the one before.
        self.last = entries.last().map_or(i64::MIN, |(at, _)| *at);
        self.file = self.write(&entries).ok();
    }

    fn write(&self, entries: &[(i64, u64)]) -> io::Result<File> {
        write(&self.path, self.resolution, entries)?;
        append(&self.path)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

fn entry(at: i64, offset: u64) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    let (first, second) = bytes.split_at_mut(ENTRY / 2);
    first.copy_from_slice(&at.to_le_bytes());
    second.copy_from_slice(&offset.to_le_bytes());
    bytes
}

fn write(path: &Path, resolution: i64, entries: &[(i64, u64)]) -> io::Result<()> {
    let mut bytes = entry(resolution, 0).to_vec();
    bytes.extend(entries.iter().flat_map(|(at, offset)| entry(*at, *offset)));
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&bytes)?;
    fs::rename(new, path)
}

fn read(path: &Path) -> Option<Content> {
    let bytes = fs::read(path).ok()?;
    let mut all = bytes.chunks_exact(ENTRY).map(|bytes| {
        let (at, offset) = bytes.split_at(ENTRY / 2);
        (
            i64::from_le_bytes(at.try_into().unwrap_or_default()),
            u64::from_le_bytes(offset.try_into().unwrap_or_default()),
        )
    });
    let (resolution, _) = all.next()?;
    Some(Content {
        resolution: resolution.max(1),
        entries: all.collect(),
        is_whole: bytes.len().is_multiple_of(ENTRY),
    })
}

/// The offset of the first byte that may have been written at `since` or later; `None`: all were written before.
///
/// A file without times may hold anything.
pub(crate) fn first(path: &Path, since: Wall) -> Option<u64> {
    let Some(content) = read(path) else {
        return Some(0);
    };
    let later = content
        .entries
        .partition_point(|(at, _)| at.saturating_add(content.resolution) <= since.0);
    content.entries.get(later).map(|(_, offset)| *offset)
}

/// Writes the times of a file that was made from what followed `cut` in the one with these times.
///
/// # Errors
/// What the system says.
pub(crate) fn cut(from: &Path, to: &Path, cut: u64) -> io::Result<()> {
    let Some(content) = read(from) else {
        return Ok(());
    };
    let first = content
        .entries
        .partition_point(|(_, offset)| *offset <= cut)
        .saturating_sub(1);
    let entries: Vec<(i64, u64)> = content
        .entries
        .iter()
        .skip(first)
        .map(|(at, offset)| (*at, offset.saturating_sub(cut)))
        .collect();
    write(to, content.resolution, &entries)
}
