//! What the values of records look like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_core::{Copy, NodeRecord, SlotRecord};
use model::desired::JobHead;
use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::job::{OnPartition, Owner};
use model::name::Name;
use model::node::{NodeFacts, Scheduling};
use model::slot::Generation;
use model::time::Wall;
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use protocol::workload::{WireJobSpec, WireOnPartition, WireServiceSpec};
use serde::{Deserialize, Serialize};
use sync::{Incarnation, ParentMark, Term};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    #[serde(default)]
    incarnation: Option<Incarnation>,
    #[serde(default)]
    term: Term,
    #[serde(default)]
    revision: u64,
}

impl From<&ParentMark> for Mark {
    fn from(mark: &ParentMark) -> Self {
        Self {
            incarnation: mark.incarnation,
            term: mark.term.clone(),
            revision: mark.revision,
        }
    }
}

impl From<Mark> for ParentMark {
    fn from(mark: Mark) -> Self {
        Self {
            incarnation: mark.incarnation,
            term: mark.term,
            revision: mark.revision,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    tenant: Name,
    generation: u64,
    created_at: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Wall>,
    pub(super) spec: WireJobSpec,
    #[serde(default)]
    service_generations: BTreeMap<Name, u64>,
}

impl From<&model::job::Job> for Job {
    fn from(job: &model::job::Job) -> Self {
        Self {
            tenant: job.tenant.clone(),
            generation: job.generation,
            created_at: job.created_at,
            deleted_at: job.deleted_at,
            spec: WireJobSpec::from(job.spec.as_ref()),
            service_generations: job.service_generations.clone(),
        }
    }
}

impl Job {
    pub(super) fn into_job(self, id: JobId, spec: Arc<model::job::JobSpec>) -> model::job::Job {
        model::job::Job {
            id,
            tenant: self.tenant,
            generation: self.generation,
            created_at: self.created_at,
            deleted_at: self.deleted_at,
            spec,
            service_generations: self.service_generations,
        }
    }
}

/// A job's head, but for the id, which the key holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    name: Name,
    tenant: Name,
    /// Absent: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<ClusterId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_after_ms: Option<u64>,
    on_partition: WireOnPartition,
    created_at: Wall,
}

impl From<&JobHead> for Head {
    fn from(head: &JobHead) -> Self {
        Self {
            name: head.name.clone(),
            tenant: head.tenant.clone(),
            owner: match head.owner {
                Owner::Root => None,
                Owner::Cluster(id) => Some(id),
            },
            lost_after_ms: head.lost_after.map(millis),
            on_partition: match head.on_partition {
                OnPartition::Stay => WireOnPartition::Stay,
                OnPartition::Move => WireOnPartition::Move,
            },
            created_at: head.created_at,
        }
    }
}

impl Head {
    pub(super) fn into_head(self, id: JobId) -> JobHead {
        JobHead {
            id,
            name: self.name,
            tenant: self.tenant,
            owner: self.owner.map_or(Owner::Root, Owner::Cluster),
            lost_after: self.lost_after_ms.map(Duration::from_millis),
            on_partition: match self.on_partition {
                WireOnPartition::Stay => OnPartition::Stay,
                WireOnPartition::Move => OnPartition::Move,
            },
            created_at: self.created_at,
        }
    }
}

/// A desired instance, but for its slot, which the key holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Desired {
    pub(super) instance: InstanceId,
    pub(super) generation: Generation,
    pub(super) job: Head,
    pub(super) service: WireServiceSpec,
}

impl From<&model::desired::Desired> for Desired {
    fn from(desired: &model::desired::Desired) -> Self {
        Self {
            instance: desired.instance,
            generation: desired.generation,
            job: Head::from(desired.job.as_ref()),
            service: WireServiceSpec::from(desired.service.as_ref()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) placement: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<InstanceId>,
    #[serde(default)]
    pub(super) provisional: bool,
    #[serde(default)]
    pub(super) copies: Vec<SlotCopy>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SlotCopy {
    pub(super) desired: Desired,
    pub(super) node: NodeId,
    #[serde(default)]
    pub(super) leaving: bool,
}

impl From<&SlotRecord> for Slot {
    fn from(record: &SlotRecord) -> Self {
        Self {
            placement: record.placement,
            used: record.used,
            provisional: record.provisional,
            copies: record.copies.iter().map(SlotCopy::from).collect(),
        }
    }
}

impl From<&Copy> for SlotCopy {
    fn from(copy: &Copy) -> Self {
        Self {
            desired: Desired::from(&copy.desired),
            node: copy.node,
            leaving: copy.leaving,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Node {
    name: Name,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    addresses: Vec<String>,
    architecture: String,
    cpu: Millicores,
    memory: Bytes,
    disk: Bytes,
    #[serde(default)]
    accelerators: Vec<String>,
    #[serde(default)]
    sensors: Vec<String>,
    #[serde(default)]
    runtimes: BTreeSet<RuntimeKind>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    engine_version: String,
    #[serde(default)]
    scheduling: Scheduling,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report_interval_ms: Option<u64>,
    #[serde(default)]
    operator_labels: BTreeMap<String, Option<String>>,
    /// SHA-256 of the credential.
    credential: [u8; 32],
}

impl From<&NodeRecord> for Node {
    fn from(record: &NodeRecord) -> Self {
        let facts = record.facts.clone();
        Self {
            name: facts.name,
            hostname: facts.hostname,
            addresses: facts.addresses,
            architecture: facts.architecture,
            cpu: facts.allocatable.cpu,
            memory: facts.allocatable.memory,
            disk: facts.allocatable.disk,
            accelerators: facts.accelerators,
            sensors: facts.sensors,
            runtimes: facts.runtimes,
            labels: facts.labels,
            engine_version: facts.engine_version,
            scheduling: record.scheduling,
            report_interval_ms: record.report_interval.map(millis),
            operator_labels: record.labels.clone(),
            credential: record.credential,
        }
    }
}

impl From<Node> for NodeRecord {
    fn from(node: Node) -> Self {
        Self {
            facts: NodeFacts {
                name: node.name,
                hostname: node.hostname,
                addresses: node.addresses,
                architecture: node.architecture,
                allocatable: Resources {
                    cpu: node.cpu,
                    memory: node.memory,
                    disk: node.disk,
                },
                accelerators: node.accelerators,
                sensors: node.sensors,
                runtimes: node.runtimes,
                labels: node.labels,
                engine_version: node.engine_version,
            },
            scheduling: node.scheduling,
            report_interval: node.report_interval_ms.map(Duration::from_millis),
            labels: node.operator_labels,
            credential: node.credential,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) at: Wall,
    pub(super) tier: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<InstanceId>,
    pub(super) generation: Generation,
    #[serde(default)]
    pub(super) from: String,
    pub(super) to: String,
    pub(super) cause: String,
    pub(super) message: String,
}

impl From<&model::event::Event> for Event {
    fn from(event: &model::event::Event) -> Self {
        Self {
            at: event.at,
            tier: event.tier.as_str().to_owned(),
            instance: event.instance,
            generation: event.generation,
            from: event.from.to_owned(),
            to: event.to.to_owned(),
            cause: event.cause.clone(),
            message: event.message.clone(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
