//! Why a slot is where it is, or is nowhere.

use std::collections::BTreeMap;

use model::id::JobId;
use model::reason::Rejections;
use model::view::Explanation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One slot's explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ExplanationBody {
    /// The service.
    pub service: String,
    /// Which replica, from 0.
    pub index: u32,
    /// State of its copy.
    pub state: String,
    /// The cluster's name.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The worker's name.
    #[serde(default)]
    pub worker_node: Option<String>,
    /// One sentence.
    pub message: String,
    /// Candidates by reason; empty when none was rejected.
    #[serde(default)]
    pub rejections: BTreeMap<String, RejectionBody>,
}

/// The candidates that were rejected for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RejectionBody {
    /// How many.
    pub count: u32,
    /// Up to five of their names.
    #[serde(default)]
    pub examples: Vec<String>,
}

/// A root's explanation of a job: both levels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ExplainedBody {
    /// The job.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::JobIdText"))]
    pub job_id: JobId,
    /// Its name.
    pub job_name: String,
    /// What the root decided.
    pub items: Vec<ExplanationBody>,
    /// What each cluster decided that has a part of it.
    #[serde(default)]
    pub clusters: Vec<ClusterPartBody>,
    /// Always null: it is complete.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A cluster's part of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClusterPartBody {
    /// The cluster's name.
    pub cluster: String,
    /// As the cluster told it; null where it did not answer.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<Vec<ExplanationBody>>"))]
    pub items: Option<Value>,
    /// Why it did not answer.
    #[serde(default)]
    pub problem: Option<String>,
}

impl From<&Explanation> for ExplanationBody {
    fn from(explanation: &Explanation) -> Self {
        Self {
            service: explanation.service.to_string(),
            index: explanation.index,
            state: explanation.state.to_owned(),
            cluster: explanation.cluster.as_ref().map(ToString::to_string),
            worker_node: explanation.worker.as_ref().map(ToString::to_string),
            message: explanation.message.clone(),
            rejections: explanation
                .rejections
                .iter()
                .flat_map(Rejections::iter)
                .map(|(code, count, examples)| {
                    (
                        code.as_str().to_owned(),
                        RejectionBody {
                            count,
                            examples: examples.to_vec(),
                        },
                    )
                })
                .collect(),
        }
    }
}
