//! What fails beside the applications: schedulers, and runtimes of workers that are heard.
//!
//! What a scheduler fails on waits for a while, so that one document cannot keep it failing. A failure is remembered by class of requirements: a thousand replicas of the same fail once. It is forgotten after a
//! pause, with another algorithm, and by a restart.

use std::collections::BTreeSet;

use model::id::NodeId;
use model::job::ServiceSpec;
use model::slot::Slot;
use model::time::{Instant, Now};
use model::workload::RuntimeKind;

use crate::state::{State, Waiting};
use crate::{Decision, Soft, waking};

impl State {
    /// The failure on what is the same as this, if it is not long ago.
    pub(crate) fn known_fault(&self, now: Now, service: &ServiceSpec) -> Option<Box<Waiting>> {
        // The name of a class costs more than the look, and there are failures in no ordinary turn.
        if self.faulted.is_empty() {
            return None;
        }
        let known = self.faulted.get(&waking::class(service))?;
        let lasts = known.again_at.is_some_and(|at| at > now.steady);
        lasts.then(|| Box::new(known.clone()))
    }

    /// The next class that the scheduler is asked about again.
    pub(crate) fn due_again(&self, now: Now) -> Option<Decision> {
        let due = |waiting: &Waiting| waiting.again_at.is_none_or(|at| at <= now.steady);
        let (class, _) = self.faulted.iter().find(|(_, waiting)| due(waiting))?;
        Some(Decision::default().soft(Soft::Forgiven(class.clone())))
    }

    /// When that is.
    pub(crate) fn again_at(&self) -> Option<Instant> {
        let all = self.faulted.values();
        all.filter_map(|waiting| waiting.again_at).min()
    }

    /// Keeps or forgets the failure that a waiting slot tells of.
    pub(crate) fn note_fault(&mut self, waiting: &Waiting) {
        if waiting.again_at.is_some() {
            self.faulted.insert(waiting.class.clone(), waiting.clone());
        } else {
            self.faulted.remove(&waiting.class);
        }
    }

    /// Nothing is known any more of failures on that class. What the root took elsewhere for them may come back: it remembers
    /// with which capacity a slot was refused, and that counts as another one.
    pub(crate) fn forgive(&mut self, class: &str) {
        self.faulted.remove(class);
        self.capacity_revision += 1;
        self.aggregate_changed = true;
        if self.classes.contains_key(class) {
            self.questions.reconsider();
            self.awake.insert(class.to_owned());
        }
    }

    /// Another algorithm may not fail.
    pub(crate) fn forgive_all(&mut self) {
        for class in std::mem::take(&mut self.faulted).into_keys() {
            self.forgive(&class);
        }
    }

    /// Which runtimes of a worker do not answer: what they run is shown as stale, at the root too.
    pub(crate) fn take_silent(&mut self, now: Now, id: NodeId, runtimes: &BTreeSet<RuntimeKind>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.silent.clone_from(runtimes);
        }
        let here: Vec<Slot> = self.copies_on(id).map(|(slot, _)| slot.clone()).collect();
        for slot in here {
            self.refresh(now, &slot);
        }
        // One that answers again has room; one that does not has less, which the root is told as well.
        self.room_freed();
    }
}
