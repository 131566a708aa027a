//! The uplink: what the root assigns, and what it is told.

use model::aggregate::{Aggregate, Class};
use model::desired::{CopyReport, Offer, SlotReport};
use model::id::ClusterId;
use model::job::Owner;
use model::node::Scheduling;
use model::slot::{Role, Slot};
use model::time::{Instant, Now};
use sync::{Change, Held, UpReport, Verdict};

use crate::state::{Copy, Node, SlotRecord, State};
use crate::{Action, AssignmentEntry, Beat, Decision, Soft, Write};

impl State {
    /// After every (re)connect: what is held, a whole report, what is free.
    pub(crate) fn root_connected(&self, now: Now, cluster: ClusterId) -> Decision {
        let mut decision = Decision::default()
            .soft(Soft::Root(true))
            .soft(Soft::WholeDue);
        if self.hold.is_none() && self.was_isolated() {
            let until = now.steady.plus(self.config.grace());
            decision = decision.soft(Soft::Hold(Some(until)));
        }
        if self.cluster != Some(cluster) {
            decision = decision.write(Write::Cluster(cluster));
        }
        decision
            .act(self.acknowledge(self.upstream.held()))
            .act(Action::Aggregate(Box::new(self.aggregate())))
    }

    pub(crate) fn assigned(&self, now: Now, change: &Change<AssignmentEntry>) -> Decision {
        match self.upstream.decide(change) {
            Verdict::Apply(update) => {
                let after = self.upstream.held_after(&update);
                let first = self.upstream.mark().incarnation.is_none() && !update.put.is_empty();
                // A set of another incarnation may give ids again that were used under the one before.
                let same = self.upstream.mark().incarnation == update.mark.incarnation;
                let used = if self.trusting && same {
                    Decision::default()
                } else {
                    self.mark_used(update.put.iter().map(|entry| &entry.value))
                };
                let mut decision = Decision::default().write(Write::Upstream(update)).and(used);
                if !self.trusting {
                    decision = decision.write(Write::Trust(true));
                }
                if first {
                    // An emptied store: workers that run these may come back and must be heard first.
                    decision = decision
                        .write(Write::Unsettled(true))
                        .soft(Soft::Hold(Some(now.steady.plus(self.config.grace()))));
                }
                decision.act(self.acknowledge(after))
            }
            Verdict::Stage(part) => {
                let after = self.upstream.held_staging(&part);
                Decision::default()
                    .soft(Soft::Staged(part))
                    .act(self.acknowledge(after))
            }
            Verdict::Known | Verdict::Foreign(_) => {
                Decision::default().act(self.acknowledge(self.upstream.held()))
            }
            Verdict::Refuse { want_whole } => self.refuse(want_whole, false),
            Verdict::Superseded => self.refuse(false, true),
        }
    }

    /// A store that was emptied or restored does not know which of the root's ids it has used: none of these is used
    /// again, since a copy that ended would seem to run again.
    pub(crate) fn mark_used<'a>(
        &self,
        assigned: impl Iterator<Item = &'a model::desired::Desired>,
    ) -> Decision {
        let mut decision = Decision::default();
        for desired in assigned {
            let mut record = self.slots.get(&desired.slot).cloned().unwrap_or_default();
            record.used = Some(desired.instance);
            decision = decision.write(Write::Slot {
                slot: desired.slot.clone(),
                record: Some(record),
            });
        }
        decision
    }

    fn refuse(&self, want_whole: bool, superseded: bool) -> Decision {
        let known = self.upstream.held();
        let held = Held {
            want_whole: want_whole || known.want_whole,
            superseded,
            ..known
        };
        Decision::default()
            .soft(Soft::Refused {
                want_whole: held.want_whole,
                superseded,
            })
            .act(self.acknowledge(held))
    }

    pub(crate) fn adopt_me(&self) -> Decision {
        let desired = self
            .upstream
            .set()
            .values()
            .map(|entry| entry.value.clone())
            .collect();
        Decision::default().soft(Soft::WholeDue).act(Action::Adopt {
            held: self.upstream.held(),
            desired,
        })
    }

    /// The numbers that every message to the root carries.
    pub fn beat(&self) -> Beat {
        let (boot, sequence, observed_digest) = self.observer.stamp();
        Beat {
            boot,
            sequence,
            observed_digest,
            settled: !self.observer.is_due(),
        }
    }

    /// What this cluster holds of its root.
    pub fn held(&self) -> Held {
        self.upstream.held()
    }

    fn acknowledge(&self, held: Held) -> Action {
        Action::Acknowledge {
            held,
            beat: self.beat(),
        }
    }

    pub(crate) fn report_up(&self) -> Option<Decision> {
        if !self.root_connected || self.fenced || !self.observer.is_due() {
            return None;
        }
        let action = Action::Report {
            report: UpReport {
                tells: self.untold.is_kept(),
                ..self.observer.report()
            },
            held: self.upstream.held(),
        };
        Some(Decision::default().soft(Soft::ReportedUp).act(action))
    }

    pub(crate) fn aggregate_up(&self, now: Now) -> Option<Decision> {
        let due = self.aggregate_at().is_some_and(|at| at <= now.steady);
        (self.root_connected && due).then(|| {
            Decision::default()
                .soft(Soft::Aggregated)
                .act(Action::Aggregate(Box::new(self.aggregate())))
        })
    }

    /// When the next aggregate goes out: soon after a change, else at the report interval.
    pub(crate) fn aggregate_at(&self) -> Option<Instant> {
        let last = self.aggregated_at?;
        let pause = if self.aggregate_changed {
            self.config.aggregate_pause
        } else {
            self.config.report_interval
        };
        Some(last.plus(pause))
    }

    /// What is free here, by its shape.
    pub fn aggregate(&self) -> Aggregate {
        let mut aggregate = Aggregate {
            number_of_nodes: self.nodes.len() as u32,
            capacity_revision: self.capacity_revision,
            number_of_jobs: self.number_of_jobs(),
            ..Aggregate::default()
        };
        let mut measured = 0u32;
        // What is in quarantine may say anything.
        let trusted = |node: &&Node| node.record.scheduling != Scheduling::Quarantined;
        for node in self.nodes.values().filter(trusted) {
            let facts = &node.record.facts;
            aggregate.technology.extend(facts.runtimes.iter().copied());
            if let Some(usage) = node.usage {
                measured += 1;
                aggregate.cpu_percent += usage.cpu_percent;
                aggregate.memory_percent += usage.memory_percent;
            }
            aggregate.allocatable = aggregate.allocatable.plus(facts.allocatable);
            if node.is_heard() && node.record.scheduling == Scheduling::Open {
                aggregate.schedulable_nodes += 1;
                aggregate.room = aggregate.room.plus(node.room());
                aggregate.silent.extend(node.silent.iter().copied());
                for runtime in facts.runtimes.difference(&node.silent) {
                    let class = Class {
                        architecture: facts.architecture.clone(),
                        runtime: *runtime,
                        accelerator: None,
                    };
                    aggregate.add_room(&class, node.room());
                    for accelerator in &facts.accelerators {
                        aggregate.add_room(
                            &Class {
                                accelerator: Some(accelerator.clone()),
                                ..class.clone()
                            },
                            node.room(),
                        );
                    }
                }
            }
        }
        if measured > 0 {
            aggregate.cpu_percent /= f64::from(measured);
            aggregate.memory_percent /= f64::from(measured);
        }
        aggregate
    }

    fn number_of_jobs(&self) -> u32 {
        let mut last = None;
        let mut count = 0;
        for slot in self.slots.keys() {
            if last != Some(slot.job) {
                count += 1;
                last = Some(slot.job);
            }
        }
        count
    }

    /// What the root is told of a slot; `None` when it is not the root's, or nothing of it is left.
    pub(crate) fn slot_report(&self, now: Now, slot: &Slot) -> Option<SlotReport> {
        let assigned = self.upstream.set().get(slot).map(|entry| &entry.value);
        let record = self.slots.get(slot);
        let owned_here = self.book.get(slot.job).is_some()
            || record.is_some_and(|record| {
                record
                    .copies
                    .iter()
                    .any(|copy| matches!(copy.desired.job.owner, Owner::Cluster(_)))
            });
        if owned_here || (assigned.is_none() && record.is_none()) {
            return None;
        }
        let copies: Vec<CopyReport> = record
            .into_iter()
            .flat_map(|record| &record.copies)
            .filter_map(|copy| self.copy_report(now, record?, copy))
            .collect();
        let stands = copies.iter().any(|copy| copy.role == Role::Holder);
        let waiting = self
            .waiting
            .get(slot)
            .filter(|waiting| !waiting.is_held_back())
            .map(|waiting| Offer {
                reason: waiting.reason.clone(),
                rejections: waiting.rejections.clone(),
                capacity_revision: waiting.capacity_revision,
            });
        // While a copy stands only its replacement waits.
        let (offer, waits) = if stands {
            (None, waiting)
        } else {
            (waiting, None)
        };
        let ordered = assigned.map_or(0, |desired| desired.handover.number);
        let refused = record
            .and_then(|record| record.refused.as_ref())
            .filter(|refused| stands && refused.number == ordered && ordered != 0)
            .map(|refused| refused.offer.clone())
            .or(waits);
        let assignment = assigned.map(|desired| desired.generation.assignment);
        let last = copies.iter().map(|copy| copy.generation.assignment).max();
        Some(SlotReport {
            slot: slot.clone(),
            assignment: assignment.or(last).unwrap_or(0),
            offer,
            refused,
            copies,
        })
    }

    fn copy_report(&self, now: Now, record: &SlotRecord, copy: &Copy) -> Option<CopyReport> {
        let node = self.nodes.get(&copy.node)?;
        let state = self.copies.get(&copy.desired.instance)?;
        Some(CopyReport {
            instance: copy.desired.instance,
            generation: copy.desired.generation,
            role: self.role(now, record, copy),
            node: copy.node,
            node_name: node.record.facts.name.clone(),
            address: node.record.facts.addresses.first().cloned(),
            state: state.state.clone(),
            since: state.since,
            stale: node.is_silent_about(copy),
        })
    }
}
