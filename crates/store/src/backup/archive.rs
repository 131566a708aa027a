//! Reading a backup, and not believing it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{BackupError, END, FORMAT, MAGIC, RECORD, Summary};
use crate::Record;

/// Bytes that a maker says about itself at most.
const ABOUT: u32 = 64 * 1_024;

/// A backup that is being read.
pub(super) struct Archive {
    path: PathBuf,
    file: BufReader<File>,
    sum: Sha256,
    pub(super) about: Vec<u8>,
    pub(super) schema: u32,
    records: u64,
    bytes: u64,
    /// The byte that ends the records was read.
    ended: bool,
}

impl Archive {
    /// Reads what comes before the records.
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|source| BackupError::Io {
            operation: "read",
            path: path.to_owned(),
            source,
        })?;
        let mut this = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            sum: Sha256::new(),
            about: Vec::new(),
            schema: 0,
            records: 0,
            bytes: 0,
            ended: false,
        };
        let foreign = |_error| BackupError::Foreign {
            path: path.to_owned(),
        };
        // A short file that begins like one is one that was cut off; any other is none.
        let magic = this.take(MAGIC.len() as u32).map_err(foreign)?;
        if magic != MAGIC {
            return Err(foreign(BackupError::Truncated {
                path: path.to_owned(),
            }));
        }
        let found = this.number()?;
        if found > FORMAT {
            return Err(BackupError::Newer {
                path: path.to_owned(),
                found,
            });
        }
        this.schema = this.number()?;
        let length = this.number()?;
        if length > ABOUT {
            return Err(this.damaged("what it says about itself is too long"));
        }
        this.about = this.take(length)?;
        Ok(this)
    }

    /// The next record; `None` after the last.
    pub(super) fn record(&mut self) -> Result<Option<Record>, BackupError> {
        let [kind] = self.array()?;
        match kind {
            RECORD => {}
            END => {
                self.ended = true;
                return Ok(None);
            }
            _ => return Err(self.damaged("a record begins with neither 0 nor 1")),
        }
        let (table, key, value) = (self.number()?, self.number()?, self.number()?);
        let table = String::from_utf8(self.take(table)?)
            .map_err(|_error| self.damaged("the name of a table is no text"))?;
        if table.is_empty() || table.contains('\0') {
            return Err(self.damaged("a record has no table"));
        }
        let record = Record {
            table,
            key: self.take(key)?,
            value: self.take(value)?,
        };
        self.records += 1;
        Ok(Some(record))
    }

    /// Checks what comes after the records.
    pub(super) fn finish(mut self) -> Result<Summary, BackupError> {
        if !self.ended {
            return Err(self.damaged("its records do not end"));
        }
        let records = u64::from_le_bytes(self.array()?);
        if records != self.records {
            return Err(self.damaged("it has another number of records than it says"));
        }
        let sum: [u8; 32] = self.sum.clone().finalize().into();
        if self.array()? != sum {
            return Err(self.damaged("its checksum is another one"));
        }
        let more = self.file.read(&mut [0]).map_err(|error| self.io(error))?;
        if more > 0 {
            return Err(self.damaged("something follows its end"));
        }
        Ok(Summary {
            about: self.about,
            schema: self.schema,
            records,
            bytes: self.bytes,
        })
    }

    fn number(&mut self) -> Result<u32, BackupError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.truncated());
            }
            Err(error) => return Err(self.io(error)),
        }
        self.read(&bytes);
        Ok(bytes)
    }

    /// No more memory is taken than there are bytes, whatever length a damaged file names.
    fn take(&mut self, length: u32) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        let taken = (&mut self.file)
            .take(u64::from(length))
            .read_to_end(&mut bytes);
        taken.map_err(|error| self.io(error))?;
        if bytes.len() as u64 != u64::from(length) {
            return Err(self.truncated());
        }
        self.read(&bytes);
        Ok(bytes)
    }

    fn read(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn truncated(&self) -> BackupError {
        BackupError::Truncated {
            path: self.path.clone(),
        }
    }

    fn damaged(&self, reason: &'static str) -> BackupError {
        BackupError::Damaged {
            path: self.path.clone(),
            reason,
        }
    }

    fn io(&self, source: io::Error) -> BackupError {
        BackupError::Io {
            operation: "read",
            path: self.path.clone(),
            source,
        }
    }
}
