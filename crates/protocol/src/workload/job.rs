//! Wire and disk shapes of jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::job::{
    JobSpec, OnFailure, OnPartition, PlacementRules, Reconcile, ServiceSpec, Strategy, Takeover,
};
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
    /// `keep_original` where left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reconcile: WireReconcile,
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

/// Which copy stays when a lost one returns beside its replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireReconcile {
    /// The one that was lost.
    #[default]
    KeepOriginal,
    /// The one that replaced it.
    KeepReplacement,
    /// The one that does better.
    Best,
}

impl From<Reconcile> for WireReconcile {
    fn from(policy: Reconcile) -> Self {
        match policy {
            Reconcile::KeepOriginal => Self::KeepOriginal,
            Reconcile::KeepReplacement => Self::KeepReplacement,
            Reconcile::Best => Self::Best,
        }
    }
}

impl From<WireReconcile> for Reconcile {
    fn from(wire: WireReconcile) -> Self {
        match wire {
            WireReconcile::KeepOriginal => Self::KeepOriginal,
            WireReconcile::KeepReplacement => Self::KeepReplacement,
            WireReconcile::Best => Self::Best,
        }
    }
}

/// How one copy of a slot takes over from another; what is left out is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WireTakeover {
    /// Milliseconds that the old copy runs on beside a new one that is ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drain_delay_ms: u64,
    /// Copies beyond the replicas at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<u32>,
    /// Replicas that may be missing at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<u32>,
    /// Milliseconds that a new copy without a health check has to run before it counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_ms: Option<u64>,
    /// An update that fails is changed back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollback: bool,
    /// In a migration the old copy stops first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop_first: bool,
}

impl From<&Takeover> for WireTakeover {
    fn from(takeover: &Takeover) -> Self {
        let usual = Takeover::default();
        let unless = |value: u32, usual: u32| (value != usual).then_some(value);
        Self {
            drain_delay_ms: millis(takeover.drain_delay),
            max_surge: unless(takeover.max_surge, usual.max_surge),
            max_unavailable: unless(takeover.max_unavailable, usual.max_unavailable),
            min_ready_ms: (takeover.min_ready != usual.min_ready)
                .then(|| millis(takeover.min_ready)),
            rollback: takeover.on_failure == OnFailure::Rollback,
            stop_first: takeover.migration == Strategy::StopFirst,
        }
    }
}

impl From<WireTakeover> for Takeover {
    fn from(wire: WireTakeover) -> Self {
        let usual = Self::default();
        Self {
            max_surge: wire.max_surge.unwrap_or(usual.max_surge),
            max_unavailable: wire.max_unavailable.unwrap_or(usual.max_unavailable),
            on_failure: if wire.rollback {
                OnFailure::Rollback
            } else {
                OnFailure::Stop
            },
            migration: if wire.stop_first {
                Strategy::StopFirst
            } else {
                Strategy::StartFirst
            },
            drain_delay: Duration::from_millis(wire.drain_delay_ms),
            min_ready: wire
                .min_ready_ms
                .map_or(usual.min_ready, Duration::from_millis),
        }
    }
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
    /// How one copy takes over from another; left out for the usual way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub takeover: WireTakeover,
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
            reconcile: job.reconcile.into(),
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
            reconcile: wire.reconcile.into(),
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
            takeover: WireTakeover::from(&service.takeover),
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
            takeover: wire.takeover.into(),
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
