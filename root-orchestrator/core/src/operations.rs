//! Operations on jobs: which slots may change now, which have settled, and how it ends.

use model::desired::{CopyReport, SlotReport};
use model::id::InstanceId;
use model::instance::{InstanceState, Report};
use model::job::Job;
use model::node::Liveness;
use model::operation::Rollout;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Role, Slot};
use model::time::Now;

use crate::state::{Cluster, Holding, SlotRecord, State};
use crate::{Decision, Soft, Write};

impl State {
    /// The slots of an operation that runs, as at its begin.
    pub(crate) fn rollout_of(&self, job: &Job) -> Option<Rollout> {
        job.running()?;
        let slots = job
            .slots()
            .chain(self.slots_of(job.id).map(|(slot, _)| slot.clone()));
        let mut rollout = Rollout::new(slots);
        // After a restart what has been ordered shows which have begun.
        for (slot, record) in self.slots_of(job.id).filter(|_| !self.started) {
            let ordered =
                |holding: &Holding| holding.counts() && holding.desired.handover.number != 0;
            if record.moving.is_some() || record.holdings.iter().any(ordered) {
                rollout.begin(slot);
            }
        }
        Some(rollout)
    }

    /// After a look at a slot that changed nothing: has it settled, or has it failed?
    pub(crate) fn follow_operation(
        &self,
        now: Now,
        slot: &Slot,
        record: &SlotRecord,
        decision: Decision,
    ) -> Decision {
        let Some(rollout) = self.rollouts.get(slot.job) else {
            return decision;
        };
        let Some(job) = self
            .book
            .get(slot.job)
            .filter(|_| rollout.is_unsettled(slot))
        else {
            return decision;
        };
        let begun = rollout.has_begun(slot);
        let failed = begun.then(|| self.failure(now, slot, record)).flatten();
        if let Some(reason) = failed {
            return Self::fail(now, job, slot, &reason, decision);
        }
        if self.is_settled((job, begun), slot, record) {
            decision.soft(Soft::Settled(slot.clone()))
        } else {
            decision
        }
    }

    /// The operation ends with its first slot that fails; an update that is to be rolled back is.
    pub(crate) fn fail(
        now: Now,
        job: &Job,
        slot: &Slot,
        reason: &Reason,
        decision: Decision,
    ) -> Decision {
        match model::book::failed(job, slot, reason, now.wall) {
            Some(ended) => decision.write(Write::Job(ended)),
            None => decision,
        }
    }

    /// Why what was to take over does not run; `None` while it may.
    fn failure(&self, now: Now, slot: &Slot, record: &SlotRecord) -> Option<Reason> {
        if let Some(waiting) = self.waiting.get(slot) {
            let held_back = waiting.is_asking()
                || self.hold.is_some_and(|until| until > now.steady)
                || self.braked.contains(slot)
                || self.may_be_heard(&waiting.rejections);
            return (!held_back).then(|| waiting.reason.clone());
        }
        if record.moving.is_some() {
            return None;
        }
        let mut holdings = record.holdings.iter().filter(|holding| holding.counts());
        holdings.find_map(|holding| {
            let report = self.report_of(holding)?;
            // What was refused of an earlier order says nothing of this one.
            let answers = report.assignment == holding.desired.generation.assignment;
            if let Some(refused) = report.refused.as_ref().filter(|_| answers) {
                return Some(refused.reason.clone());
            }
            let new = |copy: &&CopyReport| copy.role == Role::Holder && follows(copy, holding);
            let copy = report.copies.iter().find(new)?;
            why_not_ready(copy)
        })
    }

    /// Whether among the clusters that were passed over some are not heard that are not lost either.
    pub(crate) fn may_be_heard(&self, rejections: &Rejections) -> bool {
        let expected =
            |cluster: &Cluster| !cluster.is_heard() && cluster.liveness != Liveness::Lost;
        rejections.counts(ReasonCode::Unreachable) && self.clusters.values().any(expected)
    }

    /// Whether the operation has nothing more to wait for in a slot, which it has begun to change or not.
    fn is_settled(&self, (job, begun): (&Job, bool), slot: &Slot, record: &SlotRecord) -> bool {
        // What can only be waiting for a worker that cannot be heard is not waited for.
        let ending = |holding: &Holding| {
            !holding.counts() && !self.is_lost(holding.cluster) && !self.only_dangles(holding)
        };
        if record.holdings.iter().any(ending) || record.moving.is_some() {
            return false;
        }
        let waiting = self.waiting.get(slot);
        let waits = waiting.is_some_and(|waiting| !waiting.is_asking());
        let mut standing = record.holdings.iter().filter(|holding| holding.counts());
        let Some(holding) = standing.next() else {
            return !job.wants(slot) || (!begun && waits);
        };
        if !job.wants(slot) || record.service_generation != job.service_generation(&slot.service) {
            return false;
        }
        if (!begun && waits) || self.is_lost(holding.cluster) {
            return true;
        }
        let replaced = job
            .running()
            .and_then(|operation| operation.replaces.get(slot));
        self.report_of(holding)
            .is_some_and(|report| rests(report, holding, (begun, replaced)))
    }

    /// The next operation whose slots have all settled.
    pub(crate) fn finished_operation(&self) -> Option<Decision> {
        let job = self.book.get(self.rollouts.next_over()?)?;
        Some(Decision::default().write(Write::Job(model::book::finished(job)?)))
    }
}

/// Whether a copy is of the assignment that its cluster has now.
pub(crate) fn follows(copy: &CopyReport, holding: &Holding) -> bool {
    copy.generation.assignment == holding.desired.generation.assignment
}

/// Whether nothing more comes of a slot at its cluster by itself.
fn rests(
    report: &SlotReport,
    holding: &Holding,
    (begun, replaced): (bool, Option<&InstanceId>),
) -> bool {
    let ending = |copy: &CopyReport| matches!(copy.role, Role::Leaving | Role::Successor);
    if report.copies.iter().any(ending) {
        return false;
    }
    let holder = report.holder().or_else(|| report.copies.first());
    holder.is_some_and(|copy| {
        follows(copy, holding) && replaced != Some(&copy.instance) && copy.state.has_settled(begun)
    })
}

/// Why a copy will not become ready; `None` while it may.
pub(crate) fn why_not_ready(copy: &CopyReport) -> Option<Reason> {
    let failed = |report: &Report| {
        report.has_given_up().then(|| {
            crate::view::reason_of(report)
                .unwrap_or_else(|| Reason::new(ReasonCode::Exited, "the application ended"))
        })
    };
    match &copy.state {
        InstanceState::Failed(report) => failed(report),
        InstanceState::Running(report) if report.is_unhealthy() => {
            let message = format!("the new copy on worker {} is not healthy", copy.node_name);
            Some(Reason::new(ReasonCode::Unhealthy, message))
        }
        InstanceState::NotDeployed { reason, .. } => Some(reason.clone()),
        InstanceState::Requested
        | InstanceState::ScheduledCluster
        | InstanceState::ScheduledNode
        | InstanceState::Running(_)
        | InstanceState::Unknown { .. }
        | InstanceState::Terminated { .. } => None,
    }
}
