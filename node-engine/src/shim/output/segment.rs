//! The files of an application's output: each is named after the position of its first byte, counted from the first
//! byte that the instance ever wrote. So a reader knows where it is, however often files come and go.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::time::Wall;

use super::times;

/// Digits of a file's name: as many as a position has at most, so that names sort as numbers do.
const DIGITS: usize = 20;
/// Read at once while the beginning of a line is looked for.
const BLOCK: u64 = 64 << 10;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The position of its first byte.
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn new(folder: &Path, base: u64) -> Self {
        let path = folder.join(format!("{base:0DIGITS$}"));
        Self { base, path }
    }

    /// Its length now; none when it is gone.
    pub(crate) fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Where the times of its bytes stand.
    pub(crate) fn times(&self) -> PathBuf {
        self.path.with_extension("times")
    }

    pub(crate) fn remove(&self) {
        // What is gone already is what was wanted, and a full disk refuses no removal.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.times());
    }
}

/// The files in a folder, the oldest first.
///
/// # Errors
/// When the folder is not there or cannot be read.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let base = name.to_str().filter(|name| name.len() == DIGITS);
        if let Some(base) = base.and_then(|name| name.parse().ok()) {
            segments.push(Segment::new(folder, base));
        }
    }
    segments.sort_unstable_by_key(|segment| segment.base);
    Ok(segments)
}

/// The position after the last byte.
pub(crate) fn end(segments: &[Segment]) -> u64 {
    segments.last().map_or(0, |last| last.base + last.length())
}

/// The position of the first byte that was written at `since` or later, at the beginning of a line.
pub(crate) fn since(segments: &[Segment], since: Wall) -> u64 {
    let found = segments
        .iter()
        .find_map(|segment| Some(segment.base + times::first(&segment.times(), since)?));
    match found {
        Some(position) => line_start(segments, position, BLOCK),
        None => end(segments),
    }
}

/// The position of the last `lines` lines before `end`, at `from` or later.
pub(crate) fn tail(segments: &[Segment], from: u64, end: u64, lines: u64) -> u64 {
    if lines == 0 {
        return end;
    }
    let mut found = 0;
    // The end of the last line is no beginning of another one.
    walk_back(segments, from, end, |position| {
        if position + 1 < end {
            found += 1;
        }
        found == lines
    })
}

/// The beginning of the line that `position` is in, at most `limit` bytes before it.
pub(crate) fn line_start(segments: &[Segment], position: u64, limit: u64) -> u64 {
    let from = position.saturating_sub(limit);
    walk_back(segments, from, position, |_| true)
}

/// Goes back from `end` to `from` over the ends of lines, until one is what was looked for; the position after it.
fn walk_back(segments: &[Segment], from: u64, end: u64, mut is_it: impl FnMut(u64) -> bool) -> u64 {
    let mut first = end;
    for segment in segments.iter().rev() {
        let Ok(file) = File::open(&segment.path) else {
            continue;
        };
        let mut to = end.min(segment.base + segment.length());
        let from = from.max(segment.base);
        while to > from {
            let begin = to.saturating_sub(BLOCK).max(from);
            let mut block = vec![0; (to - begin) as usize];
            if file
                .read_exact_at(&mut block, begin - segment.base)
                .is_err()
            {
                return first;
            }
            for (at, _) in block
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, byte)| **byte == b'\n')
            {
                let position = begin + at as u64;
                if is_it(position) {
                    return position + 1;
                }
            }
            first = begin;
            to = begin;
        }
    }
    first
}

/// At most the last `bytes` bytes, at `from` or later.
pub(crate) fn last(segments: &[Segment], from: u64, bytes: u64) -> Vec<u8> {
    let first = from.max(end(segments).saturating_sub(bytes));
    let mut text = Vec::new();
    for segment in segments {
        let skip = first.saturating_sub(segment.base);
        if skip >= segment.length() {
            continue;
        }
        let read = || -> io::Result<Vec<u8>> {
            use std::io::{Seek, SeekFrom};
            let mut file = File::open(&segment.path)?;
            file.seek(SeekFrom::Start(skip))?;
            let mut part = Vec::new();
            file.take(bytes).read_to_end(&mut part)?;
            Ok(part)
        };
        text.append(&mut read().unwrap_or_default());
    }
    let excess = text.len().saturating_sub(bytes as usize);
    text.drain(..excess);
    text
}

/// The beginning of the first line that begins at `position` or later; `position` where none does.
pub(crate) fn next_line(segments: &[Segment], position: u64) -> u64 {
    let Some(before) = position.checked_sub(1) else {
        return 0;
    };
    let text = last(segments, before, end(segments).saturating_sub(before));
    let line = text.iter().position(|byte| *byte == b'\n');
    line.map_or(position, |at| before + at as u64 + 1)
}
