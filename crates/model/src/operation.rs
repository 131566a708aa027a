//! Operations: what a user asks to be done to a job that is there, and how far it is.
//!
//! One runs at a time on a job. Its slots settle one after another; those whose copy is replaced begin so many at a time as
//! the service's [`Takeover`](crate::job::Takeover) allows. The first that fails ends it: what was not begun is left as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::desired::Handover;
use crate::id::{InstanceId, JobId};
use crate::job::{Job, JobSpec, JobState, Strategy, Takeover};
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
    /// Of a rollback: what the update failed of.
    pub cause: Option<Reason>,
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
            cause: None,
        }
    }

    /// Whether a copy that it replaces runs on until the next one is ready.
    pub fn starts_first(&self, takeover: &Takeover) -> bool {
        self.strategy.unwrap_or(takeover.migration) == Strategy::StartFirst
    }

    /// How the copy of a slot that it replaces is taken over from; `usual` is how a changed document's would be.
    #[must_use]
    pub fn handover(&self, slot: &Slot, takeover: &Takeover, usual: Handover) -> Handover {
        let replace = self.replaces.get(slot).copied();
        if self.kind == OperationKind::Restart {
            return Handover {
                replace,
                same_worker: true,
                ..usual
            };
        }
        let start_first = self.starts_first(takeover);
        Handover {
            replace,
            start_first,
            keep_old: start_first,
            worker: self.worker.clone(),
            ..usual
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

/// The rollouts of all operations that run, by job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollouts {
    running: BTreeMap<JobId, (u64, Rollout)>,
    /// Those whose slots have all settled.
    over: BTreeSet<JobId>,
}

impl Rollouts {
    /// That of a job's operation.
    pub fn get(&self, job: JobId) -> Option<&Rollout> {
        self.running.get(&job).map(|(_, rollout)| rollout)
    }

    /// Whether it is that of the operation which a job has now: both may be none.
    pub fn is_of(&self, job: &Job) -> bool {
        let known = self.running.get(&job.id).map(|(number, _)| *number);
        known == job.running().map(|operation| operation.number)
    }

    /// Whether the copy of a slot may be replaced now. After an operation that failed nothing is, until the next.
    pub fn may_replace(&self, job: &Job, slot: &Slot) -> bool {
        match job.operation.as_ref().map(|operation| &operation.progress) {
            Some(Progress::Running) => {
                let rollout = self.get(job.id);
                rollout.is_some_and(|rollout| rollout.may_begin(slot, job.at_a_time(slot)))
            }
            Some(Progress::Failed(_)) => false,
            Some(Progress::Done) | None => true,
        }
    }

    /// How many slots of this one's service are being changed, but for itself.
    pub fn changing_beside(&self, slot: &Slot) -> usize {
        self.get(slot.job)
            .map_or(0, |rollout| rollout.begun_of(slot))
    }

    /// What a job's operation has before it; `None`: none runs.
    pub fn put(&mut self, job: &Job, rollout: Option<Rollout>) {
        self.forget(job.id);
        if let (Some(operation), Some(rollout)) = (job.running(), rollout) {
            if rollout.is_over() {
                self.over.insert(job.id);
            }
            self.running.insert(job.id, (operation.number, rollout));
        }
    }

    /// A job's operation has ended.
    pub fn forget(&mut self, job: JobId) {
        self.running.remove(&job);
        self.over.remove(&job);
    }

    /// See [`Rollout::begin`].
    pub fn begin(&mut self, slot: &Slot) {
        if let Some((_, rollout)) = self.running.get_mut(&slot.job) {
            rollout.begin(slot);
        }
    }

    /// See [`Rollout::settle`]; `job` is the slot's, if it is still there.
    pub fn settle(&mut self, slot: &Slot, job: Option<&Job>) -> Vec<Slot> {
        let Some((_, rollout)) = self.running.get_mut(&slot.job) else {
            return Vec::new();
        };
        let next = rollout.settle(slot, job.map_or(1, |job| job.at_a_time(slot)));
        if rollout.is_over() {
            self.over.insert(slot.job);
        }
        next
    }

    /// The next job whose operation has nothing more before it.
    pub fn next_over(&self) -> Option<JobId> {
        self.over.first().copied()
    }

    /// All slots whose copies are being replaced.
    pub fn begun(&self) -> impl Iterator<Item = &Slot> {
        let all = self.running.values();
        all.flat_map(|(_, rollout)| &rollout.begun)
    }
}
