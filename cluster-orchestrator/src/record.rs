//! Durable writes of the core as records of the store, and back.
//!
//! What the other orchestrator stores too is in [`orchestrator::record`].

mod shape;

#[cfg(test)]
mod tests;

use cluster_core::{
    AssignmentEntry, Copy, NodeRecord, RefusedTakeover, SlotRecord, Write, assignment_entry,
};
use model::id::{ClusterId, NodeId};
use orchestrator::record::{Changes, META, REVISION, Records, SLOT};
use protocol::stored::{RecordError, Stored, StoredDesired, key};
use protocol::workload::WorkloadError;
use schedulers::Policy;
use store::Table;
use sync::{ParentMark, Update};

/// Workers by id.
const NODE: Table = Table("node");
/// What the root assigned, by slot.
const UPSTREAM: Table = Table("upstream");

/// Keys of [`META`].
const UNSETTLED: &[u8] = b"unsettled";
const TRUST: &[u8] = b"trust";
const SCHEDULER: &[u8] = b"algorithm";
const CLUSTER: &[u8] = b"cluster";
const FLOOR: &[u8] = b"revision_floor";
const UPSTREAM_MARK: &[u8] = b"upstream";

/// What a durable write changes; nothing for the others.
pub(crate) fn put(changes: &mut Changes, write: &Write) -> Result<(), RecordError> {
    match write {
        Write::Term(term) => changes.term(term)?,
        Write::Superseded => changes.superseded()?,
        Write::Cluster(id) => changes.put(META, CLUSTER, || *id)?,
        Write::Policy(policy) => changes.put(META, SCHEDULER, || policy.to_string())?,
        Write::Job(job) => changes.job(job)?,
        Write::ForgetJob(id) => changes.forget_job(*id),
        // Only the doubt is a record, as in a snapshot.
        Write::Trust(true) => changes.delete(META, TRUST),
        Write::Trust(false) => changes.put(META, TRUST, || false)?,
        Write::Unsettled(true) => changes.put(META, UNSETTLED, || true)?,
        Write::Unsettled(false) => changes.delete(META, UNSETTLED),
        Write::Submission(submission) => changes.submission(submission)?,
        Write::ForgetSubmission(key) => changes.forget_submission(key),
        Write::Slot { slot, record } => match record {
            Some(record) => changes.put(SLOT, key::slot(slot), || shape::Slot::from(record))?,
            None => changes.delete(SLOT, key::slot(slot)),
        },
        Write::Node { node, record } => {
            changes.put(NODE, key::id(node.bits()), || {
                shape::Node::from(record.as_ref())
            })?;
        }
        Write::ForgetNode(node) => {
            changes.delete(NODE, key::id(node.bits()));
            changes.delete(REVISION, key::id(node.bits()));
            changes.unheard(node.bits());
        }
        Write::Floor(floor) => changes.put(META, FLOOR, || *floor)?,
        Write::Revision { node, revision } => {
            changes.put(REVISION, key::id(node.bits()), || *revision)?;
        }
        Write::Upstream(update) => upstream(changes, update)?,
        Write::Event(event) => changes.event(event)?,
        Write::ForgetEvent(job, id) => changes.forget_event(*job, *id),
        Write::Heard { node, heard } => changes.heard(node.bits(), heard)?,
        Write::Tell(told) => changes.tell(told)?,
        Write::Untell(untell) => changes.untell(untell.number),
        Write::Soft(_) => {}
    }
    Ok(())
}

fn upstream(changes: &mut Changes, update: &Update<AssignmentEntry>) -> Result<(), RecordError> {
    changes.put(META, UPSTREAM_MARK, || shape::Mark::from(&update.mark))?;
    for entry in &update.put {
        changes.put(UPSTREAM, key::slot(&entry.key), || {
            StoredDesired::from(&entry.value)
        })?;
    }
    for slot in &update.remove {
        changes.delete(UPSTREAM, key::slot(slot));
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
    if let Some(record) = records.meta(CLUSTER) {
        writes.push(Write::Cluster(record.value::<ClusterId>()?));
    }
    if let Some(record) = records.meta(FLOOR) {
        writes.push(Write::Floor(record.value()?));
    }
    for record in records.of(NODE) {
        writes.push(Write::Node {
            node: NodeId::from_bits(record.id()?),
            record: Box::new(NodeRecord::from(record.value::<shape::Node>()?)),
        });
    }
    if let Some(record) = records.meta(TRUST) {
        writes.push(Write::Trust(record.value()?));
    }
    if let Some(record) = records.meta(UNSETTLED) {
        writes.push(Write::Unsettled(record.value()?));
    }
    writes.extend(records.jobs()?.into_iter().map(Write::Job));
    writes.extend(assigned(records)?);
    writes.extend(records.submissions()?.into_iter().map(Write::Submission));
    for record in records.of(SLOT) {
        writes.push(slot(records, &record)?);
    }
    for record in records.of(REVISION) {
        writes.push(Write::Revision {
            node: NodeId::from_bits(record.id()?),
            revision: record.value()?,
        });
    }
    writes.extend(records.events()?.into_iter().map(Write::Event));
    let heard = records.all_heard()?.into_iter();
    writes.extend(heard.map(|(node, heard)| Write::Heard {
        node: NodeId::from_bits(node),
        heard,
    }));
    writes.extend(records.untold()?.into_iter().map(Write::Tell));
    Ok(writes)
}

/// What the root assigned; nothing where it never did.
fn assigned(records: &mut Records<'_>) -> Result<Option<Write>, RecordError> {
    let Some(mark) = records.meta(UPSTREAM_MARK) else {
        return Ok(None);
    };
    let mut put = Vec::new();
    for record in records.of(UPSTREAM) {
        let slot = record.slot()?;
        let desired = records.shared.desired(&slot, record.value()?);
        put.push(assignment_entry(
            desired.map_err(|source| record.fault(source))?,
        ));
    }
    Ok(Some(Write::Upstream(Update {
        mark: ParentMark::from(mark.value::<shape::Mark>()?),
        put,
        remove: Vec::new(),
    })))
}

fn slot(records: &mut Records<'_>, record: &Stored<'_>) -> Result<Write, RecordError> {
    let slot = record.slot()?;
    let stored: shape::Slot = record.value()?;
    let copies: Result<Vec<Copy>, WorkloadError> = stored
        .copies
        .into_iter()
        .map(|copy| {
            Ok(Copy {
                desired: records.shared.desired(&slot, copy.desired)?,
                node: copy.node,
                leaving: copy.leaving,
                draining: copy.draining,
            })
        })
        .collect();
    let known = SlotRecord {
        placement: stored.placement,
        used: stored.used,
        provisional: stored.provisional,
        withdrawn: stored.withdrawn,
        avoid: stored.avoid,
        refused: stored.refused.map(RefusedTakeover::from),
        copies: copies.map_err(|source| record.fault(source))?,
    };
    Ok(Write::Slot {
        slot,
        record: Some(known),
    })
}
