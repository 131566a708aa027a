//! What a cluster shows of itself.

use std::collections::BTreeMap;

use model::access::{TenantPath, Usage};
use model::book::Asked;
use model::id::{InstanceId, JobId, NodeId};
use model::instance::InstanceState;
use model::job::{Job, JobState, Tally};
use model::slot::{Generation, Role, Slot};
use model::time::Now;
use model::view::{Explanation, InstanceView, JobView, NodeView};
use model::workload::Workload;

use crate::state::{Copy, SlotRecord, State};

/// A page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<K> {
    /// After this one.
    pub after: Option<K>,
    /// So many, at most 1,000.
    pub limit: usize,
}

impl State {
    /// What happened to the jobs.
    pub const fn history(&self) -> &model::history::History {
        &self.history
    }

    /// Why the scheduler elsewhere is left alone for now, if it is.
    pub fn scheduler_rests(&self) -> Option<&str> {
        self.questions.rests()
    }

    /// The scheduler in force.
    pub const fn policy(&self) -> &schedulers::Policy {
        &self.policy
    }

    /// The id that the root gave.
    pub const fn cluster(&self) -> Option<model::id::ClusterId> {
        self.cluster
    }

    /// The store's incarnation.
    pub const fn incarnation(&self) -> sync::Incarnation {
        self.incarnation
    }

    /// The present term.
    pub const fn term(&self) -> &sync::Term {
        &self.term
    }

    /// The settings.
    pub const fn config(&self) -> &crate::Config {
        &self.config
    }

    /// A later run of this store is known: this one changes nothing any more.
    pub const fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// The hash of a worker's credential, for its logins.
    pub fn credential(&self, node: NodeId) -> Option<[u8; 32]> {
        self.nodes.get(&node).map(|node| node.record.credential)
    }

    /// The hashes of all workers' credentials.
    pub fn credentials(&self) -> impl Iterator<Item = (NodeId, [u8; 32])> {
        self.nodes
            .iter()
            .map(|(id, node)| (*id, node.record.credential))
    }

    /// The workers that take no changes of what they run that are not signed.
    pub fn verifying(&self) -> impl Iterator<Item = NodeId> {
        let verify =
            |(id, node): (&NodeId, &crate::state::Node)| node.record.verifies.then_some(*id);
        self.nodes.iter().filter_map(verify)
    }

    /// For what keys to secrets are encrypted that workers get.
    pub fn sealing(&self) -> impl Iterator<Item = (NodeId, [u8; 32])> {
        let sealing =
            |(id, node): (&NodeId, &crate::state::Node)| Some((*id, node.record.sealing?));
        self.nodes.iter().filter_map(sealing)
    }

    /// Every workload that a worker here has or may get.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let assigned = self.upstream.set().values().map(|entry| &entry.value);
        let copies = self.slots.values().flat_map(|record| &record.copies);
        let here = assigned.chain(copies.map(|copy| &copy.desired));
        let desired = here.map(|desired| &desired.service);
        desired.map(|service| service.workload.as_ref())
    }

    /// When a job was accepted: an own one, or one of the root's with something here.
    pub fn created_at(&self, id: JobId) -> Option<model::time::Wall> {
        let own = self.book.get(id).map(|job| job.created_at);
        own.or_else(|| Some(self.assigned_of(id).next()?.job.created_at))
    }

    /// The job that an id or a name means: an own one, or one of the root's with something here.
    pub fn find_job(&self, asked: &Asked, key: &str) -> Option<JobId> {
        let own = self.book.find(asked, key);
        let own = own.ok().map(|job| job.id);
        own.or_else(|| self.find_foreign(asked, key).map(|head| head.id))
    }

    /// What is counted against the quotas of a tenant: of the jobs of this cluster's own, since those of the root count there.
    pub fn usage(&self, tenant: &TenantPath) -> Usage {
        self.book.usage(tenant)
    }

    /// One job by id or name: an own one, or one of the root's with something here.
    pub fn job(&self, now: Now, asked: &Asked, key: &str) -> Option<JobView> {
        match self.book.find(asked, key) {
            Ok(job) => Some(self.own_job(now, job)),
            Err(_) => self
                .find_foreign(asked, key)
                .map(|head| self.foreign_job(now, head.id)),
        }
    }

    /// The jobs of a tenant, and of all below it, by id, the root's with something here among them.
    pub fn jobs(
        &self,
        now: Now,
        within: &TenantPath,
        page: &Page<JobId>,
        state: Option<JobState>,
    ) -> Vec<JobView> {
        let own = self.book.after(within, page.after).map(|job| job.id);
        let mut ids: std::collections::BTreeSet<JobId> = own.collect();
        let assigned = self.upstream.set().values().map(|entry| &entry.value);
        let copies = self.slots.values().flat_map(|record| &record.copies);
        let here = assigned.chain(copies.map(|copy| &copy.desired));
        let later = |id: JobId| page.after.is_none_or(|after| id > after);
        ids.extend(
            here.filter(|desired| later(desired.slot.job) && desired.job.tenant.is_within(within))
                .map(|desired| desired.slot.job),
        );
        ids.into_iter()
            .map(|id| {
                self.book
                    .get(id)
                    .map_or_else(|| self.foreign_job(now, id), |job| self.own_job(now, job))
            })
            .filter(|view| match state {
                Some(state) => view.state == state,
                None => !(view.job.is_deleted() && view.state == JobState::Terminated),
            })
            .take(page.limit)
            .collect()
    }

    fn own_job(&self, now: Now, job: &Job) -> JobView {
        let owner = self.config.name.to_string();
        let slots: std::collections::BTreeSet<Slot> = job
            .slots()
            .chain(self.slots_of(job.id).map(|(slot, _)| slot.clone()))
            .collect();
        self.view(now, job.clone(), owner, &slots)
    }

    fn foreign_job(&self, now: Now, id: JobId) -> JobView {
        let slots: std::collections::BTreeSet<Slot> = self
            .assigned_of(id)
            .map(|desired| desired.slot.clone())
            .chain(self.slots_of(id).map(|(slot, _)| slot.clone()))
            .collect();
        let leaving = self
            .slots_of(id)
            .flat_map(|(_, record)| &record.copies)
            .map(|copy| &copy.desired);
        let known: Vec<_> = self.assigned_of(id).chain(leaving).collect();
        let mut services: Vec<std::sync::Arc<model::job::ServiceSpec>> = Vec::new();
        for desired in &known {
            if !services
                .iter()
                .any(|service| service.name == desired.service.name)
            {
                services.push(std::sync::Arc::clone(&desired.service));
            }
        }
        let head = known
            .first()
            .map(|desired| std::sync::Arc::clone(&desired.job));
        let gone = self.assigned_of(id).next().is_none();
        let job = Job {
            id,
            tenant: head
                .as_ref()
                .map_or_else(TenantPath::root, |head| head.tenant.clone()),
            generation: known
                .iter()
                .map(|desired| desired.generation.assignment)
                .max()
                .unwrap_or(1),
            created_at: head.as_ref().map_or(now.wall, |head| head.created_at),
            deleted_at: gone.then_some(now.wall),
            spec: std::sync::Arc::new(model::job::JobSpec {
                name: head
                    .as_ref()
                    .map_or_else(model::name::least, |head| head.name.clone()),
                lost_after: head.as_ref().and_then(|head| head.lost_after),
                on_partition: head
                    .as_ref()
                    .map(|head| head.on_partition)
                    .unwrap_or_default(),
                reconcile: head.map(|head| head.reconcile).unwrap_or_default(),
                services,
            }),
            service_generations: std::collections::BTreeMap::new(),
            operation: None,
        };
        self.view(now, job, "root".to_owned(), &slots)
    }

    fn view(
        &self,
        now: Now,
        job: Job,
        owner: String,
        slots: &std::collections::BTreeSet<Slot>,
    ) -> JobView {
        let mut tally = Tally::default();
        let mut instances = Vec::new();
        for slot in slots {
            let rows = self.rows(now, slot);
            // A dangling copy does not change the job's state once its replacement runs.
            let telling = rows
                .iter()
                .find(|row| row.role == Role::Holder)
                .or_else(|| rows.first());
            if let Some(row) = telling.filter(|_| !job.is_deleted()) {
                tally.count(&row.state);
            }
            instances.extend(rows);
        }
        let over = self.is_over(&job) || (job.is_deleted() && instances.is_empty());
        let state = if job.is_deleted() && !over {
            JobState::Running
        } else {
            tally.state(over, job.running().map(|operation| operation.kind))
        };
        let waiting = slots.iter().find_map(|slot| self.waiting.get(slot));
        let reason = match state {
            JobState::Running | JobState::Terminated => None,
            _ => instances.iter().find_map(|row| row.reason.clone()),
        };
        JobView {
            unconfirmed: if job.is_deleted() {
                instances.len() as u32
            } else {
                0
            },
            owner,
            state,
            reason,
            rejections: waiting.map(|waiting| waiting.rejections.clone()),
            instances,
            job,
        }
    }

    /// The copies of a slot, or the slot itself while it has none.
    fn rows(&self, now: Now, slot: &Slot) -> Vec<InstanceView> {
        let record = self.slots.get(slot);
        let copies: Vec<&Copy> = record
            .into_iter()
            .flat_map(|record| &record.copies)
            .collect();
        let mut rows: Vec<InstanceView> = copies
            .iter()
            .filter_map(|copy| self.row(now, record?, copy))
            .collect();
        let filled = rows.iter().any(|row| row.role == Role::Holder);
        if !filled && let Some(wanted) = self.wanted(slot) {
            let waiting = self.waiting.get(slot);
            let told = waiting.filter(|waiting| !waiting.is_asking());
            let state = told.map_or(InstanceState::ScheduledCluster, |waiting| {
                InstanceState::NotDeployed {
                    reason: waiting.reason.clone(),
                    rejections: waiting.rejections.clone(),
                }
            });
            if rows.is_empty() || waiting.is_some() {
                rows.push(InstanceView {
                    instance: rows.is_empty().then_some(wanted.instance),
                    service: slot.service.clone(),
                    index: slot.index,
                    role: Role::Holder,
                    generation: Generation {
                        placement: record.map_or(0, |record| record.placement),
                        ..wanted.generation
                    },
                    state,
                    cluster: Some(self.config.name.clone()),
                    cluster_id: self.cluster,
                    worker: None,
                    worker_id: None,
                    endpoints: Vec::new(),
                    reason: waiting.map(|waiting| waiting.reason.clone()),
                    since: wanted.job.created_at,
                    observed_at: None,
                    stale: false,
                });
            }
        }
        rows
    }

    fn row(&self, now: Now, record: &SlotRecord, copy: &Copy) -> Option<InstanceView> {
        let state = self.copies.get(&copy.desired.instance)?;
        let node = self.nodes.get(&copy.node)?;
        let report = state.state.report();
        let address = node.record.facts.addresses.first().cloned();
        let endpoints = match report.map(|report| &report.observed) {
            Some(model::instance::Observed::Running { endpoints, .. }) => endpoints.clone(),
            _ => Vec::new(),
        };
        let failure = report.and_then(crate::slots::reason_of).cloned();
        let unheard = model::reason::Reason::new(
            model::reason::ReasonCode::WorkerLost,
            format!("worker {} cannot be heard", node.record.facts.name),
        );
        let reason = match &state.state {
            InstanceState::Unknown { .. } => Some(unheard),
            InstanceState::Failed(report) => Some(failure_of(report)),
            _ => failure,
        };
        Some(InstanceView {
            instance: Some(copy.desired.instance),
            service: copy.desired.slot.service.clone(),
            index: copy.desired.slot.index,
            role: self.role(now, record, copy),
            generation: copy.desired.generation,
            state: state.state.clone(),
            cluster: Some(self.config.name.clone()),
            cluster_id: self.cluster,
            worker: Some(node.record.facts.name.clone()),
            worker_id: Some(copy.node),
            endpoints: endpoints
                .into_iter()
                .map(|endpoint| (endpoint, address.clone()))
                .collect(),
            reason,
            since: state.since,
            observed_at: report.map(|report| report.at),
            stale: node.is_silent_about(copy),
        })
    }

    /// All workers, by id.
    pub fn nodes(&self, page: &Page<NodeId>) -> Vec<NodeView> {
        use std::ops::Bound;
        let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes
            .range((from, Bound::Unbounded))
            .take(page.limit)
            .filter_map(|(id, _)| self.node_view(*id))
            .collect()
    }

    /// One worker by id or name.
    pub fn node(&self, key: &str) -> Option<NodeView> {
        self.node_view(self.find_node(key)?)
    }

    fn node_view(&self, id: NodeId) -> Option<NodeView> {
        let node = self.nodes.get(&id)?;
        Some(NodeView {
            id,
            facts: node.record.facts.clone(),
            liveness: node.liveness,
            scheduling: node.record.scheduling,
            room: node.room(),
            usage: node.usage,
            silent: node.silent.clone(),
            labels: node.labels.clone(),
            instances: self.copies_on(id).filter(|(_, copy)| !copy.leaving).count() as u32,
            last_seen: node.last_seen,
            cloned_at: node.cloned_at,
        })
    }

    /// Why each slot of a job is where it is, or is nowhere, as far as this cluster decides it.
    pub fn explain(&self, now: Now, id: JobId) -> Vec<Explanation> {
        let own = self.book.get(id).into_iter().flat_map(Job::slots);
        let slots: std::collections::BTreeSet<Slot> = own
            .chain(self.assigned_of(id).map(|desired| desired.slot.clone()))
            .chain(self.slots_of(id).map(|(slot, _)| slot.clone()))
            .collect();
        let by = self.placed_by(id);
        slots
            .iter()
            .flat_map(|slot| {
                self.rows(now, slot)
                    .into_iter()
                    .map(|row| self.explain_row(slot, row, &by))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Who chose the workers of a job's copies, as far as it is remembered: the scheduler may be another one by now, or have
    /// failed.
    fn placed_by(&self, job: JobId) -> BTreeMap<InstanceId, &str> {
        let events = self.history.of(job);
        let placed = events.filter(|event| event.cause == "placed");
        let by = placed.filter_map(|event| {
            let (_, by) = event.message.split_once(" by ")?;
            Some((event.instance?, by))
        });
        by.collect()
    }

    fn explain_row(
        &self,
        slot: &Slot,
        row: InstanceView,
        by: &BTreeMap<InstanceId, &str>,
    ) -> Explanation {
        let waiting = self.waiting.get(slot);
        let message = match (&row.worker, waiting) {
            (_, Some(waiting)) => waiting.reason.message.clone(),
            (Some(worker), None) => {
                let by = row.instance.and_then(|instance| by.get(&instance));
                let by = by.copied().unwrap_or_else(|| self.policy.name());
                format!("{by} chose worker {worker} out of {}", self.nodes.len())
            }
            (None, None) => "not placed yet".to_owned(),
        };
        Explanation {
            service: row.service,
            index: row.index,
            state: row.state.as_str(),
            cluster: row.cluster,
            worker: row.worker,
            message,
            rejections: waiting.map(|waiting| waiting.rejections.clone()),
        }
    }

    /// How many jobs of this cluster's own, by state; for metrics.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for copy in self.copies.values() {
            tally.count(&copy.state);
        }
        for waiting in self.waiting.values() {
            if !waiting.is_asking() {
                tally.not_deployed += 1;
            }
        }
        tally
    }

    /// The copies of a slot, by id; for checkers.
    pub fn copies_of(&self, slot: &Slot) -> Vec<model::id::InstanceId> {
        let record = self
            .slots
            .get(slot)
            .into_iter()
            .flat_map(|record| &record.copies);
        record.map(|copy| copy.desired.instance).collect()
    }

    /// Whether one copy of a slot takes over from another just now: for checkers.
    pub fn is_taken_over(&self, slot: &Slot) -> bool {
        self.slots.get(slot).is_some_and(|record| {
            let newest = record
                .copies
                .iter()
                .map(|copy| copy.desired.generation)
                .max();
            let older = |copy: &Copy| Some(copy.desired.generation) < newest;
            record.copies.iter().any(older)
        })
    }

    /// A job that this cluster itself accepted.
    pub fn own(&self, id: JobId) -> Option<&Job> {
        self.book.get(id)
    }

    /// All that is known of a slot: for operators and checkers.
    pub fn slot_status(&self, slot: &Slot) -> String {
        let assigned = self
            .upstream
            .set()
            .get(slot)
            .map(|entry| (entry.value.identity(), &entry.value.handover));
        let report = self
            .observer
            .states()
            .get(slot)
            .map(|entry| entry.value.identity());
        let record = self.slots.get(slot);
        let copies: Vec<_> = record
            .into_iter()
            .flat_map(|record| &record.copies)
            .map(|copy| {
                (
                    copy.desired.identity(),
                    copy.node,
                    copy.leaving,
                    self.copies.get(&copy.desired.instance),
                )
            })
            .collect();
        format!(
            "assigned {assigned:?} reported {report:?} copies {copies:?} refused {:?} waiting {:?} dirty {} hold {:?}",
            record.and_then(|record| record.refused.as_ref()),
            self.waiting.get(slot).map(|waiting| &waiting.reason),
            self.dirty.contains(slot),
            self.hold
        )
    }

    /// How far each child is with its desired set: for operators and checkers.
    pub fn sync_status(&self) -> Vec<String> {
        let line = |(id, child): (&NodeId, &crate::state::Node)| {
            format!(
                "{id} {} session {:?} revision {} synced {} wants former {} whole {} observed at {} held {:?}",
                child.liveness,
                child.session,
                child.desired.revision(),
                child.desired.is_synced(self.incarnation),
                child.desired.wants_former(self.incarnation),
                child.observed.is_whole(),
                child.observed_at,
                child.desired.held(),
            )
        };
        self.nodes.iter().map(line).collect()
    }
}

/// Why something failed, as its worker said, or by how it ended.
pub(crate) fn failure_of(report: &model::instance::Report) -> model::reason::Reason {
    let told = crate::slots::reason_of(report).cloned();
    told.unwrap_or_else(|| exited(&report.last_exit.clone().unwrap_or_default()))
}

fn exited(exit: &model::instance::Exit) -> model::reason::Reason {
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    };
    model::reason::Reason::new(
        model::reason::ReasonCode::Exited,
        format!("the application ended ({how}); its restart policy leaves it ended"),
    )
}
