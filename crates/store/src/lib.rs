//! Where a level keeps what must survive a restart: tables of opaque bytes with atomic commits.
//!
//! Both orchestrators and the node-engine rebuild their state from [`Store::load`] once at start
//! and hand every [`Op`] of a decision to [`Writer::commit`] before they act on it.
//!
//! Guarantees of every implementation, held by one contract suite:
//!
//! - A commit is atomic: after any failure it is there wholly or not at all.
//! - A commit that was acknowledged survives a crash and a power cut ([`Memory`] excepted).
//! - A commit that returned an error may still be there ([`Embedded`] cannot always know, for
//!   example when the disk failed while it said so): the caller loads again before it decides.
//! - Readers never see a part of a commit, and damaged bytes are refused, not served.
//!
//! Keys and values mean nothing here. Which tables exist, and what their records look like, is
//! the business of the level that owns the store.

pub mod backup;

mod embedded;
mod error;
mod memory;
#[cfg(feature = "mongodb")]
pub mod mongo;
mod snapshot;
mod url;
mod writer;

use std::fmt::Debug;

pub use embedded::{Embedded, Options, Syncs};
pub use error::StoreError;
pub use memory::Memory;
pub use snapshot::Snapshot;
pub use url::{MongoUrl, UrlError};
pub use writer::Writer;

/// The name of a table; not empty and without a zero byte, which every commit and read checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a change that is dropped is never stored"]
pub enum Op {
    /// Write a record, whether or not its key is taken.
    Put {
        /// Where the record lives.
        table: Table,
        /// Its key; tables are ordered by these bytes.
        key: Vec<u8>,
        /// Its content.
        value: Vec<u8>,
    },
    /// Remove a record; a key that is not there is no error.
    Delete {
        /// Where the record lives.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
}

impl Op {
    /// A [`Op::Put`].
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put {
            table,
            key: key.into(),
            value: value.into(),
        }
    }

    /// A [`Op::Delete`].
    pub fn delete(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self::Delete {
            table,
            key: key.into(),
        }
    }

    /// The table it changes.
    pub fn table(&self) -> Table {
        match self {
            Self::Put { table, .. } | Self::Delete { table, .. } => *table,
        }
    }

    /// Bytes of key and value, for bounds on the size of a commit.
    pub fn len_bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
        }
    }
}

/// One record as [`Store::load`] and [`Store::range`] return it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The table's name; a file may hold tables this program does not know.
    pub table: String,
    /// The key.
    pub key: Vec<u8>,
    /// The content.
    pub value: Vec<u8>,
}

/// Which end of a table [`Store::range`] begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key up: the oldest event first when keys are sequence numbers.
    Ascending,
    /// From the greatest key down: the newest event first.
    Descending,
}

/// A page of one table, for histories that are not kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The table to read.
    pub table: Table,
    /// Only keys that begin with these bytes; empty for all.
    pub prefix: &'a [u8],
    /// The last key of the page before, excluded from this one; `None` for the first page.
    pub after: Option<&'a [u8]>,
    /// The direction.
    pub order: Order,
    /// At most so many records.
    pub limit: usize,
}

/// Durable tables with atomic commits.
///
/// Every call blocks on the disk; async code goes through [`Writer`] or `spawn_blocking`.
pub trait Store: Debug + Send + Sync + 'static {
    /// Every record, sorted by table and then by key.
    fn load(&self) -> Result<Vec<Record>, StoreError>;

    /// Makes all of `ops`, in their order, or none; durable when it returns `Ok`.
    ///
    /// No `ops` is no commit and costs nothing. After an error it is unknown whether the commit
    /// is there, so the caller must [`load`](Store::load) before it builds on what it knew.
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError>;

    /// The value of one record, if there is one.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// A page of one table.
    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError>;

    /// Whether the next commit can be expected to succeed, as far as is known without trying: not where it goes to a database that
    /// has not been heard for a while.
    fn is_sure(&self) -> bool {
        true
    }

    /// All records as they are now, to be read in slices while commits go on.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(snapshot::Loaded::new(self.load()?)))
    }
}

/// Refuses a table that could not be told from another one, or from our own records.
fn check_table(table: Table) -> Result<(), StoreError> {
    if table.0.is_empty() || table.0.contains('\0') {
        return Err(StoreError::TableName { table: table.0 });
    }
    Ok(())
}

/// Refuses operations on impossible tables before anything is written.
fn check_ops(ops: &[Op]) -> Result<(), StoreError> {
    ops.iter().try_for_each(|op| check_table(op.table()))
}

#[cfg(test)]
mod tests;
