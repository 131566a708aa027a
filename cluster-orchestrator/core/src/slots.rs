//! Placement: what should fill a slot against the copies it has. First placement and re-placement are one path.

use model::desired::{Desired, Handover};
use model::id::NodeId;
use model::instance::InstanceEvent;
use model::job::{Reconcile, ServiceSpec};
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Slot};
use model::time::{Instant, Now};

use crate::choosing::NotChosen;
use crate::state::{Copy, Node, SlotRecord, State, Waiting};
use crate::waking::class;
use crate::{Decision, Soft, Write};

impl State {
    /// One slot: ended copies are forgotten, those that must go leave, of several that may stay one does, and where
    /// none is left one is placed.
    pub(crate) fn reconcile_slot(&self, now: Now, slot: &Slot) -> Decision {
        let mut decision = Decision::default().soft(Soft::Clean(slot.clone()));
        let known = self.slots.get(slot);
        let wanted = self.wanted(slot);
        let mut record = known.cloned().unwrap_or_default();
        if !self.awaits_root(slot) {
            record.provisional = false;
        }
        decision = self.forget_ended(now, &mut record, decision);
        decision = self.note_lost(now, &record, decision);
        let mut waiting = None;
        if let Some(wanted) = &wanted {
            (waiting, decision) = self.settle(now, wanted, &mut record, decision);
        } else {
            for copy in &mut record.copies {
                copy.leaving = true;
            }
        }
        decision = self.drain(now, slot, &mut record, decision);
        let stands = record
            .copies
            .iter()
            .any(|copy| copy.counts() && !self.is_lost(now.steady, copy));
        if let (Some(waiting), Some(wanted)) = (&waiting, &wanted)
            && !waiting.is_asking()
            && self.waiting.get(slot).is_none_or(Waiting::is_asking)
            && !stands
        {
            decision = decision.and(Self::event(
                now,
                wanted,
                ("SCHEDULED_CLUSTER", "NOT_DEPLOYED"),
                waiting.reason.code.as_str(),
                waiting.reason.message.clone(),
            ));
        }
        if self.waiting.get(slot) != waiting.as_ref() {
            decision = decision.soft(Soft::Waiting {
                slot: slot.clone(),
                waiting,
            });
        }
        let changed =
            known.map_or_else(|| record != SlotRecord::default(), |known| *known != record);
        let over = wanted.is_none() && record.copies.is_empty();
        if over && known.is_some() {
            self.forget_history(slot, decision).write(Write::Slot {
                slot: slot.clone(),
                record: None,
            })
        } else if changed && !over {
            decision.write(Write::Slot {
                slot: slot.clone(),
                record: Some(record),
            })
        } else {
            self.follow_operation(now, slot, &record, decision)
        }
    }

    /// Which of its copies a wanted slot keeps, which takes over from which, and where none is left, a new one.
    fn settle(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
        mut decision: Decision,
    ) -> (Option<Waiting>, Decision) {
        let old = self.old_copy(now.steady, record, wanted);
        if old.is_none() {
            decision = self.note_overdue(now, wanted, record, decision);
        }
        self.keep_one(now, record, wanted);
        self.restamp(record, wanted);
        if let Some(old) = old {
            let (waiting, step) = self.take_over(now, wanted, (record, old));
            return (waiting, decision.and(step));
        }
        if self.is_vacant(now, record) {
            return match self.place(now, wanted, record) {
                Ok(placed) => (None, decision.and(placed)),
                Err(why) => (Some(*why), decision),
            };
        }
        (None, decision)
    }

    /// With the last slot of a job that another tier owns goes what this cluster remembers of it; its owner is told the
    /// rest and has its own.
    fn forget_history(&self, last: &Slot, mut decision: Decision) -> Decision {
        let owned = self.book.get(last.job).is_some();
        let more = self.slots_of(last.job).any(|(slot, _)| slot != last)
            || self.assigned_of(last.job).next().is_some();
        if !owned && !more {
            for write in &mut decision.writes {
                if let Write::Event(event) = write {
                    *write = Write::Soft(Soft::Pass(Box::new(event.clone())));
                }
            }
            let events = self
                .history
                .of(last.job)
                .map(|event| Write::ForgetEvent(event.job, event.id));
            decision.writes.extend(events);
        }
        decision
    }

    fn forget_ended(&self, now: Now, record: &mut SlotRecord, mut decision: Decision) -> Decision {
        let (gone, left): (Vec<Copy>, Vec<Copy>) = record.copies.drain(..).partition(|copy| {
            let forgotten = !self.nodes.contains_key(&copy.node);
            forgotten || (copy.leaving && self.is_gone(copy))
        });
        record.copies = left;
        for copy in gone {
            decision = self.copy_event(
                now,
                copy.desired.instance,
                &InstanceEvent::Gone,
                "requested",
                decision,
            );
        }
        decision
    }

    /// Nothing is left of a copy: its worker held a set without it when it observed nothing of it.
    fn is_gone(&self, copy: &Copy) -> bool {
        let Some(node) = self.nodes.get(&copy.node) else {
            return true;
        };
        let instance = copy.desired.instance;
        let left_at = self
            .copies
            .get(&instance)
            .map_or_else(|| Some(node.desired.revision()), |state| state.left_at);
        node.observed.is_whole()
            && left_at.is_some_and(|revision| node.observed_at >= revision && node.observed_at > 0)
            && !node.observed.states().contains_key(&instance)
    }

    /// A copy stays if it is what is wanted; under a newer assignment also if it still may be where it is.
    pub(crate) fn may_stay(&self, copy: &Copy, wanted: &Desired) -> bool {
        let same = copy.desired.service.workload.hash == wanted.service.workload.hash;
        let restamped = copy.desired.generation.assignment < wanted.generation.assignment;
        same && (!restamped
            || self
                .nodes
                .get(&copy.node)
                .is_some_and(|node| still_fits(copy.node, node, &wanted.service)))
    }

    /// The worker of a copy cannot be reached for longer than the job allows.
    pub(crate) fn is_lost(&self, now: Instant, copy: &Copy) -> bool {
        self.nodes.get(&copy.node).is_none_or(|node| {
            self.lost_at(node, copy.desired.job.lost_after)
                .is_some_and(|at| at <= now)
        })
    }

    fn note_lost(&self, now: Now, record: &SlotRecord, mut decision: Decision) -> Decision {
        for copy in &record.copies {
            if self.is_lost(now.steady, copy) {
                decision = self.copy_event(
                    now,
                    copy.desired.instance,
                    &InstanceEvent::Lost,
                    ReasonCode::WorkerLost.as_str(),
                    decision,
                );
            }
        }
        decision
    }

    /// When a lost copy has come back beside its replacement, the job's `reconcile` decides which stays, and that gets a
    /// new generation. Nothing is decided before both are heard.
    fn keep_one(&self, now: Now, record: &mut SlotRecord, wanted: &Desired) {
        let stays = |copy: &Copy| {
            copy.counts() && self.fits(copy, wanted) && !self.is_lost(now.steady, copy)
        };
        let keepers: Vec<usize> = (0..record.copies.len())
            .filter(|index| record.copies.get(*index).is_some_and(stays))
            .collect();
        let heard = |copy: &Copy| self.nodes.get(&copy.node).is_some_and(Node::is_heard);
        let all_heard = keepers
            .iter()
            .all(|index| record.copies.get(*index).is_some_and(heard));
        if keepers.len() < 2 || !all_heard {
            return;
        }
        let policy = wanted.job.reconcile;
        let winner = keepers.iter().copied().min_by_key(|index| {
            record
                .copies
                .get(*index)
                .map(|copy| self.rank(policy, copy))
        });
        for index in keepers {
            let Some(copy) = record.copies.get_mut(index) else {
                continue;
            };
            if Some(index) == winner {
                record.placement += 1;
                copy.desired.generation = Generation {
                    assignment: wanted.generation.assignment,
                    placement: record.placement,
                };
            } else {
                copy.leaving = true;
            }
        }
    }

    /// Less is better: whether it is not ready, restarts where they count, and age.
    fn rank(
        &self,
        policy: Reconcile,
        copy: &Copy,
    ) -> (bool, u32, Generation, std::cmp::Reverse<Generation>) {
        let generation = copy.desired.generation;
        let none = Generation::default();
        let restarts = self
            .copies
            .get(&copy.desired.instance)
            .and_then(|known| known.state.report())
            .map_or(0, |report| report.restarts);
        let ready = self.is_ready(copy);
        match policy {
            Reconcile::KeepOriginal => (!ready, 0, generation, std::cmp::Reverse(none)),
            Reconcile::KeepReplacement => (!ready, 0, none, std::cmp::Reverse(generation)),
            Reconcile::Best => (!ready, restarts, generation, std::cmp::Reverse(none)),
        }
    }

    /// A copy that stays follows a newer assignment under a new generation, without a restart.
    fn restamp(&self, record: &mut SlotRecord, wanted: &Desired) {
        for copy in record.copies.iter_mut().filter(|copy| copy.counts()) {
            if copy.desired.generation.assignment != wanted.generation.assignment
                && self.fits(copy, wanted)
            {
                record.placement += 1;
                copy.desired.generation = Generation {
                    assignment: wanted.generation.assignment,
                    placement: record.placement,
                };
                copy.desired.job = std::sync::Arc::clone(&wanted.job);
                copy.desired.service = std::sync::Arc::clone(&wanted.service);
                record.used = Some(wanted.instance);
                record.withdrawn = None;
            }
        }
    }

    /// A slot is not placed again before the end of its former copy is confirmed or its worker cannot be reached.
    fn is_vacant(&self, now: Now, record: &SlotRecord) -> bool {
        record
            .copies
            .iter()
            .all(|copy| self.is_lost(now.steady, copy))
    }

    fn place(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
    ) -> Result<Decision, Box<Waiting>> {
        if let Some(until) = self.hold.filter(|until| *until > now.steady) {
            return Err(Box::new(self.held_back(wanted, until)));
        }
        if let Some(waiting) = self.braked(now, wanted, record) {
            return Err(Box::new(waiting));
        }
        if self.awaits_root(&wanted.slot) {
            return Err(Box::new(self.not_answered(wanted)));
        }
        if let Some(fault) = self.known_fault(now, &wanted.service) {
            return Err(fault);
        }
        // An order to another worker, or away from one, binds as long as another can have it; what has stopped for it runs
        // there rather than nowhere.
        let free = Desired {
            handover: Handover::default(),
            ..wanted.clone()
        };
        let chosen = match self.choose_for(wanted, record, None) {
            Err(NotChosen::Unplaceable(_)) => self.choose_for(&free, record, None),
            chosen => chosen,
        };
        let chosen = chosen.map_err(|why| match why {
            NotChosen::Unplaceable(why) => Box::new(self.no_room_for(now, wanted, why)),
            NotChosen::Asking(asks) => Box::new(self.asking(wanted, asks)),
        })?;
        let replaces = !record.copies.is_empty();
        let placed = self.put_copy(now, wanted, record, &chosen);
        Ok(if replaces {
            placed.soft(Soft::Replaced)
        } else {
            placed
        })
    }

    pub(crate) fn held_back(&self, wanted: &Desired, until: Instant) -> Waiting {
        let why = if self.unsettled {
            "this cluster's store is new"
        } else {
            "this cluster was cut off from all its workers"
        };
        let message = format!(
            "{why}: for {} s more it waits for those that may already run this",
            until.since(self.last_turn.unwrap_or_default()).as_secs()
        );
        self.held_back_because(wanted, message)
    }

    /// Another cluster may have it by now.
    fn not_answered(&self, wanted: &Desired) -> Waiting {
        let message = "this cluster's store is new: it waits for its root to say whether this is still to run here";
        self.held_back_because(wanted, message.to_owned())
    }

    pub(crate) fn held_back_because(&self, wanted: &Desired, message: String) -> Waiting {
        Waiting {
            reason: Reason::new(ReasonCode::NoWorker, message),
            rejections: Rejections::default(),
            capacity_revision: self.capacity_revision,
            class: class(&wanted.service),
            held_back: true,
            unheard: false,
            takes_over: false,
            again_at: None,
            asks: None,
        }
    }
}

/// The reason in a report, if it failed.
pub(crate) fn reason_of(report: &model::instance::Report) -> Option<&Reason> {
    match &report.observed {
        model::instance::Observed::Failed { reason, .. } => Some(reason),
        model::instance::Observed::Starting
        | model::instance::Observed::Running { .. }
        | model::instance::Observed::Ended => None,
    }
}

/// Whether a copy may stay on its worker under changed rules: what never depends on room.
fn still_fits(id: NodeId, node: &Node, service: &ServiceSpec) -> bool {
    let rules = &service.placement;
    let facts = &node.record.facts;
    rules
        .worker
        .as_ref()
        .is_none_or(|pin| *pin == *facts.name.as_str() || *pin == id.to_string())
        && (rules.architectures.is_empty() || rules.architectures.contains(&facts.architecture))
        && rules
            .labels
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
}
