//! Writes become state. Nothing is decided here, and nothing can fail.

mod workers;

use std::sync::Arc;

use model::access::TenantPath;
use model::book::BookWrite;
use model::desired::NodeItem;
use model::event::Event;
use model::id::InstanceId;
use model::instance::InstanceState;
use model::job::Job;
use model::reason::ReasonCode;
use model::slot::Slot;
use model::time::{Instant, Now};
use schedulers::fixed_ports;
use sync::{Observer, Update};

use crate::state::{Copy, CopyState, SlotRecord, State, Waiting};
use crate::{AssignmentEntry, Soft, Write, desired_entry, slot_entry};

impl State {
    /// Takes writes in; cannot fail.
    pub fn apply(&mut self, now: Now, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Term(term) => self.take_term(now, term),
                Write::Superseded => self.fenced = true,
                Write::Cluster(id) => self.take_cluster(*id),
                Write::Policy(policy) => {
                    self.policy = policy.clone();
                    self.forgive_all();
                    self.dirty.extend(self.questions.exchange());
                }
                Write::Job(job) => self.take_job(now, job),
                Write::ForgetJob(id) => {
                    self.rollouts.forget(*id);
                    self.book.forget(*id);
                    self.heads.remove(id);
                    self.deleted.retain(|(_, job)| job != id);
                }
                Write::Unsettled(unsettled) => self.unsettled = *unsettled,
                Write::Trust(trusting) => self.take_trust(*trusting),
                Write::Submission(submission) => {
                    self.book.take(BookWrite::Submission(submission.clone()));
                }
                Write::ForgetSubmission(key) => {
                    self.book.take(BookWrite::ForgetSubmission(key.clone()));
                }
                Write::Slot { slot, record } => self.take_slot(now, slot, record.as_ref()),
                Write::Node { node, record } => self.take_node(now, *node, record),
                Write::ForgetNode(node) => self.forget_node(now, *node),
                Write::Floor(floor) => self.floor = *floor,
                Write::Revision { node, revision } => self.take_revision(*node, *revision),
                Write::Upstream(update) => self.take_upstream(now, update),
                Write::Event(event) => self.history.take(event),
                Write::ForgetEvent(job, id) => self.history.forget(*job, *id),
                Write::Heard { node, heard } => {
                    if let Some(node) = self.nodes.get_mut(node) {
                        node.heard = heard.clone();
                    }
                }
                Write::Tell(told) => self.untold.take(told),
                Write::Untell(untell) => self.untold.forget(now.steady, untell.number),
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
        writes.extend(self.cluster.map(Write::Cluster));
        if self.floor > 0 {
            writes.push(Write::Floor(self.floor));
        }
        writes.extend(self.nodes.iter().map(|(id, node)| Write::Node {
            node: *id,
            record: Box::new(node.record.clone()),
        }));
        writes.extend(self.book.iter().cloned().map(Write::Job));
        if self.unsettled {
            writes.push(Write::Unsettled(true));
        }
        if !self.trusting {
            writes.push(Write::Trust(false));
        }
        let submissions = self.book.submissions().cloned();
        writes.extend(submissions.map(Write::Submission));
        let put = self.upstream.set().values().cloned().collect();
        writes.push(Write::Upstream(Update {
            mark: self.upstream.mark().clone(),
            put,
            remove: Vec::new(),
        }));
        writes.extend(self.slots.iter().map(|(slot, record)| Write::Slot {
            slot: slot.clone(),
            record: Some(record.clone()),
        }));
        writes.extend(self.nodes.iter().map(|(id, node)| Write::Revision {
            node: *id,
            revision: node.stored_revision,
        }));
        writes.extend(
            self.history
                .after(&TenantPath::root(), None)
                .map(|event| Write::Event(Event::clone(event))),
        );
        writes.extend(self.telling_snapshot());
        writes
    }

    fn take_term(&mut self, now: Now, term: &sync::Term) {
        self.term = term.clone();
        self.untold.begin(term.nonce);
        self.observer = Observer::new(term.number);
        let slots: Vec<Slot> = self
            .upstream
            .set()
            .keys()
            .chain(self.slots.keys())
            .cloned()
            .collect();
        for slot in slots {
            self.refresh(now, &slot);
        }
    }

    /// What awaited the root's answer is looked at again.
    fn take_trust(&mut self, trusting: bool) {
        if trusting && !self.trusting {
            let slots = self.slots.keys().chain(self.upstream.set().keys());
            self.dirty.extend(slots.cloned());
        }
        self.trusting = trusting;
    }

    fn take_cluster(&mut self, id: model::id::ClusterId) {
        self.cluster = Some(id);
        let owner = self.owner();
        for (job, head) in &mut self.heads {
            if let Some(job) = self.book.get(*job) {
                *head = Arc::new(job.head(owner));
            }
        }
    }

    fn take_job(&mut self, now: Now, job: &Job) {
        self.heads.insert(job.id, Arc::new(job.head(self.owner())));
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
    pub(super) fn take_operation(&mut self, job: &Job) {
        if !(self.rollouts.is_of(job) && self.started) {
            let rollout = self.rollout_of(job);
            self.rollouts.put(job, rollout);
        }
    }

    fn take_settled(&mut self, slot: &Slot) {
        let next = self.rollouts.settle(slot, self.book.get(slot.job));
        self.dirty.extend(next);
    }

    fn take_upstream(&mut self, now: Now, update: &Update<AssignmentEntry>) {
        let touched: Vec<Slot> = update
            .put
            .iter()
            .map(|entry| entry.key.clone())
            .chain(update.remove.iter().cloned())
            .collect();
        if self.upstream.mark().incarnation != update.mark.incarnation {
            let provisional = self.slots.iter().filter(|(_, record)| record.provisional);
            self.dirty.extend(provisional.map(|(slot, _)| slot.clone()));
        }
        self.upstream.apply(update);
        for slot in touched {
            self.refresh(now, &slot);
            self.dirty.insert(slot);
        }
    }

    fn take_slot(&mut self, now: Now, slot: &Slot, record: Option<&SlotRecord>) {
        let old = match record {
            Some(record) => self.slots.insert(slot.clone(), record.clone()),
            None => self.slots.remove(slot),
        };
        for copy in old.iter().flat_map(|record| &record.copies) {
            self.unreserve(copy);
            let instance = copy.desired.instance;
            if !record.is_some_and(|record| {
                record
                    .copies
                    .iter()
                    .any(|kept| kept.desired.instance == instance)
            }) {
                self.drop_copy(copy);
            }
        }
        for copy in record.into_iter().flat_map(|record| &record.copies) {
            self.reserve(copy);
            self.take_copy(now, slot, copy);
        }
        self.count_left(slot, record);
        self.dirty.insert(slot.clone());
        self.refresh(now, slot);
    }

    fn take_copy(&mut self, now: Now, slot: &Slot, copy: &Copy) {
        let instance = copy.desired.instance;
        let Some(node) = self.nodes.get_mut(&copy.node) else {
            return;
        };
        if copy.leaving {
            node.desired
                .remove(&model::desired::NodeKey::Instance(instance));
        } else {
            node.desired
                .put(desired_entry(NodeItem::Instance(copy.desired.clone())));
        }
        let revision = node.desired.revision();
        let observed = node
            .observed
            .states()
            .get(&instance)
            .map(|entry| entry.value.report.clone());
        let started = self.started;
        let fresh = !self.copies.contains_key(&instance);
        let state = self.copies.entry(instance).or_insert_with(|| {
            // After a restart nothing is known of a copy before its worker is heard.
            let state = if started {
                InstanceState::ScheduledNode
            } else {
                InstanceState::Unknown { last: None }
            };
            let event = observed.map(model::instance::InstanceEvent::Reported);
            let state = match event.map(|event| state.on(&event)) {
                Some(model::instance::Transition::To(next)) => next,
                Some(model::instance::Transition::Ignored) | None => state,
            };
            CopyState {
                slot: slot.clone(),
                node: copy.node,
                state,
                since: now.wall,
                deadline: None,
                left_at: None,
            }
        });
        state.left_at = copy.leaving.then(|| state.left_at.unwrap_or(revision));
        if copy.leaving {
            node.leaving.insert(instance);
        } else {
            node.leaving.remove(&instance);
        }
        self.on_node.entry(copy.node).or_default().insert(instance);
        self.set_changed(copy.node);
        if fresh {
            self.begin_deadline(now, instance);
        }
    }

    /// A copy that its worker was told to run has until then; any other has no deadline.
    fn begin_deadline(&mut self, now: Now, instance: InstanceId) {
        let until = self
            .copies
            .get(&instance)
            .filter(|copy| copy.state == InstanceState::ScheduledNode)
            .map(|_| now.steady.plus(self.config.deploy_deadline));
        self.set_deadline(instance, until);
    }

    fn set_deadline(&mut self, instance: InstanceId, until: Option<Instant>) {
        let Some(copy) = self.copies.get_mut(&instance) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut copy.deadline, until) {
            self.deadlines.remove(&(old, instance));
        }
        self.deadlines.extend(until.map(|until| (until, instance)));
    }

    fn drop_copy(&mut self, copy: &Copy) {
        let instance = copy.desired.instance;
        self.set_deadline(instance, None);
        self.copies.remove(&instance);
        if let Some(here) = self.on_node.get_mut(&copy.node) {
            here.remove(&instance);
        }
        if let Some(node) = self.nodes.get_mut(&copy.node) {
            node.desired
                .remove(&model::desired::NodeKey::Instance(instance));
            node.leaving.remove(&instance);
        }
        self.set_changed(copy.node);
    }

    fn reserve(&mut self, copy: &Copy) {
        let Some(node) = self.nodes.get_mut(&copy.node) else {
            return;
        };
        let workload = &copy.desired.service.workload;
        node.reserved = node.reserved.plus(workload.resources);
        node.ports.extend(fixed_ports(workload));
        *node
            .services
            .entry((copy.desired.slot.job, copy.desired.slot.service.clone()))
            .or_default() += 1;
        self.aggregate_changed = true;
    }

    fn unreserve(&mut self, copy: &Copy) {
        let Some(node) = self.nodes.get_mut(&copy.node) else {
            return;
        };
        let workload = &copy.desired.service.workload;
        node.reserved = node.reserved.minus(workload.resources);
        for port in fixed_ports(workload) {
            node.ports.remove(&port);
        }
        let service = (copy.desired.slot.job, copy.desired.slot.service.clone());
        if let Some(count) = node.services.get_mut(&service) {
            *count -= 1;
            if *count == 0 {
                node.services.remove(&service);
            }
        }
        self.room_freed();
    }

    /// Something may fit now that did not.
    pub(crate) fn room_freed(&mut self) {
        self.capacity_revision += 1;
        self.aggregate_changed = true;
        self.wake_all();
    }

    /// All that waits is looked at again: there is more room, or somebody is not expected any more.
    pub(super) fn wake_all(&mut self) {
        self.questions.reconsider();
        self.awake.extend(self.classes.keys().cloned());
    }

    /// What the root is told of a slot follows every change of it.
    pub(crate) fn refresh(&mut self, now: Now, slot: &Slot) {
        match self.slot_report(now, slot) {
            Some(report) => self.observer.put(slot_entry(report)),
            None => self.observer.remove(slot),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each soft write")]
    fn take_soft(&mut self, now: Now, soft: &Soft) {
        match soft {
            Soft::Started => self.begin(now),
            Soft::Quotas(quotas) => self.book.limit(quotas),
            Soft::Hold(until) => {
                self.hold = *until;
                // One that begins takes back what was offered.
                let touched = self
                    .waiting
                    .iter()
                    .filter(|(_, waiting)| until.is_some() || waiting.held_back)
                    .map(|(slot, _)| slot.clone());
                self.dirty.extend(touched);
                self.room_freed();
            }
            Soft::Outage => self.spare_all(now),
            Soft::Deaf(deaf) => {
                self.deaf = *deaf;
                self.spare_all(now);
            }
            Soft::Turn => self.last_turn = Some(now.steady),
            Soft::Session {
                node,
                session,
                silent,
                leaving,
            } => {
                self.take_session(now, *node, *session, *silent);
                self.take_leaving(*node, *leaving);
            }
            Soft::Proof(node) => self.take_proof(now, *node),
            Soft::Liveness { node, liveness } => self.take_liveness(now, *node, *liveness),
            Soft::Check { node, at } => self.take_check(now, *node, *at),
            Soft::Boot { node, boot, start } => {
                if let Some(node) = self.nodes.get_mut(node).filter(|node| node.start != *start) {
                    node.start = *start;
                    node.observed.expect(*boot);
                    node.observed_at = 0;
                }
            }
            Soft::Held {
                node,
                held,
                current,
            } => self.take_held(*node, *held, *current),
            Soft::Usage(node, usage) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.usage = Some(*usage);
                }
            }
            Soft::Silent(node, runtimes) => self.take_silent(now, *node, runtimes),
            Soft::Cloned(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.cloned_at = Some(now.wall);
                }
            }
            Soft::Reported(node, report) => {
                let Some(known) = self.nodes.get_mut(node) else {
                    return;
                };
                let was_whole = known.observed.is_whole();
                known.observed.apply(report);
                let news = !was_whole && known.observed.is_whole();
                if news {
                    self.room_freed();
                }
                if news || report.whole {
                    self.touch_slots_on(now, *node);
                } else {
                    let named = report
                        .states
                        .iter()
                        .map(|entry| &entry.key)
                        .chain(&report.gone);
                    let slots: Vec<Slot> = named
                        .filter_map(|instance| Some(self.copies.get(instance)?.slot.clone()))
                        .collect();
                    self.dirty.extend(slots);
                }
            }
            Soft::Asked(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.asked_at = Some(now.steady);
                }
            }
            Soft::Adopted(node, digest) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.desired.adopt(*digest);
                }
                self.set_changed(*node);
            }
            Soft::Sent(node, changes) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.desired.sent(changes, now.steady.0);
                }
            }
            Soft::Copy { instance, state } => self.take_copy_state(now, *instance, state),
            Soft::Deadline { instance, until } => {
                self.set_deadline(*instance, *until);
                let slot = self.copies.get(instance).map(|copy| copy.slot.clone());
                self.dirty.extend(slot);
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
            Soft::Waiting { slot, waiting } => self.take_waiting(now, slot, waiting.as_ref()),
            Soft::Clean(slot) => {
                self.dirty.remove(slot);
            }
            Soft::Asleep(class) => {
                self.awake.remove(class);
            }
            Soft::Forgiven(class) => self.forgive(class),
            Soft::Wake(slot) => {
                self.dirty.insert(slot.clone());
            }
            Soft::Scheduler(note) => self.dirty.extend(self.questions.take(note)),
            // It was made an event of those that are told.
            Soft::Pass(_) => {}
            Soft::SentUp(sent) => self.untold.told(now.steady, *sent),
            Soft::Root(connected) => {
                self.root_connected = *connected;
                self.untold.disconnected();
            }
            Soft::Staged(part) => self.upstream.stage(part.clone()),
            Soft::Refused {
                want_whole,
                superseded,
            } => self.upstream.refused(*want_whole, *superseded),
            Soft::WholeDue => self.observer.ask_whole(),
            Soft::ReportedUp => self.observer.reported(),
            Soft::Aggregated => {
                self.aggregate_changed = false;
                self.aggregated_at = Some(now.steady);
            }
        }
    }

    fn take_copy_state(&mut self, now: Now, instance: InstanceId, state: &InstanceState) {
        let Some(copy) = self.copies.get_mut(&instance) else {
            return;
        };
        let news = copy.state.as_str() != state.as_str();
        if news {
            copy.since = now.wall;
        }
        copy.state = state.clone();
        let slot = copy.slot.clone();
        if news {
            self.begin_deadline(now, instance);
        }
        self.refresh(now, &slot);
    }

    fn take_waiting(&mut self, now: Now, slot: &Slot, waiting: Option<&Waiting>) {
        if self.rollouts.get(slot.job).is_some() {
            self.dirty.insert(slot.clone());
        }
        if let Some(old) = self.waiting.remove(slot)
            && let Some(slots) = self.classes.get_mut(&old.class)
        {
            slots.remove(slot);
            if slots.is_empty() {
                self.classes.remove(&old.class);
                self.awake.remove(&old.class);
            }
        }
        if waiting.is_some_and(|waiting| waiting.reason.code == ReasonCode::Brake) {
            self.braked.insert(slot.clone());
        } else {
            self.braked.remove(slot);
        }
        match waiting.map(|waiting| &waiting.asks) {
            Some(Some(asks)) => self.questions.wait(slot, asks.key),
            Some(None) => self.questions.wait_no_longer(slot),
            None => self.questions.forget(slot),
        }
        if let Some(waiting) = waiting {
            self.note_fault(waiting);
            self.classes
                .entry(waiting.class.clone())
                .or_default()
                .insert(slot.clone());
            self.waiting.insert(slot.clone(), waiting.clone());
        }
        self.refresh(now, slot);
    }
}
