//! A worker that holds another store's set: our store was emptied or restored. Everything it has a right to run is
//! taken over before anything is stopped (protocol, section 3).

use std::collections::BTreeMap;
use std::sync::Arc;

use model::desired::Desired;
use model::id::NodeId;
use model::job::{Job, JobSpec, Owner, ServiceSpec};
use model::slot::Slot;
use sync::Held;

use crate::state::{Copy, SlotRecord, State};
use crate::{Decision, Soft, Write};

impl State {
    /// Each instance becomes a copy of its slot, provisional until its owner confirms it; jobs of this cluster's own
    /// are rebuilt from what the instances say of them.
    pub(crate) fn adopt<'a>(
        &'a self,
        node: NodeId,
        held: &Held,
        desired: &'a [Desired],
    ) -> Decision {
        let wanted = self
            .nodes
            .get(&node)
            .is_some_and(|known| known.desired.wants_former(self.incarnation));
        if !wanted {
            return Decision::default();
        }
        let mut records: BTreeMap<&Slot, SlotRecord> = BTreeMap::new();
        let mut jobs: BTreeMap<model::id::JobId, Job> = BTreeMap::new();
        for instance in desired {
            let slot = &instance.slot;
            if matches!(instance.job.owner, Owner::Cluster(_)) {
                self.rebuild(instance, &mut jobs);
            }
            let record = records.entry(slot).or_insert_with(|| {
                self.slots.get(slot).cloned().unwrap_or_else(|| SlotRecord {
                    provisional: true,
                    ..SlotRecord::default()
                })
            });
            record.placement = record.placement.max(instance.generation.placement);
            if !record
                .copies
                .iter()
                .any(|copy| copy.desired.instance == instance.instance)
            {
                record.copies.push(Copy {
                    desired: instance.clone(),
                    node,
                    leaving: false,
                    draining: false,
                });
            }
        }
        // What a restored record has on the worker and the worker no longer has was ended after the backup.
        let named: std::collections::BTreeSet<_> =
            desired.iter().map(|instance| instance.instance).collect();
        for (slot, absent) in self
            .copies_on(node)
            .filter(|(_, copy)| !named.contains(&copy.desired.instance))
        {
            let record = records
                .entry(slot)
                .or_insert_with(|| self.slots.get(slot).cloned().unwrap_or_default());
            for copy in record
                .copies
                .iter_mut()
                .filter(|copy| copy.desired.instance == absent.desired.instance)
            {
                copy.leaving = true;
            }
        }
        let mut decision = Decision::default();
        decision.writes.extend(jobs.into_values().map(Write::Job));
        decision
            .writes
            .extend(records.into_iter().map(|(slot, record)| Write::Slot {
                slot: slot.clone(),
                record: Some(record),
            }));
        decision.soft(Soft::Adopted(node, held.desired_digest))
    }

    /// A job of this cluster's own that the store no longer has.
    fn rebuild(&self, instance: &Desired, jobs: &mut BTreeMap<model::id::JobId, Job>) {
        let head = &instance.job;
        if self
            .book
            .get(head.id)
            .is_some_and(|job| job.service(&instance.slot.service).is_some() || job.is_deleted())
        {
            return;
        }
        let job = jobs.entry(head.id).or_insert_with(|| {
            self.book.get(head.id).cloned().unwrap_or_else(|| Job {
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
            })
        });
        let mut services: Vec<Arc<ServiceSpec>> = job.spec.services.clone();
        if !services
            .iter()
            .any(|service| service.name == instance.slot.service)
        {
            services.push(Arc::clone(&instance.service));
        }
        job.service_generations.insert(
            instance.slot.service.clone(),
            instance.generation.assignment,
        );
        job.spec = Arc::new(JobSpec {
            services,
            ..(*job.spec).clone()
        });
    }
}
