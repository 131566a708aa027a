//! The jobs that one orchestrator owns: names, documents, deletions.
//!
//! Pure bookkeeping, the same for a root and for a cluster: what a request means is decided here, what follows from it
//! (slots, placements) is the core's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::id::JobId;
use crate::job::{Job, JobSpec};
use crate::name::Name;
use crate::time::Wall;

/// A document with the id that it gets if it is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Minted by the shell.
    pub id: JobId,
    /// The validated document.
    pub spec: Arc<JobSpec>,
}

/// What a client names its submission by, so that sending it again is harmless (`Idempotency-Key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitKey {
    /// The client's choice.
    pub key: String,
    /// SHA-256 of the body that came with it.
    pub body: [u8; 32],
}

/// A submission under a key that was accepted; remembered for [`JobBook::KEPT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The key and its body.
    pub key: SubmitKey,
    /// The jobs that it made.
    pub jobs: Vec<JobId>,
    /// When.
    pub at: Wall,
}

/// What a user asks of the jobs.
#[derive(Debug, Clone, PartialEq)]
pub enum JobRequest {
    /// New jobs, all or none.
    Submit {
        /// The documents.
        drafts: Vec<Draft>,
        /// Answers a second submission under the same key like the first.
        key: Option<SubmitKey>,
    },
    /// One document for the job that the path names.
    Put {
        /// Name or id in the path.
        path: String,
        /// The document.
        draft: Draft,
    },
    /// Another number of replicas.
    Scale {
        /// Name or id.
        key: String,
        /// Which service; may be left out where there is one only.
        service: Option<Name>,
        /// How many; 0 stops it without forgetting it.
        replicas: u32,
    },
    /// Ends a job.
    Delete {
        /// Name or id.
        key: String,
    },
}

impl JobRequest {
    /// The name or id of the job that must exist already, where the request names one.
    pub fn names(&self) -> Option<&str> {
        match self {
            Self::Submit { .. } => None,
            Self::Put { path: key, .. } | Self::Scale { key, .. } | Self::Delete { key } => {
                Some(key)
            }
        }
    }
}

/// What became of a [`JobRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum JobAnswer {
    /// New jobs, in the order of their documents.
    Accepted(Vec<JobId>),
    /// The document created the job, changed it, or is the one it has.
    Applied(JobId),
    /// The job ends.
    Deleting(JobId),
    /// It is refused.
    Refused(Refusal),
    /// This orchestrator is superseded by a later run of its store and changes nothing.
    Fenced,
}

/// A change of the book, to be stored before it is applied.
#[derive(Debug, Clone, PartialEq)]
pub enum BookWrite {
    /// A job, as it now is.
    Job(Job),
    /// A submission under a key.
    Submission(Submission),
    /// The submission of that key is forgotten.
    ForgetSubmission(String),
}

/// Why a request about a job is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another job of this owner and tenant has the name.
    #[error(
        "the name {name} is in use by {by}; choose another, or change that job with PUT /api/v1/jobs/{name}"
    )]
    NameInUse {
        /// The name.
        name: Name,
        /// Who has it.
        by: JobId,
    },
    /// Nobody has this name or id.
    #[error("there is no job {0:?}; GET /api/v1/jobs lists them")]
    NotFound(String),
    /// Another tier accepted it and decides about it.
    #[error("job {job} is owned by {owner}: send this request there")]
    OwnedElsewhere {
        /// Name or id as asked.
        job: String,
        /// `root`, or the cluster's name.
        owner: String,
    },
    /// The document names another job than the path.
    #[error("the path names {path:?} but the document is of job {document}; make them equal")]
    PathMismatch {
        /// As in the path.
        path: String,
        /// As in the document.
        document: Name,
    },
    /// It is being deleted.
    #[error(
        "job {0} is being deleted; submit it again under the same name with POST or PUT by name"
    )]
    Deleted(JobId),
    /// The key came with another body before.
    #[error(
        "the Idempotency-Key {0:?} was used for another body within the last 24 hours; choose a new key for a new request"
    )]
    KeyReused(String),
    /// The job has several services, and the request names none.
    #[error("job {job} has several services; say which with \"service\": {services}")]
    ServiceNeeded {
        /// The job's name.
        job: Name,
        /// The names to choose from.
        services: String,
    },
    /// The job has no such service.
    #[error("job {job} has no service {service:?}; it has {services}")]
    NoSuchService {
        /// The job's name.
        job: Name,
        /// As asked.
        service: Name,
        /// The names to choose from.
        services: String,
    },
}

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
    ) -> (Vec<BookWrite>, JobAnswer) {
        let decided = match request {
            JobRequest::Submit { drafts, key } => self.submission(tenant, drafts, key.as_ref(), at),
            JobRequest::Put { path, draft } => self.put(tenant, path, draft, at).map(applied),
            JobRequest::Scale {
                key,
                service,
                replicas,
            } => self
                .scale(tenant, key, service.as_ref(), *replicas)
                .map(applied),
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
    ) -> Result<Applied, Refusal> {
        let job = self.find(tenant, key)?;
        if job.is_deleted() {
            return Err(Refusal::Deleted(job.id));
        }
        let names = || {
            let names = job
                .spec
                .services
                .iter()
                .map(|service| service.name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
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
        Ok(Applied::Changed(changed_job(job, &draft)))
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
            Ok(job) if job.spec == draft.spec => Ok(Applied::Same(job.id)),
            Ok(job) => Ok(Applied::Changed(changed_job(job, draft))),
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
    }
}

fn changed_job(job: &Job, draft: &Draft) -> Job {
    let generation = job.generation + 1;
    let service_generations = draft.spec.services.iter().map(|service| {
        let same = job.service(&service.name).is_some_and(|known| {
            known.workload == service.workload && known.placement == service.placement
        });
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
        ..job.clone()
    }
}
