//! An application's output on disk: two files of at most 1 MiB, whatever it writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of one file, at most.
pub const FILE_BYTES: u64 = 1 << 20;
/// Bytes kept in one second, at most. The rest is counted and dropped, so that a flood costs neither disk nor memory.
pub const SECOND_BYTES: usize = 4 << 20;
/// Of what is dropped, the last bytes are kept all the same: they tell why it ended.
const KEPT_BYTES: usize = 4096;
/// Read at once: what a pipe holds by default.
const CHUNK: usize = 64 << 10;

/// Copies `pipe` into `path` until everybody has closed it. A disk that is full loses output and stops nobody.
pub fn copy(mut pipe: impl Read, path: PathBuf) {
    let mut log = Rotating::new(path);
    let mut chunk = vec![0; CHUNK];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => log.take(chunk.get(..count).unwrap_or_default(), Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    log.tell_dropped();
}

struct Rotating {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    second: Instant,
    in_second: usize,
    dropped: u64,
    kept: Vec<u8>,
}

impl Rotating {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            written: 0,
            second: Instant::now(),
            in_second: 0,
            dropped: 0,
            kept: Vec::new(),
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
        if self.file.is_none() || self.written + bytes.len() as u64 > FILE_BYTES {
            self.rotate();
        }
        let Some(file) = &mut self.file else { return };
        if file.write_all(bytes).is_ok() {
            self.written += bytes.len() as u64;
        } else {
            // A full disk: begin again with an empty file as soon as there is something to write.
            self.file = None;
        }
    }

    fn rotate(&mut self) {
        if self.file.take().is_some() {
            // Without the rename the file is cut below, which bounds the disk as well.
            let _ = fs::rename(&self.path, previous(&self.path));
        }
        self.written = 0;
        self.file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)
            .ok();
    }
}

fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// The last `lines` lines of the output at `path`, at most `bytes` bytes of it.
pub fn tail(path: &Path, lines: usize, bytes: usize) -> Vec<String> {
    let mut text = end_of(path, bytes);
    if text.len() < bytes {
        let mut before = end_of(&previous(path), bytes - text.len());
        before.append(&mut text);
        text = before;
    }
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

fn end_of(path: &Path, bytes: usize) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes as u64)))?;
        let mut end = Vec::new();
        file.take(bytes as u64).read_to_end(&mut end)?;
        Ok(end)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(path: &Path) -> (u64, u64) {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        (size(path), size(&previous(path)))
    }

    #[test]
    fn output_is_rotated_and_its_end_can_be_read_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output.log");
        let mut log = Rotating::new(path.clone());
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..1024 {
            log.write(&line);
        }
        log.write(b"last\n");
        assert_eq!(sizes(&path), (5, FILE_BYTES));
        let lines = tail(&path, 3, 8192);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "last");
        assert_eq!(lines[0].len(), 1023);
    }

    #[test]
    fn a_flood_is_counted_and_dropped_but_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output.log");
        let mut log = Rotating::new(path.clone());
        let now = Instant::now();
        let chunk = vec![b'x'; CHUNK];
        for _ in 0..1600 {
            log.take(&chunk, now);
        }
        log.take(b"\npanic: the end\n", now);
        log.tell_dropped();
        let (new, old) = sizes(&path);
        assert!(new <= FILE_BYTES && old <= FILE_BYTES, "{new} {old}");
        let lines = tail(&path, 20, 8192);
        assert_eq!(lines.last().unwrap(), "panic: the end");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("bytes of output dropped")),
            "{lines:?}"
        );
    }

    #[test]
    fn the_tail_is_bounded_and_never_breaks_a_character() {
        assert_eq!(last_lines("a\nb\r\nc\n".as_bytes(), 2, 100), ["b", "c"]);
        assert_eq!(last_lines("ää".as_bytes(), 2, 3).concat(), "\u{fffd}ä");
        assert!(last_lines(b"", 2, 100).is_empty());
        assert_eq!(last_lines(b"a\n\n", 5, 100), ["a", ""]);
    }
}
