//! Scheduling: filter (feasible?), then score.
//!
//! A scheduler sees plain data and changes nothing. The same trait serves both tiers: a root's candidates are
//! clusters, known by their aggregates ([`ClusterCandidate`]); a cluster's are workers, known exactly
//! ([`WorkerCandidate`]). Every candidate that is filtered out is counted by a typed reason.
//!
//! Whatever the algorithm, replicas of one service go first to the feasible candidates that have fewest of them.
//!
//! Who chooses is a [`Policy`]: an algorithm of this crate, or a program elsewhere, which is asked a [`Question`] with an
//! [`Offer`] for each candidate that will do; [`Questions`] are those that a tier has asked.

mod algorithm;
mod cluster;
mod guard;
mod offer;
mod policy;
mod questions;
mod remote;
mod worker;

pub use algorithm::{Algorithm, FAULT_LABEL, UnknownAlgorithm};
pub use cluster::ClusterCandidate;
pub use offer::{Offer, Question, Workers};
pub use policy::{DEADLINE, LONGEST, Policy, PolicyError, Remote, is_queue};
pub use questions::{Answer, Asks, Look, Note, OPEN, Questions, TRIES};
pub use remote::NotChosen;
pub use worker::{PortKey, WorkerCandidate, fixed_ports};

use model::job::PlacementRules;
use model::reason::{Reason, ReasonCode, Rejections};
use model::units::{Bytes, Millicores, Resources};
use model::workload::Workload;

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What runs.
    pub workload: &'a Workload,
    /// Where it may run.
    pub rules: &'a PlacementRules,
}

/// Something that a service can be placed on.
pub trait Candidate {
    /// Its name, for examples of rejections.
    fn name(&self) -> &str;
    /// Whether that is its id or its name.
    fn is_called(&self, key: &str) -> bool;
    /// The first reason why the request cannot go here; `None`: it can.
    fn reject(&self, request: &Request<'_>) -> Option<ReasonCode>;
    /// How many replicas of the service are here.
    fn replicas(&self) -> u32;
    /// What is free here (at a cluster: in the largest hole).
    fn room(&self) -> Resources;
    /// Whether this is the place that a document's location means.
    fn is_at(&self, location: &str) -> bool;
}

/// No candidate will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unplaceable {
    /// All candidates, counted by reason.
    pub rejections: Rejections,
    /// Of each resource the most that is free on one candidate that is short of room only; nothing where none is.
    pub most_free: Resources,
    /// The scheduler failed: nothing is known of the candidates, and this says what it did.
    pub fault: Option<String>,
    /// Candidates will do, and the scheduler takes none of them: this says why.
    pub declined: Option<String>,
}

impl Unplaceable {
    /// The scheduler of that name takes none of those that will do.
    pub fn declined(name: &str, why: &str) -> Self {
        Self {
            declined: Some(format!("the scheduler {name} places it nowhere: {why}")),
            ..Self::default()
        }
    }

    /// The scheduler of that name failed.
    pub fn fault(name: &str, what: &str) -> Self {
        Self {
            fault: Some(format!("the scheduler {name} failed: {what}")),
            ..Self::default()
        }
    }

    /// The reason for it, where it is the scheduler's: its fault, or its will.
    pub fn by_scheduler(&self) -> Option<Reason> {
        if let Some(declined) = &self.declined {
            return Some(Reason::new(ReasonCode::Refused, declined.clone()));
        }
        let fault = self.fault.as_ref()?;
        let message = format!(
            "{fault}; that is no fault of the document, and it is tried again in a while, or at once with another scheduler"
        );
        Some(Reason::new(ReasonCode::SchedulerFault, message))
    }

    /// Why no candidate, each of them `one`, can host it: "no worker can host it now: 7 workers: 4 short of memory, 3 cordoned;
    /// it asks for …". What a cluster has free is told by its emptiest workers, so the shortage always speaks of those.
    pub fn sentence(&self, request: &Request<'_>, one: &str) -> String {
        let counts = self.rejections.sentence(one);
        match self.shortage(request) {
            Some(shortage) => format!("no {one} can host it now: {counts}; {shortage}"),
            None => format!("no {one} can host it now: {counts}"),
        }
    }

    /// What is asked for against the most that one candidate has, where that is what the request fails for: "it asks
    /// for 64000 MB of memory, and one worker has 12000 MB free at most".
    fn shortage(&self, request: &Request<'_>) -> Option<String> {
        let wish = request.workload.resources;
        let most = self.most_free;
        let megabytes = |bytes: Bytes| format!("{} MB", bytes.mb());
        let cores = |cpu: Millicores| format!("{} cores", cpu.cores());
        let (wish, what, most) = match self.rejections.main()? {
            ReasonCode::InsufficientMemory => {
                (megabytes(wish.memory), "memory", megabytes(most.memory))
            }
            ReasonCode::InsufficientDisk => (megabytes(wish.disk), "disk", megabytes(most.disk)),
            ReasonCode::InsufficientCpu => (cores(wish.cpu), "cpu", cores(most.cpu)),
            _ => return None,
        };
        Some(format!(
            "it asks for {wish} of {what}, and one worker has {most} free at most"
        ))
    }
}

/// A scheduling algorithm.
pub trait Scheduler {
    /// Its name, as in options and answers.
    fn name(&self) -> &'static str;

    /// Chooses one of `candidates`: its position.
    ///
    /// # Errors
    /// [`Unplaceable`] with the reason for each candidate.
    fn place<C: Candidate>(
        &self,
        request: &Request<'_>,
        candidates: &[C],
    ) -> Result<usize, Unplaceable>;
}
