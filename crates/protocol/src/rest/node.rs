//! Workers.

use std::collections::{BTreeMap, BTreeSet};

use model::id::NodeId;
use model::time::Wall;
use model::view::NodeView;
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};

use crate::time::rfc3339_option;

/// A worker. Free amounts are allocatable minus reserved; percentages are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NodeBody {
    /// Its id.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::NodeIdText")
    )]
    pub node_id: NodeId,
    /// Its name.
    pub name: String,
    /// `ALIVE`, `SUSPECT`, `LOST` or `RECONNECTING`.
    pub state: String,
    /// `OPEN`, `CORDONED`, `DRAINING` or `QUARANTINED`.
    pub scheduling: String,
    /// As in `uname -m`.
    pub architecture: String,
    /// Allocatable cores.
    pub cpu_cores: f64,
    /// Cores that are not reserved.
    pub free_cores: f64,
    /// Allocatable memory, MB of 1,048,576 bytes.
    pub memory_in_mb: u64,
    /// Memory that is not reserved.
    pub memory_free_in_mb: u64,
    /// 0 to 100; null before the first measurement.
    #[serde(default)]
    pub cpu_percent: Option<f64>,
    /// 0 to 100; null before the first measurement.
    #[serde(default)]
    pub memory_percent: Option<f64>,
    /// What it can run.
    #[serde(default)]
    pub runtimes: Vec<String>,
    /// Those of them that do not answer: they get no new work, and what they run is shown as it was last known.
    #[serde(default)]
    pub runtimes_degraded: Vec<String>,
    /// Labels in force.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// GPU and the like, free words.
    #[serde(default)]
    pub accelerators: Vec<String>,
    /// How many instances it is to run.
    pub instances: u32,
    /// When it was last heard.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub last_seen: Option<Wall>,
    /// When two machines used its identity last, since its cluster started; left out where that was not seen.
    #[serde(
        default,
        with = "rfc3339_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub cloned_at: Option<Wall>,
}

impl From<&NodeView> for NodeBody {
    fn from(view: &NodeView) -> Self {
        let allocatable = view.facts.allocatable;
        let words = |kinds: &BTreeSet<RuntimeKind>| -> Vec<String> {
            kinds.iter().map(ToString::to_string).collect()
        };
        Self {
            node_id: view.id,
            name: view.facts.name.to_string(),
            state: view.liveness.as_str().to_owned(),
            scheduling: view.scheduling.as_str().to_owned(),
            architecture: view.facts.architecture.clone(),
            cpu_cores: allocatable.cpu.cores(),
            free_cores: view.room.cpu.cores(),
            memory_in_mb: allocatable.memory.mb(),
            memory_free_in_mb: view.room.memory.mb(),
            cpu_percent: view.usage.map(|usage| usage.cpu_percent),
            memory_percent: view.usage.map(|usage| usage.memory_percent),
            runtimes: words(&view.facts.runtimes),
            runtimes_degraded: words(&view.silent),
            labels: view.labels.clone(),
            accelerators: view.facts.accelerators.clone(),
            instances: view.instances,
            last_seen: view.last_seen,
            cloned_at: view.cloned_at,
        }
    }
}
