//! A worker that holds another store's set: our store was emptied or restored. Everything it has a right to run is
//! taken over before anything is stopped (protocol, section 3).

use std::collections::BTreeMap;

use model::desired::Desired;
use model::id::{JobId, NodeId};
use model::job::{Job, Owner};
use model::node::Scheduling;
use model::slot::Slot;
use sync::Held;

use crate::state::{Copy, SlotRecord, State};
use crate::{Decision, Soft, Write};

impl State {
    /// Each instance becomes a copy of its slot, provisional until its owner confirms it; jobs of this cluster's own
    /// are rebuilt from what the instances say of them, and so is what of a job is later than a restored store.
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
        let record = self.nodes.get(&node).map(|known| &known.record);
        let believed = record.is_some_and(|record| {
            record.synced != Some(self.incarnation) && record.scheduling != Scheduling::Quarantined
        });
        if !believed {
            return Decision::default().soft(Soft::Adopted(node, held.desired_digest));
        }
        let mut records: BTreeMap<&Slot, SlotRecord> = BTreeMap::new();
        let mut jobs: BTreeMap<JobId, Job> = BTreeMap::new();
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
            let mut copies = record.copies.iter_mut();
            match copies.find(|copy| copy.desired.instance == instance.instance) {
                // A generation that was given after the backup counts.
                // Of another worker's it knows nothing.
                Some(copy) if copy.node != node => {}
                Some(copy) if copy.desired.generation < instance.generation => {
                    copy.desired = instance.clone();
                }
                Some(_) => {}
                None => record.copies.push(Copy {
                    desired: instance.clone(),
                    node,
                    leaving: false,
                    draining: false,
                }),
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

    /// A job of this cluster's own as the store does not have it: not at all, or as it was before the instance was made.
    fn rebuild(&self, instance: &Desired, jobs: &mut BTreeMap<JobId, Job>) {
        let (head, slot) = (&instance.job, &instance.slot);
        let known = jobs.get(&head.id).or_else(|| self.book.get(head.id));
        let copies = self
            .slots
            .get(slot)
            .map_or(&[][..], |record| &record.copies);
        let same = |copy: &Copy| copy.desired.instance == instance.instance;
        let stored = copies
            .iter()
            .any(|copy| same(copy) && copy.desired.generation >= instance.generation);
        if known.is_some_and(|known| known.is_deleted() || stored) {
            return;
        }
        let mut job = known.cloned().unwrap_or_else(|| Job::told_by(instance));
        let since = instance.generation.assignment;
        let first = job.service(&slot.service).is_none();
        let later = first || since > job.service_generation(&slot.service);
        if job.learn(instance, later.then_some(since)) {
            jobs.insert(head.id, job);
        }
    }
}
