//! Disk shapes that both orchestrators store: jobs, desired instances, events, and the keys of records.
//!
//! Old records stay readable for ever: a field is never renamed or given another meaning, and a new one has a default.
//! Values are JSON. A field that a program does not know would be lost when it writes the record again; therefore a new
//! field, or a new word, raises the schema of every store that can hold it, and a program of a lower schema does not open
//! that store (`store::embedded::Options`). Inside workloads the hash covers all that they say. What only one program
//! stores is its own business, and so is which tables there are.

pub mod access;
mod batch;
mod event;
mod job;
pub mod key;
mod operation;
mod secret;
mod shared;
mod submission;

#[cfg(test)]
mod tests;

use model::id::{EventId, JobId};
use model::slot::Slot;
use serde::de::DeserializeOwned;

pub use batch::{Batch, Change, json};
pub use event::{StoredEvent, UnknownWords};
pub use job::{StoredDesired, StoredHead, StoredJob};
pub use operation::StoredOperation;
pub use secret::StoredSecret;
pub use shared::Shared;
pub use submission::StoredSubmission;

/// Why a store's content cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A record is not what this program writes.
    #[error("record {key} of table {table} cannot be read")]
    Read {
        /// The table.
        table: String,
        /// The key, as text where it is one.
        key: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A write has no JSON: a bug.
    #[error("a record of table {table} cannot be written")]
    Write {
        /// The table.
        table: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// A record as a store gave it back. Every fault that is found in it names its table and its key.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The key.
    pub key: &'a [u8],
    /// JSON.
    pub value: &'a [u8],
}

impl Stored<'_> {
    /// The value.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, RecordError> {
        serde_json::from_slice(self.value).map_err(|source| self.fault(source))
    }

    /// The bits of the only id in the key.
    pub fn id(&self) -> Result<u128, RecordError> {
        key::read_id(self.key).ok_or_else(|| self.fault("its key is no id"))
    }

    /// The ids of an event's key.
    pub fn event(&self) -> Result<(JobId, EventId), RecordError> {
        key::read_event(self.key).ok_or_else(|| self.fault("its key has no two ids"))
    }

    /// The slot that the key names.
    pub fn slot(&self) -> Result<Slot, RecordError> {
        key::read_slot(self.key).ok_or_else(|| self.fault("its key is no slot"))
    }

    /// This record cannot be read because of `source`.
    pub fn fault(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> RecordError {
        RecordError::Read {
            table: self.table.to_owned(),
            key: String::from_utf8_lossy(self.key).escape_debug().to_string(),
            source: source.into(),
        }
    }
}
