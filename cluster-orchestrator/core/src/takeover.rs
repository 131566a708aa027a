//! One copy of a slot takes over from another: in a migration, a restart, an update, or since its worker is drained.
//!
//! # Flow
//! 1. The copy that a slot has is no longer what is wanted there ([`State::fits`]), and its worker can be reached.
//! 2. Start first: a second copy is placed beside it. When that is ready the old one drains, then leaves.
//! 3. Where that has no room, or by choice: the old one leaves first, if the new one would have room without it. Once it is
//!    gone the slot is vacant, and filled like any other.
//! 4. What cannot be placed, or does not come to run, is refused by the number of its order. The old copy runs on.
//!
//! # Guarantees
//! At most two copies of a slot count at a time, and the old one leaves only when the new one is ready, or would fit.

use std::collections::BTreeSet;

use model::desired::{Desired, Handover, Offer};
use model::id::NodeId;
use model::instance::InstanceState;
use model::job::{PlacementRules, Strategy};
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Role, Slot};
use model::time::{Instant, Now};
use schedulers::{
    Algorithm, Asks, PortKey, Request, Scheduler, Unplaceable, WorkerCandidate, fixed_ports,
};

use crate::choosing::{Chosen, NotChosen};
use crate::state::{Copy, Node, RefusedTakeover, SlotRecord, State, Waiting};
use crate::{Decision, Soft};

impl State {
    /// Whether a copy may go on filling its slot.
    pub(crate) fn fits(&self, copy: &Copy, wanted: &Desired) -> bool {
        self.may_stay(copy, wanted)
            && wanted.handover.replace != Some(copy.desired.instance)
            && !self.is_evicted(copy, wanted)
    }

    /// Its worker is drained or quarantined, and it is not pinned there.
    fn is_evicted(&self, copy: &Copy, wanted: &Desired) -> bool {
        wanted.service.placement.worker.is_none()
            && self
                .nodes
                .get(&copy.node)
                .is_some_and(|node| node.record.scheduling.empties())
    }

    /// The copy that is to be replaced, if there is one and its worker can be reached. Of several the latest; the
    /// others leave.
    pub(crate) fn old_copy(
        &self,
        now: Instant,
        record: &mut SlotRecord,
        wanted: &Desired,
    ) -> Option<usize> {
        let mut old: Option<usize> = None;
        for index in 0..record.copies.len() {
            let Some(copy) = record.copies.get(index) else {
                continue;
            };
            if !copy.counts() || self.fits(copy, wanted) {
                continue;
            }
            let generation = copy.desired.generation;
            let later = old
                .and_then(|known| record.copies.get(known))
                .is_none_or(|known| known.desired.generation < generation);
            let lost = self.is_lost(now, copy);
            let leaves = if lost {
                Some(index)
            } else if later {
                old.replace(index)
            } else {
                Some(index)
            };
            if let Some(copy) = leaves.and_then(|index| record.copies.get_mut(index)) {
                copy.leaving = true;
            }
        }
        old
    }

    /// One step of a takeover from the copy at `old`; what it waits for, if for room.
    pub(crate) fn take_over(
        &self,
        now: Now,
        wanted: &Desired,
        (record, old): (&mut SlotRecord, usize),
    ) -> (Option<Waiting>, Decision) {
        let nothing = (None, Decision::default());
        let Some(old_copy) = record.copies.get(old).cloned() else {
            return nothing;
        };
        let order = self.order(&old_copy, wanted);
        let successor = record.copies.iter().position(|copy| {
            copy.counts() && self.fits(copy, wanted) && !self.is_lost(now.steady, copy)
        });
        if let Some(index) = successor {
            return (None, self.watch(now, wanted, record, (old, index)));
        }
        let refused = record.refused.as_ref();
        if refused.is_some_and(|refused| self.is_final(refused, &order)) {
            return nothing;
        }
        if let Some(until) = self.hold.filter(|until| *until > now.steady) {
            return (Some(self.held_back(wanted, until)), Decision::default());
        }
        let mut why = None;
        if order.start_first {
            match self.choose_for(wanted, record, Some((&old_copy, &order, false))) {
                Ok(chosen) => return (None, self.put_copy(now, wanted, record, &chosen)),
                Err(NotChosen::Unplaceable(unplaceable)) => why = Some(unplaceable),
                Err(NotChosen::Asking(asks)) => {
                    let waiting = Waiting {
                        takes_over: true,
                        ..self.asking(wanted, asks)
                    };
                    let waits = Decision::default().soft(Soft::Begun(wanted.slot.clone()));
                    return (Some(waiting), waits);
                }
            }
        }
        if !order.keep_old {
            match self.choose_for(wanted, record, Some((&old_copy, &order, true))) {
                Ok(_) => {
                    if let Some(copy) = record.copies.get_mut(old) {
                        copy.leaving = true;
                    }
                    record.avoid =
                        (!order.same_worker && order.replace.is_some()).then_some(old_copy.node);
                    return (
                        None,
                        Decision::default().soft(Soft::Begun(wanted.slot.clone())),
                    );
                }
                Err(NotChosen::Unplaceable(unplaceable)) => why = Some(unplaceable),
                // Nobody is asked whether it would fit.
                Err(NotChosen::Asking(_)) => {}
            }
        }
        let waiting = self.no_room_for(now, wanted, why.unwrap_or_default());
        if waiting.unheard && order.number != 0 {
            let waits = Decision::default().soft(Soft::Begun(wanted.slot.clone()));
            let waiting = Waiting {
                takes_over: true,
                ..waiting
            };
            return (Some(waiting), waits);
        }
        let waiting = if waiting.rejections.is_empty() && waiting.again_at.is_none() {
            let message = "this cluster has no other worker than the one that it is to leave";
            Waiting {
                reason: Reason::new(ReasonCode::NoWorker, message),
                ..waiting
            }
        } else {
            waiting
        };
        if order.number == 0 {
            return (Some(waiting), Decision::default());
        }
        record.refused = Some(RefusedTakeover {
            number: order.number,
            offer: Offer {
                reason: waiting.reason,
                rejections: waiting.rejections,
                capacity_revision: waiting.capacity_revision,
            },
        });
        nothing
    }

    /// What failed is not tried again under the same number; what leaves a drained worker is, when something has changed.
    fn is_final(&self, refused: &RefusedTakeover, order: &Handover) -> bool {
        refused.number == order.number
            && (order.number != 0 || refused.offer.capacity_revision == self.capacity_revision)
    }

    /// The owner's order, or this cluster's own where a worker is drained: then its number is 0.
    fn order(&self, old: &Copy, wanted: &Desired) -> Handover {
        let asked =
            wanted.handover.replace == Some(old.desired.instance) || !self.may_stay(old, wanted);
        if asked {
            return wanted.handover.clone();
        }
        let start_first = wanted.service.takeover.migration == Strategy::StartFirst;
        Handover {
            number: 0,
            start_first,
            keep_old: start_first,
            replace: Some(old.desired.instance),
            same_worker: false,
            worker: None,
        }
    }

    /// The new copy is ready, has failed, or needs time.
    fn watch(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
        (old, new): (usize, usize),
    ) -> Decision {
        let mut decision = Decision::default().soft(Soft::Begun(wanted.slot.clone()));
        let Some(successor) = record.copies.get(new).cloned() else {
            return decision;
        };
        if self.is_ready(&successor) {
            if let Some(copy) = record.copies.get_mut(old) {
                let state = |name| (name, name);
                let at = self
                    .nodes
                    .get(&successor.node)
                    .map_or("", |node| node.record.facts.name.as_str());
                decision = decision.and(Self::event(
                    now,
                    &copy.desired,
                    state("RUNNING"),
                    "replaced",
                    format!(
                        "{} on worker {at} has taken over",
                        successor.desired.instance
                    ),
                ));
                copy.draining = true;
            }
            return decision;
        }
        let Some(reason) = self.why_not_ready(now.steady, &successor) else {
            return decision;
        };
        let number = record
            .copies
            .get(old)
            .map_or(0, |copy| self.order(copy, wanted).number);
        if let Some(copy) = record.copies.get_mut(new) {
            copy.leaving = true;
        }
        record.refused = Some(RefusedTakeover {
            number,
            offer: Offer {
                reason,
                rejections: Rejections::default(),
                capacity_revision: self.capacity_revision,
            },
        });
        decision
    }

    /// It runs, and is healthy where it has a check; or it was one that ends, and has ended well.
    pub(crate) fn is_ready(&self, copy: &Copy) -> bool {
        let heard = self.nodes.get(&copy.node).is_some_and(Node::is_heard);
        let known = self.copies.get(&copy.desired.instance);
        heard && known.is_some_and(|known| known.state.is_ready())
    }

    /// Why a copy will not become ready; `None` while it may.
    pub(crate) fn why_not_ready(&self, now: Instant, copy: &Copy) -> Option<Reason> {
        let known = self.copies.get(&copy.desired.instance)?;
        let name = self
            .nodes
            .get(&copy.node)
            .map_or("", |node| node.record.facts.name.as_str());
        if self.is_lost(now, copy) {
            let message = format!("worker {name} cannot be heard");
            return Some(Reason::new(ReasonCode::WorkerLost, message));
        }
        match &known.state {
            InstanceState::Failed(report) => {
                let why = crate::view::failure_of(report);
                report.has_given_up().then(|| {
                    let message = format!(
                        "the new copy on worker {name} does not run: {}",
                        why.message
                    );
                    Reason::new(why.code, message)
                })
            }
            InstanceState::Running(report) if report.is_unhealthy() => {
                let message = format!("the new copy on worker {name} is not healthy");
                Some(Reason::new(ReasonCode::Unhealthy, message))
            }
            InstanceState::ScheduledNode
                if known.deadline.is_none()
                    && self.nodes.get(&copy.node).is_some_and(Node::is_heard) =>
            {
                let seconds = self.config.deploy_deadline.as_secs();
                let message = format!("worker {name} did not run the new copy within {seconds} s");
                Some(Reason::new(ReasonCode::DeployDeadline, message))
            }
            InstanceState::Requested
            | InstanceState::ScheduledCluster
            | InstanceState::ScheduledNode
            | InstanceState::Running(_)
            | InstanceState::NotDeployed { .. }
            | InstanceState::Unknown { .. }
            | InstanceState::Terminated { .. } => None,
        }
    }

    /// What was replaced leaves when its drain delay is over.
    pub(crate) fn drain(
        &self,
        now: Now,
        slot: &Slot,
        record: &mut SlotRecord,
        mut decision: Decision,
    ) -> Decision {
        let until = self.drains.get(slot).copied();
        let mut drains = false;
        for copy in record
            .copies
            .iter_mut()
            .filter(|copy| copy.draining && !copy.leaving)
        {
            let delay = copy.desired.service.takeover.drain_delay;
            match until {
                Some(until) if until > now.steady => drains = true,
                None if !delay.is_zero() && !self.is_lost(now.steady, copy) => {
                    decision = decision.soft(Soft::Drain {
                        slot: slot.clone(),
                        until: Some(now.steady.plus(delay)),
                    });
                    drains = true;
                }
                Some(_) | None => {
                    copy.draining = false;
                    copy.leaving = true;
                }
            }
        }
        if until.is_some() && !drains {
            decision = decision.soft(Soft::Drain {
                slot: slot.clone(),
                until: None,
            });
        }
        decision
    }

    /// The worker for a copy; beside or (`true`) instead of an old one, whose order may name it. The one that did not run it
    /// in time, or that it left, is the last to get it again.
    pub(crate) fn choose_for(
        &self,
        wanted: &Desired,
        record: &SlotRecord,
        beside: Option<(&Copy, &Handover, bool)>,
    ) -> Result<Chosen, NotChosen> {
        let last: Vec<NodeId> = record.withdrawn.into_iter().chain(record.avoid).collect();
        let first = self.choose_but(wanted, beside, &last);
        match first {
            Err(NotChosen::Unplaceable(_)) if !last.is_empty() => {
                self.choose_but(wanted, beside, &[])
            }
            Ok(_) | Err(_) => first,
        }
    }

    fn choose_but(
        &self,
        wanted: &Desired,
        beside: Option<(&Copy, &Handover, bool)>,
        except: &[NodeId],
    ) -> Result<Chosen, NotChosen> {
        let freed = beside.filter(|(.., instead)| *instead).map(|(old, ..)| old);
        let ports = freed.map(|old| self.ports_without(old)).unwrap_or_default();
        let mut candidates = self.candidates(&wanted.slot);
        let order = beside.map_or(&wanted.handover, |(_, order, _)| order);
        let away = beside.filter(|(_, order, _)| order.replace.is_some() && !order.same_worker);
        let leaves = away.map(|(old, ..)| old.node);
        candidates
            .retain(|candidate| Some(candidate.id) != leaves && !except.contains(&candidate.id));
        if let Some(old) = freed {
            let resources = old.desired.service.workload.resources;
            let there = |candidate: &&mut WorkerCandidate<'_>| candidate.id == old.node;
            for candidate in candidates.iter_mut().filter(there) {
                candidate.room = candidate.room.plus(resources);
                candidate.ports = &ports;
            }
        }
        let pinned = order.worker.as_ref().map(|worker| PlacementRules {
            worker: Some(worker.clone()),
            ..wanted.service.placement.clone()
        });
        let request = Request {
            workload: &wanted.service.workload,
            rules: pinned.as_ref().unwrap_or(&wanted.service.placement),
        };
        let (chosen, by) = if freed.is_some() {
            // Only whether it would fit: the place is chosen once the old copy is gone.
            (
                Algorithm::FirstFit.place(&request, &candidates)?,
                String::new(),
            )
        } else {
            let but = || except.iter().copied().chain(leaves).collect();
            let asks = || Asks::new(wanted, request.rules, but());
            self.pick(&wanted.slot, &request, &candidates, asks)?
        };
        let node = candidates.get(chosen).map(|candidate| candidate.id);
        let node = node.ok_or_else(Unplaceable::default)?;
        Ok(Chosen { node, by })
    }

    /// The fixed ports that are taken on a copy's worker, but for its own.
    fn ports_without(&self, copy: &Copy) -> BTreeSet<PortKey> {
        let mut ports = self
            .nodes
            .get(&copy.node)
            .map(|node| node.ports.clone())
            .unwrap_or_default();
        for port in fixed_ports(&copy.desired.service.workload) {
            ports.remove(&port);
        }
        ports
    }

    /// What a copy is to its slot.
    pub(crate) fn role(&self, now: Now, record: &SlotRecord, copy: &Copy) -> Role {
        if self.is_lost(now.steady, copy) {
            return Role::Dangling;
        }
        if !copy.counts() {
            return Role::Leaving;
        }
        let older = |other: &Copy| {
            other.counts()
                && other.desired.generation < copy.desired.generation
                && !self.is_lost(now.steady, other)
        };
        if record.copies.iter().any(older) {
            Role::Successor
        } else {
            Role::Holder
        }
    }

    /// The next copy that was replaced and has run on long enough.
    pub(crate) fn drained(&self, now: Now) -> Option<Decision> {
        let over = |(slot, until): &(&Slot, &Instant)| {
            **until <= now.steady && !self.dirty.contains(*slot)
        };
        let (slot, _) = self.drains.iter().find(over)?;
        Some(Decision::default().soft(Soft::Wake(slot.clone())))
    }

    /// A new copy of a slot on that worker.
    pub(crate) fn put_copy(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
        chosen: &Chosen,
    ) -> Decision {
        let node = chosen.node;
        let slot = &wanted.slot;
        record.placement += 1;
        let first =
            record.used != Some(wanted.instance) && !self.copies.contains_key(&wanted.instance);
        let seed = sync::mark(&[&self.incarnation, &self.term.nonce, slot, &record.placement]).0;
        let instance = if first {
            wanted.instance
        } else {
            model::id::InstanceId::derived(now.wall, seed)
        };
        record.used = Some(wanted.instance);
        let beside = record
            .copies
            .iter()
            .any(|copy| copy.counts() && !self.is_lost(now.steady, copy));
        if !beside {
            record.avoid = None;
        }
        let desired = Desired {
            instance,
            generation: Generation {
                assignment: wanted.generation.assignment,
                placement: record.placement,
            },
            handover: Handover::default(),
            ..wanted.clone()
        };
        record.copies.push(Copy {
            desired: desired.clone(),
            node,
            leaving: false,
            draining: false,
        });
        let name = self
            .nodes
            .get(&node)
            .map_or("", |node| node.record.facts.name.as_str());
        let waited = self.waiting.get(slot);
        let from = if waited.is_some_and(|waiting| !waiting.is_asking()) {
            "NOT_DEPLOYED"
        } else {
            "SCHEDULED_CLUSTER"
        };
        let message = format!("placed on worker {name} by {}", chosen.by);
        let placed = Self::event(now, &desired, (from, "SCHEDULED_NODE"), "placed", message);
        if beside {
            placed.soft(Soft::Begun(slot.clone()))
        } else {
            placed
        }
    }
}
