//! Specs and heads that records repeat are one in memory.

use std::collections::HashMap;
use std::sync::Arc;

use model::desired::{Desired, JobHead};
use model::id::JobId;
use model::job::{Job, JobSpec, ServiceSpec};
use model::slot::Slot;
use model::workload::SpecHash;

use super::{RecordError, Stored, StoredDesired, StoredJob};
use crate::workload::WorkloadError;

/// Equal specs and heads are kept once, however many slots have them. One for a whole load.
#[derive(Debug, Default)]
pub struct Shared {
    services: HashMap<SpecHash, Vec<Arc<ServiceSpec>>>,
    heads: HashMap<JobId, Vec<Arc<JobHead>>>,
}

impl Shared {
    /// The job of a record that holds a [`StoredJob`].
    pub fn job(&mut self, record: &Stored<'_>) -> Result<Job, RecordError> {
        let stored: StoredJob = record.value()?;
        let id = JobId::from_bits(record.id()?);
        let spec = JobSpec::try_from(stored.spec).map_err(|source| record.fault(source))?;
        let services = spec
            .services
            .iter()
            .map(|service| self.service(service.as_ref().clone()))
            .collect();
        let operation = stored
            .operation
            .map(|operation| operation.into_operation(id));
        let operation = operation
            .transpose()
            .map_err(|source| record.fault(source))?;
        Ok(Job {
            id,
            tenant: stored.tenant,
            generation: stored.generation,
            created_at: stored.created_at,
            deleted_at: stored.deleted_at,
            spec: Arc::new(JobSpec { services, ..spec }),
            service_generations: stored.service_generations,
            operation,
        })
    }

    /// An instance of the slot that is the key of its record.
    pub fn desired(
        &mut self,
        slot: &Slot,
        stored: StoredDesired,
    ) -> Result<Desired, WorkloadError> {
        Ok(Desired {
            instance: stored.instance,
            slot: slot.clone(),
            generation: stored.generation,
            job: self.head(stored.job.into_head(slot.job)),
            service: self.service(ServiceSpec::try_from(stored.service)?),
            handover: stored.handover.into(),
        })
    }

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
}
