//! Jobs: what a user submits, and the state that is derived from its instances.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::access::TenantPath;
use crate::desired::Handover;
use crate::id::{ClusterId, JobId};
use crate::name::Name;
use crate::operation::{Operation, OperationKind};
use crate::slot::Slot;
use crate::time::Wall;
use crate::workload::Workload;

/// Where a service may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlacementRules {
    /// A cluster's name or id: this one or none.
    pub cluster: Option<String>,
    /// Matches a cluster's name, its whole location text or its city, without case (`cluster_location`).
    pub location: Option<String>,
    /// A worker's name or id: this one or none.
    pub worker: Option<String>,
    /// Labels that the worker must carry.
    pub labels: BTreeMap<String, String>,
    /// CPU architectures that will do; empty: any.
    pub architectures: Vec<String>,
}

/// One service of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Its name; the job's own where the document has one service only.
    pub name: Name,
    /// What runs.
    pub workload: Arc<Workload>,
    /// Where it may run (the job's rules already merged in).
    pub placement: PlacementRules,
    /// How many slots.
    pub replicas: u32,
    /// How one copy of a slot takes over from another.
    pub takeover: Takeover,
}

/// Which copy begins when one takes over from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The new one runs, and is healthy if it has a check, before the old one stops.
    #[default]
    StartFirst,
    /// The old one stops first.
    StopFirst,
}

/// What an update does when a new copy does not come to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It stops where it is; the old copies that are left run on.
    #[default]
    Stop,
    /// What was changed is changed back.
    Rollback,
}

/// How one copy of a slot takes over from another, in updates, restarts and migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// How many copies beyond the replicas may run at a time; 0: the old one always stops first.
    pub max_surge: u32,
    /// How many replicas may be missing at a time, where there is no room for one more.
    pub max_unavailable: u32,
    /// When a new copy of an update does not come to run.
    pub on_failure: OnFailure,
    /// Of migrations, where the request does not say.
    pub migration: Strategy,
    /// How long the old copy runs on beside a new one that is ready, so that its clients can turn to the new one.
    pub drain_delay: Duration,
    /// How long a new copy without a health check has to run before it counts as ready: a program that ends at once does
    /// not replace one that works. A health check says better.
    pub min_ready: Duration,
}

impl Default for Takeover {
    fn default() -> Self {
        Self {
            max_surge: 1,
            max_unavailable: 1,
            on_failure: OnFailure::Stop,
            migration: Strategy::StartFirst,
            drain_delay: Duration::ZERO,
            min_ready: Duration::from_secs(2),
        }
    }
}

impl Takeover {
    /// How a changed document's copy takes over from the one that its slot has, under an order of this number, while so
    /// many others of its service change.
    pub const fn handover(&self, number: u64, changing: usize) -> Handover {
        Handover {
            number,
            start_first: self.max_surge > 0,
            keep_old: changing >= self.max_unavailable as usize,
            replace: None,
            same_worker: false,
            worker: None,
        }
    }

    /// How many slots of a service change at a time.
    pub fn at_a_time(&self) -> usize {
        let number = if self.max_surge > 0 {
            self.max_surge
        } else {
            self.max_unavailable.max(1)
        };
        number as usize
    }
}

/// Which copy stays when a lost one returns beside its replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reconcile {
    /// The one that was lost, if it is ready and has the workload that is wanted.
    #[default]
    KeepOriginal,
    /// The one that replaced it, if it is ready.
    KeepReplacement,
    /// The one that is ready and was restarted least; of equals the original.
    Best,
}

/// What happens to a job's instances in a cluster that is lost to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartition {
    /// They stay where they are.
    #[default]
    Stay,
    /// They are placed in another cluster.
    Move,
}

/// A validated document.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// The job's name, unique for its owner and tenant.
    pub name: Name,
    /// After this long without a proof of life of its worker, an instance is replaced; `None`: the cluster's option.
    pub lost_after: Option<Duration>,
    /// On the loss of a cluster.
    pub on_partition: OnPartition,
    /// When a lost copy returns.
    pub reconcile: Reconcile,
    /// One at least.
    pub services: Vec<Arc<ServiceSpec>>,
}

/// Which tier accepted a job, and so decides about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The root.
    Root,
    /// A cluster.
    Cluster(ClusterId),
}

/// An accepted job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The tenant.
    pub tenant: TenantPath,
    /// Grows with every accepted change of the document.
    pub generation: u64,
    /// When it was accepted.
    pub created_at: Wall,
    /// When its deletion was accepted.
    pub deleted_at: Option<Wall>,
    /// The document.
    pub spec: Arc<JobSpec>,
    /// For each service, the job's generation at which its workload or its rules last changed (not its replicas).
    pub service_generations: BTreeMap<Name, u64>,
    /// What is being done to it, or was done last.
    pub operation: Option<Operation>,
}

impl Job {
    /// What children must know of it.
    pub fn head(&self, owner: Owner) -> crate::desired::JobHead {
        crate::desired::JobHead {
            id: self.id,
            name: self.spec.name.clone(),
            tenant: self.tenant.clone(),
            owner,
            lost_after: self.spec.lost_after,
            on_partition: self.spec.on_partition,
            reconcile: self.spec.reconcile,
            created_at: self.created_at,
        }
    }

    /// The slots that its document asks for; none once it is deleted.
    pub fn slots(&self) -> impl Iterator<Item = crate::slot::Slot> {
        let services = if self.is_deleted() {
            &[][..]
        } else {
            &self.spec.services
        };
        services.iter().flat_map(|service| {
            (0..service.replicas).map(|index| crate::slot::Slot {
                job: self.id,
                service: service.name.clone(),
                index,
            })
        })
    }

    /// Whether its document asks for this slot.
    pub fn wants(&self, slot: &crate::slot::Slot) -> bool {
        !self.is_deleted()
            && self
                .service(&slot.service)
                .is_some_and(|service| slot.index < service.replicas)
    }

    /// The service's share of [`Job::service_generations`]; 1 where it never changed.
    pub fn service_generation(&self, name: &Name) -> u64 {
        self.service_generations.get(name).copied().unwrap_or(1)
    }

    /// Whether it is to end.
    pub const fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// The operation that is under way.
    pub fn running(&self) -> Option<&Operation> {
        self.operation
            .as_ref()
            .filter(|operation| operation.is_running() && !self.is_deleted())
    }

    /// How many slots of this one's service change at a time.
    pub fn at_a_time(&self, slot: &Slot) -> usize {
        let service = self.service(&slot.service);
        service.map_or(1, |service| service.takeover.at_a_time())
    }

    /// The service of that name.
    pub fn service(&self, name: &Name) -> Option<&Arc<ServiceSpec>> {
        self.spec
            .services
            .iter()
            .find(|service| service.name == *name)
    }
}

/// A job's state in answers, derived from its instances by the rule in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// At least one slot waits for a cluster.
    Requested,
    /// At least one slot waits for a worker.
    ScheduledCluster,
    /// At least one instance was not seen running yet.
    ScheduledNode,
    /// All slots run.
    Running,
    /// One failed.
    Failed,
    /// All ended with 0, or the deletion is confirmed.
    Terminated,
    /// A migration is under way.
    Migrating,
    /// The number of replicas or the document is being changed.
    Scaling,
    /// Nothing can host one of them.
    NotDeployed,
    /// One cannot be heard.
    Unknown,
}

impl JobState {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 10] = [
        Self::Requested,
        Self::ScheduledCluster,
        Self::ScheduledNode,
        Self::Running,
        Self::Failed,
        Self::Terminated,
        Self::Migrating,
        Self::Scaling,
        Self::NotDeployed,
        Self::Unknown,
    ];

    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::ScheduledCluster => "SCHEDULED_CLUSTER",
            Self::ScheduledNode => "SCHEDULED_NODE",
            Self::Running => "RUNNING",
            Self::Failed => "FAILED",
            Self::Terminated => "TERMINATED",
            Self::Migrating => "MIGRATING",
            Self::Scaling => "SCALING",
            Self::NotDeployed => "NOT_DEPLOYED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many of a job's slots are in which state; what the job's state is derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// REQUESTED.
    pub requested: u32,
    /// SCHEDULED_CLUSTER.
    pub scheduled_cluster: u32,
    /// SCHEDULED_NODE.
    pub scheduled_node: u32,
    /// RUNNING.
    pub running: u32,
    /// FAILED.
    pub failed: u32,
    /// NOT_DEPLOYED.
    pub not_deployed: u32,
    /// UNKNOWN.
    pub unknown: u32,
    /// TERMINATED.
    pub terminated: u32,
}

impl Tally {
    /// Counts one slot.
    pub fn count(&mut self, state: &crate::instance::InstanceState) {
        use crate::instance::InstanceState as S;
        let field = match state {
            S::Requested => &mut self.requested,
            S::ScheduledCluster => &mut self.scheduled_cluster,
            S::ScheduledNode => &mut self.scheduled_node,
            S::Running(_) => &mut self.running,
            S::Failed(_) => &mut self.failed,
            S::NotDeployed { .. } => &mut self.not_deployed,
            S::Unknown { .. } => &mut self.unknown,
            S::Terminated { .. } => &mut self.terminated,
        };
        *field += 1;
    }

    /// The job's state: the first rule of the contract that matches.
    ///
    /// `confirmed_gone`: the job was deleted and nothing of it is left; `operation`: what is under way.
    pub const fn state(&self, confirmed_gone: bool, operation: Option<OperationKind>) -> JobState {
        if confirmed_gone {
            JobState::Terminated
        } else if let Some(kind) = operation {
            kind.state()
        } else if self.failed > 0 {
            JobState::Failed
        } else if self.not_deployed > 0 {
            JobState::NotDeployed
        } else if self.unknown > 0 {
            JobState::Unknown
        } else if self.requested > 0 {
            JobState::Requested
        } else if self.scheduled_cluster > 0 {
            JobState::ScheduledCluster
        } else if self.scheduled_node > 0 {
            JobState::ScheduledNode
        } else if self.running == 0 && self.terminated > 0 {
            JobState::Terminated
        } else {
            // No slot at all (scaled to zero) has nothing that fails to run.
            JobState::Running
        }
    }
}
