//! Copies that do not run in time (protocol, section 5).

use model::desired::Desired;
use model::id::NodeId;
use model::instance::{InstanceEvent, InstanceState, Observed, Report};
use model::reason::{Reason, ReasonCode};
use model::time::Now;
use schedulers::{Candidate as _, Request};

use crate::Decision;
use crate::state::{Copy, Node, SlotRecord, State};

impl State {
    /// A copy that does not run in time is withdrawn and placed on another worker, once; the second one fails.
    pub(crate) fn note_overdue(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
        mut decision: Decision,
    ) -> Decision {
        let state = |copy: &Copy| self.copies.get(&copy.desired.instance);
        let runs = |copy: &Copy| {
            state(copy).is_some_and(|known| matches!(known.state, InstanceState::Running(_)))
        };
        if record.withdrawn.is_some() && record.copies.iter().any(runs) {
            record.withdrawn = None;
        }
        let overdue = |copy: &Copy| {
            !copy.leaving
                && state(copy).is_some_and(|known| {
                    known.state == InstanceState::ScheduledNode && known.deadline.is_none()
                })
                && self.nodes.get(&copy.node).is_some_and(Node::is_heard)
        };
        let Some(index) = record.copies.iter().position(overdue) else {
            return decision;
        };
        let Some(copy) = record.copies.get_mut(index) else {
            return decision;
        };
        let name = self
            .nodes
            .get(&copy.node)
            .map_or("", |node| node.record.facts.name.as_str());
        let seconds = self.config.deploy_deadline.as_secs();
        let first = record.withdrawn.is_none();
        if first && self.elsewhere(wanted, copy.node) {
            record.withdrawn = Some(copy.node);
            copy.leaving = true;
            let message = format!(
                "worker {name} did not run it within {seconds} s; it is taken back and placed on another"
            );
            let (from, to) = ("SCHEDULED_NODE", "SCHEDULED_CLUSTER");
            let cause = ReasonCode::DeployDeadline.as_str();
            let desired = copy.desired.clone();
            return decision.and(Self::event(now, &desired, (from, to), cause, message));
        }
        let reason = Reason::new(
            ReasonCode::DeployDeadline,
            format!(
                "worker {name} does not run it after {seconds} s, and is still trying; look at the worker: its network, its disk, its container engine"
            ),
        );
        let report = Report {
            observed: Observed::Failed {
                reason,
                next_attempt: None,
            },
            restarts: 0,
            last_exit: None,
            at: now.wall,
        };
        let instance = copy.desired.instance;
        decision = self.copy_event(
            now,
            instance,
            &InstanceEvent::Reported(report),
            ReasonCode::DeployDeadline.as_str(),
            decision,
        );
        decision
    }

    /// Whether another worker than this one can host it now.
    fn elsewhere(&self, wanted: &Desired, except: NodeId) -> bool {
        let mut candidates = self.candidates(&wanted.slot);
        candidates.retain(|candidate| candidate.id != except);
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        candidates.iter().any(|it| it.reject(&request).is_none())
    }
}
