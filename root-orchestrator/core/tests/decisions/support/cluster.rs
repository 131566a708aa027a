//! A cluster as its root sees it: one worker, that runs at once what fits and offers the rest back.

use std::collections::BTreeMap;

use model::aggregate::{Aggregate, Class};
use model::desired::{CopyReport, Desired, Offer, SlotReport};
use model::id::{ClusterId, NodeId};
use model::instance::{InstanceState, Observed, Report as Observation};
use model::name::Name;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Role, Slot};
use model::telling::Stamp;
use model::time::Wall;
use model::units::Resources;
use model::workload::RuntimeKind;
use root_core::{AssignmentEntry, Beat, Input, Report, SlotEntry, slot_entry};
use sync::{Change, Child, Incarnation, Observer, Verdict};

use super::{megabytes, name};

#[expect(
    clippy::struct_excessive_bools,
    reason = "independent faults, not a state machine"
)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) name: Name,
    /// What it has in all.
    pub(crate) memory: u64,
    /// What its aggregate claims beyond that.
    pub(crate) claims: u64,
    pub(crate) capacity_revision: u64,
    /// How often its disk was restored: it counts the same numbers again.
    pub(crate) restored: u64,
    pub(crate) up: bool,
    pub(crate) session: u64,
    pub(crate) inbox: Vec<Change<AssignmentEntry>>,
    pub(crate) held: Child<AssignmentEntry>,
    pub(crate) observer: Observer<SlotEntry>,
    pub(crate) running: BTreeMap<Slot, Desired>,
    pub(crate) asked_for_its_set: bool,
    pub(crate) aggregate_due: bool,
    /// Nothing that it places is ever seen running.
    pub(crate) never_starts: bool,
    /// Nothing that it stops ever ends.
    pub(crate) never_stops: bool,
    /// It tells its events itself.
    pub(crate) tells: bool,
    /// What of them was confirmed.
    pub(crate) confirmed: Vec<Stamp>,
    /// It keeps what it has instead of what an order says.
    pub(crate) refuses: bool,
    /// The assignments that it refused so.
    refused: BTreeMap<Slot, u64>,
}

impl Cluster {
    pub(crate) fn new(number: u32, memory: u64) -> Self {
        Self {
            id: ClusterId::from_bits(u128::from(number)),
            name: name(&format!("c{number}")),
            memory,
            claims: 0,
            capacity_revision: 1,
            restored: 0,
            up: false,
            session: 0,
            inbox: Vec::new(),
            held: Child::default(),
            observer: Observer::new(1),
            running: BTreeMap::new(),
            asked_for_its_set: false,
            aggregate_due: false,
            never_starts: false,
            never_stops: false,
            tells: false,
            confirmed: Vec::new(),
            refuses: false,
            refused: BTreeMap::new(),
        }
    }

    /// More workers join it.
    pub(crate) fn grow(&mut self, memory: u64) {
        self.memory += memory;
        self.capacity_revision += 1;
        self.aggregate_due = true;
    }

    pub(crate) fn beat(&self) -> Input {
        let (boot, sequence, observed_digest) = self.observer.stamp();
        Input::Held {
            cluster: self.id,
            held: self.held.held(),
            beat: Beat {
                boot,
                sequence,
                observed_digest,
                settled: !self.observer.is_due(),
            },
        }
    }

    fn room(&self) -> Resources {
        let used = self.running.values();
        used.fold(megabytes(self.memory), |room, desired| {
            room.minus(desired.service.workload.resources)
        })
    }

    /// Takes what has arrived, does it, and says so.
    pub(crate) fn act(&mut self, incarnation: Incarnation) -> Vec<Input> {
        let mut inputs = Vec::new();
        for change in std::mem::take(&mut self.inbox) {
            match self.held.decide(&change) {
                Verdict::Apply(update) => {
                    self.held.apply(&update);
                    self.aggregate_due = true;
                }
                Verdict::Stage(part) => self.held.stage(part),
                Verdict::Refuse { want_whole } => self.held.refused(want_whole, false),
                Verdict::Superseded => self.held.refused(false, true),
                Verdict::Known | Verdict::Foreign(_) => {}
            }
            inputs.push(self.beat());
        }
        self.follow();
        if std::mem::take(&mut self.asked_for_its_set) {
            let set = self.held.set().values();
            inputs.push(Input::Adopt {
                cluster: self.id,
                held: self.held.held(),
                desired: set.map(|entry| entry.value.clone()).collect(),
            });
            self.observer.ask_whole();
        }
        if self.observer.is_due() {
            let mut report = self.observer.report();
            report.tells = self.tells;
            self.observer.reported();
            inputs.push(Input::Reported {
                cluster: self.id,
                report,
                held: self.held.held(),
            });
        }
        if std::mem::take(&mut self.aggregate_due) {
            inputs.push(self.aggregate(incarnation));
        }
        inputs
    }

    /// What its root wants, as far as it fits.
    pub(crate) fn follow(&mut self) {
        let set = self.held.set().clone();
        let before = self.running.len();
        let never_stops = self.never_stops;
        self.running
            .retain(|slot, _| never_stops || set.contains_key(slot));
        if self.running.len() < before {
            self.capacity_revision += 1;
            self.aggregate_due = true;
        }
        for (slot, entry) in &set {
            let room = self.room();
            let known = self.running.get(slot);
            let assignment = entry.value.generation.assignment;
            let workload = |desired: &Desired| desired.service.workload.hash;
            let ordered = entry.value.handover.number != 0
                && known.is_some_and(|known| workload(known) != workload(&entry.value));
            if self.refused.get(slot) == Some(&assignment) {
                continue;
            }
            if ordered && self.refuses {
                self.refused.insert(slot.clone(), assignment);
                continue;
            }
            self.refused.remove(slot);
            if known.is_some() || entry.value.service.workload.resources.fits(room) {
                self.running.insert(slot.clone(), entry.value.clone());
            }
        }
        let waiting = set
            .iter()
            .filter(|(slot, _)| !self.running.contains_key(*slot));
        let offers = waiting.map(|(slot, entry)| self.offer(slot, &entry.value));
        let copies = self.running.values().map(|desired| self.copy(desired));
        let reports: Vec<SlotReport> = offers.chain(copies).collect();
        let known: Vec<Slot> = self.observer.states().keys().cloned().collect();
        for slot in known {
            if !reports.iter().any(|report| report.slot == slot) {
                self.observer.remove(&slot);
            }
        }
        for report in reports {
            self.observer.put(slot_entry(report));
        }
    }

    fn offer(&self, slot: &Slot, desired: &Desired) -> SlotReport {
        let mut rejections = Rejections::default();
        rejections.add(ReasonCode::InsufficientMemory, "w1");
        SlotReport {
            refused: None,
            slot: slot.clone(),
            assignment: desired.generation.assignment,
            offer: Some(Offer {
                reason: Reason::new(ReasonCode::InsufficientMemory, "no worker can host it now"),
                rejections,
                capacity_revision: self.capacity_revision,
            }),
            copies: Vec::new(),
        }
    }

    fn copy(&self, desired: &Desired) -> SlotReport {
        let observation = Observation {
            observed: Observed::Running {
                since: Wall(0),
                endpoints: Vec::new(),
                health: None,
            },
            restarts: 0,
            last_exit: None,
            at: Wall(0),
        };
        let mut generation = desired.generation;
        generation.placement = 1;
        let refused = self.refused.get(&desired.slot).copied();
        SlotReport {
            refused: refused.map(|_| Offer {
                reason: Reason::new(ReasonCode::CrashLoop, "the new copy does not run"),
                rejections: Rejections::default(),
                capacity_revision: self.capacity_revision,
            }),
            slot: desired.slot.clone(),
            assignment: refused.unwrap_or(desired.generation.assignment),
            offer: None,
            copies: vec![CopyReport {
                instance: desired.instance,
                generation,
                role: Role::Holder,
                node: NodeId::from_bits(self.id.bits()),
                node_name: name("w1"),
                address: None,
                state: if self.never_starts {
                    InstanceState::ScheduledNode
                } else {
                    InstanceState::Running(observation)
                },
                since: Wall(0),
                stale: false,
            }],
        }
    }

    /// What its workers are.
    pub(crate) fn classes() -> Vec<Class> {
        vec![Class {
            architecture: "x86_64".to_owned(),
            runtime: RuntimeKind::Noop,
            accelerator: None,
        }]
    }

    fn aggregate(&self, incarnation: Incarnation) -> Input {
        let room = self.room().plus(megabytes(self.claims));
        let mut aggregate = Aggregate {
            number_of_nodes: 1,
            schedulable_nodes: 1,
            room,
            capacity_revision: self.capacity_revision,
            ..Aggregate::default()
        };
        for class in Self::classes() {
            aggregate.add_room(&class, room);
        }
        let held = self.held.held();
        Input::Aggregate {
            cluster: self.id,
            report: Box::new(Report {
                aggregate,
                scheduler: "first-fit".to_owned(),
                boot: self.observer.boot(),
                incarnation: held.incarnation.filter(|held| *held == incarnation),
                revision: held.revision,
            }),
        }
    }
}
