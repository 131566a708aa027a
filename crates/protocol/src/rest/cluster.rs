//! Clusters.

use model::id::ClusterId;
use model::location::Location;
use model::time::Wall;
use model::view::ClusterView;
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};

use crate::time::rfc3339_option;

/// A cluster with its aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClusterBody {
    /// Its id.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::ClusterIdText")
    )]
    pub cluster_id: ClusterId,
    /// Its name.
    pub cluster_name: String,
    /// `ACTIVE`, `INACTIVE` or `DEGRADED`.
    pub state: String,
    /// `OPEN`, `CORDONED`, …
    pub scheduling: String,
    /// Where it is.
    pub location: LocationBody,
    /// Workers known.
    pub number_of_nodes: u32,
    /// Workers that take work now.
    #[serde(default)]
    pub schedulable_nodes: u32,
    /// Allocatable cores.
    pub cpu_cores: f64,
    /// Cores that are not reserved.
    pub free_cores: f64,
    /// Allocatable memory, MB of 1,048,576 bytes.
    pub cumulative_memory_in_mb: u64,
    /// Memory that is not reserved.
    pub memory_free_in_mb: u64,
    /// Measured, 0 to 100.
    pub cpu_percent: f64,
    /// Measured, 0 to 100.
    pub memory_percent: f64,
    /// Runtimes present.
    #[serde(default)]
    pub technology: Vec<String>,
    /// Those of them that do not answer on some worker.
    #[serde(default)]
    pub runtimes_degraded: Vec<String>,
    /// Jobs with an instance here.
    pub number_of_jobs: u32,
    /// Which scheduler it runs.
    pub scheduler: String,
    /// Where its own REST interface is reached, as it says; null where it does not say so, or where that leads nowhere.
    #[serde(default)]
    pub http: Option<String>,
    /// When it was last heard.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub last_seen: Option<Wall>,
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LocationBody {
    /// As its operator gave it.
    pub text: String,
    /// Its city.
    #[serde(default)]
    pub city: Option<String>,
    /// Its country.
    #[serde(default)]
    pub country: Option<String>,
    /// Degrees north.
    #[serde(default)]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[serde(default)]
    pub longitude: Option<f64>,
}

impl From<&ClusterView> for ClusterBody {
    fn from(view: &ClusterView) -> Self {
        let aggregate = &view.aggregate;
        let word = |runtime: &RuntimeKind| runtime.as_str().to_owned();
        Self {
            cluster_id: view.id,
            cluster_name: view.name.to_string(),
            state: view.state.as_str().to_owned(),
            scheduling: view.scheduling.as_str().to_owned(),
            location: LocationBody::from(&view.location),
            number_of_nodes: aggregate.number_of_nodes,
            schedulable_nodes: aggregate.schedulable_nodes,
            cpu_cores: aggregate.allocatable.cpu.cores(),
            free_cores: aggregate.room.cpu.cores(),
            cumulative_memory_in_mb: aggregate.allocatable.memory.mb(),
            memory_free_in_mb: aggregate.room.memory.mb(),
            cpu_percent: aggregate.cpu_percent,
            memory_percent: aggregate.memory_percent,
            technology: aggregate.technology.iter().map(word).collect(),
            runtimes_degraded: aggregate.silent.iter().map(word).collect(),
            number_of_jobs: aggregate.number_of_jobs,
            scheduler: view.scheduler.clone(),
            http: view.http.clone(),
            last_seen: view.last_seen,
        }
    }
}

impl From<&Location> for LocationBody {
    fn from(location: &Location) -> Self {
        Self {
            text: location.text.clone(),
            city: location.city.clone(),
            country: location.country.clone(),
            latitude: location.latitude,
            longitude: location.longitude,
        }
    }
}
