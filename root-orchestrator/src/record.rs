//! Durable writes of the core as records of the store, and back.
//!
//! The records that the other orchestrator stores too have their shapes in [`protocol::stored`], which says how they
//! stay readable.

mod load;
mod shape;

#[cfg(test)]
mod tests;

use protocol::stored::{Batch, StoredEvent, StoredJob, json, key};
use root_core::Write;
use store::{Op, Table};
use sync::Incarnation;

pub(crate) use load::load;
pub use protocol::stored::RecordError;

/// Single values by name.
const META: Table = Table("meta");
/// Clusters by id.
const CLUSTER: Table = Table("cluster");
/// Jobs by id.
const JOB: Table = Table("job");
/// Slots with their assignments by job, service and index.
const SLOT: Table = Table("slot");
/// Revisions of the clusters' desired sets by cluster.
const REVISION: Table = Table("revision");
/// Events by job and event.
const EVENT: Table = Table("event");

/// Keys of [`META`].
const INCARNATION: &[u8] = b"incarnation";
const TERM: &[u8] = b"term";

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
        Write::Job(job) => batch.put(JOB.0, key::id(job.id.bits()), || StoredJob::from(job))?,
        Write::ForgetJob(id) => batch.delete(JOB.0, key::id(id.bits())),
        Write::Slot { slot, record } => match record {
            Some(record) => batch.put(SLOT.0, key::slot(slot), || shape::Slot::from(record))?,
            None => batch.delete(SLOT.0, key::slot(slot)),
        },
        Write::Cluster { cluster, record } => {
            batch.put(CLUSTER.0, key::id(cluster.bits()), || {
                shape::Cluster::from(record.as_ref())
            })?;
        }
        Write::Revision { cluster, revision } => {
            batch.put(REVISION.0, key::id(cluster.bits()), || *revision)?;
        }
        Write::Event(event) => batch.put(EVENT.0, key::event(event.job, event.id), || {
            StoredEvent::from(event)
        })?,
        Write::ForgetEvent(job, id) => batch.delete(EVENT.0, key::event(*job, *id)),
        Write::Soft(_) => {}
    }
    Ok(())
}
