//! A cluster that holds another store's set: our store was emptied or restored. Everything it has a right to run is
//! taken over before anything is stopped (protocol, section 3).

use std::collections::BTreeMap;
use std::sync::Arc;

use model::desired::Desired;
use model::id::{ClusterId, JobId};
use model::job::{Job, JobSpec, Owner, ServiceSpec};
use model::slot::Slot;
use sync::Held;

use crate::state::{Holding, SlotRecord, State};
use crate::{Decision, Soft, Write};

impl State {
    /// Each assignment becomes a holding of its slot; jobs that this store does not have are rebuilt from what their
    /// assignments say of them. What was deleted here stays deleted.
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
            // What the cluster says is later than a restored record; a document that differs then follows anew.
            let hash = jobs
                .get(&slot.job)
                .or(known)
                .and_then(|job| job.service(&slot.service))
                .map(|service| service.workload.hash);
            if hash != Some(instance.service.workload.hash) {
                record.service_generation = 0;
            }
            // What was under way in a restored record is not what is under way now.
            record.moving = None;
            record.holdings.retain(|holding| holding.cluster != cluster);
            record.holdings.push(Holding {
                cluster,
                desired: instance.clone(),
                leaving: false,
                draining: false,
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

    /// A job that the store no longer has, or has without this service.
    fn rebuild(&self, instance: &Desired, jobs: &mut BTreeMap<JobId, Job>) {
        let head = &instance.job;
        if self.book.get(head.id).is_some() {
            return;
        }
        let job = jobs.entry(head.id).or_insert_with(|| Job {
            id: head.id,
            tenant: head.tenant.clone(),
            generation: 1,
            created_at: head.created_at,
            deleted_at: None,
            spec: Arc::new(JobSpec {
                name: head.name.clone(),
                lost_after: head.lost_after,
                on_partition: head.on_partition,
                reconcile: head.reconcile,
                services: Vec::new(),
            }),
            service_generations: BTreeMap::new(),
            operation: None,
        });
        let mut services: Vec<Arc<ServiceSpec>> = job.spec.services.clone();
        if !services
            .iter()
            .any(|service| service.name == instance.slot.service)
        {
            services.push(Arc::clone(&instance.service));
            job.spec = Arc::new(JobSpec {
                services,
                ..(*job.spec).clone()
            });
        }
    }
}
