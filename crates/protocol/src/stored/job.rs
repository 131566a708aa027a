//! Jobs and their desired instances.

use std::collections::BTreeMap;
use std::time::Duration;

use model::access::TenantPath;
use model::desired::{Desired, JobHead};
use model::id::{ClusterId, InstanceId, JobId};
use model::job::{Job, OnPartition, Owner};
use model::name::Name;
use model::slot::Generation;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::operation::StoredOperation;
use crate::message::desired::WireHandover;
use crate::workload::{
    WireJobSpec, WireOnPartition, WireReconcile, WireServiceSpec, is_default, millis,
};

/// A job, but for its id, which the key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredJob {
    pub(super) tenant: TenantPath,
    pub(super) generation: u64,
    pub(super) created_at: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<Wall>,
    pub(super) spec: WireJobSpec,
    #[serde(default)]
    pub(super) service_generations: BTreeMap<Name, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<StoredOperation>,
}

impl From<&Job> for StoredJob {
    fn from(job: &Job) -> Self {
        Self {
            tenant: job.tenant.clone(),
            generation: job.generation,
            created_at: job.created_at,
            deleted_at: job.deleted_at,
            spec: WireJobSpec::from(job.spec.as_ref()),
            service_generations: job.service_generations.clone(),
            operation: job.operation.as_ref().map(StoredOperation::from),
        }
    }
}

/// A job's head, but for the id, which the key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHead {
    name: Name,
    tenant: TenantPath,
    /// Absent: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<ClusterId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_after_ms: Option<u64>,
    on_partition: WireOnPartition,
    #[serde(default, skip_serializing_if = "is_default")]
    reconcile: WireReconcile,
    created_at: Wall,
}

impl From<&JobHead> for StoredHead {
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
            reconcile: head.reconcile.into(),
            created_at: head.created_at,
        }
    }
}

impl StoredHead {
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
            reconcile: self.reconcile.into(),
            created_at: self.created_at,
        }
    }
}

/// A desired instance, but for its slot, which the key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDesired {
    pub(super) instance: InstanceId,
    pub(super) generation: Generation,
    pub(super) job: StoredHead,
    pub(super) service: WireServiceSpec,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) handover: WireHandover,
}

impl From<&Desired> for StoredDesired {
    fn from(desired: &Desired) -> Self {
        Self {
            instance: desired.instance,
            generation: desired.generation,
            job: StoredHead::from(desired.job.as_ref()),
            service: WireServiceSpec::from(desired.service.as_ref()),
            handover: WireHandover::from(&desired.handover),
        }
    }
}
