//! Operations on this cluster's own jobs: which slots may change now, which have settled, and how it ends.

use std::sync::Arc;

use model::desired::{Desired, Handover};
use model::id::InstanceId;
use model::job::Job;
use model::operation::{OperationKind, Rollout};
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
        if self.rollouts.may_replace(job, slot) {
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
        let number = job.operation.as_ref();
        let number = number.map_or(0, |operation| operation.number);
        let changing = self.rollouts.changing_beside(slot);
        let usual = service.takeover.handover(number, changing);
        match job.running() {
            Some(operation) if operation.replaces.contains_key(slot) => {
                operation.handover(slot, &service.takeover, usual)
            }
            Some(_) | None => usual,
        }
    }

    /// The slots of an operation that runs, as at its begin.
    pub(crate) fn rollout_of(&self, job: &Job) -> Option<Rollout> {
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
        Some(rollout)
    }

    /// After a look at a slot that changed nothing: has it begun, has it settled, or has it failed?
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
        let Some((job, operation)) = self
            .book
            .get(slot.job)
            .filter(|_| rollout.is_unsettled(slot))
            .and_then(|job| Some((job, job.running()?)))
        else {
            return decision;
        };
        let refused = record
            .refused
            .as_ref()
            .filter(|refused| refused.number == operation.number)
            .map(|refused| refused.offer.reason.clone());
        let begun = rollout.has_begun(slot);
        let failed = refused.or_else(|| self.failure(now, slot, record).filter(|_| begun));
        if let Some(reason) = failed {
            return match model::book::failed(job, slot, &reason, now.wall) {
                Some(ended) => decision.write(Write::Job(ended)),
                None => decision,
            };
        }
        if self.is_settled(now, (job, begun), slot, record) {
            decision.soft(Soft::Settled(slot.clone()))
        } else {
            decision
        }
    }

    /// Why the copy that was to take over does not run; `None` while it may.
    fn failure(&self, now: Now, slot: &Slot, record: &SlotRecord) -> Option<Reason> {
        if let Some(waiting) = self.waiting.get(slot) {
            return (!waiting.is_held_back()).then(|| waiting.reason.clone());
        }
        let standing = |copy: &&Copy| copy.counts() && !self.is_lost(now.steady, copy);
        let mut standing = record.copies.iter().filter(standing);
        standing.find_map(|copy| self.why_not_ready(now.steady, copy))
    }

    /// Whether the operation has nothing more to wait for in a slot, which it has begun to change or not.
    fn is_settled(
        &self,
        now: Now,
        (job, begun): (&Job, bool),
        slot: &Slot,
        record: &SlotRecord,
    ) -> bool {
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
            let known = self.copies.get(&copy.desired.instance);
            let outdated = job
                .service(&slot.service)
                .is_some_and(|service| service.workload.hash != copy.desired.service.workload.hash);
            !outdated
                && replaced != Some(&copy.desired.instance)
                && known.is_some_and(|known| known.state.has_settled(begun))
        };
        let mut holders = record.copies.iter().filter(stands);
        if let Some(copy) = holders.next() {
            return rests(copy);
        }
        let waiting = self.waiting.get(slot);
        !wanted || (!begun && waiting.is_some_and(|waiting| !waiting.is_asking()))
    }

    /// The next operation whose slots have all settled.
    pub(crate) fn finished_operation(&self) -> Option<Decision> {
        let job = self.book.get(self.rollouts.next_over()?)?;
        Some(Decision::default().write(Write::Job(model::book::finished(job)?)))
    }
}
