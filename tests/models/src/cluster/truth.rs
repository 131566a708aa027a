//! What is true of the world, whatever its programs believe, and the rules that are held against it.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{InstanceId, JobId, NodeId};
use model::slot::Slot;

use super::setup::LOST;

/// What must hold after every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// I1.
    Accepted,
    /// I2, when a copy is placed.
    Patience,
    /// I2, of what runs.
    Overlap,
    /// I4.
    Ended,
    /// I3.
    Agreement,
}

impl Rule {
    /// Its name in what a search found.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "what was accepted is kept",
            Self::Patience => "nothing is placed again while its worker is heard",
            Self::Overlap => "a slot has one copy, and one more for each that was lost",
            Self::Ended => "what was confirmed ended never runs again",
            Self::Agreement => "one copy of each job runs soon after the faults stop",
        }
    }
}

/// What is true.
#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    /// Jobs whose submission was answered.
    pub(super) accepted: BTreeSet<JobId>,
    /// Jobs whose deletion is committed.
    pub(super) deleted: BTreeSet<JobId>,
    /// The copies of each slot, as the cluster's store has them.
    pub(super) copies: BTreeMap<Slot, Vec<(InstanceId, NodeId)>>,
    /// Copies that the store had, and no longer has since their end was confirmed.
    pub(super) ended: BTreeSet<InstanceId>,
    /// Copies beyond the first that a slot may have: their workers were lost when it was placed again.
    pub(super) excused: BTreeMap<Slot, usize>,
    /// The rules that were broken.
    pub(super) broken: BTreeSet<Rule>,
}

impl Truth {
    /// The store has these copies of a slot now; `unheard`: for how many steps of time a worker was not.
    pub(super) fn take(
        &mut self,
        slot: &Slot,
        copies: Vec<(InstanceId, NodeId)>,
        unheard: impl Fn(NodeId) -> u8,
    ) {
        let before = self.copies.remove(slot).unwrap_or_default();
        let had = |instance: &InstanceId| before.iter().any(|(known, _)| known == instance);
        let gone = before.iter().map(|(instance, _)| *instance);
        let gone = gone.filter(|instance| !copies.iter().any(|(kept, _)| kept == instance));
        self.ended.extend(gone);
        if copies.iter().any(|(instance, _)| !had(instance)) {
            let former = copies.iter().filter(|(instance, _)| had(instance));
            for (_, node) in former {
                if unheard(*node) >= LOST {
                    *self.excused.entry(slot.clone()).or_default() += 1;
                } else {
                    self.broken.insert(Rule::Patience);
                }
            }
        }
        if !copies.is_empty() {
            self.copies.insert(slot.clone(), copies);
        }
    }

    /// What runs, by slot, with the number of its processes.
    pub(super) fn judge<'a>(
        &mut self,
        running: impl Iterator<Item = (InstanceId, &'a Slot, usize)>,
        owned: impl Fn(JobId) -> bool,
    ) {
        let mut live: BTreeMap<&Slot, usize> = BTreeMap::new();
        for (instance, slot, processes) in running {
            *live.entry(slot).or_default() += processes;
            if self.ended.contains(&instance) {
                self.broken.insert(Rule::Ended);
            }
        }
        for (slot, count) in &live {
            let excused = self.excused.get(*slot).copied().unwrap_or_default();
            if *count > 1 + excused {
                self.broken.insert(Rule::Overlap);
            }
        }
        // With one copy in the store and in the world the slot begins anew.
        let copies = &self.copies;
        self.excused.retain(|slot, _| {
            live.get(slot).is_some_and(|count| *count > 1)
                || copies.get(slot).is_some_and(|known| known.len() > 1)
        });
        let mut kept = self.accepted.difference(&self.deleted);
        if !kept.all(|id| owned(*id)) {
            self.broken.insert(Rule::Accepted);
        }
    }
}
