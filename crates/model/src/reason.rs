//! Stable reasons, and rejections counted by them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a candidate was rejected, or why an instance is not running. The words are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// No cluster is known or reachable at all.
    NoCluster,
    /// No worker is known or reachable at all.
    NoWorker,
    /// The pinned cluster does not exist.
    NoSuchCluster,
    /// The pinned worker does not exist.
    NoSuchWorker,
    /// It is not where the document wants to be.
    LocationMismatch,
    /// It is not the one that the document pins.
    NotPinned,
    /// It lacks a label that the document asks for.
    LabelMismatch,
    /// It has another CPU architecture.
    ArchitectureMismatch,
    /// It lacks the runtime.
    RuntimeMissing,
    /// It has the runtime, which does not answer.
    RuntimeDegraded,
    /// Its CPU is reserved.
    InsufficientCpu,
    /// Its memory is reserved.
    InsufficientMemory,
    /// Its disk is reserved.
    InsufficientDisk,
    /// A fixed host port is taken there.
    PortTaken,
    /// It is cordoned, draining or quarantined.
    Cordoned,
    /// It cannot be reached.
    Unreachable,
    /// It refused with what it has now.
    Refused,
    /// The copy was on a worker that is lost.
    WorkerLost,
    /// The assignment was to a cluster that is lost.
    ClusterLost,
    /// The image is not to be had.
    ImagePullFailed,
    /// The worker could not start it.
    StartFailed,
    /// The policy of the worker's owner forbids it there.
    ForbiddenByWorker,
    /// It ends again and again; the next attempt waits.
    CrashLoop,
    /// It ended and its restart policy leaves it ended.
    Exited,
    /// Its health check fails; it is started again.
    Unhealthy,
    /// It did not start within the deploy deadline.
    DeployDeadline,
    /// The worker's disk, runtime or engine misbehaves.
    WorkerFault,
    /// Too many workers vanished at once; replacements wait.
    Brake,
    /// The scheduler failed while it chose a place.
    SchedulerFault,
    /// The user asked for it.
    Requested,
}

impl ReasonCode {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCluster => "no_cluster",
            Self::NoWorker => "no_worker",
            Self::NoSuchCluster => "no_such_cluster",
            Self::NoSuchWorker => "no_such_worker",
            Self::LocationMismatch => "location_mismatch",
            Self::NotPinned => "not_pinned",
            Self::LabelMismatch => "label_mismatch",
            Self::ArchitectureMismatch => "architecture_mismatch",
            Self::RuntimeMissing => "runtime_missing",
            Self::RuntimeDegraded => "runtime_degraded",
            Self::InsufficientCpu => "insufficient_cpu",
            Self::InsufficientMemory => "insufficient_memory",
            Self::InsufficientDisk => "insufficient_disk",
            Self::PortTaken => "port_taken",
            Self::Cordoned => "cordoned",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::WorkerLost => "worker_lost",
            Self::ClusterLost => "cluster_lost",
            Self::ImagePullFailed => "image_pull_failed",
            Self::StartFailed => "start_failed",
            Self::ForbiddenByWorker => "forbidden_by_worker",
            Self::CrashLoop => "crash_loop",
            Self::Exited => "exited",
            Self::Unhealthy => "unhealthy",
            Self::DeployDeadline => "deploy_deadline",
            Self::WorkerFault => "worker_fault",
            Self::Brake => "brake",
            Self::SchedulerFault => "scheduler_fault",
            Self::Requested => "requested",
        }
    }

    /// How a sentence says that `n` candidates have this fault: "4 lack memory".
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::NoCluster => "not there",
            Self::NoWorker => "without a worker",
            Self::NoSuchCluster | Self::NoSuchWorker => "unknown",
            Self::LocationMismatch => "elsewhere",
            Self::NotPinned => "not the one named",
            Self::LabelMismatch => "without the labels",
            Self::ArchitectureMismatch => "of another architecture",
            Self::RuntimeMissing => "without the runtime",
            Self::RuntimeDegraded => "with a runtime that does not answer",
            Self::InsufficientCpu => "short of cpu",
            Self::InsufficientMemory => "short of memory",
            Self::InsufficientDisk => "short of disk",
            Self::PortTaken => "with the host port taken",
            Self::Cordoned => "cordoned",
            Self::Unreachable | Self::WorkerLost | Self::ClusterLost => "unreachable",
            Self::Refused => "refused",
            Self::ImagePullFailed => "without the image",
            Self::StartFailed | Self::DeployDeadline => "failed to start it",
            Self::ForbiddenByWorker => "forbidding it",
            Self::CrashLoop => "crashing",
            Self::Exited => "ended",
            Self::Unhealthy => "unhealthy",
            Self::WorkerFault => "faulty",
            Self::Brake => "held back by the brake",
            Self::SchedulerFault => "not looked at",
            Self::Requested => "as requested",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason with its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Stable word.
    pub code: ReasonCode,
    /// One English sentence for people.
    pub message: String,
}

impl Reason {
    /// A reason of these parts.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// How many candidates were rejected for which reason, with up to five examples of their names each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejections {
    counts: BTreeMap<ReasonCode, (u32, Vec<String>)>,
}

impl Rejections {
    /// Examples kept for each reason.
    pub const EXAMPLES: usize = 5;

    /// Counts one more candidate.
    pub fn add(&mut self, code: ReasonCode, candidate: &str) {
        let (count, examples) = self.counts.entry(code).or_default();
        *count += 1;
        if examples.len() < Self::EXAMPLES {
            examples.push(candidate.to_owned());
        }
    }

    /// Counts `count` candidates at once, as a wire shape brings them.
    pub fn insert(&mut self, code: ReasonCode, count: u32, examples: Vec<String>) {
        self.counts.insert(code, (count, examples));
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// All counts: reason, number of candidates, examples.
    pub fn iter(&self) -> impl Iterator<Item = (ReasonCode, u32, &[String])> {
        self.counts
            .iter()
            .map(|(code, (count, examples))| (*code, *count, examples.as_slice()))
    }

    /// Whether any candidate was counted under it.
    pub fn counts(&self, code: ReasonCode) -> bool {
        self.counts.contains_key(&code)
    }

    /// Number of candidates counted.
    pub fn total(&self) -> u32 {
        self.counts.values().map(|(count, _)| count).sum()
    }

    /// The most telling code: what is short of the most candidates that were otherwise right, else the most frequent.
    ///
    /// A candidate is only ever counted by its first fault, in the order location, kind, room; so a lack of room is the
    /// nearest miss and is named before anything else.
    pub fn main(&self) -> Option<ReasonCode> {
        let room = [
            ReasonCode::PortTaken,
            ReasonCode::InsufficientMemory,
            ReasonCode::InsufficientCpu,
            ReasonCode::InsufficientDisk,
        ];
        let most = |codes: &mut dyn Iterator<Item = (ReasonCode, u32)>| {
            codes.max_by_key(|(_, count)| *count).map(|(code, _)| code)
        };
        most(
            &mut self
                .iter()
                .filter(|(code, ..)| room.contains(code))
                .map(|(code, count, _)| (code, count)),
        )
        .or_else(|| most(&mut self.iter().map(|(code, count, _)| (code, count))))
    }

    /// "7 workers: 4 short of memory, 2 of another architecture, 1 cordoned".
    pub fn sentence(&self, one: &str) -> String {
        let total = self.total();
        let parts: Vec<String> = self
            .iter()
            .map(|(code, count, _)| format!("{count} {}", code.phrase()))
            .collect();
        format!(
            "{total} {one}{}: {}",
            if total == 1 { "" } else { "s" },
            parts.join(", ")
        )
    }
}
