//! Placement: what should fill a slot against the copies it has. First placement and re-placement are one path.

use model::desired::{Desired, Handover};
use model::id::NodeId;
use model::instance::InstanceEvent;
use model::job::{Reconcile, ServiceSpec};
use model::reason::{Reason, ReasonCode};
use model::slot::{Generation, Slot};
use model::time::{Instant, Now};
use schedulers::{Request, Scheduler, WorkerCandidate};

use crate::state::{Copy, Node, SlotRecord, State, Waiting};
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
            && !self.waiting.contains_key(slot)
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
        let node = self
            .choose_for(wanted, record, None)
            .or_else(|_| self.choose_for(&free, record, None))
            .map_err(|unplaceable| Box::new(self.no_room_for(now, wanted, unplaceable)))?;
        let replaces = !record.copies.is_empty();
        let placed = self.put_copy(now, wanted, record, node);
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

    fn held_back_because(&self, wanted: &Desired, message: String) -> Waiting {
        Waiting {
            reason: Reason::new(ReasonCode::NoWorker, message),
            rejections: model::reason::Rejections::default(),
            capacity_revision: self.capacity_revision,
            class: class(&wanted.service),
            held_back: true,
            again_at: None,
        }
    }

    pub(crate) fn candidates(&self, slot: &Slot) -> Vec<WorkerCandidate<'_>> {
        let service = (slot.job, slot.service.clone());
        self.nodes
            .iter()
            .map(|(id, node)| WorkerCandidate {
                id: *id,
                name: &node.record.facts.name,
                reachable: node.is_heard(),
                scheduling: node.record.scheduling,
                architecture: &node.record.facts.architecture,
                runtimes: &node.record.facts.runtimes,
                silent: &node.silent,
                labels: &node.labels,
                room: node.room(),
                ports: &node.ports,
                replicas: node.services.get(&service).copied().unwrap_or(0),
            })
            .collect()
    }

    /// The next waiting slot that may fit since something became free: one at a time, each against the ledger as it is.
    pub(crate) fn wake_one(&self, now: Now) -> Option<Decision> {
        let class = self.awake.first()?;
        let slot = self.classes.get(class).and_then(|slots| slots.first());
        let Some((slot, wanted)) = slot.and_then(|slot| Some((slot, self.wanted(slot)?))) else {
            return Some(Decision::default().soft(Soft::Asleep(class.clone())));
        };
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        let held = self.hold.is_some_and(|until| until > now.steady);
        if held || self.braked.contains(slot) || self.faulted.contains_key(class) {
            return Some(Decision::default().soft(Soft::Asleep(class.clone())));
        }
        match self.algorithm.place(&request, &self.candidates(slot)) {
            Ok(_) => Some(Decision::default().soft(Soft::Wake(slot.clone()))),
            Err(unplaceable) => {
                Some(self.stay_asleep(class, &self.no_room_for(now, &wanted, unplaceable)))
            }
        }
    }

    /// A class that still does not fit says so with its present reason; the counts stay those of each slot's last try.
    fn stay_asleep(&self, class: &str, waiting: &Waiting) -> Decision {
        let outdated = |slot: &&Slot| {
            self.waiting.get(*slot).is_some_and(|known| {
                let news = known.reason.code != waiting.reason.code;
                (news || waiting.again_at.is_some()) && !known.held_back
            })
        };
        let slots = self.classes.get(class).into_iter().flatten();
        let decision = slots
            .filter(outdated)
            .fold(Decision::default(), |decision, slot| {
                decision.soft(Soft::Waiting {
                    slot: slot.clone(),
                    waiting: Some(waiting.clone()),
                })
            });
        decision.soft(Soft::Asleep(class.to_owned()))
    }

    pub(crate) fn no_room_for(
        &self,
        now: Now,
        wanted: &Desired,
        unplaceable: schedulers::Unplaceable,
    ) -> Waiting {
        let fault = unplaceable.fault.as_ref();
        Waiting {
            again_at: fault.map(|_| now.steady.plus(self.config.scheduler_pause)),
            reason: no_room(&unplaceable, &wanted.service),
            rejections: unplaceable.rejections,
            capacity_revision: self.capacity_revision,
            class: class(&wanted.service),
            held_back: false,
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

/// Slots of one class fit or do not fit together.
pub(crate) fn class(service: &ServiceSpec) -> String {
    let workload = &service.workload;
    let ports: Vec<_> = schedulers::fixed_ports(workload).collect();
    format!(
        "{:?} {} {:?} {:?}",
        workload.resources, workload.runtime, service.placement, ports
    )
}

/// The sentence for what no worker can host.
fn no_room(unplaceable: &schedulers::Unplaceable, service: &ServiceSpec) -> Reason {
    if let Some(fault) = unplaceable.scheduler_fault() {
        return fault;
    }
    let rejections = &unplaceable.rejections;
    if rejections.is_empty() {
        return Reason::new(
            ReasonCode::NoWorker,
            "this cluster has no worker yet; start a node-engine with --cluster and this cluster's address",
        );
    }
    let pinned = service.placement.worker.as_ref();
    if let Some(pin) = pinned
        && rejections
            .iter()
            .all(|(code, ..)| code == ReasonCode::NotPinned)
    {
        return Reason::new(
            ReasonCode::NoSuchWorker,
            format!("there is no worker {pin:?} in this cluster"),
        );
    }
    // Of what is pinned only the pinned one's fault counts.
    let own = || {
        let faults = rejections.iter().map(|(code, ..)| code);
        faults.filter(|code| *code != ReasonCode::NotPinned).last()
    };
    let code = pinned
        .and_then(|_| own())
        .or_else(|| rejections.main())
        .unwrap_or(ReasonCode::NoWorker);
    let request = Request {
        workload: &service.workload,
        rules: &service.placement,
    };
    let counts = rejections.sentence("worker");
    let message = match unplaceable.shortage(&request, "worker") {
        Some(shortage) => format!("no worker can host it now: {counts}; {shortage}"),
        None => format!("no worker can host it now: {counts}"),
    };
    Reason::new(code, message)
}
