//! Writes about workers: records, connections, liveness, acknowledgements.

use model::id::{InstanceId, NodeId};
use model::job::Job;
use model::node::{Leaving, Liveness};
use model::slot::Slot;
use model::time::{Instant, Now};
use sync::Held;

use crate::desired_entry;
use crate::state::{FLAPPING, Node, NodeRecord, State};

impl State {
    pub(super) fn take_node(&mut self, now: Now, id: NodeId, record: &NodeRecord) {
        let settings = self.settings(record);
        let room_grew = self
            .nodes
            .get(&id)
            .is_none_or(|node| node.record != *record);
        self.names.retain(|_, holder| *holder != id);
        self.names.insert(record.facts.name.clone(), id);
        let spared = now.steady.plus(self.config.grace());
        let fresh = !self.nodes.contains_key(&id);
        let floor = self.floor;
        let node = self.nodes.entry(id).or_insert_with(|| {
            let mut node = Node::new(record.clone());
            // It may be one that was forgotten, and hold a set that was made for it then.
            if floor > 0 {
                node.desired.restore(floor + 1);
            }
            node
        });
        node.record = record.clone();
        node.labels = record.labels_in_force();
        node.desired.put(desired_entry(settings));
        if fresh {
            node.proof = now.steady;
            node.spared_until = spared;
        }
        self.set_changed(id);
        self.schedule_check(id, now.steady);
        if room_grew {
            self.room_freed();
            // What runs there may have to leave, or may stay after all.
            self.touch_slots_on(now, id);
        }
    }

    pub(super) fn forget_node(&mut self, now: Now, id: NodeId) {
        let here: Vec<InstanceId> = self.on_node.remove(&id).into_iter().flatten().collect();
        self.nodes.remove(&id);
        self.names.retain(|_, holder| *holder != id);
        self.revised.remove(&id);
        self.unsynced.remove(&id);
        self.checks.retain(|(_, checked)| *checked != id);
        for instance in here {
            self.set_deadline(instance, None);
            if let Some(copy) = self.copies.remove(&instance) {
                self.refresh(now, &copy.slot);
                self.dirty.insert(copy.slot);
            }
        }
        self.room_freed();
    }

    pub(super) fn take_revision(&mut self, id: NodeId, revision: u64) {
        self.revised.remove(&id);
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.stored_revision = revision;
        if !self.started {
            node.desired.restore(revision);
            for instance in self.on_node.get(&id).into_iter().flatten() {
                if let Some(copy) = self.copies.get_mut(instance)
                    && copy.left_at.is_some()
                {
                    copy.left_at = Some(revision);
                }
            }
        }
    }

    pub(super) fn set_changed(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        if self.started && node.desired.revision() != node.stored_revision {
            self.revised.insert(id);
        }
        if node.desired.is_synced(self.incarnation) {
            self.unsynced.remove(&id);
        } else {
            self.unsynced.insert(id);
        }
    }

    /// A worker is looked at again at `at`, or earlier if that was planned.
    pub(super) fn schedule_check(&mut self, id: NodeId, at: Instant) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if let Some(planned) = node.check_at.filter(|planned| *planned > at) {
            self.checks.remove(&(planned, id));
            node.check_at = None;
        }
        if node.check_at.is_none() {
            node.check_at = Some(at);
            self.checks.insert((at, id));
        }
    }

    pub(super) fn touch_slots_on(&mut self, now: Now, id: NodeId) {
        let slots: Vec<Slot> = self
            .on_node
            .get(&id)
            .into_iter()
            .flatten()
            .filter_map(|instance| self.copies.get(instance).map(|copy| copy.slot.clone()))
            .collect();
        for slot in slots {
            self.refresh(now, &slot);
            self.dirty.insert(slot);
        }
    }

    pub(super) fn begin(&mut self, now: Now) {
        // The operations that run; slots were loaded after their jobs.
        let running = |job: &&Job| job.running().is_some();
        let jobs: Vec<Job> = self.book.iter().filter(running).cloned().collect();
        for job in jobs {
            self.take_operation(&job);
        }
        self.started = true;
        self.last_turn = Some(now.steady);
        self.aggregated_at = Some(now.steady);
        self.spare_all(now);
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in nodes {
            self.set_changed(id);
        }
    }

    pub(super) fn spare_all(&mut self, now: Now) {
        let until = now.steady.plus(self.config.grace());
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in nodes {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.spared_until = until;
                node.proof = now.steady;
            }
            self.schedule_check(id, now.steady);
        }
    }

    pub(super) fn take_session(
        &mut self,
        now: Now,
        id: NodeId,
        session: Option<u64>,
        silent: bool,
    ) {
        let silence = self.config.silence();
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.desired.disconnected();
        node.session = session;
        if session.is_none() {
            // A closed connection is a sign of life of the machine; a silent one was one keep-alive and a half ago.
            let back = if silence.as_millis() as u64 <= now.steady.0 {
                Instant(now.steady.0 - silence.as_millis() as u64)
            } else {
                Instant(0)
            };
            node.proof = if silent {
                node.proof.max(back)
            } else {
                now.steady
            };
        }
        self.set_changed(id);
        self.schedule_check(id, now.steady);
    }

    /// What a worker said when its connection ended holds until the next one.
    pub(super) fn take_leaving(&mut self, id: NodeId, leaving: Option<Leaving>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.leaving_word = leaving;
        }
    }

    pub(super) fn take_proof(&mut self, now: Now, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.proof = now.steady;
        node.last_seen = Some(now.wall);
        if matches!(node.liveness, Liveness::Suspect | Liveness::Lost) {
            self.take_liveness(now, id, Liveness::Reconnecting);
        }
    }

    pub(super) fn take_liveness(&mut self, now: Now, id: NodeId, liveness: Liveness) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if node.liveness == liveness {
            return;
        }
        let before = std::mem::replace(&mut node.liveness, liveness);
        if liveness == Liveness::Suspect {
            node.suspected_at = Some(now.steady);
        }
        match liveness {
            Liveness::Alive => {
                if node.lost {
                    let lately = node
                        .returned_at
                        .is_some_and(|at| now.steady.since(at) <= FLAPPING);
                    node.returns = if lately { node.returns + 1 } else { 1 };
                    node.returned_at = Some(now.steady);
                    node.lost = false;
                }
                // It was to be heard by then, and is.
                node.spared_until = now.steady;
                self.brake.back(id);
                self.room_freed();
            }
            Liveness::Lost => {
                node.lost = true;
                self.wake_all();
            }
            Liveness::Suspect if before == Liveness::Alive => self.brake.vanish(id, now.steady),
            Liveness::Suspect | Liveness::Reconnecting => {}
        }
        self.aggregate_changed = true;
        self.touch_slots_on(now, id);
        self.schedule_check(id, now.steady);
    }

    pub(super) fn take_check(&mut self, now: Now, id: NodeId, at: Instant) {
        if let Some(node) = self.nodes.get_mut(&id) {
            if let Some(planned) = node.check_at.take() {
                self.checks.remove(&(planned, id));
            }
            node.check_at = Some(at);
            self.checks.insert((at, id));
            if !matches!(node.liveness, Liveness::Alive) {
                self.touch_slots_on(now, id);
            }
        }
    }

    pub(super) fn take_held(&mut self, id: NodeId, held: Held, current: bool) {
        let (incarnation, timing) = (self.incarnation, self.config.timing);
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.desired.acknowledge(held, incarnation, &timing);
        if current && node.observed.is_whole() {
            node.observed_at = if held.incarnation == Some(incarnation) {
                held.revision
            } else {
                0
            };
        }
        let leaving = node
            .leaving
            .iter()
            .filter_map(|instance| Some(self.copies.get(instance)?.slot.clone()));
        self.dirty.extend(leaving);
        self.set_changed(id);
    }
}
