//! Runtimes: what runs the applications of a worker (architecture, section 10).
//!
//! The controller calls a [`Runtime`]; nothing else does. Every runtime keeps the same promises, and one conformance
//! suite (`tests/conformance.rs`) holds them to it.
//!
//! # Guarantees
//! - `start` is idempotent: never two copies of one instance, also when an earlier engine made the first one.
//! - `stop` leaves nothing behind, and is content when nothing is there.
//! - Each end of an application is told once: an end that happens while this object watches is sent as [`Exited`]; one
//!   that happened before is what [`Runtime::list`] shows. An end that `stop` caused is not sent.
//! - Applications outlive the engine. `list` also begins to watch what it finds running.
//! - `probe` answers within its time, and leaves no process of its own behind.
//!
//! # Assumptions
//! - A future of `start` may be dropped; `stop` then cleans up what it had made.
//! - [`Exited`] may arrive before the `start` that made the instance has returned.

pub mod docker;
pub(crate) mod keyed;
pub mod native;
pub mod noop;
pub(crate) mod probe;

use std::time::Duration;

use model::access::TenantPath;
use model::id::{InstanceId, JobId, NodeId};
use model::instance::{Endpoint, Exit};
use model::name::Name;
use model::reason::{Reason, ReasonCode};
use model::slot::Generation;
use model::time::Wall;
use model::workload::{RuntimeKind, SpecHash, Workload};

use crate::logs::standing::Known;
use crate::logs::{LogReader, Wanted};
use docker::Docker;
use native::Native;
use noop::Noop;
pub use probe::{Asked, Unwell};

pub use crate::secrets::Given;

/// Bytes that are passed on of what a runtime says of a start that failed.
const SAID_BYTES: usize = 1_500;
/// Lines of output that travel with an [`Exit`].
pub const TAIL_LINES: usize = 20;
/// Bytes of output that travel with an [`Exit`], at most.
pub const TAIL_BYTES: usize = 4096;

/// What caused an error, kept for the log and for the reason's sentence.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Who an instance is: its labels, its environment and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// This worker.
    pub node: NodeId,
    /// The copy.
    pub instance: InstanceId,
    /// Its job.
    pub job: JobId,
    /// The job's name.
    pub job_name: Name,
    /// Its service.
    pub service: Name,
    /// Which replica.
    pub index: u32,
    /// Who owns the job.
    pub tenant: TenantPath,
    /// The generation that placed it.
    pub generation: Generation,
}

impl Identity {
    /// The same words for labels (`edgeio.job_name`) and environment variables (`EDGEIO_JOB_NAME`).
    pub(crate) fn words(&self) -> [(&'static str, String); 8] {
        [
            ("tenant", self.tenant.to_string()),
            ("job", self.job.to_string()),
            ("job_name", self.job_name.to_string()),
            ("service", self.service.to_string()),
            ("index", self.index.to_string()),
            ("instance", self.instance.to_string()),
            ("generation", self.generation.to_string()),
            ("worker", self.node.to_string()),
        ]
    }
}

/// What is known of an application that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Since when, by this worker's wall clock.
    pub since: Wall,
    /// Published ports as they can be reached.
    pub endpoints: Vec<Endpoint>,
}

/// What a runtime has of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running(Started),
    /// It ended, and `stop` or the next `start` will remove it.
    Exited(Exit),
    /// It was made and never started.
    Created,
}

/// An instance that a runtime has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub instance: InstanceId,
    /// What it was made from.
    pub spec_hash: SpecHash,
    /// The generation that it was made for.
    pub generation: Generation,
    /// How it is.
    pub status: Status,
}

/// An application ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// Which.
    pub instance: InstanceId,
    /// How.
    pub exit: Exit,
}

/// Why an instance does not run after `start`.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The image is not to be had.
    #[error("cannot pull image {image}")]
    ImagePull {
        /// Its reference.
        image: String,
        /// What the user, or the worker's operator, does about it.
        advice: &'static str,
        /// What the registry or the engine said.
        source: Cause,
    },
    /// The application cannot be started as its document says.
    #[error("cannot start {subject}")]
    Start {
        /// The program or image.
        subject: String,
        /// What the user does about it.
        advice: &'static str,
        /// What happened.
        source: Cause,
    },
    /// The worker itself is at fault: its disk, or its container engine.
    #[error("cannot {operation}")]
    Fault {
        /// What was tried.
        operation: String,
        /// What happened.
        source: Cause,
    },
}

impl StartError {
    /// The reason shown to users: a stable code and a sentence that says what to do next.
    pub fn reason(&self) -> Reason {
        let (code, source, advice) = match self {
            Self::ImagePull { source, advice, .. } => {
                (ReasonCode::ImagePullFailed, source, *advice)
            }
            Self::Start { source, advice, .. } => (ReasonCode::StartFailed, source, *advice),
            Self::Fault { source, .. } => (
                ReasonCode::WorkerFault,
                source,
                "look at the worker: its disk and its container engine",
            ),
        };
        // An engine passes on whatever a registry answers: it may be a page, and a report has to go through.
        let mut said = chain(source.as_ref());
        said.truncate(said.floor_char_boundary(SAID_BYTES));
        Reason::new(code, format!("{self}: {said}; {advice}"))
    }
}

/// Why an instance may still be there after `stop`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} instance {instance}")]
pub struct StopError {
    /// Which.
    pub instance: InstanceId,
    /// What was tried.
    pub operation: &'static str,
    /// What happened.
    pub source: Cause,
}

/// Why a runtime cannot say what it has.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the instances of runtime {runtime}")]
pub struct ListError {
    /// Which runtime.
    pub runtime: RuntimeKind,
    /// What happened.
    pub source: Cause,
}

/// An error with all its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Many libraries repeat their source's text in their own.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

/// This worker's wall clock.
pub(crate) fn wall() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Wall(since.map_or(0, |since| since.as_millis() as i64))
}

/// One of the three runtimes. An enum, since the set is known when the engine is built.
#[derive(Debug)]
pub enum Runtime {
    /// Processes of the worker itself.
    Native(Native),
    /// A container engine.
    Docker(Docker),
    /// Nothing runs.
    Noop(Noop),
}

impl Runtime {
    /// Which one this is.
    pub const fn kind(&self) -> RuntimeKind {
        match self {
            Self::Native(_) => RuntimeKind::Native,
            Self::Docker(_) => RuntimeKind::Docker,
            Self::Noop(_) => RuntimeKind::Noop,
        }
    }

    /// Makes the instance run with the secrets that it is given, and returns when it does. Whatever runs already is left alone; what was made and does not
    /// run is removed and made again.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the instance is left then.
    pub async fn start(
        &self,
        identity: &Identity,
        workload: &Workload,
        given: Given,
    ) -> Result<Started, StartError> {
        match self {
            Self::Native(native) => native.start(identity, workload, &given).await,
            Self::Docker(docker) => Box::pin(docker.start(identity, workload, given)).await,
            Self::Noop(noop) => Ok(noop.start(identity, workload)),
        }
    }

    /// Ends the instance politely, kills it after `grace`, and removes it. An absent one is fine.
    ///
    /// # Errors
    /// When it may still be there; call again.
    pub async fn stop(&self, instance: InstanceId, grace: Duration) -> Result<(), StopError> {
        match self {
            Self::Native(native) => native.stop(instance, grace).await,
            Self::Docker(docker) => Box::pin(docker.stop(instance, grace)).await,
            Self::Noop(noop) => {
                noop.stop(instance);
                Ok(())
            }
        }
    }

    /// All instances that this worker made with this runtime. What runs is watched from now on.
    ///
    /// # Errors
    /// When the data directory or the container engine cannot be read.
    pub async fn list(&self) -> Result<Vec<Found>, ListError> {
        match self {
            Self::Native(native) => native.list().await,
            Self::Docker(docker) => Box::pin(docker.list()).await,
            Self::Noop(noop) => Ok(noop.list()),
        }
    }

    /// The last `lines` lines of its output, at most 64 KiB; empty when there is none.
    pub async fn logs_tail(&self, instance: InstanceId, lines: usize) -> Vec<String> {
        match self {
            Self::Native(native) => native.logs_tail(instance, lines),
            Self::Docker(docker) => Box::pin(docker.logs_tail(instance, lines)).await,
            Self::Noop(_) => Vec::new(),
        }
    }

    /// Reads the output of an instance, also of one that is gone for less than an hour; `None` when there is none of it.
    pub async fn logs(
        &self,
        instance: InstanceId,
        wanted: Wanted,
        standing: &Known,
    ) -> Option<LogReader> {
        match self {
            Self::Native(native) => {
                let reader = native.logs(instance, wanted, standing.clone()).await;
                reader.map(LogReader::Native)
            }
            Self::Docker(docker) => {
                let reader = Box::pin(docker.logs(instance, wanted, standing.clone())).await;
                reader.map(|reader| LogReader::Docker(Box::new(reader)))
            }
            Self::Noop(noop) => noop.has(instance).then_some(LogReader::Empty),
        }
    }

    /// Finds out whether an application is well, within the time that is given for it.
    ///
    /// # Errors
    /// When it is not, or does not answer in time.
    pub async fn probe(&self, instance: InstanceId, asked: &Asked) -> Result<(), Unwell> {
        match self {
            Self::Native(native) => native.probe(instance, asked).await,
            Self::Docker(docker) => Box::pin(docker.probe(instance, asked)).await,
            Self::Noop(noop) if noop.has(instance) => Ok(()),
            Self::Noop(_) => Err("it does not run".to_owned()),
        }
    }

    /// What is wrong with the runtime itself at the moment, in a sentence; `None` when nothing is known to be.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Docker(docker) => docker.fault(),
            Self::Native(_) | Self::Noop(_) => None,
        }
    }

    /// Waits until the runtime answers, or until it does not; for ever where that never comes.
    pub(crate) async fn until(&self, answers: bool) {
        match self {
            Self::Docker(docker) => docker.until(answers).await,
            Self::Native(_) | Self::Noop(_) if answers => {}
            Self::Native(_) | Self::Noop(_) => std::future::pending().await,
        }
    }
}
