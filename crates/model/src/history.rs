//! What happened to the jobs of one orchestrator: the last events of each, and of all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::access::TenantPath;
use crate::event::Event;
use crate::id::{EventId, JobId};
use crate::time::Now;

/// The events that are kept, by job and by id. Nothing is dropped silently: [`History::excess`] names what is to go.
#[derive(Debug, Clone, Default)]
pub struct History {
    jobs: BTreeMap<JobId, VecDeque<Arc<Event>>>,
    all: BTreeMap<EventId, Arc<Event>>,
    /// Those of each tenant but the root, and of all below it.
    tenants: BTreeMap<TenantPath, BTreeSet<EventId>>,
    /// Jobs with more than [`History::OF_A_JOB`].
    overfull: BTreeSet<JobId>,
    /// How many were taken since the start.
    taken: u64,
}

impl History {
    /// Events kept of one job.
    pub const OF_A_JOB: usize = 200;
    /// Events kept in all.
    pub const OF_ALL: usize = 100_000;

    /// The id of the event that is taken `ahead` events after the last one, in the start of this number: greater ids
    /// are later ones, as long as the wall clock does not step back.
    pub fn id(&self, now: Now, start: u64, ahead: u64) -> EventId {
        let seed = (u128::from(start) << 48) | u128::from(self.taken + ahead);
        EventId::derived(now.wall, seed)
    }

    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        self.taken += 1;
        let event = Arc::new(event.clone());
        let of_job = self.jobs.entry(event.job).or_default();
        of_job.push_back(Arc::clone(&event));
        if of_job.len() > Self::OF_A_JOB {
            self.overfull.insert(event.job);
        }
        for tenant in event.tenant.below_root() {
            self.tenants.entry(tenant).or_default().insert(event.id);
        }
        self.all.insert(event.id, event);
    }

    /// The oldest event of a job that has too many, or of all when they are too many.
    pub fn excess(&self) -> Option<&Event> {
        let of_job = self.overfull.first().and_then(|job| self.jobs.get(job));
        let oldest = of_job.and_then(|events| events.front());
        let of_all = || {
            let full = self.all.len() > Self::OF_ALL;
            self.all.values().next().filter(|_| full)
        };
        oldest.or_else(of_all).map(Arc::as_ref)
    }

    /// Forgets one event.
    pub fn forget(&mut self, job: JobId, id: EventId) {
        let event = self.all.remove(&id);
        for tenant in event.iter().flat_map(|event| event.tenant.below_root()) {
            if let Some(events) = self.tenants.get_mut(&tenant) {
                events.remove(&id);
                if events.is_empty() {
                    self.tenants.remove(&tenant);
                }
            }
        }
        let Some(events) = self.jobs.get_mut(&job) else {
            return;
        };
        // It is the oldest, but for a deletion of a whole job, which takes them in order.
        if events.front().is_some_and(|oldest| oldest.id == id) {
            events.pop_front();
        } else {
            events.retain(|event| event.id != id);
        }
        if events.len() <= Self::OF_A_JOB {
            self.overfull.remove(&job);
        }
        if events.is_empty() {
            self.jobs.remove(&job);
        }
    }

    /// The events of a job, oldest first.
    pub fn of(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.jobs.get(&job).into_iter().flatten()
    }

    /// The events of a tenant, and of all below it, after `after`, by id.
    pub fn after<'a>(
        &'a self,
        within: &TenantPath,
        after: Option<EventId>,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<Event>> + use<'a> {
        let later = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let all = within.is_root().then(|| self.all.range(later));
        // The root has no such set.
        let ids = self.tenants.get(within).map(|ids| ids.range(later));
        let some = ids.into_iter().flatten().filter_map(|id| self.all.get(id));
        let all = all.into_iter().flatten().map(|(_, event)| event);
        all.chain(some)
    }

    /// Whether this very event is kept, under whatever id: the same change of the same instance at the same moment.
    pub fn tells(&self, event: &Event) -> bool {
        self.of(event.job).any(|known| {
            known.at == event.at
                && known.instance == event.instance
                && known.tier == event.tier
                && known.generation == event.generation
                && (known.from, known.to) == (event.from, event.to)
        })
    }

    /// Whether an event of that id is kept.
    pub fn has(&self, id: EventId) -> bool {
        self.all.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Tier;
    use crate::slot::Generation;
    use crate::time::{Instant, Wall};

    fn now(wall: i64) -> Now {
        Now {
            steady: Instant(0),
            wall: Wall(wall),
        }
    }

    fn take(history: &mut History, job: u128, wall: i64) -> EventId {
        take_of(history, "default", job, wall)
    }

    fn take_of(history: &mut History, tenant: &str, job: u128, wall: i64) -> EventId {
        let id = history.id(now(wall), 1, 0);
        history.take(&Event {
            id,
            at: Wall(wall),
            tier: Tier::Root,
            job: JobId::from_bits(job),
            tenant: TenantPath::new(tenant).unwrap(),
            instance: None,
            generation: Generation::default(),
            from: "REQUESTED",
            to: "SCHEDULED_CLUSTER",
            cause: "assigned".to_owned(),
            message: String::new(),
        });
        id
    }

    #[test]
    fn events_of_one_moment_keep_their_order() {
        let mut history = History::default();
        let ids: Vec<EventId> = (0..50).map(|job| take(&mut history, job, 7)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        let root = TenantPath::root();
        let after = history.after(&root, Some(ids[47])).map(|event| event.id);
        assert_eq!(after.collect::<Vec<_>>(), ids[48..]);
    }

    #[test]
    fn the_events_of_a_tenant_are_its_own_and_those_below_it() {
        let mut history = History::default();
        let tenants = ["default", "uni", "uni/lab", "uni-other", "uni/lab"];
        let ids: Vec<EventId> = (1..)
            .zip(tenants)
            .map(|(job, tenant)| take_of(&mut history, tenant, job, 0))
            .collect();
        let told = |history: &History, within: &str, after: Option<EventId>| -> Vec<EventId> {
            let within = TenantPath::new(within).unwrap();
            let events = history.after(&within, after);
            events.map(|event| event.id).collect()
        };
        assert_eq!(told(&history, "default", None), ids);
        assert_eq!(told(&history, "uni", None), [ids[1], ids[2], ids[4]]);
        assert_eq!(told(&history, "uni/lab", Some(ids[2])), [ids[4]]);
        assert_eq!(told(&history, "lab", None), []);
        history.forget(JobId::from_bits(3), ids[2]);
        history.forget(JobId::from_bits(5), ids[4]);
        assert_eq!(told(&history, "uni", None), [ids[1]]);
        assert_eq!(told(&history, "uni/lab", None), []);
    }

    #[test]
    fn a_job_with_too_many_events_gives_up_its_oldest_and_no_others() {
        let mut history = History::default();
        let other = take(&mut history, 2, 0);
        let first = take(&mut history, 1, 1);
        for at in 0..History::OF_A_JOB as i64 - 1 {
            take(&mut history, 1, 2 + at);
        }
        assert_eq!(history.excess(), None);
        take(&mut history, 1, 1_000);
        assert_eq!(history.excess().map(|event| event.id), Some(first));
        history.forget(JobId::from_bits(1), first);
        assert_eq!(history.excess(), None);
        assert!(history.has(other) && !history.has(first));
        assert_eq!(history.of(JobId::from_bits(1)).count(), History::OF_A_JOB);
    }

    #[test]
    fn beyond_the_number_of_all_the_oldest_of_all_goes() {
        let mut history = History::default();
        let first = take(&mut history, 0, 0);
        for job in 1..=History::OF_ALL as u128 {
            take(&mut history, job, 1);
        }
        assert_eq!(history.excess().map(|event| event.id), Some(first));
        history.forget(JobId::from_bits(0), first);
        assert_eq!(history.excess(), None);
        assert_eq!(history.of(JobId::from_bits(0)).count(), 0);
    }
}
