//! What users ask of the jobs, and what becomes of it.

use std::sync::Arc;

use crate::access::Exceeded;
use crate::id::JobId;
use crate::job::{Job, JobSpec, Strategy};
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
    /// Other workers for its instances.
    Migrate {
        /// Name or id.
        key: String,
        /// An instance's id, or `service/index`; all where left out.
        instance: Option<String>,
        /// To this cluster only, by name or id.
        cluster: Option<String>,
        /// To this worker only, by name or id.
        worker: Option<String>,
        /// Which copy begins; the document's choice where left out.
        strategy: Option<Strategy>,
    },
    /// New copies of the same.
    Restart {
        /// Name or id.
        key: String,
        /// Of this service; of all where left out.
        service: Option<Name>,
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
            Self::Put { path: key, .. }
            | Self::Scale { key, .. }
            | Self::Migrate { key, .. }
            | Self::Restart { key, .. }
            | Self::Delete { key } => Some(key),
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
    /// Its instances are being replaced.
    Replacing(JobId),
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
    /// It asks for more than a quota leaves.
    #[error("{0}; what was deleted or scaled down counts until it has ended")]
    Quota(Exceeded),
    /// The job has several services, and the request names none.
    #[error("job {job} has several services; say which with \"service\": {services}")]
    ServiceNeeded {
        /// The job's name.
        job: Name,
        /// The names to choose from.
        services: String,
    },
    /// Something is being done to it already.
    #[error(
        "job {job} is in the middle of an operation ({kind}); wait until it has ended (GET /api/v1/jobs/{job}), or delete the job"
    )]
    OperationRunning {
        /// The job's name.
        job: Name,
        /// What is being done.
        kind: &'static str,
    },
    /// None of its copies is as asked.
    #[error(
        "job {job} has no instance {instance:?} that is placed; GET /api/v1/jobs/{job} lists them, and service/index names one too"
    )]
    NoSuchInstance {
        /// The job's name.
        job: Name,
        /// As asked.
        instance: String,
    },
    /// None of its copies is placed.
    #[error("job {0} has no instance that is placed, so there is nothing to replace")]
    NothingPlaced(Name),
    /// The document pins what the request would move.
    #[error(
        "the document of job {job} pins service {service} to {what} {pin:?}; change the document instead"
    )]
    Pinned {
        /// The job's name.
        job: Name,
        /// The service.
        service: Name,
        /// `cluster` or `worker`.
        what: &'static str,
        /// The pin.
        pin: String,
    },
    /// There is no such place to go to.
    #[error("there is no {what} {name:?} to migrate to; GET /api/v1/{what}s lists them")]
    NoSuchTarget {
        /// `cluster` or `node`.
        what: &'static str,
        /// As asked.
        name: String,
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
