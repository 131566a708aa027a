//! A cluster that holds another store's set: our store was emptied or restored. Everything it has a right to run is
//! taken over before anything is stopped (protocol, section 3).

use std::collections::BTreeMap;

use model::desired::Desired;
use model::id::{ClusterId, JobId};
use model::job::{Job, Owner, ServiceSpec};
use model::slot::Slot;
use sync::Held;

use crate::state::{Holding, SlotRecord, State};
use crate::{Decision, Soft, Write};

impl State {
    /// Each assignment becomes a holding of its slot; jobs that this store does not have are rebuilt from what their
    /// assignments say of them, and so is what of a job is later than a restored store. What was deleted here stays
    /// deleted.
    pub(crate) fn adopt<'a>(
        &'a self,
        cluster: ClusterId,
        held: &Held,
        desired: &'a [Desired],
    ) -> Decision {
        let wanted = self
            .clusters
            .get(&cluster)
            .is_some_and(|known| known.desired.wants_former(self.incarnation));
        if !wanted {
            return Decision::default();
        }
        let record = self.clusters.get(&cluster).map(|known| &known.record);
        if record.is_none_or(|record| record.synced == Some(self.incarnation)) {
            return Decision::default().soft(Soft::Adopted(cluster, held.desired_digest));
        }
        let mut records: BTreeMap<&Slot, SlotRecord> = BTreeMap::new();
        let mut jobs: BTreeMap<JobId, Job> = BTreeMap::new();
        for instance in desired
            .iter()
            .filter(|instance| instance.job.owner == Owner::Root)
        {
            let slot = &instance.slot;
            let known = self.book.get(slot.job);
            if known.is_some_and(Job::is_deleted) {
                continue;
            }
            self.rebuild(instance, &mut jobs);
            let generation = jobs
                .get(&slot.job)
                .or(known)
                .map_or(1, |job| job.service_generation(&slot.service));
            let record = records.entry(slot).or_insert_with(|| {
                self.slots.get(slot).cloned().unwrap_or_else(|| SlotRecord {
                    service_generation: generation,
                    ..SlotRecord::default()
                })
            });
            record.assignment = record.assignment.max(instance.generation.assignment);
            // An assignment of an earlier document than the one that is known follows it anew.
            let hash = jobs
                .get(&slot.job)
                .or(known)
                .and_then(|job| job.service(&slot.service))
                .map(|service| service.workload.hash);
            let current = hash == Some(instance.service.workload.hash);
            record.service_generation = if current { generation } else { 0 };
            // What was under way in a restored record is not what is under way now.
            record.moving = None;
            record.holdings.retain(|holding| holding.cluster != cluster);
            record.holdings.push(Holding {
                cluster,
                desired: instance.clone(),
                leaving: false,
                draining: false,
                by: String::new(),
            });
        }
        self.take_back_absent(cluster, desired, &mut records);
        let mut decision = Decision::default();
        decision.writes.extend(jobs.into_values().map(Write::Job));
        decision
            .writes
            .extend(records.into_iter().map(|(slot, record)| Write::Slot {
                slot: slot.clone(),
                record: Some(record),
            }));
        decision.soft(Soft::Adopted(cluster, held.desired_digest))
    }

    /// What a restored record has at the cluster and the cluster no longer has was ended after the backup: it is
    /// assigned anew, under another id, once that is confirmed.
    fn take_back_absent<'a>(
        &'a self,
        cluster: ClusterId,
        desired: &[Desired],
        records: &mut BTreeMap<&'a Slot, SlotRecord>,
    ) {
        let named: std::collections::BTreeSet<&Slot> =
            desired.iter().map(|instance| &instance.slot).collect();
        let held = self
            .clusters
            .get(&cluster)
            .into_iter()
            .flat_map(|known| &known.slots);
        for slot in held.filter(|slot| !named.contains(slot)) {
            let Some(mut record) = self.slots.get(slot).cloned() else {
                continue;
            };
            for holding in record
                .holdings
                .iter_mut()
                .filter(|holding| holding.cluster == cluster)
            {
                holding.leaving = true;
            }
            records.insert(slot, record);
        }
    }

    /// A job as the store does not have it: not at all, or as it was before the assignment was made.
    fn rebuild(&self, instance: &Desired, jobs: &mut BTreeMap<JobId, Job>) {
        let (head, slot) = (&instance.job, &instance.slot);
        let stored = self.book.get(head.id);
        let assigned = self.slots.get(slot).map(|record| record.assignment);
        if stored.is_some() && assigned.is_some_and(|known| known >= instance.generation.assignment)
        {
            return;
        }
        let known = jobs.get(&head.id).or(stored);
        let mut job = known.cloned().unwrap_or_else(|| Job::told_by(instance));
        // What the store has is not the later document, and what was learned of it just now is.
        let service = |job: &Job| job.service(&slot.service).cloned();
        let told = &instance.service;
        let is_told = |known: &ServiceSpec| {
            known.workload.hash == told.workload.hash && known.placement == told.placement
        };
        let later = stored
            .and_then(service)
            .is_some_and(|known| !is_told(&known))
            && service(&job).is_some_and(|known| !is_told(&known));
        let since = later.then(|| job.generation.saturating_add(1));
        if job.learn(instance, since) {
            jobs.insert(head.id, job);
        }
    }
}
