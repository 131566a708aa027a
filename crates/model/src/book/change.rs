//! A job as a request, or the end of an operation, makes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Draft, Refusal};
use crate::access::TenantPath;
use crate::id::InstanceId;
use crate::job::{Job, OnFailure, ServiceSpec};
use crate::name::Name;
use crate::operation::{Operation, OperationKind, Progress};
use crate::reason::Reason;
use crate::slot::Slot;
use crate::time::Wall;

pub(super) fn new_job(tenant: &TenantPath, draft: &Draft, at: Wall) -> Job {
    Job {
        id: draft.id,
        tenant: tenant.clone(),
        generation: 1,
        created_at: at,
        deleted_at: None,
        service_generations: draft
            .spec
            .services
            .iter()
            .map(|service| (service.name.clone(), 1))
            .collect(),
        spec: Arc::clone(&draft.spec),
        operation: None,
    }
}

/// A job to which nothing is being done.
pub(super) fn idle(job: &Job) -> Result<(), Refusal> {
    job.running().map_or(Ok(()), |operation| {
        Err(Refusal::OperationRunning {
            job: job.spec.name.clone(),
            kind: operation.kind.as_str(),
        })
    })
}

pub(super) fn update_failed(job: &Job) -> bool {
    job.operation.as_ref().is_some_and(|operation| {
        operation.kind == OperationKind::Update && matches!(operation.progress, Progress::Failed(_))
    })
}

pub(super) fn service_names(job: &Job) -> String {
    let names = job
        .spec
        .services
        .iter()
        .map(|service| service.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// A pin is obeyed or refused, never bent: what is pinned to a worker cannot leave it.
pub(super) fn unpinned(
    job: &Job,
    replaces: &BTreeMap<Slot, InstanceId>,
    cluster: Option<&str>,
) -> Result<(), Refusal> {
    for slot in replaces.keys() {
        let Some(service) = job.service(&slot.service) else {
            continue;
        };
        let rules = &service.placement;
        let pinned = rules.worker.as_ref().map(|pin| ("worker", pin));
        let elsewhere = rules
            .cluster
            .as_ref()
            .filter(|pin| cluster.is_some_and(|wish| wish != pin.as_str()))
            .map(|pin| ("cluster", pin));
        if let Some((what, pin)) = pinned.or(elsewhere) {
            return Err(Refusal::Pinned {
                job: job.spec.name.clone(),
                service: slot.service.clone(),
                what,
                pin: pin.clone(),
            });
        }
    }
    Ok(())
}

/// The job after its operation failed at a slot: it has ended with that reason, or, where an update's document says so, the
/// document before comes back as an operation of its own. `None`: none runs.
pub fn failed(job: &Job, slot: &Slot, reason: &Reason, at: Wall) -> Option<Job> {
    let operation = job.running()?;
    let message = format!("{}/{}: {}", slot.service, slot.index, reason.message);
    let reason = Reason::new(reason.code, message);
    let Some(previous) = &operation.previous else {
        return Some(Job {
            operation: Some(operation.ended(Progress::Failed(reason))),
            ..job.clone()
        });
    };
    let draft = Draft {
        id: job.id,
        spec: Arc::clone(previous),
    };
    let back = changed_job(job, &draft, at);
    let number = back.generation;
    Some(Job {
        operation: Some(Operation {
            cause: Some(reason),
            ..Operation::new(OperationKind::Rollback, number, at)
        }),
        ..back
    })
}

/// The job after all slots of its operation have settled; `None`: none runs.
pub fn finished(job: &Job) -> Option<Job> {
    Some(Job {
        operation: Some(job.running()?.ended(Progress::Done)),
        ..job.clone()
    })
}

pub(super) fn changed_job(job: &Job, draft: &Draft, at: Wall) -> Job {
    let generation = job.generation + 1;
    let (before, after) = (&job.spec, &draft.spec);
    let options = before.lost_after == after.lost_after
        && before.on_partition == after.on_partition
        && before.reconcile == after.reconcile;
    let unchanged = |name: &Name| {
        let services = (
            job.service(name),
            after.services.iter().find(|service| service.name == *name),
        );
        matches!(services, (Some(known), Some(service)) if options
            && known.workload == service.workload
            && known.placement == service.placement
            && known.takeover == service.takeover)
    };
    let scales = before.services.len() == after.services.len()
        && after
            .services
            .iter()
            .all(|service| unchanged(&service.name));
    let kind = if scales {
        OperationKind::Scale
    } else {
        OperationKind::Update
    };
    let mut operation = Operation::new(kind, generation, at);
    let rollback = |service: &Arc<ServiceSpec>| service.takeover.on_failure == OnFailure::Rollback;
    if kind == OperationKind::Update && after.services.iter().any(rollback) && before != after {
        operation.previous = Some(Arc::clone(before));
    }
    let service_generations = after.services.iter().map(|service| {
        let same = unchanged(&service.name);
        let since = if same {
            job.service_generation(&service.name)
        } else {
            generation
        };
        (service.name.clone(), since)
    });
    Job {
        generation,
        service_generations: service_generations.collect(),
        spec: Arc::clone(&draft.spec),
        operation: Some(operation),
        ..job.clone()
    }
}
