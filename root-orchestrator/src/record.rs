//! Durable writes of the core as records of the store, and back.
//!
//! What the other orchestrator stores too is in [`orchestrator::record`].

mod shape;

#[cfg(test)]
mod tests;

use model::id::ClusterId;
use orchestrator::record::{Changes, META, REVISION, Records, SLOT};
use protocol::stored::{RecordError, Stored, key};
use protocol::workload::WorkloadError;
use root_core::{ClusterRecord, Holding, Moving, SlotRecord, Write};
use schedulers::Policy;
use store::Table;

/// Clusters by id.
const CLUSTER: Table = Table("cluster");

/// Keys of [`META`].
const FLOOR: &[u8] = b"revision_floor";
const SCHEDULER: &[u8] = b"scheduler";
const UNSETTLED: &[u8] = b"unsettled";

/// What a durable write changes; nothing for the others.
pub(crate) fn put(changes: &mut Changes, write: &Write) -> Result<(), RecordError> {
    match write {
        Write::Term(term) => changes.term(term)?,
        Write::Superseded => changes.superseded()?,
        Write::Policy(policy) => changes.put(META, SCHEDULER, || policy.to_string())?,
        Write::Job(job) => changes.job(job)?,
        Write::ForgetJob(id) => changes.forget_job(*id),
        Write::Unsettled(true) => changes.put(META, UNSETTLED, || true)?,
        Write::Unsettled(false) => changes.delete(META, UNSETTLED),
        Write::Submission(submission) => changes.submission(submission)?,
        Write::ForgetSubmission(key) => changes.forget_submission(key),
        Write::Slot { slot, record } => match record {
            Some(record) => changes.put(SLOT, key::slot(slot), || shape::Slot::from(record))?,
            None => changes.delete(SLOT, key::slot(slot)),
        },
        Write::Cluster { cluster, record } => {
            changes.put(CLUSTER, key::id(cluster.bits()), || {
                shape::Cluster::from(record.as_ref())
            })?;
        }
        Write::ForgetCluster(cluster) => {
            changes.delete(CLUSTER, key::id(cluster.bits()));
            changes.delete(REVISION, key::id(cluster.bits()));
            changes.unheard(cluster.bits());
        }
        Write::Floor(floor) => changes.put(META, FLOOR, || *floor)?,
        Write::Revision { cluster, revision } => {
            changes.put(REVISION, key::id(cluster.bits()), || *revision)?;
        }
        Write::Event(event) => changes.event(event)?,
        Write::ForgetEvent(job, id) => changes.forget_event(*job, *id),
        Write::Heard { cluster, heard } => changes.heard(cluster.bits(), heard)?,
        Write::Soft(_) => {}
    }
    Ok(())
}

/// The writes that rebuild the state, in their order.
pub(crate) fn read(records: &mut Records<'_>) -> Result<Vec<Write>, RecordError> {
    let mut writes = Vec::new();
    writes.extend(records.term()?.map(Write::Term));
    writes.extend(records.is_superseded().then_some(Write::Superseded));
    if let Some(record) = records.meta(SCHEDULER) {
        // One that this program does not have is replaced by the option's.
        let policy = record.value::<String>()?.parse::<Policy>();
        writes.push(Write::Policy(policy.unwrap_or_default()));
    }
    if let Some(record) = records.meta(FLOOR) {
        writes.push(Write::Floor(record.value()?));
    }
    for record in records.of(CLUSTER) {
        writes.push(Write::Cluster {
            cluster: ClusterId::from_bits(record.id()?),
            record: Box::new(ClusterRecord::from(record.value::<shape::Cluster>()?)),
        });
    }
    if let Some(record) = records.meta(UNSETTLED) {
        writes.push(Write::Unsettled(record.value()?));
    }
    writes.extend(records.jobs()?.into_iter().map(Write::Job));
    writes.extend(records.submissions()?.into_iter().map(Write::Submission));
    for record in records.of(SLOT) {
        writes.push(slot(records, &record)?);
    }
    for record in records.of(REVISION) {
        writes.push(Write::Revision {
            cluster: ClusterId::from_bits(record.id()?),
            revision: record.value()?,
        });
    }
    writes.extend(records.events()?.into_iter().map(Write::Event));
    let heard = records.all_heard()?.into_iter();
    writes.extend(heard.map(|(cluster, heard)| Write::Heard {
        cluster: ClusterId::from_bits(cluster),
        heard,
    }));
    Ok(writes)
}

fn slot(records: &mut Records<'_>, record: &Stored<'_>) -> Result<Write, RecordError> {
    let slot = record.slot()?;
    let stored: shape::Slot = record.value()?;
    let holdings: Result<Vec<Holding>, WorkloadError> = stored
        .holdings
        .into_iter()
        .map(|holding| {
            Ok(Holding {
                cluster: holding.cluster,
                desired: records.shared.desired(&slot, holding.desired)?,
                leaving: holding.leaving,
                draining: holding.draining,
                by: holding.by,
            })
        })
        .collect();
    let known = SlotRecord {
        assignment: stored.assignment,
        service_generation: stored.service_generation,
        moving: stored.moving.map(Moving::from),
        holdings: holdings.map_err(|source| record.fault(source))?,
    };
    Ok(Write::Slot {
        slot,
        record: Some(known),
    })
}
