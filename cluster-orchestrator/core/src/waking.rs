//! Slots that wait: which is tried again when something becomes free or is given up, and what the others say meanwhile.

use model::desired::Desired;
use model::job::ServiceSpec;
use model::node::Liveness;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::Slot;
use model::time::Now;
use schedulers::{Algorithm, Policy, Request, Scheduler, WorkerCandidate};

use crate::state::{Node, State, Waiting};
use crate::{Decision, Soft};

impl State {
    /// The slots of a class that wait, but for what is held back: that waits for something else than room.
    fn waits_for_room(&self, class: &str) -> impl Iterator<Item = (&Slot, &Waiting)> + Clone {
        let slots = self.classes.get(class).into_iter().flatten();
        let waits = slots.filter_map(|slot| Some((slot, self.waiting.get(slot)?)));
        waits.filter(|(_, waiting)| !waiting.held_back)
    }

    /// The next waiting slot that may fit since something became free: one at a time, each against the ledger as it is.
    pub(crate) fn wake_one(&self, now: Now) -> Option<Decision> {
        let class = self.awake.first()?;
        let asleep = Decision::default().soft(Soft::Asleep(class.clone()));
        let held = self.hold.is_some_and(|until| until > now.steady);
        if held || self.faulted.contains_key(class) {
            return Some(asleep);
        }
        let waits = self.waits_for_room(class);
        let first = waits.clone().find(|(_, waiting)| !waiting.takes_over);
        let Some((slot, wanted)) = first.and_then(|(slot, _)| Some((slot, self.wanted(slot)?)))
        else {
            return Some(waits.fold(asleep, |decision, (slot, _)| {
                decision.soft(Soft::Wake(slot.clone()))
            }));
        };
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        let candidates = self.candidates(slot);
        let looked = match &self.policy {
            Policy::BuiltIn(algorithm) => algorithm.place(&request, &candidates),
            // Whether anything will do; which of it is asked for each slot.
            Policy::Remote(_) => Algorithm::FirstFit.place(&request, &candidates),
        };
        match looked {
            Ok(_) => Some(Decision::default().soft(Soft::Wake(slot.clone()))),
            Err(unplaceable) => {
                Some(self.stay_asleep(class, &self.no_room_for(now, &wanted, unplaceable)))
            }
        }
    }

    /// A class that still does not fit says so with its present reason; the counts stay those of each slot's last try.
    fn stay_asleep(&self, class: &str, waiting: &Waiting) -> Decision {
        let decision =
            self.waits_for_room(class)
                .fold(Decision::default(), |decision, (slot, known)| {
                    let news = known.reason.code != waiting.reason.code
                        || known.unheard != waiting.unheard
                        || waiting.again_at.is_some();
                    if known.takes_over {
                        decision.soft(Soft::Wake(slot.clone()))
                    } else if news {
                        decision.soft(Soft::Waiting {
                            slot: slot.clone(),
                            waiting: Some(waiting.clone()),
                        })
                    } else {
                        decision
                    }
                });
        decision.soft(Soft::Asleep(class.to_owned()))
    }

    /// Whether among the workers that were passed over some are not heard that are not lost either.
    fn may_be_heard(&self, rejections: &Rejections) -> bool {
        let expected = |node: &Node| !node.is_heard() && node.liveness != Liveness::Lost;
        rejections.counts(ReasonCode::Unreachable) && self.nodes.values().any(expected)
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
            unheard: self.may_be_heard(&unplaceable.rejections),
            rejections: unplaceable.rejections,
            capacity_revision: self.capacity_revision,
            class: class(&wanted.service),
            held_back: false,
            takes_over: false,
            asks: None,
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
    if let Some(fault) = unplaceable.by_scheduler() {
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
    Reason::new(code, unplaceable.sentence(&request, "worker"))
}
