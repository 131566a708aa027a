//! Writes of one decision as one change per record.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

use super::RecordError;

/// Records by table and key, of which the last write counts. Writes are taken backwards, the last one first.
#[derive(Debug, Default)]
pub struct Batch(BTreeMap<(&'static str, Vec<u8>), Option<Vec<u8>>>);

/// What becomes of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: &'static str,
    /// The key.
    pub key: Vec<u8>,
    /// The record's JSON; `None`: it is deleted.
    pub value: Option<Vec<u8>>,
}

impl Batch {
    /// A record becomes `value`, which is made only where no later write of the same record stands.
    pub fn put<T: Serialize>(
        &mut self,
        table: &'static str,
        key: Vec<u8>,
        value: impl FnOnce() -> T,
    ) -> Result<(), RecordError> {
        if let Entry::Vacant(place) = self.0.entry((table, key)) {
            place.insert(Some(json(table, &value())?));
        }
        Ok(())
    }

    /// A record goes, where no later write of it stands.
    pub fn delete(&mut self, table: &'static str, key: Vec<u8>) {
        self.0.entry((table, key)).or_insert(None);
    }

    /// One change for each record, sorted by table and key.
    pub fn finish(self) -> impl Iterator<Item = Change> {
        self.0
            .into_iter()
            .map(|((table, key), value)| Change { table, key, value })
    }
}

/// `value` as a record of `table`.
pub fn json(table: &'static str, value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec(value).map_err(|source| RecordError::Write { table, source })
}
