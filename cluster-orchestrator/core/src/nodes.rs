//! Workers: registration, acknowledgements, reports, and what is sent to them.

use std::collections::BTreeSet;

use model::desired::{NodeItem, NodeSettings};
use model::id::{InstanceId, NodeId};
use model::node::{Liveness, Scheduling, Usage};
use model::time::Now;
use model::workload::RuntimeKind;
use sync::{Held, Reading, UpReport};

use crate::state::{Copy, Node, NodeRecord, State};
use crate::{
    Action, Answer, Beat, Decision, NodePatch, Registration, ReportEntry, RequestId, Soft, Write,
    slots,
};

impl State {
    /// A worker keeps the id on its disk; the name of one that is not there, with an emptied disk, brings its id back.
    pub(crate) fn register(&self, request: RequestId, registration: &Registration) -> Decision {
        let name = &registration.facts.name;
        let holder = self.names.get(name).copied();
        let is_there = |id: NodeId| {
            self.nodes
                .get(&id)
                .is_some_and(|node| node.liveness == Liveness::Alive && node.session.is_some())
        };
        let node = match (registration.saved, holder) {
            (Some(saved), Some(other)) if saved != other && is_there(other) => {
                return Decision::default()
                    .act(Action::Answer(request, Answer::NodeNameInUse(name.clone())));
            }
            (Some(saved), _) => saved,
            (None, Some(other)) if is_there(other) => {
                return Decision::default()
                    .act(Action::Answer(request, Answer::NodeNameInUse(name.clone())));
            }
            (None, Some(other)) => other,
            (None, None) => registration.fresh,
        };
        let known = self.nodes.get(&node).map(|node| &node.record);
        let record = NodeRecord {
            facts: registration.facts.clone(),
            scheduling: known.map(|known| known.scheduling).unwrap_or_default(),
            report_interval: known.and_then(|known| known.report_interval),
            labels: known.map(|known| known.labels.clone()).unwrap_or_default(),
            credential: registration.credential,
            verifies: registration.verifies,
            sealing: registration.sealing,
            synced: known.and_then(|known| known.synced),
        };
        Decision::default()
            .write(Write::Node {
                node,
                record: Box::new(record),
            })
            .soft(Soft::Boot {
                node,
                boot: registration.boot,
                start: registration.start,
            })
            .act(Action::Answer(request, Answer::Registered(node)))
    }

    pub(crate) fn patch(&self, request: RequestId, key: &str, patch: &NodePatch) -> Decision {
        let Some((id, node)) = self
            .find_node(key)
            .and_then(|id| Some((id, self.nodes.get(&id)?)))
        else {
            return Decision::default()
                .act(Action::Answer(request, Answer::NoSuchNode(key.to_owned())));
        };
        let mut record = node.record.clone();
        record.scheduling = patch.scheduling.unwrap_or(record.scheduling);
        record.report_interval = patch.report_interval.unwrap_or(record.report_interval);
        record.labels.extend(patch.labels.clone());
        Decision::default()
            .write(Write::Node {
                node: id,
                record: Box::new(record),
            })
            .act(Action::Answer(request, Answer::Patched(id)))
    }

    /// What a worker's desired set says beside instances.
    pub(crate) fn settings(&self, record: &NodeRecord) -> NodeItem {
        NodeItem::Settings(NodeSettings {
            report_interval: record
                .report_interval
                .unwrap_or(self.config.report_interval),
        })
    }

    pub(crate) fn node_held(
        &self,
        now: Now,
        id: NodeId,
        held: &Held,
        beat: &Beat,
        usage: Option<Usage>,
    ) -> Decision {
        let Some(node) = self.nodes.get(&id) else {
            return Decision::default();
        };
        let misses = node
            .observed
            .misses(beat.boot, beat.sequence, beat.observed_digest);
        let current = !misses && beat.settled;
        let heeded = self.heed(node, held).and(self.note_synced(id, node, held));
        let mut decision = heeded.soft(Soft::Proof(id)).soft(Soft::Held {
            node: id,
            held: *held,
            current,
        });
        if let Some(usage) = usage {
            decision = decision.soft(Soft::Usage(id, usage));
        }
        let heard = current && node.observed.is_whole() && node.liveness != Liveness::Alive;
        if heard {
            decision = self.returned(now, (id, node), &[], decision);
        }
        if misses {
            decision.and(self.ask(now, id, node))
        } else {
            decision
        }
    }

    /// It holds a set of this store, for the first time.
    fn note_synced(&self, id: NodeId, node: &Node, held: &Held) -> Decision {
        let here = Some(self.incarnation);
        if held.incarnation != here || node.record.synced == here {
            return Decision::default();
        }
        let record = NodeRecord {
            synced: here,
            ..node.record.clone()
        };
        Decision::default().write(Write::Node {
            node: id,
            record: Box::new(record),
        })
    }

    /// Which runtimes of a worker do not answer.
    pub(crate) fn node_silent(&self, id: NodeId, runtimes: &BTreeSet<RuntimeKind>) -> Decision {
        let known = self.nodes.get(&id).map(|node| &node.silent);
        match known {
            Some(known) if known != runtimes => {
                Decision::default().soft(Soft::Silent(id, runtimes.clone()))
            }
            Some(_) | None => Decision::default(),
        }
    }

    /// A worker is heard again. What did not change there meanwhile no report will say again; what is in `news` is taken
    /// from there.
    fn returned(
        &self,
        now: Now,
        (id, node): (NodeId, &Node),
        news: &[ReportEntry],
        decision: Decision,
    ) -> Decision {
        let mut decision = decision.soft(Soft::Liveness {
            node: id,
            liveness: Liveness::Alive,
        });
        let told = ("returned", node.observed.tells());
        let news: BTreeSet<InstanceId> = news.iter().map(|entry| entry.key).collect();
        let states = node.observed.states();
        for (_, entry) in states.iter().filter(|(key, _)| !news.contains(key)) {
            decision = self.copy_observed(now, (id, &entry.value), told, decision);
        }
        decision
    }

    /// A whole report where one was lost; not too often.
    fn ask(&self, now: Now, id: NodeId, node: &Node) -> Decision {
        if self.asked_lately(now, node) {
            return Decision::default();
        }
        Decision::default()
            .soft(Soft::Asked(id))
            .act(Action::AskWhole(id))
    }

    fn asked_lately(&self, now: Now, node: &Node) -> bool {
        node.asked_at
            .is_some_and(|at| now.steady.since(at) < self.config.ask_again)
    }

    /// The next worker that holds another store's set, which has to be taken over.
    pub(crate) fn next_adoption(&self, now: Now) -> Option<Decision> {
        if self.fenced {
            return None;
        }
        let wants = |node: &Node| {
            node.desired.wants_former(self.incarnation) && !self.asked_lately(now, node)
        };
        let id = self
            .unsynced
            .iter()
            .find(|id| self.nodes.get(id).is_some_and(wants))?;
        let node = self.nodes.get(id)?;
        // What it was told here, it holds: whoever comes with another store's set after that makes it up.
        let made_up = node.record.synced == Some(self.incarnation);
        if made_up || node.record.scheduling == Scheduling::Quarantined {
            let digest = node.desired.held()?.desired_digest;
            return Some(Decision::default().soft(Soft::Adopted(*id, digest)));
        }
        Some(
            Decision::default()
                .soft(Soft::Asked(*id))
                .act(Action::AskAdopt(*id)),
        )
    }

    pub(crate) fn node_reported(
        &self,
        now: Now,
        id: NodeId,
        report: &UpReport<ReportEntry>,
        held: &Held,
    ) -> Decision {
        let Some(node) = self.nodes.get(&id) else {
            return Decision::default();
        };
        let reading = node.observed.read(report);
        let noted = self.note_synced(id, node, held);
        let mut decision = self.heed(node, held).and(noted).soft(Soft::Proof(id));
        if reading == Reading::Stale {
            return decision;
        }
        let fresh = reading == Reading::Fresh;
        decision = decision
            .soft(Soft::Reported(id, report.clone()))
            .soft(Soft::Held {
                node: id,
                held: *held,
                current: fresh,
            });
        if fresh && node.liveness != Liveness::Alive {
            decision = self.returned(now, (id, node), &report.states, decision);
        }
        for entry in &report.states {
            let cause = slots::reason_of(&entry.value.report)
                .map_or("observed", |reason| reason.code.as_str());
            let told = (cause, report.tells);
            decision = self.copy_observed(now, (id, &entry.value), told, decision);
        }
        if fresh {
            decision
        } else {
            decision.and(self.ask(now, id, node))
        }
    }

    /// The copies on a worker, with their slots.
    pub(crate) fn copies_on(
        &self,
        id: NodeId,
    ) -> impl Iterator<Item = (&model::slot::Slot, &Copy)> {
        let here = self.on_node.get(&id).into_iter().flatten();
        here.filter_map(|instance| {
            let state = self.copies.get(instance)?;
            let record = self.slots.get(&state.slot)?;
            Some((
                &state.slot,
                record
                    .copies
                    .iter()
                    .find(|copy| copy.desired.instance == *instance)?,
            ))
        })
    }

    /// The next worker whose revision the store does not have yet.
    pub(crate) fn next_revision(&self) -> Option<Decision> {
        let node = *self.revised.first()?;
        let revision = self.nodes.get(&node)?.desired.revision();
        Some(Decision::default().write(Write::Revision { node, revision }))
    }

    /// The next worker to which something is due.
    pub(crate) fn next_control(&self, now: Now) -> Option<Decision> {
        if self.fenced {
            return None;
        }
        self.unsynced.iter().find_map(|id| {
            let node = self.nodes.get(id)?;
            let changes = node.desired.due(
                now.steady.0,
                self.incarnation,
                &self.term,
                &self.config.timing,
            )?;
            Some(
                Decision::default()
                    .soft(Soft::Sent(*id, changes.clone()))
                    .act(Action::Control(*id, changes)),
            )
        })
    }
}
