//! A worker as its cluster sees it: it holds what it is told, and runs it at once.

use std::collections::{BTreeMap, BTreeSet};

use cluster_core::{Beat, DesiredEntry, Input, ReportEntry, report_entry};
use model::desired::{InstanceReport, NodeItem};
use model::id::{InstanceId, NodeId};
use model::instance::{Observed, Report};
use model::node::NodeFacts;
use model::reason::{Reason, ReasonCode};
use model::telling::Stamp;
use model::time::Wall;
use model::workload::RuntimeKind;
use sync::{Change, Child, Observer, Verdict};

use super::{megabytes, name};

#[expect(
    clippy::struct_excessive_bools,
    reason = "independent faults, not a state machine"
)]
pub(crate) struct Worker {
    pub(crate) id: NodeId,
    pub(crate) facts: NodeFacts,
    pub(crate) up: bool,
    pub(crate) session: u64,
    pub(crate) inbox: Vec<Change<DesiredEntry>>,
    pub(crate) held: Child<DesiredEntry>,
    pub(crate) observer: Observer<ReportEntry>,
    pub(crate) asked_for_its_set: bool,
    /// What it stops takes for ever.
    pub(crate) never_stops: bool,
    /// What it starts takes for ever.
    pub(crate) never_starts: bool,
    /// What it starts ends again and again.
    pub(crate) crashes: bool,
    /// It tells its events itself.
    pub(crate) tells: bool,
    /// What of them was confirmed.
    pub(crate) confirmed: Vec<Stamp>,
    /// How often it has started that again by then.
    pub(crate) restarts: u32,
}

impl Worker {
    pub(crate) fn new(number: u32, memory: u64) -> Self {
        Self {
            id: NodeId::from_bits(u128::from(number)),
            facts: NodeFacts {
                name: name(&format!("w{number}")),
                hostname: "host".to_owned(),
                addresses: Vec::new(),
                architecture: "x86_64".to_owned(),
                allocatable: megabytes(memory),
                accelerators: Vec::new(),
                sensors: Vec::new(),
                runtimes: [RuntimeKind::Noop].into(),
                labels: BTreeMap::new(),
                engine_version: "1".to_owned(),
            },
            up: false,
            session: 0,
            inbox: Vec::new(),
            held: Child::default(),
            observer: Observer::new(1),
            asked_for_its_set: false,
            never_stops: false,
            never_starts: false,
            crashes: false,
            tells: false,
            confirmed: Vec::new(),
            restarts: 2,
        }
    }

    /// Its machine is started again: nothing runs yet.
    pub(crate) fn reboot(&mut self) {
        self.observer = Observer::new(self.observer.boot() + 1);
        self.observe();
    }

    /// The acknowledgement that also says that it lives.
    pub(crate) fn beat(&self) -> Input {
        let (boot, sequence, observed_digest) = self.observer.stamp();
        Input::Held {
            node: self.id,
            held: self.held.held(),
            beat: Beat {
                boot,
                sequence,
                observed_digest,
                settled: !self.observer.is_due(),
            },
            usage: None,
        }
    }

    /// Takes what has arrived, does it, and says so.
    pub(crate) fn act(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for change in std::mem::take(&mut self.inbox) {
            match self.held.decide(&change) {
                Verdict::Apply(update) => self.held.apply(&update),
                Verdict::Stage(part) => self.held.stage(part),
                Verdict::Refuse { want_whole } => self.held.refused(want_whole, false),
                Verdict::Superseded => self.held.refused(false, true),
                Verdict::Known | Verdict::Foreign(_) => {}
            }
            inputs.push(self.beat());
        }
        self.observe();
        if std::mem::take(&mut self.asked_for_its_set) {
            let desired = self.held.set().values().filter_map(|entry| {
                let NodeItem::Instance(desired) = &entry.value else {
                    return None;
                };
                Some(desired.clone())
            });
            inputs.push(Input::Adopt {
                node: self.id,
                held: self.held.held(),
                desired: desired.collect(),
            });
            self.observer.ask_whole();
        }
        if self.observer.is_due() {
            let mut report = self.observer.report();
            report.tells = self.tells;
            self.observer.reported();
            inputs.push(Input::Reported {
                node: self.id,
                report,
                held: self.held.held(),
            });
        }
        inputs
    }

    fn observe(&mut self) {
        let mut wanted: BTreeSet<InstanceId> = BTreeSet::new();
        for entry in self.held.set().values() {
            let NodeItem::Instance(desired) = &entry.value else {
                continue;
            };
            wanted.insert(desired.instance);
            let known = self.observer.states().get(&desired.instance);
            let ran = known.is_some_and(|known| {
                matches!(known.value.report.observed, Observed::Running { .. })
            });
            let observed = if self.never_starts {
                Observed::Starting
            } else if self.crashes && !ran {
                Observed::Failed {
                    reason: Reason::new(ReasonCode::CrashLoop, "it ended (exit code 1)"),
                    next_attempt: Some(Wall(0)),
                }
            } else {
                Observed::Running {
                    since: Wall(0),
                    endpoints: Vec::new(),
                    health: None,
                }
            };
            self.observer.put(report_entry(InstanceReport {
                instance: desired.instance,
                generation: desired.generation,
                report: Report {
                    observed,
                    restarts: if self.crashes && !ran {
                        self.restarts
                    } else {
                        0
                    },
                    last_exit: None,
                    at: Wall(0),
                },
            }));
        }
        let known: Vec<InstanceId> = self.observer.states().keys().copied().collect();
        for instance in known.iter().filter(|known| !wanted.contains(known)) {
            if !self.never_stops {
                self.observer.remove(instance);
            }
        }
    }
}
