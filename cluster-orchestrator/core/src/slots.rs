//! Placement: what should fill a slot against the copies it has. First placement and re-placement are one path.

use model::desired::Desired;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId, NodeId};
use model::instance::{InstanceEvent, InstanceState, Transition};
use model::job::ServiceSpec;
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
        if self.upstream.set().contains_key(slot)
            || self.root_answered()
            || self.book.get(slot.job).is_some()
        {
            record.provisional = false;
        }
        decision = self.forget_ended(now, &mut record, decision);
        for copy in &mut record.copies {
            copy.leaving = copy.leaving
                || !wanted
                    .as_ref()
                    .is_some_and(|wanted| self.may_stay(copy, wanted));
        }
        decision = self.note_lost(now, &record, decision);
        if let Some(wanted) = &wanted {
            decision = self.note_overdue(now, wanted, &mut record, decision);
        }
        self.keep_one(now, &mut record, wanted.as_ref());
        let mut waiting = None;
        if let Some(wanted) = &wanted {
            Self::restamp(&mut record, wanted);
            if self.is_vacant(now, &record) {
                match self.place(now, slot, wanted, &mut record) {
                    Ok(placed) => decision = decision.and(placed),
                    Err(why) => waiting = Some(*why),
                }
            }
        }
        if let (Some(waiting), Some(wanted)) = (&waiting, &wanted)
            && !self.waiting.contains_key(slot)
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
            decision
        }
    }

    /// With the last slot of a job that another tier owns goes what this cluster remembers of it; its owner has its own.
    fn forget_history(&self, last: &Slot, mut decision: Decision) -> Decision {
        let owned = self.book.get(last.job).is_some();
        let more = self.slots_of(last.job).any(|(slot, _)| slot != last)
            || self.assigned_of(last.job).next().is_some();
        if !owned && !more {
            decision
                .writes
                .retain(|write| !matches!(write, Write::Event(_)));
            let events = self
                .history
                .of(last.job)
                .map(|event| Write::ForgetEvent(event.job, event.id));
            decision.writes.extend(events);
        }
        decision
    }

    fn forget_ended(&self, now: Now, record: &mut SlotRecord, mut decision: Decision) -> Decision {
        let (gone, left): (Vec<Copy>, Vec<Copy>) = record
            .copies
            .drain(..)
            .partition(|copy| copy.leaving && self.is_gone(copy));
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
    fn may_stay(&self, copy: &Copy, wanted: &Desired) -> bool {
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

    /// When a lost copy has come back beside its replacement, `reconcile: keep_original` decides: the one with the
    /// older generation if it runs, and it gets a new generation. Nothing is decided before both are heard.
    fn keep_one(&self, now: Now, record: &mut SlotRecord, wanted: Option<&Desired>) {
        let keepers: Vec<usize> = (0..record.copies.len())
            .filter(|index| {
                record
                    .copies
                    .get(*index)
                    .is_some_and(|copy| !copy.leaving && !self.is_lost(now.steady, copy))
            })
            .collect();
        let heard = |copy: &Copy| self.nodes.get(&copy.node).is_some_and(Node::is_heard);
        let all_heard = keepers
            .iter()
            .all(|index| record.copies.get(*index).is_some_and(heard));
        if keepers.len() < 2 || !all_heard || wanted.is_none() {
            return;
        }
        let rank = |copy: &Copy| {
            let runs = matches!(
                self.copies
                    .get(&copy.desired.instance)
                    .map(|copy| &copy.state),
                Some(InstanceState::Running(_))
            );
            (!runs, copy.desired.generation)
        };
        let winner = keepers
            .iter()
            .copied()
            .min_by_key(|index| record.copies.get(*index).map(rank));
        let assignment = wanted.map_or(0, |wanted| wanted.generation.assignment);
        for index in keepers {
            let Some(copy) = record.copies.get_mut(index) else {
                continue;
            };
            if Some(index) == winner {
                record.placement += 1;
                copy.desired.generation = Generation {
                    assignment,
                    placement: record.placement,
                };
            } else {
                copy.leaving = true;
            }
        }
    }

    /// A copy that stays follows a newer assignment under a new generation, without a restart.
    fn restamp(record: &mut SlotRecord, wanted: &Desired) {
        for copy in record.copies.iter_mut().filter(|copy| !copy.leaving) {
            if copy.desired.generation.assignment != wanted.generation.assignment {
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
        slot: &Slot,
        wanted: &Desired,
        record: &mut SlotRecord,
    ) -> Result<Decision, Box<Waiting>> {
        if let Some(until) = self.hold.filter(|until| *until > now.steady) {
            return Err(Box::new(self.held_back(wanted, until)));
        }
        let mut candidates = self.candidates(slot);
        // The one that did not run it in time is the last to get it again.
        if candidates.len() > 1 {
            candidates.retain(|candidate| Some(candidate.id) != record.withdrawn);
        }
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        let chosen = self
            .algorithm
            .place(&request, &candidates)
            .map_err(|unplaceable| Box::new(self.no_room_for(wanted, unplaceable)))?;
        let Some(node) = candidates.get(chosen).map(|candidate| candidate.id) else {
            return Ok(Decision::default());
        };
        record.placement += 1;
        let first =
            record.used != Some(wanted.instance) && !self.copies.contains_key(&wanted.instance);
        let seed = sync::mark(&[&self.incarnation, &self.term.nonce, slot, &record.placement]).0;
        let instance = if first {
            wanted.instance
        } else {
            InstanceId::derived(now.wall, seed)
        };
        record.used = Some(wanted.instance);
        let generation = Generation {
            assignment: wanted.generation.assignment,
            placement: record.placement,
        };
        let desired = Desired {
            instance,
            generation,
            ..wanted.clone()
        };
        record.copies.push(Copy {
            desired: desired.clone(),
            node,
            leaving: false,
        });
        let name = self
            .nodes
            .get(&node)
            .map_or("", |node| node.record.facts.name.as_str());
        let from = if self.waiting.contains_key(slot) {
            "NOT_DEPLOYED"
        } else {
            "SCHEDULED_CLUSTER"
        };
        let message = format!("placed on worker {name} by {}", self.algorithm.name());
        Ok(Self::event(
            now,
            &desired,
            (from, "SCHEDULED_NODE"),
            "placed",
            message,
        ))
    }

    fn held_back(&self, wanted: &Desired, until: Instant) -> Waiting {
        let message = format!(
            "this cluster's store is new: for {} s more it waits for workers that may already run this",
            until.since(self.last_turn.unwrap_or_default()).as_secs()
        );
        Waiting {
            reason: Reason::new(ReasonCode::NoWorker, message),
            rejections: model::reason::Rejections::default(),
            capacity_revision: self.capacity_revision,
            class: class(&wanted.service),
            held_back: true,
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
        if self.hold.is_some_and(|until| until > now.steady) {
            return Some(Decision::default().soft(Soft::Asleep(class.clone())));
        }
        match self.algorithm.place(&request, &self.candidates(slot)) {
            Ok(_) => Some(Decision::default().soft(Soft::Wake(slot.clone()))),
            Err(unplaceable) => {
                Some(self.stay_asleep(class, &self.no_room_for(&wanted, unplaceable)))
            }
        }
    }

    /// A class that still does not fit says so with its present reason; the counts stay those of each slot's last try.
    fn stay_asleep(&self, class: &str, waiting: &Waiting) -> Decision {
        let outdated = |slot: &&Slot| {
            self.waiting
                .get(*slot)
                .is_some_and(|known| known.reason.code != waiting.reason.code && !known.held_back)
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

    fn no_room_for(&self, wanted: &Desired, unplaceable: schedulers::Unplaceable) -> Waiting {
        Waiting {
            reason: no_room(&unplaceable, &wanted.service),
            rejections: unplaceable.rejections,
            capacity_revision: self.capacity_revision,
            class: class(&wanted.service),
            held_back: false,
        }
    }

    /// The state of a copy after an event, with its place in the job's history.
    pub(crate) fn copy_event(
        &self,
        now: Now,
        instance: InstanceId,
        event: &InstanceEvent,
        cause: &str,
        decision: Decision,
    ) -> Decision {
        let Some(copy) = self.copies.get(&instance) else {
            return decision;
        };
        let Transition::To(next) = copy.state.on(event) else {
            return decision;
        };
        let (from, to) = (copy.state.as_str(), next.as_str());
        let record = self.slots.get(&copy.slot);
        let desired = record.and_then(|record| {
            record
                .copies
                .iter()
                .find(|known| known.desired.instance == instance)
        });
        let decision = match desired.filter(|_| from != to) {
            Some(desired) => {
                let name = self
                    .nodes
                    .get(&copy.node)
                    .map_or("", |node| node.record.facts.name.as_str());
                let message = next.report().and_then(reason_of).map_or_else(
                    || format!("{to} on worker {name}"),
                    |reason| reason.message.clone(),
                );
                decision.and(Self::event(
                    now,
                    &desired.desired,
                    (from, to),
                    cause,
                    message,
                ))
            }
            None => decision,
        };
        decision.soft(Soft::Copy {
            instance,
            state: next,
        })
    }

    /// An event of a job's history; [`crate::turn`] numbers it.
    pub(crate) fn event(
        now: Now,
        desired: &Desired,
        (from, to): (&'static str, &'static str),
        cause: &str,
        message: String,
    ) -> Decision {
        Decision::default().write(Write::Event(Event {
            id: EventId::from_bits(0),
            at: now.wall,
            tier: Tier::Cluster,
            job: desired.slot.job,
            instance: Some(desired.instance),
            generation: desired.generation,
            from,
            to,
            cause: cause.to_owned(),
            message,
        }))
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
fn class(service: &ServiceSpec) -> String {
    let workload = &service.workload;
    let ports: Vec<_> = schedulers::fixed_ports(workload).collect();
    format!(
        "{:?} {} {:?} {:?}",
        workload.resources, workload.runtime, service.placement, ports
    )
}

/// The sentence for what no worker can host.
fn no_room(unplaceable: &schedulers::Unplaceable, service: &ServiceSpec) -> Reason {
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
    let code = rejections.main().unwrap_or(ReasonCode::NoWorker);
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
