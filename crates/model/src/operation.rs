//! Operations: what a user asks to be done to a job that is there, and how far it is.
//!
//! One runs at a time on a job. Its slots settle one after another; those whose copy is replaced begin so many at a time as
//! the service's [`Takeover`](crate::job::Takeover) allows. The first that fails ends it: what was not begun is left as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::InstanceId;
use crate::job::{JobSpec, JobState, Strategy};
use crate::reason::Reason;
use crate::slot::Slot;
use crate::time::Wall;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Another number of replicas, and nothing else.
    Scale,
    /// Another document.
    Update,
    /// Back to the document before, since an update failed.
    Rollback,
    /// Other workers for some instances.
    Migrate,
    /// New copies of the same.
    Restart,
}

impl OperationKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Scale,
        Self::Update,
        Self::Rollback,
        Self::Migrate,
        Self::Restart,
    ];

    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::Migrate => "migrate",
            Self::Restart => "restart",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The state of a job while it runs.
    pub const fn state(self) -> JobState {
        match self {
            Self::Migrate => JobState::Migrating,
            Self::Scale | Self::Update | Self::Rollback | Self::Restart => JobState::Scaling,
        }
    }
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not every slot has settled.
    Running,
    /// All have.
    Done,
    /// One failed; what was not begun is as it was.
    Failed(Reason),
}

/// An operation on a job. Durable, with the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What.
    pub kind: OperationKind,
    /// The job's generation that it made: greater for later ones.
    pub number: u64,
    /// When it was accepted.
    pub started_at: Wall,
    /// How far it is.
    pub progress: Progress,
    /// The document before an update that may have to be rolled back.
    pub previous: Option<Arc<JobSpec>>,
    /// The copies that a migration or restart replaces.
    pub replaces: BTreeMap<Slot, InstanceId>,
    /// Of a migration: to this cluster only, by name or id.
    pub cluster: Option<String>,
    /// Of a migration: to this worker only, by name or id.
    pub worker: Option<String>,
    /// Which copy begins, where the request says.
    pub strategy: Option<Strategy>,
}

impl Operation {
    /// One that begins.
    pub const fn new(kind: OperationKind, number: u64, started_at: Wall) -> Self {
        Self {
            kind,
            number,
            started_at,
            progress: Progress::Running,
            previous: None,
            replaces: BTreeMap::new(),
            cluster: None,
            worker: None,
            strategy: None,
        }
    }

    /// Whether it has not ended.
    pub const fn is_running(&self) -> bool {
        matches!(self.progress, Progress::Running)
    }

    /// The operation, ended.
    #[must_use]
    pub fn ended(&self, progress: Progress) -> Self {
        Self {
            progress,
            previous: None,
            replaces: BTreeMap::new(),
            ..self.clone()
        }
    }
}

/// The slots of a job whose operation runs: which have begun to change, and which have not settled. Soft: made from the job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    unsettled: BTreeSet<Slot>,
    /// Those of them whose copy is being replaced.
    begun: BTreeSet<Slot>,
}

impl Rollout {
    /// One of these slots.
    pub fn new(slots: impl IntoIterator<Item = Slot>) -> Self {
        Self {
            unsettled: slots.into_iter().collect(),
            begun: BTreeSet::new(),
        }
    }

    /// Whether the copy of this slot may be replaced now, when so many of its service change at a time.
    pub fn may_begin(&self, slot: &Slot, at_a_time: usize) -> bool {
        self.begun.contains(slot)
            || (self.unsettled.contains(slot) && self.begun_of(slot) < at_a_time)
    }

    /// How many slots of this one's service are being changed, but for itself.
    pub fn begun_of(&self, slot: &Slot) -> usize {
        let of_service = self
            .begun
            .iter()
            .filter(|begun| begun.service == slot.service && *begun != slot);
        of_service.count()
    }

    /// Its copy is being replaced.
    pub fn begin(&mut self, slot: &Slot) {
        if self.unsettled.contains(slot) {
            self.begun.insert(slot.clone());
        }
    }

    /// It needs nothing more; gives the slots of its service that may begin since.
    pub fn settle(&mut self, slot: &Slot, at_a_time: usize) -> Vec<Slot> {
        let known = self.unsettled.remove(slot);
        if !self.begun.remove(slot) || !known {
            return Vec::new();
        }
        let waiting = self
            .unsettled
            .iter()
            .filter(|other| other.service == slot.service && !self.begun.contains(*other));
        waiting.take(at_a_time).cloned().collect()
    }

    /// Whether its slot is among those that have not settled.
    pub fn is_unsettled(&self, slot: &Slot) -> bool {
        self.unsettled.contains(slot)
    }

    /// Whether its copy is being replaced.
    pub fn has_begun(&self, slot: &Slot) -> bool {
        self.begun.contains(slot)
    }

    /// Whether all have settled.
    pub fn is_over(&self) -> bool {
        self.unsettled.is_empty()
    }
}
