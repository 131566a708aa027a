//! The jobs that one orchestrator owns: names, documents, deletions.
//!
//! Pure bookkeeping, the same for a root and for a cluster: what a request means is decided here, what follows from it
//! (slots, placements) is the core's.

mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use request::{BookWrite, Draft, JobAnswer, JobRequest, Refusal, Submission, SubmitKey};

use crate::id::{InstanceId, JobId};
use crate::job::{Job, JobSpec, OnFailure};
use crate::name::Name;
use crate::operation::{Operation, OperationKind, Progress};
use crate::reason::Reason;
use crate::slot::Slot;
use crate::time::Wall;

/// The copies that fill the slots of a job, as its owner knows them.
pub type Copies<'a> = &'a dyn Fn(&Job) -> BTreeMap<Slot, InstanceId>;

/// What applying a document does.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// A new job.
    Created(Job),
    /// The job with its new document.
    Changed(Job),
    /// The document is the one it has.
    Same(JobId),
}

/// The jobs of one orchestrator.
#[derive(Debug, Clone, Default)]
pub struct JobBook {
    jobs: BTreeMap<JobId, Job>,
    /// Of jobs that are not deleted.
    names: BTreeMap<(Name, Name), JobId>,
    submissions: BTreeMap<String, Submission>,
    /// Keys of submissions, the oldest first.
    keys_by_age: BTreeSet<(Wall, String)>,
}

impl JobBook {
    /// How long a submission's key is remembered.
    pub const KEPT: Duration = Duration::from_hours(24);
    /// How many keys are remembered at most; beyond, the oldest is forgotten.
    pub const KEYS: usize = 10_000;

    /// What a request means: the changes to store, and the answer once they are.
    pub fn decide(
        &self,
        tenant: &Name,
        at: Wall,
        request: &JobRequest,
        copies: Copies<'_>,
    ) -> (Vec<BookWrite>, JobAnswer) {
        let decided = match request {
            JobRequest::Submit { drafts, key } => self.submission(tenant, drafts, key.as_ref(), at),
            JobRequest::Put { path, draft } => self.put(tenant, path, draft, at).map(applied),
            JobRequest::Scale {
                key,
                service,
                replicas,
            } => self
                .scale(tenant, key, service.as_ref(), *replicas, at)
                .map(applied),
            JobRequest::Migrate { key, .. } | JobRequest::Restart { key, .. } => self
                .replacement(tenant, key, request, at, copies)
                .map(|job| {
                    let id = job.id;
                    (vec![BookWrite::Job(job)], JobAnswer::Replacing(id))
                }),
            JobRequest::Delete { key } => self.delete(tenant, key, at).map(|job| {
                let id = job.id;
                (vec![BookWrite::Job(job)], JobAnswer::Deleting(id))
            }),
        };
        decided.unwrap_or_else(|refusal| (Vec::new(), JobAnswer::Refused(refusal)))
    }

    fn submission(
        &self,
        tenant: &Name,
        drafts: &[Draft],
        key: Option<&SubmitKey>,
        at: Wall,
    ) -> Result<(Vec<BookWrite>, JobAnswer), Refusal> {
        let known = key.and_then(|key| self.submissions.get(&key.key));
        if let (Some(key), Some(known)) = (key, known)
            && known.at.plus(Self::KEPT) > at
        {
            return if known.key.body == key.body {
                Ok((Vec::new(), JobAnswer::Accepted(known.jobs.clone())))
            } else {
                Err(Refusal::KeyReused(key.key.clone()))
            };
        }
        let jobs = self.submit(tenant, drafts, at)?;
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        let mut writes: Vec<_> = jobs.into_iter().map(BookWrite::Job).collect();
        if let Some(key) = key {
            let full = self.submissions.len() >= Self::KEYS;
            if let Some((_, oldest)) = self.keys_by_age.first().filter(|_| full) {
                writes.push(BookWrite::ForgetSubmission(oldest.clone()));
            }
            writes.push(BookWrite::Submission(Submission {
                key: key.clone(),
                jobs: ids.clone(),
                at,
            }));
        }
        Ok((writes, JobAnswer::Accepted(ids)))
    }

    /// The submissions that are remembered, by key.
    pub fn submissions(&self) -> impl Iterator<Item = &Submission> {
        self.submissions.values()
    }

    /// The oldest key, if it need not be remembered any more.
    pub fn expired_submission(&self, now: Wall) -> Option<&str> {
        let (at, key) = self.keys_by_age.first()?;
        (at.plus(Self::KEPT) <= now).then_some(key)
    }

    /// Takes a change that was decided.
    pub fn take(&mut self, write: BookWrite) {
        match write {
            BookWrite::Job(job) => self.apply(job),
            BookWrite::Submission(submission) => {
                let key = submission.key.key.clone();
                self.forget_submission(&key);
                self.keys_by_age.insert((submission.at, key.clone()));
                self.submissions.insert(key, submission);
            }
            BookWrite::ForgetSubmission(key) => self.forget_submission(&key),
        }
    }

    fn forget_submission(&mut self, key: &str) {
        if let Some(known) = self.submissions.remove(key) {
            self.keys_by_age.remove(&(known.at, key.to_owned()));
        }
    }

    /// The job with another number of replicas of one service.
    ///
    /// # Errors
    /// When there is no such job or service, the job is being deleted, or the service must be named.
    pub fn scale(
        &self,
        tenant: &Name,
        key: &str,
        service: Option<&Name>,
        replicas: u32,
        at: Wall,
    ) -> Result<Applied, Refusal> {
        let job = self.find(tenant, key)?;
        if job.is_deleted() {
            return Err(Refusal::Deleted(job.id));
        }
        let names = || service_names(job);
        let chosen = match (service, job.spec.services.as_slice()) {
            (None, [only]) => only,
            (None, _) => {
                return Err(Refusal::ServiceNeeded {
                    job: job.spec.name.clone(),
                    services: names(),
                });
            }
            (Some(name), _) => job.service(name).ok_or_else(|| Refusal::NoSuchService {
                job: job.spec.name.clone(),
                service: name.clone(),
                services: names(),
            })?,
        };
        if chosen.replicas == replicas {
            return Ok(Applied::Same(job.id));
        }
        idle(job)?;
        let mut spec = JobSpec::clone(&job.spec);
        for known in &mut spec.services {
            if known.name == chosen.name {
                Arc::make_mut(known).replicas = replicas;
            }
        }
        let draft = Draft {
            id: job.id,
            spec: Arc::new(spec),
        };
        Ok(Applied::Changed(changed_job(job, &draft, at)))
    }

    /// The job with an operation that replaces copies of it.
    fn replacement(
        &self,
        tenant: &Name,
        key: &str,
        request: &JobRequest,
        at: Wall,
        copies: Copies<'_>,
    ) -> Result<Job, Refusal> {
        let job = self.find(tenant, key)?;
        if job.is_deleted() {
            return Err(Refusal::Deleted(job.id));
        }
        idle(job)?;
        let mut replaces = copies(job);
        let mut operation = Operation::new(OperationKind::Restart, job.generation + 1, at);
        match request {
            JobRequest::Migrate {
                instance,
                cluster,
                worker,
                strategy,
                ..
            } => {
                if let Some(wish) = instance {
                    replaces.retain(|slot, id| {
                        *wish == id.to_string()
                            || *wish == format!("{}/{}", slot.service, slot.index)
                    });
                    if replaces.is_empty() {
                        return Err(Refusal::NoSuchInstance {
                            job: job.spec.name.clone(),
                            instance: wish.clone(),
                        });
                    }
                }
                unpinned(job, &replaces, cluster.as_deref())?;
                operation.kind = OperationKind::Migrate;
                operation.cluster.clone_from(cluster);
                operation.worker.clone_from(worker);
                operation.strategy = *strategy;
            }
            JobRequest::Restart {
                service: Some(name),
                ..
            } => {
                if job.service(name).is_none() {
                    return Err(Refusal::NoSuchService {
                        job: job.spec.name.clone(),
                        service: name.clone(),
                        services: service_names(job),
                    });
                }
                replaces.retain(|slot, _| slot.service == *name);
            }
            JobRequest::Restart { service: None, .. }
            | JobRequest::Submit { .. }
            | JobRequest::Put { .. }
            | JobRequest::Scale { .. }
            | JobRequest::Delete { .. } => {}
        }
        if replaces.is_empty() {
            return Err(Refusal::NothingPlaced(job.spec.name.clone()));
        }
        operation.replaces = replaces;
        Ok(Job {
            generation: operation.number,
            operation: Some(operation),
            ..job.clone()
        })
    }

    /// The job of that id.
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// All jobs by id, deleted ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// Jobs after `after`, by id.
    pub fn after(&self, after: Option<JobId>) -> impl Iterator<Item = &Job> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.jobs
            .range((from, Bound::Unbounded))
            .map(|(_, job)| job)
    }

    /// How many jobs there are, deleted ones included.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The job that an id (also of a deleted job) or a name (of a job that is not deleted) means.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn find(&self, tenant: &Name, key: &str) -> Result<&Job, Refusal> {
        let by_id = || key.parse::<JobId>().ok().and_then(|id| self.jobs.get(&id));
        let by_name = || {
            let name = Name::new(key).ok()?;
            self.jobs.get(self.names.get(&(tenant.clone(), name))?)
        };
        by_id()
            .or_else(by_name)
            .ok_or_else(|| Refusal::NotFound(key.to_owned()))
    }

    /// New jobs, all or none.
    ///
    /// # Errors
    /// [`Refusal::NameInUse`], also between the documents.
    pub fn submit(&self, tenant: &Name, drafts: &[Draft], at: Wall) -> Result<Vec<Job>, Refusal> {
        let mut taken: BTreeMap<&Name, JobId> = BTreeMap::new();
        for draft in drafts {
            let name = &draft.spec.name;
            let known = self.names.get(&(tenant.clone(), name.clone())).copied();
            if let Some(by) = known.or_else(|| taken.get(name).copied()) {
                return Err(Refusal::NameInUse {
                    name: name.clone(),
                    by,
                });
            }
            taken.insert(name, draft.id);
        }
        Ok(drafts
            .iter()
            .map(|draft| new_job(tenant, draft, at))
            .collect())
    }

    /// Applies one document to the job that the path names: creates it, changes it, or finds nothing to do.
    ///
    /// # Errors
    /// When path and document name different jobs, or an id in the path is unknown or being deleted.
    pub fn put(
        &self,
        tenant: &Name,
        path: &str,
        draft: &Draft,
        at: Wall,
    ) -> Result<Applied, Refusal> {
        let name = &draft.spec.name;
        match self.find(tenant, path) {
            Ok(job) if job.spec.name != *name => Err(Refusal::PathMismatch {
                path: path.to_owned(),
                document: name.clone(),
            }),
            Ok(job) if job.is_deleted() => Err(Refusal::Deleted(job.id)),
            // What a failed update left behind is tried again by sending its document again.
            Ok(job) if job.spec == draft.spec && !update_failed(job) => Ok(Applied::Same(job.id)),
            Ok(job) => {
                idle(job)?;
                Ok(Applied::Changed(changed_job(job, draft, at)))
            }
            Err(_) if path == name.as_str() => Ok(Applied::Created(new_job(tenant, draft, at))),
            Err(_) if Name::new(path).is_ok() && path.parse::<JobId>().is_err() => {
                Err(Refusal::PathMismatch {
                    path: path.to_owned(),
                    document: name.clone(),
                })
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The job as deleted; the same again for one that is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn delete(&self, tenant: &Name, key: &str, at: Wall) -> Result<Job, Refusal> {
        let job = self.find(tenant, key)?;
        Ok(Job {
            deleted_at: job.deleted_at.or(Some(at)),
            ..job.clone()
        })
    }

    /// Takes a job as it now is.
    pub fn apply(&mut self, job: Job) {
        let key = (job.tenant.clone(), job.spec.name.clone());
        if !job.is_deleted() {
            self.names.insert(key, job.id);
        } else if self.names.get(&key) == Some(&job.id) {
            self.names.remove(&key);
        }
        self.jobs.insert(job.id, job);
    }

    /// Forgets a job.
    pub fn forget(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            let key = (job.tenant, job.spec.name.clone());
            if self.names.get(&key) == Some(&id) {
                self.names.remove(&key);
            }
        }
    }
}

fn applied(applied: Applied) -> (Vec<BookWrite>, JobAnswer) {
    match applied {
        Applied::Same(id) => (Vec::new(), JobAnswer::Applied(id)),
        Applied::Created(job) | Applied::Changed(job) => {
            let id = job.id;
            (vec![BookWrite::Job(job)], JobAnswer::Applied(id))
        }
    }
}

fn new_job(tenant: &Name, draft: &Draft, at: Wall) -> Job {
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
fn idle(job: &Job) -> Result<(), Refusal> {
    job.running().map_or(Ok(()), |operation| {
        Err(Refusal::OperationRunning {
            job: job.spec.name.clone(),
            kind: operation.kind.as_str(),
        })
    })
}

fn update_failed(job: &Job) -> bool {
    job.operation.as_ref().is_some_and(|operation| {
        operation.kind == OperationKind::Update && matches!(operation.progress, Progress::Failed(_))
    })
}

fn service_names(job: &Job) -> String {
    let names = job
        .spec
        .services
        .iter()
        .map(|service| service.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// A pin is obeyed or refused, never bent: what is pinned to a worker cannot leave it.
fn unpinned(
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

fn changed_job(job: &Job, draft: &Draft, at: Wall) -> Job {
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
    let rollback =
        |service: &Arc<crate::job::ServiceSpec>| service.takeover.on_failure == OnFailure::Rollback;
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
