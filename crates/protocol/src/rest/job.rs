//! Jobs and their instances.

use std::collections::BTreeMap;

use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::instance::{Endpoint, Exit, Health, InstanceState, Observed};
use model::job::ServiceSpec;
use model::operation::{Operation, Progress};
use model::slot::{Generation, Role};
use model::time::Wall;
use model::view::{InstanceView, JobView};
use model::workload::Transport;
use serde::{Deserialize, Serialize};

use super::counts;
use crate::time::{rfc3339, rfc3339_option};

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JobBody {
    /// Its id.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::JobIdText"))]
    pub job_id: JobId,
    /// Its name.
    pub job_name: String,
    /// Whose it is.
    pub tenant: String,
    /// Who decides about it: `root` or a cluster's name.
    pub owner: String,
    /// One of the ten words of the contract.
    pub state: String,
    /// Its deletion is accepted.
    pub terminating: bool,
    /// One sentence, not null whenever the state is neither RUNNING nor TERMINATED by request.
    #[serde(default)]
    pub reason: Option<String>,
    /// Stable word for it.
    #[serde(default)]
    pub reason_code: Option<String>,
    /// Candidates counted by reason, at the last try of what waits.
    #[serde(default)]
    pub rejections: Option<BTreeMap<String, u32>>,
    /// Copies of a deleted job whose end was not heard yet; left out at 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unconfirmed: u32,
    /// Grows with every accepted change of the document.
    pub generation: u64,
    /// When it was accepted.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
    /// What is being done to it, or was done last; null where nothing ever was.
    #[serde(default)]
    pub operation: Option<OperationBody>,
    /// What it consists of.
    #[serde(default)]
    pub services: Vec<ServiceBody>,
    /// One row a copy.
    #[serde(default)]
    pub instances: Vec<InstanceBody>,
}

/// An operation on a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OperationBody {
    /// `scale`, `update`, `rollback`, `migrate` or `restart`.
    pub kind: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// The job's generation that it made.
    pub number: u64,
    /// When it was accepted.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub started_at: Wall,
    /// One sentence for why it failed; of a rollback that goes on or is done, why the update before it did.
    #[serde(default)]
    pub reason: Option<String>,
    /// Stable word for it.
    #[serde(default)]
    pub reason_code: Option<String>,
}

impl From<&Operation> for OperationBody {
    fn from(operation: &Operation) -> Self {
        let (state, reason) = match &operation.progress {
            Progress::Running => ("running", operation.cause.as_ref()),
            Progress::Done => ("done", operation.cause.as_ref()),
            Progress::Failed(reason) => ("failed", Some(reason)),
        };
        Self {
            kind: operation.kind.as_str().to_owned(),
            state: state.to_owned(),
            number: operation.number,
            started_at: operation.started_at,
            reason: reason.map(|reason| reason.message.clone()),
            reason_code: reason.map(|reason| reason.code.as_str().to_owned()),
        }
    }
}

/// A service of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ServiceBody {
    /// Its name.
    pub name: String,
    /// How many slots.
    pub replicas: u32,
    /// Reference or program; null where the command says all.
    #[serde(default)]
    pub image: Option<String>,
    /// `docker`, `native`, …
    pub image_runtime: String,
}

/// One copy of a slot, or the slot itself while it has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct InstanceBody {
    /// Null before it was placed.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::InstanceIdText>")
    )]
    pub instance_id: Option<InstanceId>,
    /// The service.
    pub service: String,
    /// Which replica, from 0.
    pub index: u32,
    /// `holder`, `successor`, `dangling` or `leaving`.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::RoleWord"))]
    pub role: Role,
    /// (assignment, placement).
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Pair"))]
    pub generation: Generation,
    /// One of the eight words of an instance.
    pub state: String,
    /// The cluster's name.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The cluster's id.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::ClusterIdText>")
    )]
    pub cluster_id: Option<ClusterId>,
    /// The worker's name.
    #[serde(default)]
    pub worker_node: Option<String>,
    /// The worker's id.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::NodeIdText>")
    )]
    pub worker_id: Option<NodeId>,
    /// Where its published ports are reached.
    #[serde(default)]
    pub endpoints: Vec<EndpointBody>,
    /// What its health check says while it runs; null where it has none.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::HealthWord>")
    )]
    pub health: Option<Health>,
    /// One sentence for why it does not run.
    #[serde(default)]
    pub reason: Option<String>,
    /// Stable word for it.
    #[serde(default)]
    pub reason_code: Option<String>,
    /// Starts after the first one.
    #[serde(default)]
    pub restarts: u32,
    /// When its worker tries again.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub next_attempt_at: Option<Wall>,
    /// How it last ended.
    #[serde(default)]
    pub last_exit: Option<ExitBody>,
    /// Since when it is in this state.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub since: Wall,
    /// When its worker saw it.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub observed_at: Option<Wall>,
    /// Not heard for longer than it should be.
    #[serde(default)]
    pub stale: bool,
}

/// Where a published port is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EndpointBody {
    /// Inside the container.
    pub container_port: u16,
    /// On the worker.
    pub host_port: u16,
    /// The worker's address; null where it told none.
    #[serde(default)]
    pub address: Option<String>,
    /// `tcp` or `udp`.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TransportWord")
    )]
    pub protocol: Transport,
}

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ExitBody {
    /// Exit code, when it ended by itself.
    #[serde(default)]
    pub code: Option<i32>,
    /// Signal number, when it was killed.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Killed by the kernel for memory.
    #[serde(default)]
    pub oom: bool,
    /// When.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub at: Wall,
    /// Its last lines of output.
    #[serde(default)]
    pub log_tail: Vec<String>,
}

impl From<&JobView> for JobBody {
    fn from(view: &JobView) -> Self {
        // What has no check says "starting" while it is on trial, for those who wait for it; that is no health to show.
        let row = |row: &InstanceView| {
            let service = view.job.service(&row.service);
            let has_check = service.is_some_and(|service| service.workload.health.is_some());
            let body = InstanceBody::from(row);
            InstanceBody {
                health: body.health.filter(|_| has_check),
                ..body
            }
        };
        Self {
            job_id: view.job.id,
            job_name: view.job.spec.name.to_string(),
            tenant: view.job.tenant.to_string(),
            owner: view.owner.clone(),
            state: view.state.as_str().to_owned(),
            terminating: view.job.is_deleted() && view.state != model::job::JobState::Terminated,
            reason: view.reason.as_ref().map(|reason| reason.message.clone()),
            reason_code: view
                .reason
                .as_ref()
                .map(|reason| reason.code.as_str().to_owned()),
            rejections: counts(view.rejections.as_ref()),
            unconfirmed: view.unconfirmed,
            generation: view.job.generation,
            created_at: view.job.created_at,
            operation: view.job.operation.as_ref().map(OperationBody::from),
            services: view
                .job
                .spec
                .services
                .iter()
                .map(|service| ServiceBody::from(service.as_ref()))
                .collect(),
            instances: view.instances.iter().map(row).collect(),
        }
    }
}

impl From<&ServiceSpec> for ServiceBody {
    fn from(service: &ServiceSpec) -> Self {
        Self {
            name: service.name.to_string(),
            replicas: service.replicas,
            image: service.workload.image.clone(),
            image_runtime: service.workload.runtime.as_str().to_owned(),
        }
    }
}

impl From<&InstanceView> for InstanceBody {
    fn from(view: &InstanceView) -> Self {
        let report = view.state.report();
        let next_attempt_at = report.and_then(|report| match &report.observed {
            Observed::Failed { next_attempt, .. } => *next_attempt,
            Observed::Starting | Observed::Running { .. } | Observed::Ended => None,
        });
        Self {
            instance_id: view.instance,
            service: view.service.to_string(),
            index: view.index,
            role: view.role,
            generation: view.generation,
            state: view.state.as_str().to_owned(),
            cluster: view.cluster.as_ref().map(ToString::to_string),
            cluster_id: view.cluster_id,
            worker_node: view.worker.as_ref().map(ToString::to_string),
            worker_id: view.worker_id,
            endpoints: view.endpoints.iter().map(EndpointBody::from).collect(),
            health: match &view.state {
                InstanceState::Running(report) => report.health(),
                InstanceState::Requested
                | InstanceState::ScheduledCluster
                | InstanceState::ScheduledNode
                | InstanceState::Failed(_)
                | InstanceState::NotDeployed { .. }
                | InstanceState::Unknown { .. }
                | InstanceState::Terminated { .. } => None,
            },
            reason: view.reason.as_ref().map(|reason| reason.message.clone()),
            reason_code: view
                .reason
                .as_ref()
                .map(|reason| reason.code.as_str().to_owned()),
            restarts: report.map_or(0, |report| report.restarts),
            next_attempt_at,
            last_exit: report
                .and_then(|report| report.last_exit.as_ref())
                .map(ExitBody::from),
            since: view.since,
            observed_at: view.observed_at,
            stale: view.stale,
        }
    }
}

impl From<&(Endpoint, Option<String>)> for EndpointBody {
    fn from((endpoint, address): &(Endpoint, Option<String>)) -> Self {
        Self {
            container_port: endpoint.container_port,
            host_port: endpoint.host_port,
            address: address.clone(),
            protocol: endpoint.transport,
        }
    }
}

impl From<&Exit> for ExitBody {
    fn from(exit: &Exit) -> Self {
        Self {
            code: exit.code,
            signal: exit.signal,
            oom: exit.oom,
            at: exit.at,
            log_tail: exit.log_tail.clone(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
