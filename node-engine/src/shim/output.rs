//! An application's output on disk: two files of at most 1 MiB, whatever it writes, with the times of their bytes.
//!
//! All runs of an instance go into the same files, one after another, so nothing is lost by a restart.

pub(crate) mod read;
pub(crate) mod segment;
pub(crate) mod times;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use segment::Segment;
use times::Times;

/// Bytes of one file, at most.
pub const FILE_BYTES: u64 = 1 << 20;
/// Bytes kept in one second, at most. The rest is counted and dropped, so that a flood costs neither disk nor memory.
pub const SECOND_BYTES: usize = 4 << 20;
/// Of what is dropped, the last bytes are kept all the same: they tell why it ended.
const KEPT_BYTES: usize = 4096;
/// Read at once: what a pipe holds by default.
const CHUNK: usize = 64 << 10;
/// Files kept, the one that is written included.
const FILES: usize = 2;

/// The output of one run, before anything of it is there.
#[derive(Debug)]
pub struct Output {
    log: Rotating,
}

impl Output {
    /// Goes on where the last run of the instance ended, in the files in `folder`, which is made if it is not there.
    pub fn open(folder: PathBuf) -> Self {
        Self {
            log: Rotating::open(folder),
        }
    }

    /// The position of the first byte of this run, counted from the first byte of the first run.
    pub const fn start(&self) -> u64 {
        self.log.position
    }

    /// Copies `pipe` until everybody has closed it. A disk that is full loses output and stops nobody.
    pub fn copy(mut self, mut pipe: impl Read) {
        let mut chunk = vec![0; CHUNK];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = chunk.get(..count).unwrap_or_default();
                    self.log.take(bytes, Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.log.tell_dropped();
    }
}

#[derive(Debug)]
struct Rotating {
    folder: PathBuf,
    /// The file that is written, with its times.
    current: Option<(Segment, File, Times)>,
    /// Of the next byte.
    position: u64,
    second: Instant,
    in_second: usize,
    dropped: u64,
    kept: Vec<u8>,
}

impl Rotating {
    fn open(folder: PathBuf) -> Self {
        let _ = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        let mut log = Self {
            folder,
            current: None,
            position: 0,
            second: Instant::now(),
            in_second: 0,
            dropped: 0,
            kept: Vec::new(),
        };
        log.take_up();
        log
    }

    /// Goes on with the last file of an earlier run, if there is one.
    fn take_up(&mut self) {
        let segments = segment::list(&self.folder).unwrap_or_default();
        self.position = segment::end(&segments);
        let Some(last) = segments.last() else { return };
        let file = OpenOptions::new().read(true).append(true).open(&last.path);
        let Ok(file) = file else { return };
        let mut end = [0];
        let length = self.position - last.base;
        let is_open_line =
            length > 0 && file.read_exact_at(&mut end, length - 1).is_ok() && end != *b"\n";
        let times = Times::open(last.times());
        self.current = Some((last.clone(), file, times));
        if is_open_line {
            self.write(b"\n");
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant) {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.tell_dropped();
            self.second = now;
            self.in_second = 0;
        }
        self.in_second = self.in_second.saturating_add(bytes.len());
        if self.in_second > SECOND_BYTES {
            self.dropped += bytes.len() as u64;
            self.kept.extend_from_slice(
                bytes
                    .get(bytes.len().saturating_sub(KEPT_BYTES)..)
                    .unwrap_or_default(),
            );
            let excess = self.kept.len().saturating_sub(KEPT_BYTES);
            self.kept.drain(..excess);
        } else {
            self.write(bytes);
        }
    }

    fn tell_dropped(&mut self) {
        if self.dropped == 0 {
            return;
        }
        let kept = std::mem::take(&mut self.kept);
        let lost = self.dropped.saturating_sub(kept.len() as u64);
        self.write(
            format!("\n[edgeio: {lost} bytes of output dropped: too much in one second]\n")
                .as_bytes(),
        );
        self.write(&kept);
        self.dropped = 0;
    }

    fn write(&mut self, bytes: &[u8]) {
        let fits = self.current.as_ref().is_some_and(|(segment, ..)| {
            self.position - segment.base + bytes.len() as u64 <= FILE_BYTES
        });
        if !fits {
            self.rotate();
        }
        let Some((segment, file, times)) = &mut self.current else {
            return;
        };
        times.note(super::now(), self.position - segment.base);
        if file.write_all(bytes).is_ok() {
            self.position += bytes.len() as u64;
        } else {
            // A full disk: begin again with an empty file as soon as there is something to write.
            self.position = segment.base + segment.length();
            self.current = None;
        }
    }

    fn rotate(&mut self) {
        self.current = None;
        let segments = segment::list(&self.folder).unwrap_or_default();
        let excess = (segments.len() + 1).saturating_sub(FILES);
        segments.iter().take(excess).for_each(Segment::remove);
        let segment = Segment::new(&self.folder, self.position);
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&segment.path);
        if let Ok(file) = file {
            let times = Times::open(segment.times());
            self.current = Some((segment, file, times));
        }
    }
}

/// The last `lines` lines of the output in `folder`, at most `bytes` bytes of it, without what was written before the
/// position `from`.
pub fn tail(folder: &Path, from: u64, lines: usize, bytes: usize) -> Vec<String> {
    let segments = segment::list(folder).unwrap_or_default();
    let text = segment::last(&segments, from, bytes as u64);
    last_lines(&text, lines, bytes)
}

/// The last `lines` lines of `text`, at most `bytes` bytes of it; never a broken character.
pub fn last_lines(text: &[u8], lines: usize, bytes: usize) -> Vec<String> {
    let text = text
        .get(text.len().saturating_sub(bytes)..)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if text.is_empty() {
        return Vec::new();
    }
    let all: Vec<&str> = text.split('\n').collect();
    let first = all.len().saturating_sub(lines);
    all.into_iter()
        .skip(first)
        .map(|line| line.trim_end_matches('\r').to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
