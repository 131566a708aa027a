//! The link to the cluster: registration, desired sets, adoption.

use model::desired::{NodeItem, NodeKey};
use model::id::{InstanceId, NodeId};
use sync::{Change, Update, Verdict};

use crate::{Action, Decision, DesiredEntry, Journal, State, Write};

impl State {
    pub(crate) fn registered(&self, node: NodeId) -> Decision {
        if self.node == Some(node) {
            Decision::default()
        } else {
            Decision::default().write(Write::Node(node))
        }
    }

    /// After every (re)connect: what is held, and a whole report.
    pub(crate) fn connected(&self) -> Decision {
        Decision::default()
            .write(Write::Link(true))
            .write(Write::WholeDue)
            .act(self.acknowledge(self.held()))
    }

    pub(crate) fn adopt(&self) -> Decision {
        Decision::default()
            .write(Write::WholeDue)
            .act(Action::Adopt {
                held: self.held(),
                desired: self.desired_instances().cloned().collect(),
            })
    }

    pub(crate) fn control(&self, change: &Change<DesiredEntry>) -> Decision {
        match self.desired.decide(change) {
            Verdict::Apply(update) => self.take_over(update),
            Verdict::Stage(part) => {
                let staged = self.desired.held_staging(&part);
                Decision::default()
                    .write(Write::Staged(part))
                    .act(self.acknowledge(staged))
            }
            Verdict::Refuse { want_whole } => self.refuse(want_whole, false),
            Verdict::Superseded => self.refuse(false, true),
            Verdict::Known | Verdict::Foreign(_) => {
                Decision::default().act(self.acknowledge(self.held()))
            }
        }
    }

    fn refuse(&self, want_whole: bool, superseded: bool) -> Decision {
        let held = sync::Held {
            want_whole: want_whole || self.held().want_whole,
            superseded,
            ..self.held()
        };
        Decision::default()
            .write(Write::Refused {
                want_whole: held.want_whole,
                superseded,
            })
            .act(self.acknowledge(held))
    }

    /// The set and the journal of what leaves are one write; the acknowledgement goes first, then the rest follows.
    fn take_over(&self, update: Update<DesiredEntry>) -> Decision {
        let after = self.desired.held_after(&update);
        let settings = update.put.iter().find_map(|entry| match &entry.value {
            NodeItem::Settings(settings) => Some(*settings),
            NodeItem::Instance(_) => None,
        });
        let leaving: Vec<Write> = update
            .remove
            .iter()
            .filter_map(|key| match key {
                NodeKey::Instance(instance) => Some(self.leave(*instance)?),
                NodeKey::Settings => None,
            })
            .collect();
        let entering = update.put.iter().filter_map(|entry| match &entry.value {
            NodeItem::Instance(desired) => {
                let workload = &desired.service.workload;
                let known = self.journal.get(&desired.instance);
                let ended = known.and_then(|journal| journal.ended.clone());
                let record = Journal {
                    runtime: workload.runtime,
                    grace: workload.stop_grace,
                    generation: desired.generation,
                    leaving: false,
                    ended,
                    restarting: known.is_some_and(|journal| journal.restarting),
                };
                Some(Write::Journal {
                    instance: desired.instance,
                    record: Some(record),
                })
            }
            NodeItem::Settings(_) => None,
        });
        let entering: Vec<Write> = entering.collect();
        let mut decision = Decision::default().write(Write::Desired(update));
        decision.writes.extend(leaving);
        decision.writes.extend(self.say_scheduled(&entering));
        decision.writes.extend(entering);
        decision = decision.act(self.acknowledge(after));
        if let Some(settings) = settings {
            decision = decision.act(Action::ReportInterval(settings.report_interval));
        }
        decision
    }

    fn leave(&self, instance: InstanceId) -> Option<Write> {
        let journal = self.journal.get(&instance)?;
        Some(Write::Journal {
            instance,
            record: Some(Journal {
                leaving: true,
                ..journal.clone()
            }),
        })
    }

    fn acknowledge(&self, held: sync::Held) -> Action {
        Action::Acknowledge {
            held,
            beat: self.beat(),
        }
    }
}
