//! Clusters that come, are changed, and are forgotten.

use model::id::ClusterId;
use model::time::Now;

use crate::state::{Cluster, ClusterRecord, State};

impl State {
    pub(super) fn take_cluster(&mut self, now: Now, id: ClusterId, record: &ClusterRecord) {
        self.names.retain(|_, holder| *holder != id);
        self.names.insert(record.name.clone(), id);
        let spared = now.steady.plus(self.config.grace());
        let fresh = !self.clusters.contains_key(&id);
        let floor = self.floor;
        let new = || Cluster::above(floor, record.clone());
        let cluster = self.clusters.entry(id).or_insert_with(new);
        cluster.record = record.clone();
        if fresh {
            cluster.proof = now.steady;
            cluster.spared_until = spared;
        }
        self.set_changed(id);
        self.schedule_check(id, now.steady);
        self.room_freed();
        // What is there may have to leave, or may stay after all.
        self.touch_slots_of(id);
    }

    pub(super) fn take_revision(&mut self, id: ClusterId, revision: u64) {
        self.revised.remove(&id);
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        cluster.stored_revision = revision;
        if !self.started {
            cluster.desired.restore(revision);
            for ((holder, _), at) in &mut self.left_at {
                if *holder == id {
                    *at = revision;
                }
            }
        }
    }

    pub(super) fn forget_cluster(&mut self, id: ClusterId) {
        self.touch_slots_of(id);
        self.clusters.remove(&id);
        self.names.retain(|_, holder| *holder != id);
        self.revised.remove(&id);
        self.unsynced.remove(&id);
        self.checks.retain(|(_, checked)| *checked != id);
        self.left_at.retain(|(holder, _), _| *holder != id);
        for known in self.refusals.values_mut() {
            known.remove(&id);
        }
        self.room_freed();
    }
}
