//! What a root shows of itself.

use std::collections::BTreeSet;

use model::access::{TenantPath, Usage};
use model::book::Asked;
use model::desired::{CopyReport, Desired};
use model::id::{ClusterId, JobId};
use model::instance::{InstanceState, Observed, Report};
use model::job::{Job, JobState, Tally};
use model::node::Liveness;
use model::reason::{Reason, ReasonCode};
use model::slot::{Generation, Role, Slot};
use model::view::{ClusterState, ClusterView, Explanation, InstanceView, JobView};

use crate::state::{Cluster, Holding, SlotRecord, State};

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

    /// The store's incarnation.
    pub const fn incarnation(&self) -> sync::Incarnation {
        self.incarnation
    }

    /// The present term.
    pub const fn term(&self) -> &sync::Term {
        &self.term
    }

    /// Why the scheduler elsewhere is left alone for now, if it is.
    pub fn scheduler_rests(&self) -> Option<&str> {
        self.questions.rests()
    }

    /// The scheduler in force.
    pub const fn policy(&self) -> &schedulers::Policy {
        &self.policy
    }

    /// The settings.
    pub const fn config(&self) -> &crate::Config {
        &self.config
    }

    /// A later run of this store is known: this one changes nothing any more.
    pub const fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// The job that an id or a name means.
    pub fn find_job(&self, asked: &Asked, key: &str) -> Option<JobId> {
        let found = self.book.find(asked, key);
        found.ok().map(|job| job.id)
    }

    /// One job by id or name.
    pub fn job(&self, asked: &Asked, key: &str) -> Option<JobView> {
        let found = self.book.find(asked, key);
        found.ok().map(|job| self.job_view(job))
    }

    /// A job by its id.
    pub fn own(&self, id: JobId) -> Option<&Job> {
        self.book.get(id)
    }

    /// What is counted against the quotas of a tenant.
    pub fn usage(&self, tenant: &TenantPath) -> Usage {
        self.book.usage(tenant)
    }

    /// The jobs of a tenant, and of all below it, by id. Deleted ones are left out unless their state is asked for.
    pub fn jobs(
        &self,
        within: &TenantPath,
        page: &Page<JobId>,
        state: Option<JobState>,
    ) -> Vec<JobView> {
        self.book
            .after(within, page.after)
            .filter(|job| state.is_some() || !self.is_over(job))
            .map(|job| self.job_view(job))
            .filter(|view| state.is_none_or(|state| view.state == state))
            .take(page.limit)
            .collect()
    }

    fn job_view(&self, job: &Job) -> JobView {
        let slots: BTreeSet<Slot> = job
            .slots()
            .chain(self.slots_of(job.id).map(|(slot, _)| slot.clone()))
            .collect();
        let mut tally = Tally::default();
        let mut instances = Vec::new();
        for slot in &slots {
            let rows = self.rows(job, slot);
            let telling = rows
                .iter()
                .find(|row| row.role == Role::Holder)
                .or_else(|| rows.first());
            if let Some(row) = telling.filter(|_| job.wants(slot)) {
                tally.count(&row.state);
            }
            instances.extend(rows);
        }
        let running = job.running().map(|operation| operation.kind);
        let state = tally.state(self.is_over(job), running);
        let waits = |slot| {
            let waiting = self.waiting.get(slot);
            waiting.filter(|waiting| !waiting.is_asking())
        };
        let waiting = slots.iter().find_map(waits);
        let reason = match state {
            JobState::Running | JobState::Terminated => None,
            JobState::Requested
            | JobState::ScheduledCluster
            | JobState::ScheduledNode
            | JobState::Failed
            | JobState::Migrating
            | JobState::Scaling
            | JobState::NotDeployed
            | JobState::Unknown => instances
                .iter()
                .find_map(|row| row.reason.clone())
                .or_else(|| Some(Reason::new(ReasonCode::Requested, on_its_way(state)))),
        };
        JobView {
            job: job.clone(),
            owner: "root".to_owned(),
            state,
            reason,
            rejections: waiting.map(|waiting| waiting.rejections.clone()),
            unconfirmed: if job.is_deleted() {
                instances.len() as u32
            } else {
                0
            },
            instances,
        }
    }

    /// The copies of a slot, or the slot itself while it has none.
    fn rows(&self, job: &Job, slot: &Slot) -> Vec<InstanceView> {
        let Some(record) = self.slots.get(slot) else {
            return vec![self.unassigned(job, slot, 0)];
        };
        let mut rows: Vec<InstanceView> = record
            .holdings
            .iter()
            .flat_map(|holding| self.holding_rows(job, record, holding))
            .collect();
        let filled = rows.iter().any(|row| row.role == Role::Holder);
        // What stays on a lost cluster by its policy waits for that one, and for nobody else.
        let vacant = |wanted: &Desired| {
            let mut holdings = record.holdings.iter();
            holdings.all(|holding| holding.leaving || self.must_move(wanted, holding))
        };
        if !filled && self.wanted(slot).as_ref().is_some_and(vacant) {
            rows.push(self.unassigned(job, slot, record.assignment));
        }
        rows
    }

    fn unassigned(&self, job: &Job, slot: &Slot, assignment: u64) -> InstanceView {
        let waiting = self.waiting.get(slot);
        let told = waiting.filter(|waiting| !waiting.is_asking());
        let state = told.map_or(InstanceState::Requested, |waiting| {
            InstanceState::NotDeployed {
                reason: waiting.reason.clone(),
                rejections: waiting.rejections.clone(),
            }
        });
        InstanceView {
            reason: waiting.map(|waiting| waiting.reason.clone()),
            ..Self::bare(
                job,
                slot,
                Generation {
                    assignment,
                    placement: 0,
                },
                state,
            )
        }
    }

    fn bare(job: &Job, slot: &Slot, generation: Generation, state: InstanceState) -> InstanceView {
        InstanceView {
            instance: None,
            service: slot.service.clone(),
            index: slot.index,
            role: Role::Holder,
            generation,
            state,
            cluster: None,
            cluster_id: None,
            worker: None,
            worker_id: None,
            endpoints: Vec::new(),
            reason: None,
            since: job.created_at,
            observed_at: None,
            stale: false,
        }
    }

    fn holding_rows(&self, job: &Job, record: &SlotRecord, holding: &Holding) -> Vec<InstanceView> {
        let Some(cluster) = self.clusters.get(&holding.cluster) else {
            return Vec::new();
        };
        let slot = &holding.desired.slot;
        let report = self.report_of(holding);
        let mut rows: Vec<InstanceView> = report
            .into_iter()
            .flat_map(|report| &report.copies)
            .map(|copy| self.copy_row(job, holding, cluster, copy))
            .collect();
        let filled = rows.iter().any(|row| row.role == Role::Holder);
        let stands = if record.is_successor(holding) {
            Role::Successor
        } else {
            Role::Holder
        };
        for row in rows.iter_mut().filter(|row| row.role == Role::Holder) {
            row.role = stands;
        }
        let offer = report.and_then(|report| report.offer.as_ref());
        let lost = self.is_lost(holding.cluster);
        if !filled && holding.counts() && (rows.is_empty() || offer.is_some()) {
            let unheard = !cluster.is_heard();
            let state = match offer {
                Some(offer) if !lost => InstanceState::NotDeployed {
                    reason: offer.reason.clone(),
                    rejections: offer.rejections.clone(),
                },
                Some(_) | None if unheard => InstanceState::Unknown { last: None },
                Some(_) | None => InstanceState::ScheduledCluster,
            };
            let reason = match &state {
                InstanceState::NotDeployed { reason, .. } => Some(reason.clone()),
                InstanceState::Unknown { .. } => Some(unheard_cluster(cluster)),
                _ => None,
            };
            let row = Self::bare(job, slot, holding.desired.generation, state);
            rows.push(InstanceView {
                instance: rows.is_empty().then_some(holding.desired.instance),
                role: if lost { Role::Dangling } else { stands },
                cluster: Some(cluster.record.name.clone()),
                cluster_id: Some(holding.cluster),
                reason,
                stale: unheard,
                ..row
            });
        }
        rows
    }

    fn copy_row(
        &self,
        job: &Job,
        holding: &Holding,
        cluster: &Cluster,
        copy: &CopyReport,
    ) -> InstanceView {
        let lost = self.is_lost(holding.cluster);
        let state = match (&copy.state, lost) {
            (InstanceState::Running(report) | InstanceState::Failed(report), true) => {
                InstanceState::Unknown {
                    last: Some(report.clone()),
                }
            }
            (state, _) => state.clone(),
        };
        let report = state.report();
        let endpoints = match report.map(|report| &report.observed) {
            Some(Observed::Running { endpoints, .. }) => endpoints.clone(),
            Some(Observed::Starting | Observed::Failed { .. } | Observed::Ended) | None => {
                Vec::new()
            }
        };
        let reason = match &state {
            InstanceState::Unknown { .. } if lost => Some(unheard_cluster(cluster)),
            InstanceState::Unknown { .. } => Some(Reason::new(
                ReasonCode::WorkerLost,
                format!("worker {} cannot be heard", copy.node_name),
            )),
            InstanceState::NotDeployed { reason, .. } => Some(reason.clone()),
            InstanceState::Failed(report) => reason_of(report),
            InstanceState::Requested
            | InstanceState::ScheduledCluster
            | InstanceState::ScheduledNode
            | InstanceState::Running(_)
            | InstanceState::Terminated { .. } => None,
        };
        let observed_at = report.map(|report| report.at);
        let row = Self::bare(job, &holding.desired.slot, copy.generation, state);
        InstanceView {
            instance: Some(copy.instance),
            role: match (lost, holding.counts()) {
                (true, _) => Role::Dangling,
                (false, false) if copy.role != Role::Dangling => Role::Leaving,
                (false, _) => copy.role,
            },
            cluster: Some(cluster.record.name.clone()),
            cluster_id: Some(holding.cluster),
            worker: Some(copy.node_name.clone()),
            worker_id: Some(copy.node),
            endpoints: endpoints
                .into_iter()
                .map(|endpoint| (endpoint, copy.address.clone()))
                .collect(),
            reason,
            since: copy.since,
            observed_at,
            stale: cluster.liveness != Liveness::Alive || copy.stale,
            ..row
        }
    }

    /// Clusters by id.
    pub fn clusters(&self, page: &Page<ClusterId>) -> Vec<ClusterView> {
        use std::ops::Bound;
        let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        self.clusters
            .range((from, Bound::Unbounded))
            .take(page.limit)
            .map(|(id, cluster)| cluster_view(*id, cluster))
            .collect()
    }

    /// One cluster by id or name.
    pub fn cluster(&self, key: &str) -> Option<ClusterView> {
        let id = self.find_cluster(key)?;
        self.clusters
            .get(&id)
            .map(|cluster| cluster_view(id, cluster))
    }

    /// Why each slot of a job is where it is, or is nowhere: this root's part; the clusters explain theirs.
    pub fn explain(&self, id: JobId) -> Vec<Explanation> {
        let Some(job) = self.book.get(id) else {
            return Vec::new();
        };
        let slots: BTreeSet<Slot> = job
            .slots()
            .chain(self.slots_of(id).map(|(slot, _)| slot.clone()))
            .collect();
        slots
            .iter()
            .flat_map(|slot| {
                self.rows(job, slot)
                    .into_iter()
                    .map(|row| self.explain_row(slot, row))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn explain_row(&self, slot: &Slot, row: InstanceView) -> Explanation {
        let waiting = self.waiting.get(slot);
        let message = match (&row.cluster, &row.reason, waiting) {
            (_, Some(reason), _) => reason.message.clone(),
            (_, None, Some(waiting)) => waiting.reason.message.clone(),
            (Some(cluster), None, None) => {
                let record = self.slots.get(slot);
                let mut holdings = record.into_iter().flat_map(|record| &record.holdings);
                let holding = holdings.find(|holding| Some(holding.cluster) == row.cluster_id);
                match holding.map(|holding| holding.by.as_str()) {
                    Some("") | None => format!("cluster {cluster} has it"),
                    Some(by) => {
                        format!(
                            "{by} chose cluster {cluster} out of {}",
                            self.clusters.len()
                        )
                    }
                }
            }
            (None, None, None) => "not assigned yet".to_owned(),
        };
        Explanation {
            service: row.service,
            index: row.index,
            state: row.state.as_str(),
            cluster: row.cluster,
            worker: row.worker,
            message,
            rejections: waiting
                .filter(|waiting| !waiting.is_asking())
                .map(|waiting| waiting.rejections.clone()),
        }
    }

    /// How many jobs there are of each state, with how many instances; for metrics.
    pub fn tallies(
        &self,
    ) -> (
        std::collections::BTreeMap<&'static str, u64>,
        std::collections::BTreeMap<&'static str, u64>,
    ) {
        let (mut jobs, mut instances) = (
            std::collections::BTreeMap::new(),
            std::collections::BTreeMap::new(),
        );
        for job in self.book.iter() {
            let view = self.job_view(job);
            *jobs.entry(view.state.as_str()).or_default() += 1;
            for row in &view.instances {
                *instances.entry(row.state.as_str()).or_default() += 1;
            }
        }
        (jobs, instances)
    }

    /// Whether a slot goes from one cluster to another just now: for checkers.
    pub fn is_between_clusters(&self, slot: &Slot) -> bool {
        self.slots.get(slot).is_some_and(|record| {
            record.moving.is_some() || record.holdings.iter().any(|holding| !holding.counts())
        })
    }

    /// How far each child is with its desired set: for operators and checkers.
    pub fn sync_status(&self) -> Vec<String> {
        let line = |(id, child): (&ClusterId, &crate::state::Cluster)| {
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
        self.clusters.iter().map(line).collect()
    }
}

/// The reason in a report that says that it does not run.
pub(crate) fn reason_of(report: &Report) -> Option<Reason> {
    match &report.observed {
        Observed::Failed { reason, .. } => Some(reason.clone()),
        Observed::Ended => Some(Reason::new(
            ReasonCode::Exited,
            "the application ended and its restart policy leaves it ended",
        )),
        Observed::Starting | Observed::Running { .. } => None,
    }
}

fn unheard_cluster(cluster: &Cluster) -> Reason {
    Reason::new(
        ReasonCode::ClusterLost,
        format!("cluster {} cannot be heard", cluster.record.name),
    )
}

fn on_its_way(state: JobState) -> String {
    let what = match state {
        JobState::Requested => "it waits for a cluster",
        JobState::ScheduledCluster => "its cluster chooses a worker",
        JobState::ScheduledNode => "its worker starts it",
        JobState::Scaling => "its replicas are being changed",
        JobState::Migrating => "it is being moved",
        JobState::Running
        | JobState::Failed
        | JobState::Terminated
        | JobState::NotDeployed
        | JobState::Unknown => "it is not settled",
    };
    what.to_owned()
}

fn cluster_view(id: ClusterId, cluster: &Cluster) -> ClusterView {
    let state = if cluster.session.is_none() {
        ClusterState::Inactive
    } else if cluster.aggregate.schedulable_nodes == 0 || cluster.liveness != Liveness::Alive {
        ClusterState::Degraded
    } else {
        ClusterState::Active
    };
    ClusterView {
        id,
        name: cluster.record.name.clone(),
        state,
        scheduling: cluster.record.scheduling,
        location: cluster.record.location.clone(),
        aggregate: cluster.aggregate.clone(),
        scheduler: cluster.scheduler.clone(),
        http: cluster.record.http.clone(),
        last_seen: cluster.last_seen,
    }
}
