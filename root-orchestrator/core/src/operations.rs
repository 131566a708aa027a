//! Operations on jobs: which slots may change now, which have settled, and how it ends.

use model::desired::{CopyReport, Handover, SlotReport};
use model::id::InstanceId;
use model::instance::{InstanceState, Observed, Report};
use model::job::{Job, Strategy, Takeover};
use model::operation::{Operation, OperationKind, Progress, Rollout};
use model::reason::{Reason, ReasonCode};
use model::slot::{Role, Slot};
use model::time::Now;

use crate::state::{Holding, SlotRecord, State};
use crate::{Decision, Soft, Write};

/// How many copies that were started and did not come to run make a takeover fail.
const ATTEMPTS: u32 = 3;

impl State {
    /// Whether the copy of a slot may be replaced now.
    pub(crate) fn may_change(&self, job: &Job, slot: &Slot) -> bool {
        match job.operation.as_ref().map(|operation| &operation.progress) {
            Some(Progress::Running) => self.rollouts.get(&job.id).is_some_and(|(_, rollout)| {
                let at_a_time = job
                    .service(&slot.service)
                    .map_or(1, |service| service.takeover.at_a_time());
                rollout.may_begin(slot, at_a_time)
            }),
            Some(Progress::Failed(_)) => false,
            Some(Progress::Done) | None => true,
        }
    }

    /// How a changed document's copy takes over from the one that a slot has.
    pub(crate) fn by_policy(&self, slot: &Slot, number: u64, takeover: &Takeover) -> Handover {
        let rollout = self.rollouts.get(&slot.job);
        let begun = rollout.map_or(0, |(_, rollout)| rollout.begun_of(slot));
        Handover {
            number,
            start_first: takeover.max_surge > 0,
            keep_old: begun >= takeover.max_unavailable as usize,
            ..Handover::default()
        }
    }

    /// How a copy that an operation replaces is taken over from.
    pub(crate) fn by_operation(
        &self,
        slot: &Slot,
        number: u64,
        (operation, takeover): (&Operation, &Takeover),
    ) -> Handover {
        let replace = operation.replaces.get(slot).copied();
        let policy = self.by_policy(slot, number, takeover);
        if operation.kind == OperationKind::Restart {
            return Handover {
                replace,
                same_worker: true,
                ..policy
            };
        }
        let start_first = starts_first(operation, takeover);
        Handover {
            replace,
            start_first,
            keep_old: start_first,
            worker: operation.worker.clone(),
            ..policy
        }
    }

    /// The slots of an operation that runs, as at its begin.
    pub(crate) fn rollout_of(&self, job: &Job) -> Option<(u64, Rollout)> {
        let operation = job.running()?;
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
        Some((operation.number, rollout))
    }

    /// After a look at a slot that changed nothing: has it settled, or has it failed?
    pub(crate) fn follow_operation(
        &self,
        now: Now,
        slot: &Slot,
        record: &SlotRecord,
        decision: Decision,
    ) -> Decision {
        let Some((_, rollout)) = self.rollouts.get(&slot.job) else {
            return decision;
        };
        let Some(job) = self
            .book
            .get(slot.job)
            .filter(|_| rollout.is_unsettled(slot))
        else {
            return decision;
        };
        let failed = rollout
            .has_begun(slot)
            .then(|| self.failure(slot, record))
            .flatten();
        if let Some(reason) = failed {
            return Self::fail(now, job, slot, &reason, decision);
        }
        if self.is_settled(job, slot, record) {
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
        let Some(operation) = job.running() else {
            return decision;
        };
        let message = format!("{}/{}: {}", slot.service, slot.index, reason.message);
        let after = operation.previous.as_ref().map_or_else(
            || Job {
                operation: Some(
                    operation.ended(Progress::Failed(Reason::new(reason.code, message))),
                ),
                ..job.clone()
            },
            |previous| model::book::rolled_back(job, previous, now.wall),
        );
        decision.write(Write::Job(after))
    }

    /// Why what was to take over does not run; `None` while it may.
    fn failure(&self, slot: &Slot, record: &SlotRecord) -> Option<Reason> {
        if let Some(waiting) = self.waiting.get(slot) {
            return Some(waiting.reason.clone());
        }
        if record.moving.is_some() {
            return None;
        }
        let mut holdings = record.holdings.iter().filter(|holding| holding.counts());
        holdings.find_map(|holding| {
            let report = self.report_of(holding)?;
            if let Some(refused) = &report.refused {
                return Some(refused.reason.clone());
            }
            let new = |copy: &&CopyReport| copy.role == Role::Holder && follows(copy, holding);
            let copy = report.copies.iter().find(new)?;
            why_not_ready(copy)
        })
    }

    fn is_settled(&self, job: &Job, slot: &Slot, record: &SlotRecord) -> bool {
        // What can only be waiting for a worker that cannot be heard is not waited for.
        let ending = |holding: &Holding| {
            !holding.counts() && !self.is_lost(holding.cluster) && !self.only_dangles(holding)
        };
        if record.holdings.iter().any(ending) || record.moving.is_some() {
            return false;
        }
        let mut standing = record.holdings.iter().filter(|holding| holding.counts());
        let Some(holding) = standing.next() else {
            return !job.wants(slot) || self.waiting.contains_key(slot);
        };
        if !job.wants(slot) || record.service_generation != job.service_generation(&slot.service) {
            return false;
        }
        if self.waiting.contains_key(slot) || self.is_lost(holding.cluster) {
            return true;
        }
        let replaced = job
            .running()
            .and_then(|operation| operation.replaces.get(slot));
        self.report_of(holding)
            .is_some_and(|report| rests(report, holding, replaced))
    }

    /// The next operation whose slots have all settled.
    pub(crate) fn finished_operation(&self) -> Option<Decision> {
        let job = self.book.get(*self.rolled_out.first()?)?;
        let operation = job.running()?.ended(Progress::Done);
        Some(Decision::default().write(Write::Job(Job {
            operation: Some(operation),
            ..job.clone()
        })))
    }
}

/// Whether a migration starts the new copy first.
pub(crate) fn starts_first(operation: &Operation, takeover: &Takeover) -> bool {
    operation.strategy.unwrap_or(takeover.migration) == Strategy::StartFirst
}

/// Whether a copy is of the assignment that its cluster has now.
pub(crate) fn follows(copy: &CopyReport, holding: &Holding) -> bool {
    copy.generation.assignment == holding.desired.generation.assignment
}

/// Whether nothing more comes of a slot at its cluster by itself.
fn rests(report: &SlotReport, holding: &Holding, replaced: Option<&InstanceId>) -> bool {
    let ending = |copy: &CopyReport| matches!(copy.role, Role::Leaving | Role::Successor);
    if report.copies.iter().any(ending) {
        return false;
    }
    let holder = report
        .copies
        .iter()
        .find(|copy| copy.role == Role::Holder)
        .or_else(|| report.copies.first());
    holder.is_some_and(|copy| {
        follows(copy, holding)
            && replaced != Some(&copy.instance)
            && match &copy.state {
                InstanceState::Running(report) => report.has_settled(),
                InstanceState::Failed(_)
                | InstanceState::NotDeployed { .. }
                | InstanceState::Unknown { .. }
                | InstanceState::Terminated { .. } => true,
                InstanceState::Requested
                | InstanceState::ScheduledCluster
                | InstanceState::ScheduledNode => false,
            }
    })
}

/// Why a copy will not become ready; `None` while it may.
pub(crate) fn why_not_ready(copy: &CopyReport) -> Option<Reason> {
    let failed = |report: &Report| {
        let again = matches!(
            report.observed,
            Observed::Failed {
                next_attempt: Some(_),
                ..
            }
        );
        (!again || report.restarts + 1 >= ATTEMPTS).then(|| {
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
