//! What the values of records look like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::desired::JobHead;
use model::id::{ClusterId, InstanceId, JobId};
use model::job::{OnPartition, Owner};
use model::location::Location;
use model::name::Name;
use model::node::Scheduling;
use model::slot::Generation;
use model::time::Wall;
use protocol::workload::{WireJobSpec, WireOnPartition, WireServiceSpec};
use root_core::{ClusterRecord, Holding, SlotRecord};
use serde::{Deserialize, Serialize};

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
    pub(super) assignment: u64,
    #[serde(default)]
    pub(super) service_generation: u64,
    #[serde(default)]
    pub(super) holdings: Vec<SlotHolding>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SlotHolding {
    pub(super) cluster: ClusterId,
    pub(super) desired: Desired,
    #[serde(default)]
    pub(super) leaving: bool,
}

impl From<&SlotRecord> for Slot {
    fn from(record: &SlotRecord) -> Self {
        Self {
            assignment: record.assignment,
            service_generation: record.service_generation,
            holdings: record.holdings.iter().map(SlotHolding::from).collect(),
        }
    }
}

impl From<&Holding> for SlotHolding {
    fn from(holding: &Holding) -> Self {
        Self {
            cluster: holding.cluster,
            desired: Desired::from(&holding.desired),
            leaving: holding.leaving,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    name: Name,
    /// The text as the operator gave it; the rest is what it names.
    #[serde(default)]
    location: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    #[serde(default)]
    scheduling: Scheduling,
}

impl From<&ClusterRecord> for Cluster {
    fn from(record: &ClusterRecord) -> Self {
        let location = record.location.clone();
        Self {
            name: record.name.clone(),
            location: location.text,
            city: location.city,
            country: location.country,
            latitude: location.latitude,
            longitude: location.longitude,
            scheduling: record.scheduling,
        }
    }
}

impl From<Cluster> for ClusterRecord {
    fn from(cluster: Cluster) -> Self {
        Self {
            name: cluster.name,
            location: Location {
                text: cluster.location,
                city: cluster.city,
                country: cluster.country,
                latitude: cluster.latitude,
                longitude: cluster.longitude,
            },
            scheduling: cluster.scheduling,
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
