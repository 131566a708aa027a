//! Reading a log from its beginning to its end.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::line::{Fault, Lines, Link, Next, Note, Sound};
use crate::{Digest, files};

/// What a log has that is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many files.
    pub files: usize,
    /// The number of the first line.
    pub first: u64,
    /// The number of the last line; one less than `first` if there is no line.
    pub last: u64,
    /// The hash of the last line.
    pub hash: Digest,
    /// Whether it is a whole log: it ends no earlier than `audit.head` knows, and begins where the log itself says. One
    /// file alone shows neither.
    pub whole: bool,
    /// How many records the log says were lost.
    pub lost_records: u64,
    /// How many bytes the log says were cut off at openings.
    pub cut_bytes: u64,
    /// How often the log says that there was no `audit.head`.
    pub headless: u64,
    /// Bytes after the last line, of one that is being written or was when the program ended. Nobody was told that it is
    /// there.
    pub unfinished_bytes: u64,
}

/// Why a log cannot be relied on, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not as it was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// There is nothing to look at.
    #[error("there is no audit log in {}", path.display())]
    Nothing {
        /// Where.
        path: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The first place that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {what}", file.display())]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line of this file, from 1; the one that is missing if the end is.
    pub line: u64,
    /// What is wrong there.
    pub what: Fault,
}

/// Holds a log, or one file of it, against its hashes, with bounded memory.
///
/// A directory may belong to a program that runs: what is appended meanwhile is read or not. A file alone is sound if its
/// lines continue each other.
///
/// # Errors
/// With the first place that is not as it was written, or why something cannot be read.
pub fn verify(path: &Path) -> Result<Summary, VerifyError> {
    let read = |source| VerifyError::Read {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(read)?.is_dir() {
        let mut walk = Walk::new(None);
        walk.file(path, true)?;
        return Ok(walk.summary(1));
    }
    // First the head, then the files: what is written meanwhile is behind it.
    let head = files::read_head(path).map_err(read)?;
    let list = files::list(path).map_err(read)?;
    let head_path = files::head_path(path);
    let at_head = |what| Broken {
        file: head_path.clone(),
        line: 1,
        what,
    };
    let Some(head) = head else {
        if list.is_empty() && !head_path.exists() {
            return Err(VerifyError::Nothing {
                path: path.to_owned(),
            });
        }
        return Err(at_head(Fault::Headless).into());
    };
    let mut walk = Walk::new(Some(head));
    let mut end = at_head(Fault::Headless);
    for (at, index) in list.iter().enumerate() {
        end = walk.file(&files::path(path, *index), at + 1 == list.len())?;
    }
    if let Some(front) = walk.front {
        return Err(front.into());
    }
    if !walk.has_head {
        let last = walk.last.map_or(0, |link| link.number);
        return Err(if last < head.number {
            end.what = Fault::End {
                last,
                head: head.number,
            };
            end
        } else {
            at_head(Fault::Head(head.number))
        }
        .into());
    }
    Ok(walk.summary(list.len()))
}

/// What was read so far.
struct Walk {
    head: Option<Link>,
    /// Whether the line of the head was read, or is what the first one continues.
    has_head: bool,
    /// What the first line continues.
    before: Link,
    last: Option<Link>,
    /// Why the log must not begin as it does, until a line says that it may.
    front: Option<Broken>,
    /// What is wrong behind a beginning of which this is not known yet.
    fault: Option<Broken>,
    lost_records: u64,
    cut_bytes: u64,
    headless: u64,
    unfinished_bytes: u64,
}

impl Walk {
    fn new(head: Option<Link>) -> Self {
        Self {
            head,
            has_head: head == Some(Link::START),
            before: Link::START,
            last: None,
            front: None,
            fault: None,
            lost_records: 0,
            cut_bytes: 0,
            headless: 0,
            unfinished_bytes: 0,
        }
    }

    /// Reads a file to its end; where a line would follow is what it returns.
    fn file(&mut self, path: &Path, is_last: bool) -> Result<Broken, VerifyError> {
        let read = |source| VerifyError::Read {
            path: path.to_owned(),
            source,
        };
        let mut lines = Lines::new(BufReader::new(File::open(path).map_err(read)?));
        let mut place = Broken {
            file: path.to_owned(),
            line: 1,
            what: Fault::CutOff,
        };
        loop {
            let result = match lines.next().map_err(read)? {
                Next::Line(line) => self.line(line, &place),
                Next::CutOff(bytes) if is_last && self.has_head => {
                    self.unfinished_bytes = bytes;
                    return Ok(place);
                }
                Next::CutOff(_) => Err(Fault::CutOff),
                Next::End => return Ok(place),
            };
            if let Err(what) = result {
                let fault = Broken {
                    what,
                    ..place.clone()
                };
                self.fault.get_or_insert(fault);
            }
            if self.front.is_none()
                && let Some(fault) = self.fault.take()
            {
                return Err(fault.into());
            }
            place.line += 1;
        }
    }

    fn line(&mut self, line: &[u8], place: &Broken) -> Result<(), Fault> {
        let sound = Sound::read(line)?;
        if self.fault.is_some() {
            self.note(sound.note);
            return Ok(());
        }
        match self.last {
            Some(last) => sound.continues(last)?,
            None if sound.before.number == 0 => sound.continues(Link::START)?,
            None => self.begin(sound.before, place),
        }
        if let Some(head) = self.head
            && head.number == sound.link.number
        {
            if head != sound.link {
                return Err(Fault::Head(head.number));
            }
            self.has_head = true;
        }
        self.last = Some(sound.link);
        self.note(sound.note);
        Ok(())
    }

    /// The first line is not the log's first.
    fn begin(&mut self, before: Link, place: &Broken) {
        self.before = before;
        self.has_head = self.head == Some(before);
        self.front = self.head.map(|_whole| Broken {
            what: Fault::Front {
                first: before.number.saturating_add(1),
            },
            ..place.clone()
        });
    }

    fn note(&mut self, note: Option<Note>) {
        match note {
            None | Some(Note::Astray { .. }) => {}
            Some(Note::Cut { bytes }) => self.cut_bytes = self.cut_bytes.saturating_add(bytes),
            Some(Note::Lost { records }) => {
                self.lost_records = self.lost_records.saturating_add(records);
            }
            Some(Note::Headless) => self.headless += 1,
            Some(removed @ Note::Removed { .. }) => {
                if removed == Note::removed(self.before) {
                    self.front = None;
                }
            }
        }
    }

    fn summary(&self, files: usize) -> Summary {
        let last = self.last.unwrap_or(self.before);
        Summary {
            files,
            first: self.before.number.saturating_add(1),
            last: last.number,
            hash: last.hash,
            whole: self.head.is_some(),
            lost_records: self.lost_records,
            cut_bytes: self.cut_bytes,
            headless: self.headless,
            unfinished_bytes: self.unfinished_bytes,
        }
    }
}
