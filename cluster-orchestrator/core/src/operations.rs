//! Operations on this cluster's own jobs: which slots may change now, which have settled, and how it ends.

use std::sync::Arc;

use model::desired::{Desired, Handover};
use model::id::InstanceId;
use model::instance::InstanceState;
use model::job::{Job, Strategy};
use model::operation::{Operation, OperationKind, Progress, Rollout};
use model::reason::Reason;
use model::slot::{Generation, Slot};
use model::time::Now;

use crate::state::{Copy, SlotRecord, State};
use crate::{Decision, Soft, Write};

impl State {
    /// What a job of this cluster's own wants in a slot: the document's service, or, as long as the slot's turn has not
    /// come, what it has.
    pub(crate) fn wanted_of(&self, job: &Job, slot: &Slot) -> Option<Desired> {
        let service = job.service(&slot.service).filter(|_| job.wants(slot))?;
        let seed = sync::mark(&[&self.incarnation, slot, &"first"]).0;
        let mut wanted = Desired {
            instance: InstanceId::derived(job.created_at, seed),
            slot: slot.clone(),
            generation: Generation {
                assignment: job.service_generation(&slot.service),
                placement: 0,
            },
            job: Arc::clone(self.heads.get(&slot.job)?),
            service: Arc::clone(service),
            handover: self.handover(job, slot),
        };
        let copies = self.slots.get(slot).map(|record| &record.copies);
        let mut standing = copies.into_iter().flatten().filter(|copy| copy.counts());
        if self.may_change(job, slot) {
            return Some(wanted);
        }
        wanted.handover.replace = None;
        let differs = |copy: &&Copy| copy.desired.service.workload.hash != service.workload.hash;
        Some(
            standing
                .find(differs)
                .map_or(wanted, |copy| copy.desired.clone()),
        )
    }

    /// How a slot's next copy takes over from the one it has.
    fn handover(&self, job: &Job, slot: &Slot) -> Handover {
        let Some(service) = job.service(&slot.service) else {
            return Handover::default();
        };
        let takeover = &service.takeover;
        let rollout = self.rollouts.get(&job.id);
        let begun = rollout.map_or(0, |(_, rollout)| rollout.begun_of(slot));
        let operation = job.operation.as_ref();
        let usual = Handover {
            number: operation.map_or(0, |operation| operation.number),
            start_first: takeover.max_surge > 0,
            keep_old: begun >= takeover.max_unavailable as usize,
            ..Handover::default()
        };
        match job.running() {
            Some(operation) if operation.replaces.contains_key(slot) => {
                replacing(operation, slot, takeover.migration, usual)
            }
            Some(_) | None => usual,
        }
    }

    /// Whether the copy of a slot may be replaced now.
    fn may_change(&self, job: &Job, slot: &Slot) -> bool {
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

    /// The slots of an operation that runs, as at its begin.
    pub(crate) fn rollout_of(&self, job: &Job) -> Option<(u64, Rollout)> {
        let operation = job.running()?;
        let slots = job
            .slots()
            .chain(self.slots_of(job.id).map(|(slot, _)| slot.clone()));
        let mut rollout = Rollout::new(slots);
        // After a restart what there is shows which have begun.
        for (slot, record) in self.slots_of(job.id).filter(|_| !self.started) {
            let replaced = operation.replaces.get(slot);
            let next = |copy: &Copy| match replaced {
                Some(replaced) => copy.desired.instance != *replaced,
                None => copy.desired.generation.assignment == job.service_generation(&slot.service),
            };
            let changes = operation.kind != OperationKind::Scale;
            if changes && (record.copies.len() != 1 || record.copies.iter().any(next)) {
                rollout.begin(slot);
            }
        }
        Some((operation.number, rollout))
    }

    /// After a look at a slot that changed nothing: has it begun, has it settled, or has it failed?
    pub(crate) fn follow_operation(
        &self,
        now: Now,
        slot: &Slot,
        record: &SlotRecord,
        decision: Decision,
    ) -> Decision {
        let Some((number, rollout)) = self.rollouts.get(&slot.job) else {
            return decision;
        };
        let Some(job) = self
            .book
            .get(slot.job)
            .filter(|_| rollout.is_unsettled(slot))
        else {
            return decision;
        };
        let refused = record
            .refused
            .as_ref()
            .filter(|refused| refused.number == *number)
            .map(|refused| refused.offer.reason.clone());
        let begun = rollout.has_begun(slot);
        let failed = refused.or_else(|| self.failure(now, slot, record).filter(|_| begun));
        if let Some(reason) = failed {
            return decision.write(Write::Job(Self::failed_operation(now, job, slot, &reason)));
        }
        if self.is_settled(now, job, slot, record) {
            decision.soft(Soft::Settled(slot.clone()))
        } else {
            decision
        }
    }

    /// Why the copy that was to take over does not run.
    fn failure(&self, now: Now, slot: &Slot, record: &SlotRecord) -> Option<Reason> {
        if let Some(waiting) = self.waiting.get(slot) {
            return Some(waiting.reason.clone());
        }
        let standing = |copy: &&Copy| copy.counts() && !self.is_lost(now.steady, copy);
        let mut standing = record.copies.iter().filter(standing);
        standing.find_map(|copy| self.why_not_ready(now.steady, copy))
    }

    fn is_settled(&self, now: Now, job: &Job, slot: &Slot, record: &SlotRecord) -> bool {
        let ending = record
            .copies
            .iter()
            .any(|copy| !copy.counts() && !self.is_lost(now.steady, copy));
        let wanted = job.wants(slot);
        let stands = |copy: &&Copy| copy.counts() && !self.is_lost(now.steady, copy);
        let standing = record.copies.iter().filter(stands).count();
        if ending || (!wanted && standing > 0) || standing > 1 {
            return false;
        }
        let replaced = job
            .running()
            .and_then(|operation| operation.replaces.get(slot));
        let rests = |copy: &Copy| {
            let state = self
                .copies
                .get(&copy.desired.instance)
                .map(|copy| &copy.state);
            let outdated = job
                .service(&slot.service)
                .is_some_and(|service| service.workload.hash != copy.desired.service.workload.hash);
            !outdated
                && replaced != Some(&copy.desired.instance)
                && state.is_some_and(|state| match state {
                    InstanceState::Running(report) => report.has_settled(),
                    InstanceState::Failed(_)
                    | InstanceState::Terminated { .. }
                    | InstanceState::Unknown { .. }
                    | InstanceState::NotDeployed { .. } => true,
                    InstanceState::Requested
                    | InstanceState::ScheduledCluster
                    | InstanceState::ScheduledNode => false,
                })
        };
        let mut holders = record.copies.iter().filter(stands);
        match holders.next() {
            Some(copy) => rests(copy),
            None => !wanted || self.waiting.contains_key(slot),
        }
    }

    fn failed_operation(now: Now, job: &Job, slot: &Slot, reason: &Reason) -> Job {
        let Some(operation) = job.running() else {
            return job.clone();
        };
        if let Some(previous) = operation.previous.as_ref() {
            return model::book::rolled_back(job, previous, now.wall);
        }
        let message = format!("{}/{}: {}", slot.service, slot.index, reason.message);
        Job {
            operation: Some(operation.ended(Progress::Failed(Reason::new(reason.code, message)))),
            ..job.clone()
        }
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

fn replacing(operation: &Operation, slot: &Slot, usual: Strategy, by_policy: Handover) -> Handover {
    let replace = operation.replaces.get(slot).copied();
    match operation.kind {
        OperationKind::Restart => Handover {
            replace,
            same_worker: true,
            ..by_policy
        },
        OperationKind::Scale
        | OperationKind::Update
        | OperationKind::Rollback
        | OperationKind::Migrate => {
            let start_first = operation.strategy.unwrap_or(usual) == Strategy::StartFirst;
            Handover {
                replace,
                start_first,
                keep_old: start_first,
                worker: operation.worker.clone(),
                ..by_policy
            }
        }
    }
}
