//! Records become the writes that rebuild the state.

use cluster_core::{AssignmentEntry, Copy, NodeRecord, SlotRecord, Write, assignment_entry};
use model::id::{ClusterId, NodeId};
use protocol::stored::{Shared, Stored, StoredEvent};
use protocol::workload::WorkloadError;
use schedulers::Algorithm;
use store::{Record, Table};
use sync::{Incarnation, ParentMark, Term, Update};

use super::{
    ALGORITHM, CLUSTER, EVENT, INCARNATION, JOB, META, NODE, REVISION, RecordError, SLOT, TERM,
    UPSTREAM, UPSTREAM_MARK, shape,
};

/// What a store holds.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// `None`: the store is new.
    pub(crate) incarnation: Option<Incarnation>,
    /// In the order in which they are to be applied.
    pub(crate) writes: Vec<Write>,
}

/// Reads all records. Tables and single values that are not known are skipped.
///
/// # Errors
/// The first record that cannot be read: a state with a hole would stop what has a right to run.
pub(crate) fn load(records: &[Record]) -> Result<Loaded, RecordError> {
    let mut shared = Shared::default();
    let mut loaded = Loaded::default();
    let writes = &mut loaded.writes;
    let of = |table: Table| {
        let records = records.iter().map(stored);
        records.filter(move |record| record.table == table.0)
    };
    let meta = |name: &'static [u8]| of(META).find(|record| record.key == name);
    if let Some(record) = meta(INCARNATION) {
        loaded.incarnation = Some(record.value()?);
    }
    if let Some(record) = meta(TERM) {
        writes.push(Write::Term(record.value::<Term>()?));
    }
    if let Some(record) = meta(ALGORITHM) {
        // An algorithm that this program does not have is replaced by the option's.
        let algorithm = record.value::<String>()?.parse::<Algorithm>();
        writes.push(Write::Algorithm(algorithm.unwrap_or_default()));
    }
    if let Some(record) = meta(CLUSTER) {
        writes.push(Write::Cluster(record.value::<ClusterId>()?));
    }
    for record in of(NODE) {
        writes.push(Write::Node {
            node: NodeId::from_bits(record.id()?),
            record: Box::new(NodeRecord::from(record.value::<shape::Node>()?)),
        });
    }
    for record in of(JOB) {
        writes.push(Write::Job(shared.job(&record)?));
    }
    if let Some(record) = meta(UPSTREAM_MARK) {
        let put: Result<Vec<AssignmentEntry>, RecordError> = of(UPSTREAM)
            .map(|record| assignment(&mut shared, &record))
            .collect();
        writes.push(Write::Upstream(Update {
            mark: ParentMark::from(record.value::<shape::Mark>()?),
            put: put?,
            remove: Vec::new(),
        }));
    }
    for record in of(SLOT) {
        writes.push(slot(&mut shared, &record)?);
    }
    for record in of(REVISION) {
        writes.push(Write::Revision {
            node: NodeId::from_bits(record.id()?),
            revision: record.value()?,
        });
    }
    for record in of(EVENT) {
        writes.extend(event(&record)?);
    }
    Ok(loaded)
}

fn assignment(shared: &mut Shared, record: &Stored<'_>) -> Result<AssignmentEntry, RecordError> {
    let slot = record.slot()?;
    shared
        .desired(&slot, record.value()?)
        .map(assignment_entry)
        .map_err(|source| record.fault(source))
}

fn slot(shared: &mut Shared, record: &Stored<'_>) -> Result<Write, RecordError> {
    let slot = record.slot()?;
    let stored: shape::Slot = record.value()?;
    let copies: Result<Vec<Copy>, WorkloadError> = stored
        .copies
        .into_iter()
        .map(|copy| {
            Ok(Copy {
                desired: shared.desired(&slot, copy.desired)?,
                node: copy.node,
                leaving: copy.leaving,
            })
        })
        .collect();
    let known = SlotRecord {
        placement: stored.placement,
        used: stored.used,
        provisional: stored.provisional,
        copies: copies.map_err(|source| record.fault(source))?,
    };
    Ok(Write::Slot {
        slot,
        record: Some(known),
    })
}

/// Nothing for an event with words that this program does not have: history is not worth a start.
fn event(record: &Stored<'_>) -> Result<Option<Write>, RecordError> {
    let (job, id) = record.event()?;
    match record.value::<StoredEvent>()?.into_event(job, id) {
        Ok(event) => Ok(Some(Write::Event(event))),
        Err(unknown) => {
            tracing::warn!(
                tier = unknown.tier,
                from = unknown.from,
                to = unknown.to,
                "an event of another version was left out"
            );
            Ok(None)
        }
    }
}

fn stored(record: &Record) -> Stored<'_> {
    Stored {
        table: &record.table,
        key: &record.key,
        value: &record.value,
    }
}
