//! Records become the writes that rebuild the state.

use std::collections::HashMap;
use std::sync::Arc;

use model::desired::{Desired, JobHead};
use model::event::{Event, Tier};
use model::id::{ClusterId, EventId, JobId};
use model::job::{JobSpec, JobState, ServiceSpec};
use model::name::Name;
use model::slot::Slot;
use model::workload::SpecHash;
use protocol::workload::WorkloadError;
use root_core::{ClusterRecord, Holding, SlotRecord, Write};
use serde::de::DeserializeOwned;
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
    let of = |table: Table| records.iter().filter(move |record| record.table == table.0);
    let meta = |name: &'static [u8]| of(META).find(|record| record.key == name);
    if let Some(record) = meta(INCARNATION) {
        loaded.incarnation = Some(value(record)?);
    }
    if let Some(record) = meta(TERM) {
        writes.push(Write::Term(value::<Term>(record)?));
    }
    for record in of(CLUSTER) {
        writes.push(Write::Cluster {
            cluster: cluster_id(record)?,
            record: Box::new(ClusterRecord::from(value::<shape::Cluster>(record)?)),
        });
    }
    for record in of(JOB) {
        writes.push(Write::Job(shared.job(record)?));
    }
    for record in of(SLOT) {
        writes.push(shared.slot(record)?);
    }
    for record in of(REVISION) {
        writes.push(Write::Revision {
            cluster: cluster_id(record)?,
            revision: value(record)?,
        });
    }
    for record in of(EVENT) {
        writes.extend(event(record)?.map(Write::Event));
    }
    Ok(loaded)
}

/// Equal specs and heads are kept once, however many slots have them.
#[derive(Default)]
struct Shared {
    services: HashMap<SpecHash, Vec<Arc<ServiceSpec>>>,
    heads: HashMap<JobId, Vec<Arc<JobHead>>>,
}

impl Shared {
    fn service(&mut self, mut service: ServiceSpec) -> Arc<ServiceSpec> {
        let known = self.services.entry(service.workload.hash).or_default();
        if let Some(same) = known.iter().find(|known| ***known == service) {
            return Arc::clone(same);
        }
        if let Some(first) = known.first() {
            service.workload = Arc::clone(&first.workload);
        }
        let service = Arc::new(service);
        known.push(Arc::clone(&service));
        service
    }

    fn head(&mut self, head: JobHead) -> Arc<JobHead> {
        let known = self.heads.entry(head.id).or_default();
        if let Some(same) = known.iter().find(|known| ***known == head) {
            return Arc::clone(same);
        }
        let head = Arc::new(head);
        known.push(Arc::clone(&head));
        head
    }

    fn job(&mut self, record: &Record) -> Result<model::job::Job, RecordError> {
        let stored: shape::Job = value(record)?;
        let spec =
            JobSpec::try_from(stored.spec.clone()).map_err(|source| fault(record, source))?;
        let services = spec
            .services
            .iter()
            .map(|service| self.service(service.as_ref().clone()))
            .collect();
        let spec = Arc::new(JobSpec { services, ..spec });
        Ok(stored.into_job(JobId::from_bits(id_bits(record)?), spec))
    }

    fn desired(&mut self, slot: &Slot, stored: shape::Desired) -> Result<Desired, WorkloadError> {
        Ok(Desired {
            instance: stored.instance,
            slot: slot.clone(),
            generation: stored.generation,
            job: self.head(stored.job.into_head(slot.job)),
            service: self.service(ServiceSpec::try_from(stored.service)?),
        })
    }

    fn slot(&mut self, record: &Record) -> Result<Write, RecordError> {
        let slot = slot_of(record)?;
        let stored: shape::Slot = value(record)?;
        let holdings: Result<Vec<Holding>, WorkloadError> = stored
            .holdings
            .into_iter()
            .map(|holding| {
                Ok(Holding {
                    cluster: holding.cluster,
                    desired: self.desired(&slot, holding.desired)?,
                    leaving: holding.leaving,
                })
            })
            .collect();
        let known = SlotRecord {
            assignment: stored.assignment,
            service_generation: stored.service_generation,
            holdings: holdings.map_err(|source| fault(record, source))?,
        };
        Ok(Write::Slot {
            slot,
            record: Some(known),
        })
    }
}

/// An event; `None` for one with words that this program does not have: history is not worth a start.
fn event(record: &Record) -> Result<Option<Event>, RecordError> {
    let (job, id) = record
        .key
        .split_at_checked(16)
        .and_then(|(job, id)| Some((bits(job)?, bits(id)?)))
        .ok_or_else(|| fault(record, "its key has no two ids"))?;
    let stored: shape::Event = value(record)?;
    let tiers = [Tier::Root, Tier::Cluster, Tier::Worker];
    let words = (
        tiers.into_iter().find(|tier| tier.as_str() == stored.tier),
        state_word(&stored.from),
        state_word(&stored.to),
    );
    let (Some(tier), Some(from), Some(to)) = words else {
        tracing::warn!(
            tier = stored.tier,
            from = stored.from,
            to = stored.to,
            "an event of another version was left out"
        );
        return Ok(None);
    };
    Ok(Some(Event {
        id: EventId::from_bits(id),
        at: stored.at,
        tier,
        job: JobId::from_bits(job),
        instance: stored.instance,
        generation: stored.generation,
        from,
        to,
        cause: stored.cause,
        message: stored.message,
    }))
}

/// The word of a state; a job's states include those of an instance.
fn state_word(word: &str) -> Option<&'static str> {
    if word.is_empty() {
        return Some("");
    }
    JobState::parse(word).map(JobState::as_str)
}

fn value<T: DeserializeOwned>(record: &Record) -> Result<T, RecordError> {
    serde_json::from_slice(&record.value).map_err(|source| fault(record, source))
}

fn cluster_id(record: &Record) -> Result<ClusterId, RecordError> {
    id_bits(record).map(ClusterId::from_bits)
}

fn id_bits(record: &Record) -> Result<u128, RecordError> {
    bits(&record.key).ok_or_else(|| fault(record, "its key is no id"))
}

fn bits(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

fn slot_of(record: &Record) -> Result<Slot, RecordError> {
    let slot = || {
        let (job, rest) = record.key.split_at_checked(16)?;
        let (service, index) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
        let service = std::str::from_utf8(service.strip_suffix(b"\0")?).ok()?;
        Some(Slot {
            job: JobId::from_bits(bits(job)?),
            service: Name::new(service).ok()?,
            index: u32::from_be_bytes(index.try_into().ok()?),
        })
    };
    slot().ok_or_else(|| fault(record, "its key is no slot"))
}

fn fault(
    record: &Record,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RecordError {
    RecordError::Read {
        table: record.table.clone(),
        key: String::from_utf8_lossy(&record.key)
            .escape_debug()
            .to_string(),
        source: source.into(),
    }
}
