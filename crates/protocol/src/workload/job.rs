//! Wire and disk shapes of jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::job::{JobSpec, OnPartition, PlacementRules, ServiceSpec};
use model::name::Name;
use model::workload::Workload;
use serde::{Deserialize, Serialize};

use super::{WireWorkload, WorkloadError, is_default, millis};

/// A job's document as messages and stores hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireJobSpec {
    /// Milliseconds; left out for the cluster's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_after_ms: Option<u64>,
    /// Its name.
    pub name: Name,
    /// `stay` where left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_partition: WireOnPartition,
    /// One at least.
    pub services: Vec<WireServiceSpec>,
}

/// What happens on the loss of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireOnPartition {
    /// The instances stay.
    #[default]
    Stay,
    /// They are placed in another cluster.
    Move,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireServiceSpec {
    /// Its name.
    pub name: Name,
    /// Where it may run; left out for anywhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: WirePlacement,
    /// How many slots.
    pub replicas: u32,
    /// What runs.
    pub workload: WireWorkload,
}

/// Where a service may run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WirePlacement {
    /// Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// A cluster's name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// That the worker must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `cluster_location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// A worker's name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

impl From<&JobSpec> for WireJobSpec {
    fn from(job: &JobSpec) -> Self {
        Self {
            lost_after_ms: job.lost_after.map(millis),
            name: job.name.clone(),
            on_partition: match job.on_partition {
                OnPartition::Stay => WireOnPartition::Stay,
                OnPartition::Move => WireOnPartition::Move,
            },
            services: job
                .services
                .iter()
                .map(|service| WireServiceSpec::from(service.as_ref()))
                .collect(),
        }
    }
}

impl TryFrom<WireJobSpec> for JobSpec {
    type Error = WorkloadError;

    fn try_from(wire: WireJobSpec) -> Result<Self, WorkloadError> {
        if wire.services.is_empty() {
            return Err(WorkloadError::NoService { name: wire.name });
        }
        Ok(Self {
            name: wire.name,
            lost_after: wire.lost_after_ms.map(Duration::from_millis),
            on_partition: match wire.on_partition {
                WireOnPartition::Stay => OnPartition::Stay,
                WireOnPartition::Move => OnPartition::Move,
            },
            services: wire
                .services
                .into_iter()
                .map(|service| ServiceSpec::try_from(service).map(Arc::new))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&ServiceSpec> for WireServiceSpec {
    fn from(service: &ServiceSpec) -> Self {
        Self {
            name: service.name.clone(),
            placement: WirePlacement::from(&service.placement),
            replicas: service.replicas,
            workload: WireWorkload::from(service.workload.as_ref()),
        }
    }
}

impl TryFrom<WireServiceSpec> for ServiceSpec {
    type Error = WorkloadError;

    fn try_from(wire: WireServiceSpec) -> Result<Self, WorkloadError> {
        Ok(Self {
            name: wire.name,
            workload: Arc::new(Workload::try_from(wire.workload)?),
            placement: wire.placement.into(),
            replicas: wire.replicas,
        })
    }
}

impl From<&PlacementRules> for WirePlacement {
    fn from(rules: &PlacementRules) -> Self {
        let PlacementRules {
            cluster,
            location,
            worker,
            labels,
            architectures,
        } = rules.clone();
        Self {
            architectures,
            cluster,
            labels,
            location,
            worker,
        }
    }
}

impl From<WirePlacement> for PlacementRules {
    fn from(wire: WirePlacement) -> Self {
        let WirePlacement {
            architectures,
            cluster,
            labels,
            location,
            worker,
        } = wire;
        Self {
            cluster,
            location,
            worker,
            labels,
            architectures,
        }
    }
}
