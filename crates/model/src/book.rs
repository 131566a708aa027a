//! The jobs that one orchestrator owns: names, documents, deletions.
//!
//! Pure bookkeeping, the same for a root and for a cluster: what a request means is decided here, what follows from it
//! (slots, placements) is the core's.

use std::collections::BTreeMap;
use std::sync::Arc;

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
}

impl JobBook {
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
