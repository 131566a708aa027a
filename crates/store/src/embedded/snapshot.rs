//! Reading all of the tree while commits go on, and filling a new one.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use redb::{OwnedRange, ReadableDatabase};

use super::keys::{FIRST_RECORD, decode, encode_named};
use super::{Embedded, RECORDS, failure};
use crate::snapshot::size;
use crate::{Record, Snapshot, StoreError};

/// A reader of one state of the tree, whose pages it keeps from being used again. It fails, rather than to read what
/// became of them, when an error closes the tree.
struct Reader {
    path: PathBuf,
    schema: u32,
    entries: OwnedRange<&'static [u8], &'static [u8]>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Reader {
    fn read(&mut self, bytes: usize) -> Result<Vec<Record>, redb::Error> {
        let (mut slice, mut sum) = (Vec::new(), 0);
        while sum < bytes || slice.is_empty() {
            let Some(entry) = self.entries.next() else {
                break;
            };
            let (key, value) = entry?;
            let record = decode(key.value(), value.value())?;
            sum += size(&record);
            slice.push(record);
        }
        Ok(slice)
    }
}

impl Snapshot for Reader {
    fn next(&mut self, bytes: usize) -> Result<Vec<Record>, StoreError> {
        match catch_unwind(AssertUnwindSafe(|| self.read(bytes))) {
            Ok(Ok(slice)) => Ok(slice),
            Ok(Err(error)) => Err(failure::tree(&self.path, "back up", error)),
            Err(_panic) => Err(StoreError::Corrupt {
                path: self.path.clone(),
                reason: "its pages make no sense".to_owned(),
            }),
        }
    }

    fn schema(&self) -> u32 {
        self.schema
    }
}

impl Embedded {
    pub(super) fn reader(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let entries = self.with("back up", |database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            Ok(records.range_owned(FIRST_RECORD..)?)
        })?;
        Ok(Box::new(Reader {
            path: self.path.clone(),
            schema: self.options.schema,
            entries,
        }))
    }

    /// Writes records of any table, those that no program of ours has a name for too.
    pub(crate) fn fill(&self, records: &[Record]) -> Result<(), StoreError> {
        self.with("restore", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for record in records {
                    let key = encode_named(&record.table, &record.key);
                    table.insert(key.as_slice(), record.value.as_slice())?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }
}
