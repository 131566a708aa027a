//! What the values of the root's own records look like.

use model::id::{ClusterId, InstanceId};
use model::location::Location;
use model::name::Name;
use model::node::Scheduling;
use protocol::stored::StoredDesired;
use root_core::{ClusterRecord, Holding, Moving, SlotRecord, Stage};
use serde::{Deserialize, Serialize};
use sync::{Incarnation, Run};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) assignment: u64,
    #[serde(default)]
    pub(super) service_generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) moving: Option<SlotMoving>,
    #[serde(default)]
    pub(super) holdings: Vec<SlotHolding>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SlotHolding {
    pub(super) cluster: ClusterId,
    pub(super) desired: StoredDesired,
    #[serde(default)]
    pub(super) leaving: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) draining: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) by: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SlotMoving {
    number: u64,
    stage: SlotStage,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SlotStage {
    Inside { instance: InstanceId },
    Across { to: ClusterId },
    Away { to: ClusterId },
}

impl From<&Moving> for SlotMoving {
    fn from(moving: &Moving) -> Self {
        Self {
            number: moving.number,
            stage: match moving.stage {
                Stage::Inside { instance } => SlotStage::Inside { instance },
                Stage::Across { to } => SlotStage::Across { to },
                Stage::Away { to } => SlotStage::Away { to },
            },
        }
    }
}

impl From<SlotMoving> for Moving {
    fn from(stored: SlotMoving) -> Self {
        Self {
            number: stored.number,
            stage: match stored.stage {
                SlotStage::Inside { instance } => Stage::Inside { instance },
                SlotStage::Across { to } => Stage::Across { to },
                SlotStage::Away { to } => Stage::Away { to },
            },
        }
    }
}

impl From<&SlotRecord> for Slot {
    fn from(record: &SlotRecord) -> Self {
        Self {
            assignment: record.assignment,
            service_generation: record.service_generation,
            moving: record.moving.as_ref().map(SlotMoving::from),
            holdings: record.holdings.iter().map(SlotHolding::from).collect(),
        }
    }
}

impl From<&Holding> for SlotHolding {
    fn from(holding: &Holding) -> Self {
        Self {
            cluster: holding.cluster,
            desired: StoredDesired::from(&holding.desired),
            leaving: holding.leaving,
            draining: holding.draining,
            by: holding.by.clone(),
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(default)]
    scheduling: Scheduling,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<StoreRun>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    synced: Option<Incarnation>,
}

/// The last run of the cluster's store.
#[derive(Debug, Serialize, Deserialize)]
struct StoreRun {
    incarnation: Incarnation,
    number: u64,
    nonce: u64,
}

impl From<Run> for StoreRun {
    fn from(run: Run) -> Self {
        Self {
            incarnation: run.incarnation,
            number: run.number,
            nonce: run.nonce,
        }
    }
}

impl From<StoreRun> for Run {
    fn from(run: StoreRun) -> Self {
        Self {
            incarnation: run.incarnation,
            number: run.number,
            nonce: run.nonce,
        }
    }
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
            http: record.http.clone(),
            scheduling: record.scheduling,
            run: record.run.map(StoreRun::from),
            synced: record.synced,
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
            http: cluster.http,
            scheduling: cluster.scheduling,
            run: cluster.run.map(Run::from),
            synced: cluster.synced,
        }
    }
}
