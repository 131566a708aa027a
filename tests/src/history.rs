//! What happened in a run, as users, both tiers and the kernel saw it, and what must be true of it.
//!
//! A [`Recorder`] writes it down while a test breaks things; a [`History`] is the lines of one run, which can be kept as
//! JSONL and read again; [`check`] holds the invariants I1 to I10 of the design against it, each a function of its own in
//! [`checks`]. A history says nothing of what it did not look at: an invariant whose lines are missing says so too.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "it is called by tests alone, and a test that panics is a test that fails"
)]

pub mod checks;
mod recorder;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use recorder::Recorder;

/// All that was seen, in the order in which it was written down.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The lines.
    pub lines: Vec<Line>,
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When looking or asking began, in milliseconds since the history did.
    pub begun: u64,
    /// When it had ended.
    pub at: u64,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// What can be seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A user asked a server something.
    Asked {
        /// The server's name.
        server: String,
        /// What was asked.
        ask: Ask,
        /// The status of the answer; `None`: none came.
        status: Option<u16>,
        /// The job's id, where the answer has one.
        job: Option<String>,
        /// The job's name.
        name: String,
    },
    /// A server showed its jobs.
    Shown {
        /// The server's name.
        server: String,
        /// All of them.
        jobs: Vec<Job>,
    },
    /// What really runs.
    Ran {
        /// Every copy of an instance.
        copies: Vec<Copy>,
        /// What runs beside them and is not edgeIO's business.
        others: Vec<String>,
    },
    /// The test broke or mended something.
    Fault(Fault),
    /// A server has an event in its history.
    Event {
        /// The server's name.
        server: String,
        /// The instance, if it is about one.
        instance: Option<String>,
        /// The state after.
        to: String,
        /// Why.
        cause: String,
        /// When it happened, as it says itself (RFC 3339, UTC): what was told late stands after what happened later.
        #[serde(default)]
        happened: String,
    },
    /// What a program uses.
    Used {
        /// Its name.
        program: String,
        /// Resident memory.
        kib: u64,
        /// Open descriptors.
        descriptors: u64,
    },
}

/// What a user asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A job is submitted.
    Submit,
    /// A job is changed: its document, or how many of it there are.
    Change,
    /// A job is deleted.
    Delete,
    /// Something is looked at.
    Look,
}

/// A job as a server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who decides about it.
    pub owner: String,
    /// Its state.
    pub state: String,
    /// Its deletion is accepted.
    pub terminating: bool,
    /// Its copies.
    pub instances: Vec<Instance>,
}

/// A copy as a server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id, once it is placed.
    pub id: Option<String>,
    /// The service and the replica.
    pub slot: (String, u64),
    /// `holder`, `successor`, `dangling` or `leaving`.
    pub role: String,
    /// (assignment, placement).
    pub generation: (u64, u64),
    /// Its state.
    pub state: String,
    /// Its worker's name.
    pub worker: Option<String>,
    /// Not heard for longer than it should be.
    pub stale: bool,
}

/// A copy as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Copy {
    /// The job's id.
    pub job: String,
    /// The service and the replica.
    pub slot: (String, u64),
    /// The instance's id.
    pub instance: String,
    /// The name of the worker that it belongs to.
    pub worker: String,
    /// The process.
    pub pid: i32,
    /// When it began: tells a reused number from the process.
    pub start: u64,
}

/// What the test did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Some servers cannot hear a worker any more.
    Cut {
        /// The worker's name.
        worker: String,
        /// The names of the servers.
        from: Vec<String>,
    },
    /// Messages of a worker and to it are lost now and then: it is heard, and may be taken for one that is away.
    Lossy {
        /// The worker's name.
        worker: String,
    },
    /// All can hear it again, and surely.
    Mended {
        /// The worker's name.
        worker: String,
    },
    /// Applications of a worker were ended, or its machine was.
    Ended {
        /// The worker's name.
        worker: String,
    },
    /// Something else broke: of the control plane or its links, which must not touch what runs.
    Control {
        /// What.
        what: String,
    },
    /// An orchestrator was superseded by another one on the same store.
    Superseded {
        /// The name under which it is still asked.
        server: String,
    },
    /// Nothing is broken any more.
    Healed,
}

/// What the checks need to know of the run's settings.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// From so long after the last fault on, all views and what runs agree.
    pub converge: Duration,
    /// How long after a mending a copy too many may still be there, its time to end not counted.
    pub settle: Duration,
    /// How long an application may take to end.
    pub stop_grace: Duration,
    /// A status may claim that what is cut off still runs for so long.
    pub staleness: Duration,
    /// The servers that no fault may disturb, and what 99 of 100 answers of theirs take at most.
    pub undisturbed: Vec<(String, Duration)>,
    /// What a program may use at most, in KiB.
    pub memory: u64,
    /// How many descriptors more than at first a program may have in the end.
    pub descriptors: u64,
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I10`.
    pub invariant: &'static str,
    /// When, in milliseconds since the history began.
    pub at: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.invariant, self.at, self.what)
    }
}

/// An invariant: what is wrong with a history under these bounds.
pub type Check = fn(&History, &Bounds) -> Vec<Violation>;

/// All of them, under their names.
pub const ALL: [(&str, Check); 10] = [
    ("I1", checks::accepted_is_never_lost),
    ("I2", checks::copies_stay_within_the_declared_overlap),
    ("I3", checks::views_and_truth_agree_once_all_is_mended),
    (
        "I4",
        checks::what_ended_stays_ended_and_generations_only_grow,
    ),
    ("I5", checks::a_superseded_server_accepts_nothing),
    ("I6", checks::faults_of_the_control_plane_restart_nothing),
    ("I7", checks::no_status_claims_what_cannot_be_known),
    ("I8", checks::memory_and_descriptors_stay_bounded),
    ("I9", checks::others_are_not_disturbed),
    ("I10", checks::no_orphans_stay_and_no_bystander_goes),
];

/// Holds all invariants against a history.
pub fn check(history: &History, bounds: &Bounds) -> Vec<Violation> {
    ALL.iter()
        .flat_map(|(_, check)| check(history, bounds))
        .collect()
}

impl History {
    /// Reads one that was kept.
    ///
    /// # Errors
    /// No such file, or a line that is none of a history, with its number.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = text.lines().enumerate().map(|(number, line)| {
            serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", path.display(), number + 1))
        });
        lines.collect::<Result<_, _>>().map(|lines| Self { lines })
    }

    /// Keeps it as JSONL.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&serde_json::to_string(line)?);
            text.push('\n');
        }
        std::fs::write(path, text)
    }

    /// When a fault of this kind was, the last time.
    fn last_fault(&self, is: impl Fn(&Fault) -> bool) -> Option<u64> {
        let mut faults = self.lines.iter().rev();
        faults.find_map(|line| match &line.what {
            What::Fault(fault) if is(fault) => Some(line.at),
            _ => None,
        })
    }

    /// What each server showed.
    fn shown(&self) -> impl DoubleEndedIterator<Item = (&Line, &str, &[Job])> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Shown { server, jobs } => Some((line, server.as_str(), jobs.as_slice())),
            _ => None,
        })
    }

    /// What ran.
    fn ran(&self) -> impl DoubleEndedIterator<Item = (&Line, &[Copy])> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Ran { copies, .. } => Some((line, copies.as_slice())),
            _ => None,
        })
    }
}
