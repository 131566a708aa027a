//! Opening a log: finding its end, and repairing what a crash left of it.

use std::fs::{self, File, TryLockError};
use std::io::BufReader;
use std::path::Path;

use super::{Journal, Kept, LogError, Options, create};
use crate::disk::Disk;
use crate::files;
use crate::line::{Entry, Fault, Lines, Link, Next, Note, Sound};

/// How the newest file that has a sound line goes on to its end.
struct End {
    /// How many files it is the last of; 0 if none has a sound line.
    files: usize,
    /// Bytes of its sound lines.
    bytes: u64,
    /// The last of them.
    last: Link,
    /// Whether the line that `audit.head` knows is there, or is in an older file, which only `verify` reads.
    has_head: bool,
    /// Bytes after them, in all files.
    rest: u64,
    /// Whether these are more than a part of one line.
    rest_has_lines: bool,
}

impl Journal {
    /// Opens the log in a directory, which is made if it is not there; `now` is the time of what it has to say.
    pub(crate) fn open(
        directory: &Path,
        options: Options,
        mut disk: Box<dyn Disk>,
        now: &str,
    ) -> Result<Self, LogError> {
        let io = |operation| LogError::io(operation, directory);
        files::make(directory).map_err(io("create"))?;
        let head_file = lock(directory)?;
        let head = files::read_head(directory).map_err(io("read audit.head of"))?;
        let mut files = kept(directory)?;
        let mut notes = Vec::new();
        if files.is_empty() && head.is_none() {
            begin(directory, &head_file, disk.as_mut())?;
        } else if head.is_none() {
            notes.push(Note::Headless);
        }
        let end = End::find(directory, &files, head)?;
        let goes_on = match head {
            // All that was acknowledged is there, so nobody was told of what comes after it.
            Some(_) => end.has_head,
            None => !end.rest_has_lines,
        };
        let mut last = end.last;
        if goes_on {
            cut(directory, &mut files, &end)?;
            if end.rest > 0 {
                notes.push(Note::Cut { bytes: end.rest });
            }
        } else if let Some(head) = head {
            notes.push(Note::Astray {
                found: end.last.number,
            });
            last = Link {
                number: head.number.max(end.last.number),
                hash: head.hash,
            };
        }
        let (current, file) = match files.pop() {
            Some(kept) if goes_on => {
                let path = files::path(directory, kept.index);
                let file = files::open(&path).map_err(LogError::io("open", &path))?;
                (kept, file)
            }
            newest => {
                let index = newest.map_or(1, |kept| kept.index.saturating_add(1));
                files.extend(newest);
                (Kept { index, bytes: 0 }, create(directory, index)?)
            }
        };
        let mut journal = Self {
            directory: directory.to_owned(),
            options,
            disk,
            head: head_file,
            older: files,
            current,
            file,
            last,
            dirty: false,
        };
        if !notes.is_empty() {
            let notes: Vec<Entry> = notes.into_iter().map(Entry::Note).collect();
            journal.append(&notes, now)?;
        }
        Ok(journal)
    }
}

/// Opens `audit.head`, and keeps others from writing the log.
fn lock(directory: &Path) -> Result<File, LogError> {
    let path = files::head_path(directory);
    let file = files::open(&path).map_err(LogError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(LogError::io("lock", &path)(error)),
    }
}

/// Writes the first `audit.head`, before there is a file: so a crash never leaves one without the other.
fn begin(directory: &Path, head: &File, disk: &mut dyn Disk) -> Result<(), LogError> {
    let written = files::head(Link::START).and_then(|start| {
        disk.write(head, &start, 0)?;
        head.sync_all()?;
        files::sync_directory(directory)
    });
    written.map_err(LogError::io("write", &files::head_path(directory)))
}

/// The files that are there.
fn kept(directory: &Path) -> Result<Vec<Kept>, LogError> {
    let list = files::list(directory).map_err(LogError::io("list", directory))?;
    let kept = list.into_iter().map(|index| {
        let path = files::path(directory, index);
        let metadata = fs::metadata(&path).map_err(LogError::io("open", &path))?;
        Ok(Kept {
            index,
            bytes: metadata.len(),
        })
    });
    kept.collect()
}

/// Cuts off what is behind the last sound line.
fn cut(directory: &Path, files: &mut Vec<Kept>, end: &End) -> Result<(), LogError> {
    for kept in files.drain(end.files..) {
        let path = files::path(directory, kept.index);
        fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
    }
    if let Some(newest) = files.last_mut() {
        let path = files::path(directory, newest.index);
        let shorten = || {
            let file = files::open(&path)?;
            file.set_len(end.bytes)?;
            file.sync_all()
        };
        shorten().map_err(LogError::io("shorten", &path))?;
        newest.bytes = end.bytes;
    }
    Ok(())
}

impl End {
    fn find(directory: &Path, files: &[Kept], head: Option<Link>) -> Result<Self, LogError> {
        let (mut rest, mut rest_has_lines) = (0, false);
        for (at, kept) in files.iter().enumerate().rev() {
            let scan = Scan::of(&files::path(directory, kept.index), head)?;
            rest += kept.bytes.saturating_sub(scan.bytes);
            rest_has_lines |= scan.rest_has_lines;
            if let Some(last) = scan.last {
                return Ok(Self {
                    files: at + 1,
                    bytes: scan.bytes,
                    last,
                    has_head: scan.has_head,
                    rest,
                    rest_has_lines,
                });
            }
        }
        Ok(Self {
            files: 0,
            bytes: 0,
            last: Link::START,
            has_head: head.is_none_or(|head| head == Link::START),
            rest,
            rest_has_lines,
        })
    }
}

/// What one file has, up to the first thing that is wrong with it.
#[derive(Default)]
struct Scan {
    bytes: u64,
    last: Option<Link>,
    has_head: bool,
    rest_has_lines: bool,
}

impl Scan {
    fn of(path: &Path, head: Option<Link>) -> Result<Self, LogError> {
        let read = |error| LogError::io("read", path)(error);
        let mut lines = Lines::new(BufReader::new(File::open(path).map_err(read)?));
        let mut scan = Self::default();
        loop {
            let line = match lines.next().map_err(read)? {
                Next::Line(line) => line,
                Next::CutOff(_) | Next::End => return Ok(scan),
            };
            let sound = match Sound::read(line) {
                Ok(sound) => sound,
                Err(Fault::Newer(_)) => {
                    return Err(LogError::Newer {
                        path: path.to_owned(),
                    });
                }
                Err(_) => break,
            };
            match scan.last {
                Some(last) if sound.continues(last).is_err() => break,
                Some(_) => {}
                None => {
                    scan.has_head = head.is_some_and(|head| {
                        head == sound.before || head.number < sound.before.number
                    });
                }
            }
            scan.has_head |= head == Some(sound.link);
            scan.last = Some(sound.link);
            scan.bytes += line.len() as u64 + 1;
        }
        scan.rest_has_lines = true;
        Ok(scan)
    }
}
