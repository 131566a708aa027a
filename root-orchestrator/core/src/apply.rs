//! Writes become state. Nothing is decided here, and nothing can fail.

mod clusters;

use std::sync::Arc;

use model::access::TenantPath;
use model::book::BookWrite;
use model::event::Event;
use model::id::ClusterId;
use model::job::{Job, Owner};
use model::node::Liveness;
use model::reason::ReasonCode;
use model::slot::Slot;
use model::time::{Instant, Now};
use schedulers::Policy;
use sync::Held;

use crate::state::{Holding, SlotRecord, State, Waiting};
use crate::{Report, Soft, Write, assignment_entry};

impl State {
    /// Takes writes in; cannot fail.
    pub fn apply(&mut self, now: Now, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Term(term) => self.term = term.clone(),
                Write::Superseded => self.fenced = true,
                Write::Policy(policy) => self.take_policy(policy),
                Write::Job(job) => self.take_job(now, job),
                Write::ForgetJob(id) => {
                    self.rollouts.forget(*id);
                    self.book.forget(*id);
                    self.heads.remove(id);
                    for cluster in self.clusters.values_mut() {
                        cluster.had.remove(id);
                    }
                    self.deleted.retain(|(_, job)| job != id);
                }
                Write::Unsettled(unsettled) => self.unsettled = *unsettled,
                Write::Submission(submission) => {
                    self.book.take(BookWrite::Submission(submission.clone()));
                }
                Write::ForgetSubmission(key) => {
                    self.book.take(BookWrite::ForgetSubmission(key.clone()));
                }
                Write::Slot { slot, record } => self.take_slot(slot, record.as_ref()),
                Write::Cluster { cluster, record } => self.take_cluster(now, *cluster, record),
                Write::ForgetCluster(cluster) => self.forget_cluster(*cluster),
                Write::Floor(floor) => self.floor = *floor,
                Write::Revision { cluster, revision } => self.take_revision(*cluster, *revision),
                Write::Event(event) => self.history.take(event),
                Write::ForgetEvent(job, id) => self.history.forget(*job, *id),
                Write::Heard { cluster, heard } => self.take_heard(*cluster, heard),
                Write::Soft(soft) => self.take_soft(now, soft),
            }
        }
    }

    /// The durable part, as the writes that rebuild it.
    pub fn snapshot(&self) -> Vec<Write> {
        let mut writes = vec![
            Write::Term(self.term.clone()),
            Write::Policy(self.policy.clone()),
        ];
        writes.extend(self.fenced.then_some(Write::Superseded));
        writes.extend((self.floor > 0).then_some(Write::Floor(self.floor)));
        let clusters = self.clusters.iter();
        writes.extend(clusters.map(|(id, cluster)| Write::Cluster {
            cluster: *id,
            record: Box::new(cluster.record.clone()),
        }));
        writes.extend(self.book.iter().cloned().map(Write::Job));
        if self.unsettled {
            writes.push(Write::Unsettled(true));
        }
        let submissions = self.book.submissions().cloned();
        writes.extend(submissions.map(Write::Submission));
        writes.extend(self.slots.iter().map(|(slot, record)| Write::Slot {
            slot: slot.clone(),
            record: Some(record.clone()),
        }));
        let clusters = self.clusters.iter();
        writes.extend(clusters.map(|(id, cluster)| Write::Revision {
            cluster: *id,
            revision: cluster.stored_revision,
        }));
        writes.extend(
            self.history
                .after(&TenantPath::root(), None)
                .map(|event| Write::Event(Event::clone(event))),
        );
        writes.extend(self.all_heard());
        writes
    }

    /// Another scheduler: what waits is looked at again, whatever the former one said.
    fn take_policy(&mut self, policy: &Policy) {
        self.policy = policy.clone();
        self.questions.exchange();
        self.again.clear();
        for (slot, waiting) in &mut self.waiting {
            waiting.again_at = None;
            self.dirty.insert(slot.clone());
        }
    }

    fn take_job(&mut self, now: Now, job: &Job) {
        self.heads.insert(job.id, Arc::new(job.head(Owner::Root)));
        let known: Vec<Slot> = self
            .slots_of(job.id)
            .map(|(slot, _)| slot.clone())
            .collect();
        self.dirty.extend(known);
        self.dirty.extend(job.slots());
        let first = Slot {
            job: job.id,
            service: model::name::least(),
            index: 0,
        };
        let waiting = self
            .waiting
            .range(first..)
            .map(|(slot, _)| slot)
            .take_while(|slot| slot.job == job.id);
        self.dirty.extend(waiting.cloned());
        if job.is_deleted() {
            self.deleted
                .insert((now.steady.plus(self.config.retention), job.id));
        }
        self.book.apply(job.clone());
        self.take_operation(job);
        self.count_leftovers(job.id);
    }

    /// The rollout of an operation that begins, or runs when the store is loaded; none once it has ended.
    fn take_operation(&mut self, job: &Job) {
        if !(self.rollouts.is_of(job) && self.started) {
            let rollout = self.rollout_of(job);
            self.rollouts.put(job, rollout);
        }
    }

    /// The operations that run when the store is loaded; slots were loaded after their jobs.
    fn begin_operations(&mut self) {
        let running = |job: &&Job| job.running().is_some();
        let jobs: Vec<Job> = self.book.iter().filter(running).cloned().collect();
        for job in jobs {
            self.take_operation(&job);
        }
    }

    fn take_settled(&mut self, slot: &Slot) {
        let next = self.rollouts.settle(slot, self.book.get(slot.job));
        self.dirty.extend(next);
    }

    fn take_slot(&mut self, slot: &Slot, record: Option<&SlotRecord>) {
        let old = match record {
            Some(record) => self.slots.insert(slot.clone(), record.clone()),
            None => self.slots.remove(slot),
        };
        for holding in old.iter().flat_map(|record| &record.holdings) {
            self.count(holding, false);
            if !record.is_some_and(|record| {
                record
                    .holdings
                    .iter()
                    .any(|kept| kept.cluster == holding.cluster)
            }) {
                self.take_back(holding);
                self.left_at.remove(&(holding.cluster, slot.clone()));
                if let Some(cluster) = self.clusters.get_mut(&holding.cluster) {
                    cluster.slots.remove(slot);
                }
            }
        }
        for holding in record.into_iter().flat_map(|record| &record.holdings) {
            self.count(holding, true);
            if let Some(cluster) = self.clusters.get_mut(&holding.cluster) {
                cluster.slots.insert(slot.clone());
                cluster.had.insert(slot.job);
            }
            if holding.leaving {
                self.take_back(holding);
            } else {
                self.give(holding);
            }
        }
        if record.is_none() {
            self.refusals.remove(slot);
        }
        self.count_left(slot, record);
        self.dirty.insert(slot.clone());
    }

    fn give(&mut self, holding: &Holding) {
        self.left_at
            .remove(&(holding.cluster, holding.desired.slot.clone()));
        let Some(cluster) = self.clusters.get_mut(&holding.cluster) else {
            return;
        };
        let before = cluster.desired.revision();
        let fresh = !cluster.desired.set().contains_key(&holding.desired.slot);
        cluster
            .desired
            .put(assignment_entry(holding.desired.clone()));
        let revision = cluster.desired.revision();
        if fresh && self.started && revision != before {
            cluster
                .pending
                .insert(revision, holding.desired.service.workload.resources);
        }
        self.set_changed(holding.cluster);
    }

    fn take_back(&mut self, holding: &Holding) {
        let Some(cluster) = self.clusters.get_mut(&holding.cluster) else {
            return;
        };
        cluster.desired.remove(&holding.desired.slot);
        let revision = cluster.desired.revision();
        self.left_at
            .entry((holding.cluster, holding.desired.slot.clone()))
            .or_insert(revision);
        self.set_changed(holding.cluster);
    }

    fn count(&mut self, holding: &Holding, more: bool) {
        let Some(cluster) = self.clusters.get_mut(&holding.cluster) else {
            return;
        };
        let service = (
            holding.desired.slot.job,
            holding.desired.slot.service.clone(),
        );
        let count = cluster.services.entry(service.clone()).or_default();
        *count = if more {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            cluster.services.remove(&service);
        }
    }

    /// Something may fit now that did not.
    fn room_freed(&mut self) {
        self.questions.reconsider();
        self.awake.extend(self.classes.keys().cloned());
    }

    fn set_changed(&mut self, id: ClusterId) {
        let Some(cluster) = self.clusters.get(&id) else {
            return;
        };
        if self.started && cluster.desired.revision() != cluster.stored_revision {
            self.revised.insert(id);
        }
        if cluster.desired.is_synced(self.incarnation) {
            self.unsynced.remove(&id);
        } else {
            self.unsynced.insert(id);
        }
    }

    /// A cluster is looked at again at `at`, or earlier if that was planned.
    fn schedule_check(&mut self, id: ClusterId, at: Instant) {
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        if let Some(planned) = cluster.check_at.filter(|planned| *planned > at) {
            self.checks.remove(&(planned, id));
            cluster.check_at = None;
        }
        if cluster.check_at.is_none() {
            cluster.check_at = Some(at);
            self.checks.insert((at, id));
        }
    }

    fn touch_slots_of(&mut self, id: ClusterId) {
        if let Some(cluster) = self.clusters.get(&id) {
            self.dirty.extend(cluster.slots.iter().cloned());
        }
    }

    #[expect(clippy::too_many_lines, reason = "one short arm for each soft write")]
    fn take_soft(&mut self, now: Now, soft: &Soft) {
        match soft {
            Soft::Started => {
                self.begin_operations();
                self.started = true;
                self.last_turn = Some(now.steady);
                self.spare_all(now);
                let clusters: Vec<ClusterId> = self.clusters.keys().copied().collect();
                for id in clusters {
                    self.set_changed(id);
                }
            }
            Soft::Hold(until) => {
                self.hold = *until;
                self.dirty.extend(self.waiting.keys().cloned());
                self.room_freed();
            }
            Soft::Outage => self.spare_all(now),
            Soft::Quotas(quotas) => self.book.limit(quotas),
            Soft::Turn => self.last_turn = Some(now.steady),
            Soft::Session {
                cluster,
                session,
                silent,
            } => self.take_session(now, *cluster, *session, *silent),
            Soft::Proof(cluster) => self.take_proof(now, *cluster),
            Soft::Liveness { cluster, liveness } => self.take_liveness(now, *cluster, *liveness),
            Soft::Check { cluster, at } => self.take_check(*cluster, *at),
            Soft::Boot {
                cluster: id,
                boot,
                start,
            } => {
                if let Some(cluster) = self
                    .clusters
                    .get_mut(id)
                    .filter(|cluster| cluster.start != *start)
                {
                    cluster.start = *start;
                    cluster.observed.expect(*boot);
                    cluster.observed_at = 0;
                    cluster.capacity = (0, 0);
                    // What it refused with is counted anew: a restored disk counts the same numbers again.
                    for known in self.refusals.values_mut() {
                        known.remove(id);
                    }
                    self.room_freed();
                }
            }
            Soft::Held {
                cluster,
                held,
                current,
            } => self.take_held(*cluster, *held, *current),
            Soft::Reported(cluster, report) => {
                if let Some(cluster) = self.clusters.get_mut(cluster) {
                    let touched = report
                        .states
                        .iter()
                        .map(|entry| entry.key.clone())
                        .chain(report.gone.iter().cloned());
                    self.dirty
                        .extend(touched.filter(|slot| cluster.slots.contains(slot)));
                    let was_whole = cluster.observed.is_whole();
                    cluster.observed.apply(report);
                    let news = !was_whole && cluster.observed.is_whole();
                    if news || report.whole {
                        self.dirty.extend(cluster.slots.iter().cloned());
                    }
                    if news {
                        self.room_freed();
                    }
                }
            }
            Soft::Aggregate(cluster, report) => self.take_aggregate(*cluster, report),
            Soft::Asked(cluster) => {
                if let Some(cluster) = self.clusters.get_mut(cluster) {
                    cluster.asked_at = Some(now.steady);
                }
            }
            Soft::Adopted(cluster, digest) => {
                if let Some(cluster) = self.clusters.get_mut(cluster) {
                    cluster.desired.adopt(*digest);
                }
                self.set_changed(*cluster);
            }
            Soft::Sent(cluster, changes) => {
                if let Some(cluster) = self.clusters.get_mut(cluster) {
                    cluster.desired.sent(changes, now.steady.0);
                }
            }
            Soft::Refused {
                slot,
                cluster,
                capacity,
            } => {
                self.refusals
                    .entry(slot.clone())
                    .or_default()
                    .insert(*cluster, *capacity);
            }
            Soft::Brake(engaged) => {
                self.brake.set(*engaged);
                if engaged.is_none_or(|engaged| engaged.released) {
                    self.dirty.extend(self.braked.iter().cloned());
                }
            }
            Soft::Replaced => self.brake.replaced(now.steady),
            Soft::Begun(slot) => self.rollouts.begin(slot),
            Soft::Settled(slot) => self.take_settled(slot),
            Soft::Drain { slot, until } => {
                match until {
                    Some(until) => self.drains.insert(slot.clone(), *until),
                    None => self.drains.remove(slot),
                };
            }
            Soft::Waiting { slot, waiting } => self.take_waiting(slot, waiting.as_ref()),
            Soft::Clean(slot) => {
                self.dirty.remove(slot);
            }
            Soft::Asleep(class) => {
                self.awake.remove(class);
            }
            Soft::Wake(slot) => {
                self.dirty.insert(slot.clone());
            }
            Soft::Scheduler(note) => self.dirty.extend(self.questions.take(note)),
            Soft::Again(slot) => self.take_again(slot),
        }
    }

    fn spare_all(&mut self, now: Now) {
        let until = now.steady.plus(self.config.grace());
        let clusters: Vec<ClusterId> = self.clusters.keys().copied().collect();
        for id in clusters {
            if let Some(cluster) = self.clusters.get_mut(&id) {
                cluster.spared_until = until;
                cluster.proof = now.steady;
            }
            self.schedule_check(id, now.steady);
        }
    }

    fn take_session(&mut self, now: Now, id: ClusterId, session: Option<u64>, silent: bool) {
        let silence = u64::try_from(self.config.silence.as_millis()).unwrap_or(u64::MAX);
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        cluster.desired.disconnected();
        cluster.session = session;
        // A closed connection is a sign of life of the machine; a silent one was when its last ping was answered.
        let at = if silent {
            Instant(now.steady.0.saturating_sub(silence))
        } else {
            now.steady
        };
        cluster.proof = cluster.proof.max(at);
        self.set_changed(id);
        self.schedule_check(id, now.steady);
    }

    fn take_proof(&mut self, now: Now, id: ClusterId) {
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        cluster.proof = now.steady;
        cluster.last_seen = Some(now.wall);
        if matches!(cluster.liveness, Liveness::Suspect | Liveness::Lost) {
            self.take_liveness(now, id, Liveness::Reconnecting);
        }
    }

    fn take_liveness(&mut self, now: Now, id: ClusterId, liveness: Liveness) {
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        if cluster.liveness == liveness {
            return;
        }
        let before = std::mem::replace(&mut cluster.liveness, liveness);
        match liveness {
            Liveness::Alive => {
                self.brake.back(id);
                self.room_freed();
            }
            Liveness::Suspect if before == Liveness::Alive => self.brake.vanish(id, now.steady),
            Liveness::Suspect | Liveness::Reconnecting | Liveness::Lost => {}
        }
        // What changes may wait for this one.
        self.dirty.extend(self.rollouts.begun().cloned());
        self.touch_slots_of(id);
        self.schedule_check(id, now.steady);
    }

    fn take_check(&mut self, id: ClusterId, at: Instant) {
        if let Some(cluster) = self.clusters.get_mut(&id) {
            if let Some(planned) = cluster.check_at.take() {
                self.checks.remove(&(planned, id));
            }
            cluster.check_at = Some(at);
            self.checks.insert((at, id));
        }
    }

    fn take_held(&mut self, id: ClusterId, held: Held, current: bool) {
        let (incarnation, timing) = (self.incarnation, self.config.timing);
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        cluster.desired.acknowledge(held, incarnation, &timing);
        if current && cluster.observed.is_whole() {
            cluster.observed_at = if held.incarnation == Some(incarnation) {
                held.revision
            } else {
                0
            };
        }
        let left = self
            .left_at
            .keys()
            .filter(|(holder, _)| *holder == id)
            .map(|(_, slot)| slot.clone());
        self.dirty.extend(left);
        self.set_changed(id);
    }

    fn take_aggregate(&mut self, id: ClusterId, report: &Report) {
        let incarnation = self.incarnation;
        let Some(cluster) = self.clusters.get_mut(&id) else {
            return;
        };
        let capacity = (report.boot, report.aggregate.capacity_revision);
        let grew = capacity > cluster.capacity;
        cluster.aggregate = report.aggregate.clone();
        cluster.scheduler.clone_from(&report.scheduler);
        cluster.capacity = capacity;
        let known = report.incarnation == Some(incarnation);
        let fewer = known && cluster.pending.reflected(report.revision);
        if grew || fewer {
            self.room_freed();
        }
    }

    fn take_waiting(&mut self, slot: &Slot, waiting: Option<&Waiting>) {
        if self.rollouts.get(slot.job).is_some() {
            self.dirty.insert(slot.clone());
        }
        if let Some(old) = self.waiting.remove(slot) {
            if let Some(slots) = self.classes.get_mut(&old.class) {
                slots.remove(slot);
                if slots.is_empty() {
                    self.classes.remove(&old.class);
                    self.awake.remove(&old.class);
                }
            }
            if let Some(at) = old.again_at {
                self.again.remove(&(at, slot.clone()));
            }
        }
        match waiting.map(|waiting| &waiting.asks) {
            Some(Some(asks)) => self.questions.wait(slot, asks.key),
            Some(None) => self.questions.wait_no_longer(slot),
            None => self.questions.forget(slot),
        }
        if let Some(at) = waiting.and_then(|waiting| waiting.again_at) {
            self.again.insert((at, slot.clone()));
        }
        if waiting.is_some_and(|waiting| waiting.reason.code == ReasonCode::Brake) {
            self.braked.insert(slot.clone());
        } else {
            self.braked.remove(slot);
        }
        if let Some(waiting) = waiting {
            self.classes
                .entry(waiting.class.clone())
                .or_default()
                .insert(slot.clone());
            self.waiting.insert(slot.clone(), waiting.clone());
        }
    }

    /// The scheduler is asked again about a slot that it failed on.
    fn take_again(&mut self, slot: &Slot) {
        if let Some(at) = self.waiting.get_mut(slot).and_then(|it| it.again_at.take()) {
            self.again.remove(&(at, slot.clone()));
        }
        self.dirty.insert(slot.clone());
    }

    /// When the next [`crate::Input::Reconcile`] is due, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let check = self.checks.first().map(|(at, _)| *at);
        // A fenced root sends nothing, so nothing of it is due.
        let resend = self
            .unsynced
            .iter()
            .filter(|_| !self.fenced)
            .filter_map(|id| {
                self.clusters
                    .get(id)?
                    .desired
                    .resend_at(&self.config.timing)
                    .map(Instant)
            })
            .min();
        // A deleted job of which something is left expires when that is gone, whatever the time.
        let expiry = self
            .deleted
            .iter()
            .find(|(_, id)| self.book.get(*id).is_none_or(|job| self.is_over(job)))
            .map(|(at, _)| *at);
        // Often enough that an outage of our own is told from a quiet hour.
        let turn = self
            .last_turn
            .map(|last| last.plus(self.config.silence / 2));
        // What was due at the last turn and is still there was looked at: only something else can change it.
        let drain = self.drains.values().min().copied();
        [
            check,
            resend,
            expiry,
            drain,
            self.questions.next_at(),
            self.again.first().map(|(at, _)| *at),
            self.brake_at(),
            self.hold,
            turn,
        ]
        .into_iter()
        .flatten()
        .filter(|at| self.last_turn.is_none_or(|last| *at > last))
        .min()
    }
}
