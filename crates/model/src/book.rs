//! The jobs that one orchestrator owns: names, documents, deletions.
//!
//! Pure bookkeeping, the same for a root and for a cluster: what a request means is decided here, what follows from it
//! (slots, placements) is the core's.

mod asked;
mod change;
mod counted;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

pub use asked::Asked;
pub use change::{failed, finished};
pub use request::{BookWrite, Draft, JobAnswer, JobRequest, Refusal, Submission, SubmitKey};

use crate::access::{Quotas, TenantPath};
use crate::id::{InstanceId, JobId};
use crate::job::{Job, JobSpec};
use crate::name::Name;
use crate::operation::{Operation, OperationKind};
use crate::slot::Slot;
use crate::time::Wall;
use crate::units::Resources;
use change::{changed_job, idle, new_job, service_names, unpinned, update_failed};

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
    names: BTreeMap<(TenantPath, Name), JobId>,
    /// The jobs of each tenant but the root, and of all below it.
    tenants: BTreeMap<TenantPath, BTreeSet<JobId>>,
    quotas: Quotas,
    /// The tenants that have a quota.
    limited: BTreeSet<TenantPath>,
    /// Slots that no document asks for any more and of which something is left, with what that takes.
    lingering: BTreeMap<Slot, Resources>,
    /// By their keys, each with its tenant.
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
        asked: &Asked,
        at: Wall,
        request: &JobRequest,
        copies: Copies<'_>,
    ) -> (Vec<BookWrite>, JobAnswer) {
        let decided = match request {
            JobRequest::Submit { drafts, key } => self.submission(asked, drafts, key.as_ref(), at),
            JobRequest::Put { path, draft } => self
                .put(asked, path, draft, at)
                .and_then(|applied| self.applied(applied)),
            JobRequest::Scale {
                key,
                service,
                replicas,
            } => self
                .scale(asked, key, service.as_ref(), *replicas, at)
                .and_then(|applied| self.applied(applied)),
            JobRequest::Migrate { key, .. } | JobRequest::Restart { key, .. } => self
                .replacement(asked, key, request, at, copies)
                .map(|job| {
                    let id = job.id;
                    (vec![BookWrite::Job(job)], JobAnswer::Replacing(id))
                }),
            JobRequest::Delete { key } => self.delete(asked, key, at).map(|job| {
                let id = job.id;
                (vec![BookWrite::Job(job)], JobAnswer::Deleting(id))
            }),
        };
        decided.unwrap_or_else(|refusal| (Vec::new(), JobAnswer::Refused(refusal)))
    }

    fn submission(
        &self,
        asked: &Asked,
        drafts: &[Draft],
        key: Option<&SubmitKey>,
        at: Wall,
    ) -> Result<(Vec<BookWrite>, JobAnswer), Refusal> {
        // What another tenant calls its submissions is nobody else's business.
        let place = |key: &SubmitKey| asked.place(&key.key);
        let known = key.and_then(|key| self.submissions.get(&place(key)));
        if let (Some(key), Some(known)) = (key, known)
            && known.at.plus(Self::KEPT) > at
        {
            return if known.key.body == key.body {
                Ok((Vec::new(), JobAnswer::Accepted(known.jobs.clone())))
            } else {
                Err(Refusal::KeyReused(key.key.clone()))
            };
        }
        let jobs = self.submit(asked, drafts, at)?;
        self.room(jobs.iter().map(|job| (None, job)))?;
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        let mut writes: Vec<_> = jobs.into_iter().map(BookWrite::Job).collect();
        if let Some(key) = key {
            let full = self.submissions.len() >= Self::KEYS;
            if let Some((_, oldest)) = self.keys_by_age.first().filter(|_| full) {
                writes.push(BookWrite::ForgetSubmission(oldest.clone()));
            }
            writes.push(BookWrite::Submission(Submission {
                key: SubmitKey {
                    key: place(key),
                    ..key.clone()
                },
                jobs: ids.clone(),
                at,
            }));
        }
        Ok((writes, JobAnswer::Accepted(ids)))
    }

    fn applied(&self, applied: Applied) -> Result<(Vec<BookWrite>, JobAnswer), Refusal> {
        let (before, job) = match applied {
            Applied::Same(id) => return Ok((Vec::new(), JobAnswer::Applied(id))),
            Applied::Created(job) => (None, job),
            Applied::Changed(job) => (self.jobs.get(&job.id), job),
        };
        self.room([(before, &job)])?;
        let id = job.id;
        Ok((vec![BookWrite::Job(job)], JobAnswer::Applied(id)))
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
        asked: &Asked,
        key: &str,
        service: Option<&Name>,
        replicas: u32,
        at: Wall,
    ) -> Result<Applied, Refusal> {
        let job = self.find(asked, key)?;
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
        asked: &Asked,
        key: &str,
        request: &JobRequest,
        at: Wall,
        copies: Copies<'_>,
    ) -> Result<Job, Refusal> {
        let job = self.find(asked, key)?;
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

    /// The jobs of a tenant, and of all below it, after `after`, by id.
    pub fn after<'a>(
        &'a self,
        within: &TenantPath,
        after: Option<JobId>,
    ) -> impl Iterator<Item = &'a Job> + use<'a> {
        let later = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let all = within.is_root().then(|| self.jobs.range(later));
        // The root has no such set.
        let ids = self.tenants.get(within).map(|ids| ids.range(later));
        let some = ids.into_iter().flatten().filter_map(|id| self.jobs.get(id));
        all.into_iter().flatten().map(|(_, job)| job).chain(some)
    }

    /// How many jobs there are, deleted ones included.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The job that an id (also of a deleted job) or a name (of a job of the tenant that is not deleted) means.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also of one that may not be seen.
    pub fn find(&self, asked: &Asked, key: &str) -> Result<&Job, Refusal> {
        let seen = |job: &&Job| asked.sees(&job.tenant);
        let by_id = || self.jobs.get(&key.parse::<JobId>().ok()?).filter(seen);
        let by_name = || {
            let name = Name::new(key).ok()?;
            let id = self.names.get(&(asked.tenant.clone(), name))?;
            self.jobs.get(id).filter(seen)
        };
        by_id()
            .or_else(by_name)
            .ok_or_else(|| Refusal::NotFound(key.to_owned()))
    }

    /// New jobs, all or none.
    ///
    /// # Errors
    /// [`Refusal::NameInUse`], also between the documents.
    pub fn submit(&self, asked: &Asked, drafts: &[Draft], at: Wall) -> Result<Vec<Job>, Refusal> {
        let mut taken: BTreeMap<&Name, JobId> = BTreeMap::new();
        for draft in drafts {
            let name = &draft.spec.name;
            let named = (asked.tenant.clone(), name.clone());
            let known = self.names.get(&named).copied();
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
            .map(|draft| new_job(&asked.tenant, draft, at))
            .collect())
    }

    /// Applies one document to the job that the path names: creates it, changes it, or finds nothing to do.
    ///
    /// # Errors
    /// When path and document name different jobs, or an id in the path is unknown or being deleted.
    pub fn put(
        &self,
        asked: &Asked,
        path: &str,
        draft: &Draft,
        at: Wall,
    ) -> Result<Applied, Refusal> {
        let name = &draft.spec.name;
        match self.find(asked, path) {
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
            Err(_) if path == name.as_str() => {
                Ok(Applied::Created(new_job(&asked.tenant, draft, at)))
            }
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
    pub fn delete(&self, asked: &Asked, key: &str, at: Wall) -> Result<Job, Refusal> {
        let job = self.find(asked, key)?;
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
        for tenant in job.tenant.below_root() {
            self.tenants.entry(tenant).or_default().insert(job.id);
        }
        let id = job.id;
        self.recount(id, |book| book.jobs.insert(id, job));
    }

    /// Forgets a job.
    pub fn forget(&mut self, id: JobId) {
        self.forget_lingering(id);
        let Some(job) = self.recount(id, |book| book.jobs.remove(&id)) else {
            return;
        };
        for tenant in job.tenant.below_root() {
            if let Some(jobs) = self.tenants.get_mut(&tenant) {
                jobs.remove(&id);
                if jobs.is_empty() {
                    self.tenants.remove(&tenant);
                }
            }
        }
        let key = (job.tenant, job.spec.name.clone());
        if self.names.get(&key) == Some(&id) {
            self.names.remove(&key);
        }
    }
}
