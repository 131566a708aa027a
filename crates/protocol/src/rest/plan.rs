//! The answer to `?dry_run=true`: where the instances of a document would go now. Nothing of it is stored.

use std::collections::BTreeMap;

use model::id::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

/// What would become of one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PlanBody {
    /// Always true: tells this answer from that of a submission.
    pub dry_run: bool,
    /// The document's name.
    pub job_name: String,
    /// The first [`PlanBody::SHOWN`] of its instances.
    #[serde(default)]
    pub instances: Vec<PlannedBody>,
    /// How many more there are; left out at 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_shown: u32,
}

/// Where one instance would go, or why it would wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PlannedBody {
    /// The service.
    pub service: String,
    /// Which replica, from 0.
    pub index: u32,
    /// The cluster's name; null where there is no place.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The cluster's id.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::ClusterIdText>")
    )]
    pub cluster_id: Option<ClusterId>,
    /// The worker's name; null in a root's answer, since the cluster chooses.
    #[serde(default)]
    pub worker_node: Option<String>,
    /// The worker's id.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::NodeIdText>")
    )]
    pub worker_id: Option<NodeId>,
    /// One sentence for why there is no place.
    #[serde(default)]
    pub reason: Option<String>,
    /// Stable word for it.
    #[serde(default)]
    pub reason_code: Option<String>,
    /// Candidates counted by reason; null where none was rejected.
    #[serde(default)]
    pub rejections: Option<BTreeMap<String, u32>>,
}

impl PlanBody {
    /// Instances shown at most.
    pub const SHOWN: usize = 1_000;
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
