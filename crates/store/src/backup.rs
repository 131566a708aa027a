//! A store as one file that can be carried away, and such a file as a store again.
//!
//! # Format
//! Numbers are little-endian. `edgeio backup\n`; the format's version, the schema of the records and the length of what
//! the owner says about itself (4 bytes each), and that; then the records, each a byte 1, the lengths of table, key and
//! value (4 bytes each), and the three; then a byte 0, the number of records (8 bytes), and the SHA-256 of all before it.
//!
//! # Guarantees
//! A file that was cut off, changed, or made by something else is refused, and nothing of it is left: the store gets its
//! name when the last byte was checked. Memory is bounded by the largest record.

mod archive;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::archive::Archive;
use crate::{Embedded, Op, Options, Snapshot, Store, StoreError};

/// The first bytes of every backup.
const MAGIC: &[u8] = b"edgeio backup\n";
/// The version of the format that is written, and the latest that is read.
const FORMAT: u32 = 1;
/// Before a record, and at the end.
const RECORD: u8 = 1;
const END: u8 = 0;
/// Bytes that are committed together while restoring.
const GROUP: usize = 4 * 1_024 * 1_024;

/// Why a backup cannot be used, or not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It was never a backup.
    #[error("{} is no backup of edgeIO", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program made it.
    #[error("{} is a backup of format {found}, and this program reads up to {FORMAT}; use the version that made it, or a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Its end is missing.
    #[error("the backup {} is cut off: it ends in the middle; take another one", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written.
    #[error("the backup {} is damaged: {reason}; take another one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: &'static str,
    },
    /// There is a store already.
    #[error("{} is there already, and is not replaced by a backup; move it away first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What.
        operation: &'static str,
        /// Of which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The new store cannot be written.
    #[error("cannot write the store")]
    Store(#[from] StoreError),
}

/// A backup that is being made, piece by piece.
#[derive(Debug)]
pub struct Backup {
    snapshot: Box<dyn Snapshot>,
    sum: Sha256,
    records: u64,
    /// What comes before the records; `None` once it was given.
    head: Option<Vec<u8>>,
    ended: bool,
}

impl Backup {
    /// Of the store as it now is; `about` is for whoever restores it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(store: &dyn Store, about: &[u8]) -> Result<Self, StoreError> {
        let snapshot = store.snapshot()?;
        let mut head = MAGIC.to_vec();
        for number in [FORMAT, snapshot.schema(), length(about)] {
            head.extend(number.to_le_bytes());
        }
        head.extend(about);
        Ok(Self {
            snapshot,
            sum: Sha256::new(),
            records: 0,
            head: Some(head),
            ended: false,
        })
    }

    /// The next piece, of about `bytes` bytes; `None` after the last.
    ///
    /// # Errors
    /// When the store cannot be read any more. What was given so far is then of no use.
    pub fn next_piece(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let mut piece = self.head.take().unwrap_or_default();
        let records = self.snapshot.next(bytes)?;
        for record in &records {
            piece.push(RECORD);
            let fields = [record.table.as_bytes(), &record.key, &record.value];
            for field in fields {
                piece.extend(length(field).to_le_bytes());
            }
            for field in fields {
                piece.extend(field);
            }
        }
        self.records += records.len() as u64;
        if records.is_empty() {
            self.ended = true;
            piece.push(END);
            piece.extend(self.records.to_le_bytes());
        }
        self.sum.update(&piece);
        if self.ended {
            piece.extend(self.sum.clone().finalize());
        }
        Ok(Some(piece))
    }
}

/// A length that the format has room for: a record of 4 GiB would not have been stored.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What its owner said about it.
    pub about: Vec<u8>,
    /// The version of what the records hold.
    pub schema: u32,
    /// How many.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
}

/// What the maker of a backup said about it. The rest of the file is not looked at.
///
/// # Errors
/// When it is no backup, or one of a later format, or cannot be read.
pub fn about(file: &Path) -> Result<Vec<u8>, BackupError> {
    Ok(Archive::open(file)?.about)
}

/// Reads a backup to its end.
///
/// # Errors
/// When it is not one that [`Backup`] made, whole.
pub fn check(file: &Path) -> Result<Summary, BackupError> {
    let mut archive = Archive::open(file)?;
    while archive.record()?.is_some() {}
    archive.finish()
}

/// Makes a store at `path` of a backup; `last` is committed after its records.
///
/// # Errors
/// When the backup is not whole or of another schema, when there is a store, or when it cannot be written. Then there is
/// nothing of it.
pub fn restore(
    file: &Path,
    path: &Path,
    options: Options,
    last: &[Op],
) -> Result<Summary, BackupError> {
    fresh(path, |temporary| fill(file, temporary, options, last))
}

/// A store where there is none, which has its name when it is whole.
fn fresh<T>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    if path.exists() {
        return Err(BackupError::Exists {
            path: path.to_owned(),
        });
    }
    let temporary = beside(path, ".restoring");
    // Of an attempt that was interrupted.
    let _ = fs::remove_file(&temporary);
    let filled = fill(&temporary).and_then(|filled| {
        publish(&temporary, path).map_err(|source| BackupError::Io {
            operation: "give its name to",
            path: path.to_owned(),
            source,
        })?;
        Ok(filled)
    });
    if filled.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    filled
}

/// Makes a store at `path` of all records of another one, and gives their number.
///
/// # Errors
/// When there is a store at `path`, or when either cannot be used. Then there is nothing of it.
pub fn copy(from: &mut dyn Snapshot, path: &Path, options: Options) -> Result<u64, BackupError> {
    fresh(path, |temporary| {
        let schema = from.schema();
        let store = Embedded::open(
            temporary,
            Options {
                schema,
                reads_from: schema,
                ..options
            },
        )?;
        let mut number = 0;
        loop {
            let records = from.next(GROUP)?;
            if records.is_empty() {
                return Ok(number);
            }
            number += records.len() as u64;
            store.fill(&records)?;
        }
    })
}

fn fill(file: &Path, path: &Path, options: Options, last: &[Op]) -> Result<Summary, BackupError> {
    let mut archive = Archive::open(file)?;
    if !(options.reads_from..=options.schema).contains(&archive.schema) {
        return Err(StoreError::Schema {
            store: file.display().to_string(),
            found: archive.schema,
            expected: options.schema,
        }
        .into());
    }
    let store = Embedded::open(
        path,
        Options {
            schema: archive.schema,
            reads_from: archive.schema,
            ..options
        },
    )?;
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some(record) = archive.record()? {
        bytes += crate::snapshot::size(&record);
        group.push(record);
        if bytes >= GROUP {
            store.fill(&group)?;
            (group, bytes) = (Vec::new(), 0);
        }
    }
    let summary = archive.finish()?;
    store.fill(&group)?;
    store.commit(last)?;
    Ok(summary)
}

/// Gives a closed store its name, durably.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    File::open(temporary)?.sync_all()?;
    fs::rename(temporary, path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
