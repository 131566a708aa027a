//! The files as their one writer has them.

mod opening;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::files;
use crate::line::{self, Entry, Lines, Link, Next, Note, Sound};

/// How much room a log takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A file that has so many bytes is followed by the next one; 64 MiB.
    pub file_bytes: u64,
    /// The oldest files are removed so that all together have no more bytes than this; 1 GiB. The last one always stays.
    pub total_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1_024 * 1_024;
        Self {
            file_bytes: 64 * MIB,
            total_bytes: 1_024 * MIB,
        }
    }
}

/// Why nothing can be recorded; cheap to clone, because one failed batch answers many waiters.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Another process, or another [`Log`](crate::Log) of this one, writes it.
    #[error("the audit log {} is in use by another process; stop that one first, or give this one a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A later program wrote it.
    #[error("the audit log {} was written by a newer version; run that one, or move the directory away to begin a new log", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused; after [`Log::record`](crate::Log::record) the record may be there all the same.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What.
        operation: &'static str,
        /// Of which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// One file of the log.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// The number in its name.
    index: u64,
    bytes: u64,
}

/// The files, open to be written.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    options: Options,
    disk: Box<dyn Disk>,
    /// `audit.head`, locked for as long as this lives.
    head: File,
    /// The files before the one that is written, the oldest first.
    older: Vec<Kept>,
    /// The one that is written.
    current: Kept,
    file: File,
    /// The last line.
    last: Link,
    /// A batch that failed may have left bytes behind the last line.
    dirty: bool,
}

impl Journal {
    /// Appends a line for each entry, all with one sync; a note has this time.
    ///
    /// After an error nothing of them is there, except when only `audit.head` could not be written.
    pub(crate) fn append(&mut self, entries: &[Entry], time: &str) -> Result<(), LogError> {
        self.clean()?;
        if self.current.bytes >= self.options.file_bytes {
            self.rotate()?;
        }
        let surplus = match self.current.bytes {
            0 => self.surplus(),
            _ => Vec::new(),
        };
        let path = files::path(&self.directory, self.current.index);
        let removed = surplus.iter().flatten().copied().map(Note::removed);
        let removed: Vec<Entry> = removed.map(Entry::Note).collect();
        let (mut lines, mut last) = (Vec::new(), self.last);
        for entry in removed.iter().chain(entries) {
            let time = match entry {
                Entry::Record(record) => &record.time,
                Entry::Note(_) => time,
            };
            last = line::append(&mut lines, entry, time, last)
                .map_err(LogError::io("make a line of", &path))?;
        }
        if let Err(error) = self.write(&lines) {
            // Now, if that can be, so that nobody reads half a line; or else before the next batch.
            let _later = self.clean();
            return Err(LogError::io("append to", &path)(error));
        }
        self.current.bytes += lines.len() as u64;
        self.last = last;
        self.write_head()?;
        self.remove(surplus.len());
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.dirty = true;
        self.disk.write(&self.file, lines, self.current.bytes)?;
        self.disk.sync(&self.file)?;
        self.dirty = false;
        Ok(())
    }

    fn write_head(&mut self) -> Result<(), LogError> {
        let head = files::head(self.last);
        head.and_then(|head| self.disk.write(&self.head, &head, 0))
            .map_err(LogError::io("write", &files::head_path(&self.directory)))
    }

    /// Takes back what a failed batch left.
    fn clean(&mut self) -> Result<(), LogError> {
        if self.dirty {
            let path = files::path(&self.directory, self.current.index);
            let cut = self.file.set_len(self.current.bytes);
            cut.map_err(LogError::io("take back a part of a line of", &path))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Goes on in a new file.
    fn rotate(&mut self) -> Result<(), LogError> {
        let index = self.current.index.saturating_add(1);
        self.file = create(&self.directory, index)?;
        let old = std::mem::replace(&mut self.current, Kept { index, bytes: 0 });
        self.older.push(old);
        Ok(())
    }

    /// The oldest files, as far as there is no room for one more that is full: for each what the first line after it
    /// continues, or `None` if that cannot be read.
    fn surplus(&self) -> Vec<Option<Link>> {
        let older = self.older.iter().map(|kept| kept.bytes);
        let mut total = older.sum::<u64>().saturating_add(self.options.file_bytes);
        let mut surplus = Vec::new();
        for (at, kept) in self.older.iter().enumerate() {
            if total <= self.options.total_bytes {
                break;
            }
            total -= kept.bytes;
            surplus.push(match self.older.get(at + 1) {
                Some(next) => first(&files::path(&self.directory, next.index)),
                None => Some(self.last),
            });
        }
        surplus
    }

    /// Removes so many of the oldest files. One that cannot be removed is in the way of the others, until the next time.
    fn remove(&mut self, count: usize) {
        let gone = |kept: &Kept| match fs::remove_file(files::path(&self.directory, kept.index)) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let removed = self.older.iter().take(count).take_while(|kept| gone(kept));
        let removed = removed.count();
        self.older.drain(..removed);
    }
}

/// What the first line of a file continues.
fn first(path: &Path) -> Option<Link> {
    let mut lines = Lines::new(BufReader::new(File::open(path).ok()?));
    match lines.next() {
        Ok(Next::Line(line)) => Some(Sound::read(line).ok()?.before),
        Ok(Next::CutOff(_) | Next::End) | Err(_) => None,
    }
}

/// Makes an empty file. What has its name is what an attempt left that failed.
fn create(directory: &Path, index: u64) -> Result<File, LogError> {
    let path = files::path(directory, index);
    let create = || {
        let file = files::open(&path)?;
        file.set_len(0)?;
        files::sync_directory(directory)?;
        Ok(file)
    };
    create().map_err(LogError::io("create", &path))
}
