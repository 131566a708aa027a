//! Durable writes of the core as records of the store, and back.
//!
//! The records that the other orchestrator stores too have their shapes in [`protocol::stored`], which says how they
//! stay readable.

mod load;
mod shape;

#[cfg(test)]
mod tests;

use cluster_core::Write;
use protocol::stored::{Batch, StoredDesired, StoredEvent, StoredJob, json, key};
use store::{Op, Table};
use sync::Incarnation;

pub(crate) use load::load;
pub use protocol::stored::RecordError;

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

/// The identity of a new store.
pub(crate) fn incarnation(incarnation: Incarnation) -> Result<Op, RecordError> {
    Ok(Op::put(META, INCARNATION, json(META.0, &incarnation)?))
}

/// The durable ones of `writes` as one atomic change; of several writes of one record only the last counts.
pub(crate) fn ops(writes: &[Write]) -> Result<Vec<Op>, RecordError> {
    let mut batch = Batch::default();
    for write in writes.iter().rev() {
        take(&mut batch, write)?;
    }
    Ok(batch
        .finish()
        .map(|change| match change.value {
            Some(value) => Op::put(Table(change.table), change.key, value),
            None => Op::delete(Table(change.table), change.key),
        })
        .collect())
}

/// Takes one write; a batch is filled backwards.
fn take(batch: &mut Batch, write: &Write) -> Result<(), RecordError> {
    match write {
        Write::Term(term) => batch.put(META.0, TERM.to_vec(), || term.clone())?,
        Write::Cluster(id) => batch.put(META.0, CLUSTER.to_vec(), || *id)?,
        Write::Algorithm(algorithm) => {
            batch.put(META.0, ALGORITHM.to_vec(), || algorithm.as_str())?;
        }
        Write::Job(job) => batch.put(JOB.0, key::id(job.id.bits()), || StoredJob::from(job))?,
        Write::ForgetJob(id) => batch.delete(JOB.0, key::id(id.bits())),
        Write::Slot { slot, record } => match record {
            Some(record) => batch.put(SLOT.0, key::slot(slot), || shape::Slot::from(record))?,
            None => batch.delete(SLOT.0, key::slot(slot)),
        },
        Write::Node { node, record } => batch.put(NODE.0, key::id(node.bits()), || {
            shape::Node::from(record.as_ref())
        })?,
        Write::Revision { node, revision } => {
            batch.put(REVISION.0, key::id(node.bits()), || *revision)?;
        }
        Write::Upstream(update) => {
            batch.put(META.0, UPSTREAM_MARK.to_vec(), || {
                shape::Mark::from(&update.mark)
            })?;
            for entry in &update.put {
                batch.put(UPSTREAM.0, key::slot(&entry.key), || {
                    StoredDesired::from(&entry.value)
                })?;
            }
            for slot in &update.remove {
                batch.delete(UPSTREAM.0, key::slot(slot));
            }
        }
        Write::Event(event) => batch.put(EVENT.0, key::event(event.job, event.id), || {
            StoredEvent::from(event)
        })?,
        Write::ForgetEvent(job, id) => batch.delete(EVENT.0, key::event(*job, *id)),
        Write::Soft(_) => {}
    }
    Ok(())
}
