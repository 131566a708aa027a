//! What a core shows of itself: the answer to a query, before it gets a wire shape.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::Aggregate;
use crate::id::{ClusterId, InstanceId, NodeId};
use crate::instance::{Endpoint, InstanceState};
use crate::job::{Job, JobState};
use crate::location::Location;
use crate::name::Name;
use crate::node::{Liveness, NodeFacts, Scheduling, Usage};
use crate::reason::{Reason, Rejections};
use crate::slot::{Generation, Role};
use crate::time::Wall;
use crate::units::Resources;
use crate::workload::RuntimeKind;

/// Who owns a job, as answers name it: `root`, or a cluster's name.
pub type OwnerName = String;

/// A job with its instances.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// Who decides about it.
    pub owner: OwnerName,
    /// Derived from the instances.
    pub state: JobState,
    /// Why it is neither RUNNING nor ended as requested.
    pub reason: Option<Reason>,
    /// Counted at the last try of what waits.
    pub rejections: Option<Rejections>,
    /// Copies of a deleted job whose end was not heard yet.
    pub unconfirmed: u32,
    /// One row a copy.
    pub instances: Vec<InstanceView>,
}

/// One copy of a slot (or the slot itself while it has none).
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// Its id; `None` before it was placed.
    pub instance: Option<InstanceId>,
    /// The service.
    pub service: Name,
    /// Which replica.
    pub index: u32,
    /// What it is to its slot.
    pub role: Role,
    /// Its generation.
    pub generation: Generation,
    /// Its state, with the last report.
    pub state: InstanceState,
    /// The cluster's name.
    pub cluster: Option<Name>,
    /// The cluster's id; `None` also at a cluster that never met a root.
    pub cluster_id: Option<ClusterId>,
    /// The worker's name.
    pub worker: Option<Name>,
    /// The worker's id.
    pub worker_id: Option<NodeId>,
    /// Published ports, with the worker's address where known.
    pub endpoints: Vec<(Endpoint, Option<String>)>,
    /// Why it does not run.
    pub reason: Option<Reason>,
    /// Since when it is in this state.
    pub since: Wall,
    /// When its worker saw it.
    pub observed_at: Option<Wall>,
    /// Not heard for longer than it should be.
    pub stale: bool,
}

/// A worker, as its cluster sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// What it said of itself.
    pub facts: NodeFacts,
    /// Whether it is heard.
    pub liveness: Liveness,
    /// Whether it gets work.
    pub scheduling: Scheduling,
    /// Allocatable minus reserved.
    pub room: Resources,
    /// Measured.
    pub usage: Option<Usage>,
    /// Runtimes that do not answer.
    pub silent: BTreeSet<RuntimeKind>,
    /// Labels in force (the worker's own, overridden by an operator's).
    pub labels: BTreeMap<String, String>,
    /// Instances in its desired set.
    pub instances: u32,
    /// When it was last heard.
    pub last_seen: Option<Wall>,
    /// When two machines used its identity last, since this cluster started.
    pub cloned_at: Option<Wall>,
}

/// Whether a cluster is there for its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterState {
    /// Connected and heard.
    Active,
    /// Connected, but with something missing (no schedulable worker, scheduler down).
    Degraded,
    /// Not connected.
    Inactive,
}

impl ClusterState {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Degraded => "DEGRADED",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// A cluster, as its root sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterView {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: Name,
    /// Whether it is there.
    pub state: ClusterState,
    /// Whether it gets work.
    pub scheduling: Scheduling,
    /// Where it is.
    pub location: Location,
    /// Its last aggregate.
    pub aggregate: Aggregate,
    /// Which scheduler it runs.
    pub scheduler: String,
    /// Where its own REST interface is reached, as far as it says so.
    pub http: Option<String>,
    /// When it was last heard.
    pub last_seen: Option<Wall>,
}

/// Why one slot is where it is, or is nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Service and index.
    pub service: Name,
    /// Which replica.
    pub index: u32,
    /// State of its copy.
    pub state: &'static str,
    /// Where it is: cluster and worker by name.
    pub cluster: Option<Name>,
    /// The worker.
    pub worker: Option<Name>,
    /// One sentence.
    pub message: String,
    /// The root's last count over clusters, or the cluster's over its workers.
    pub rejections: Option<Rejections>,
}
