//! The records of a store at one moment, read in slices.

use std::fmt::Debug;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::{Options, Record, StoreError};

/// All records at one moment, sorted by table and then by key; commits go on meanwhile and are not in it.
pub trait Snapshot: Debug + Send {
    /// The next records: about `bytes` bytes, at least one; none at the end.
    ///
    /// # Errors
    /// When the disk fails. Then there is no more of it.
    fn next(&mut self, bytes: usize) -> Result<Vec<Record>, StoreError>;

    /// The version of what they hold, as [`Options::schema`].
    fn schema(&self) -> u32;
}

/// Bytes of a record, for bounds.
pub(crate) const fn size(record: &Record) -> usize {
    record.table.len() + record.key.len() + record.value.len()
}

/// A snapshot that is in memory.
#[derive(Debug)]
pub(crate) struct Loaded(Peekable<IntoIter<Record>>);

impl Loaded {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self(records.into_iter().peekable())
    }
}

impl Snapshot for Loaded {
    fn next(&mut self, bytes: usize) -> Result<Vec<Record>, StoreError> {
        let (mut slice, mut sum) = (Vec::new(), 0);
        while let Some(record) = self.0.next_if(|_| sum < bytes || slice.is_empty()) {
            sum += size(&record);
            slice.push(record);
        }
        Ok(slice)
    }

    fn schema(&self) -> u32 {
        Options::default().schema
    }
}
