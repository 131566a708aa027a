//! Records become the writes that rebuild the state.

use model::id::ClusterId;
use protocol::stored::{Shared, Stored, StoredEvent};
use protocol::workload::WorkloadError;
use root_core::{ClusterRecord, Holding, SlotRecord, Write};
use store::{Record, Table};
use sync::{Incarnation, Term};

use super::{CLUSTER, EVENT, INCARNATION, JOB, META, REVISION, RecordError, SLOT, TERM, shape};

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
    for record in of(CLUSTER) {
        writes.push(Write::Cluster {
            cluster: ClusterId::from_bits(record.id()?),
            record: Box::new(ClusterRecord::from(record.value::<shape::Cluster>()?)),
        });
    }
    for record in of(JOB) {
        writes.push(Write::Job(shared.job(&record)?));
    }
    for record in of(SLOT) {
        writes.push(slot(&mut shared, &record)?);
    }
    for record in of(REVISION) {
        writes.push(Write::Revision {
            cluster: ClusterId::from_bits(record.id()?),
            revision: record.value()?,
        });
    }
    for record in of(EVENT) {
        writes.extend(event(&record)?);
    }
    Ok(loaded)
}

fn slot(shared: &mut Shared, record: &Stored<'_>) -> Result<Write, RecordError> {
    let slot = record.slot()?;
    let stored: shape::Slot = record.value()?;
    let holdings: Result<Vec<Holding>, WorkloadError> = stored
        .holdings
        .into_iter()
        .map(|holding| {
            Ok(Holding {
                cluster: holding.cluster,
                desired: shared.desired(&slot, holding.desired)?,
                leaving: holding.leaving,
            })
        })
        .collect();
    let known = SlotRecord {
        assignment: stored.assignment,
        service_generation: stored.service_generation,
        holdings: holdings.map_err(|source| record.fault(source))?,
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
