//! Durable writes of the core as records of the store, and back.
//!
//! Values are JSON. Fields that this program does not know are skipped, so that a record of a newer one can be read,
//! except inside workloads, whose hash covers all that they say.

mod load;
mod shape;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cluster_core::Write;
use model::id::{EventId, JobId, NodeId};
use model::slot::Slot;
use serde::Serialize;
use store::{Op, Table};
use sync::Incarnation;

pub(crate) use load::load;

/// Single values by name.
const META: Table = Table("meta");
/// Workers by id.
const NODE: Table = Table("node");
/// This cluster's own jobs by id.
const JOB: Table = Table("job");
/// Slots with their copies by job, service and index.
const SLOT: Table = Table("slot");
/// What the root assigned, by slot.
const UPSTREAM: Table = Table("upstream");
/// Revisions of the workers' desired sets by worker.
const REVISION: Table = Table("revision");
/// Events by job and event.
const EVENT: Table = Table("event");

/// Keys of [`META`].
const INCARNATION: &[u8] = b"incarnation";
const TERM: &[u8] = b"term";
const ALGORITHM: &[u8] = b"algorithm";
const CLUSTER: &[u8] = b"cluster";
const UPSTREAM_MARK: &[u8] = b"upstream";

/// Why the store's content cannot be used.
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

/// The identity of a new store.
pub(crate) fn incarnation(incarnation: Incarnation) -> Result<Op, RecordError> {
    Ok(Op::put(META, INCARNATION, json(META, &incarnation)?))
}

/// The durable ones of `writes` as one atomic change; of several writes of one record only the last counts.
pub(crate) fn ops(writes: &[Write]) -> Result<Vec<Op>, RecordError> {
    let mut batch = Batch::default();
    for write in writes.iter().rev() {
        batch.take(write)?;
    }
    Ok(batch.finish())
}

/// Records by place; the last write of a place is met first, since writes are gone through backwards.
#[derive(Default)]
struct Batch(BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>);

impl Batch {
    fn take(&mut self, write: &Write) -> Result<(), RecordError> {
        match write {
            Write::Term(term) => self.put(META, TERM.to_vec(), || term.clone()),
            Write::Cluster(id) => self.put(META, CLUSTER.to_vec(), || *id),
            Write::Algorithm(algorithm) => {
                self.put(META, ALGORITHM.to_vec(), || algorithm.as_str())
            }
            Write::Job(job) => self.put(JOB, job_key(job.id), || shape::Job::from(job)),
            Write::ForgetJob(id) => self.delete(JOB, job_key(*id)),
            Write::Slot { slot, record } => match record {
                Some(record) => self.put(SLOT, slot_key(slot), || shape::Slot::from(record)),
                None => self.delete(SLOT, slot_key(slot)),
            },
            Write::Node { node, record } => {
                self.put(NODE, node_key(*node), || shape::Node::from(record.as_ref()))
            }
            Write::Revision { node, revision } => self.put(REVISION, node_key(*node), || *revision),
            Write::Upstream(update) => {
                self.put(META, UPSTREAM_MARK.to_vec(), || {
                    shape::Mark::from(&update.mark)
                })?;
                for entry in &update.put {
                    self.put(UPSTREAM, slot_key(&entry.key), || {
                        shape::Desired::from(&entry.value)
                    })?;
                }
                update
                    .remove
                    .iter()
                    .try_for_each(|slot| self.delete(UPSTREAM, slot_key(slot)))
            }
            Write::Event(event) => self.put(EVENT, event_key(event.job, event.id), || {
                shape::Event::from(event)
            }),
            Write::ForgetEvent(job, id) => self.delete(EVENT, event_key(*job, *id)),
            Write::Soft(_) => Ok(()),
        }
    }

    /// `value` is made only where no later write of the same record stands.
    fn put<T: Serialize>(
        &mut self,
        table: Table,
        key: Vec<u8>,
        value: impl FnOnce() -> T,
    ) -> Result<(), RecordError> {
        if let std::collections::btree_map::Entry::Vacant(place) = self.0.entry((table, key)) {
            place.insert(Some(json(table, &value())?));
        }
        Ok(())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "one arm of a match whose others can fail"
    )]
    fn delete(&mut self, table: Table, key: Vec<u8>) -> Result<(), RecordError> {
        self.0.entry((table, key)).or_insert(None);
        Ok(())
    }

    fn finish(self) -> Vec<Op> {
        self.0
            .into_iter()
            .map(|((table, key), value)| match value {
                Some(value) => Op::put(table, key, value),
                None => Op::delete(table, key),
            })
            .collect()
    }
}

fn json(table: Table, value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec(value).map_err(|source| RecordError::Write {
        table: table.0,
        source,
    })
}

fn job_key(id: JobId) -> Vec<u8> {
    id.bits().to_be_bytes().to_vec()
}

fn node_key(id: NodeId) -> Vec<u8> {
    id.bits().to_be_bytes().to_vec()
}

fn event_key(job: JobId, event: EventId) -> Vec<u8> {
    [job.bits().to_be_bytes(), event.bits().to_be_bytes()].concat()
}

/// Job, service, a zero byte, index: in the order of [`Slot`].
fn slot_key(slot: &Slot) -> Vec<u8> {
    let mut key = job_key(slot.job);
    key.extend_from_slice(slot.service.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(&slot.index.to_be_bytes());
    key
}
