//! What the jobs of each tenant ask for, counted against quotas.
//!
//! # Guarantees
//! - A request is decided on what all requests before it came to, also those of its own batch: no number of them takes more
//!   than a quota.
//! - What no document asks for any more counts until nothing of it is left: a job that was deleted until it is confirmed
//!   TERMINATED, a replica that was scaled away until its worker has ended it. Where that worker cannot be heard it counts
//!   on, since it may run on; an operator who forgets the worker says that it does not. Freed at once, a quota could be
//!   exceeded for as long as a partition lasts, by deleting and submitting again.
//! - A quota that is lowered below what is used refuses what asks for more, and nothing else.
//!
//! # Caveats
//! What an orchestrator learns from those below it, and copies that run for a moment beside those that they take over from,
//! ask nobody. A document that takes from one service what it gives to another asks for no more than before.

use super::{JobBook, Refusal};
use crate::access::{Quota, TenantPath, Usage};
use crate::id::JobId;
use crate::job::Job;
use crate::slot::Slot;
use crate::units::Resources;

impl JobBook {
    /// Takes all quotas there are, instead of those before; a tenant that is not named has none of its own.
    pub fn limit(&mut self, quotas: &[(TenantPath, Quota)]) {
        for tenant in std::mem::take(&mut self.limited) {
            self.quotas.limit(&tenant, &Quota::default());
        }
        for (tenant, quota) in quotas {
            self.quotas.limit(tenant, quota);
            self.limited.insert(tenant.clone());
        }
    }

    /// What is counted of a tenant, and of all below it.
    pub fn usage(&self, tenant: &TenantPath) -> Usage {
        self.quotas.usage(tenant)
    }

    /// What is left of a slot, as its tier knows: counted where no document asks for the slot, which has to be said again
    /// when its job's document has changed.
    pub fn has_of(&mut self, slot: &Slot, left: Option<Resources>) {
        let wanted = self.jobs.get(&slot.job).map(|job| job.wants(slot));
        let left = left.filter(|_| wanted == Some(false));
        if self.lingering.get(slot) == left.as_ref() {
            return;
        }
        self.recount(slot.job, |book| {
            let before = match left {
                Some(resources) => book.lingering.insert(slot.clone(), resources),
                None => book.lingering.remove(slot),
            };
            if let Some(job) = book.jobs.get(&slot.job) {
                let usage = |left: Option<Resources>| left.map(Usage::of_copy).unwrap_or_default();
                book.quotas
                    .charge(&job.tenant, &usage(before), &usage(left));
            }
        });
    }

    /// Whether there is room for all these jobs together, each of which comes instead of the one before it.
    pub(super) fn room<'a>(
        &self,
        changes: impl IntoIterator<Item = (Option<&'a Job>, &'a Job)>,
    ) -> Result<(), Refusal> {
        let mut tenant = None;
        let mut demand = Usage::default();
        for (before, after) in changes {
            let had = before.map(|job| self.document(job).plus(self.returning(after)));
            let more = Usage::of(after).minus(had.unwrap_or_default());
            demand = demand.plus(more);
            tenant = Some(&after.tenant);
        }
        tenant
            .map_or(Ok(()), |tenant| self.quotas.check(tenant, &demand))
            .map_err(Refusal::Quota)
    }

    /// Changes what is known of a job, and what is counted of its document with it.
    pub(super) fn recount<T>(&mut self, id: JobId, change: impl FnOnce(&mut Self) -> T) -> T {
        let counted = |book: &Self| {
            let job = book.jobs.get(&id)?;
            Some((job.tenant.clone(), book.document(job)))
        };
        let before = counted(self);
        let done = change(self);
        let nothing = Usage::default();
        match (before, counted(self)) {
            (Some((was, before)), Some((tenant, after))) if was == tenant => {
                self.quotas.charge(&tenant, &before, &after);
            }
            (before, after) => {
                if let Some((tenant, usage)) = before {
                    self.quotas.charge(&tenant, &usage, &nothing);
                }
                if let Some((tenant, usage)) = after {
                    self.quotas.charge(&tenant, &nothing, &usage);
                }
            }
        }
        done
    }

    /// What is counted of a job but for the copies that linger: it is one as long as there are any.
    fn document(&self, job: &Job) -> Usage {
        let usage = Usage::of(job);
        let lingers = || self.lingering_of(job.id).next().is_some();
        Usage {
            jobs: u64::from(usage.jobs > 0 || lingers()),
            ..usage
        }
    }

    /// What lingers now and would be asked for again by the job as it is after a change.
    fn returning(&self, after: &Job) -> Usage {
        self.lingering_of(after.id)
            .filter(|(slot, _)| after.wants(slot))
            .fold(Usage::default(), |sum, (_, left)| {
                sum.plus(Usage::of_copy(*left))
            })
    }

    fn lingering_of(&self, job: JobId) -> impl Iterator<Item = (&Slot, &Resources)> {
        let first = Slot {
            job,
            service: crate::name::least(),
            index: 0,
        };
        self.lingering
            .range(first..)
            .take_while(move |(slot, _)| slot.job == job)
    }

    pub(super) fn forget_lingering(&mut self, job: JobId) {
        let slots: Vec<Slot> = self
            .lingering_of(job)
            .map(|(slot, _)| slot.clone())
            .collect();
        for slot in slots {
            self.has_of(&slot, None);
        }
    }
}
