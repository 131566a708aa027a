//! Answers of the REST API, as every tier gives them and the CLI reads them.
//!
//! Every body writes all its fields, null where there is nothing, so that a client needs no case for absent ones. The
//! readers skip fields that they do not know and keep words (states, codes) as text: an older client reads a newer server.

mod access;
mod brake;
mod cluster;
mod event;
mod explanation;
mod health;
mod job;
mod join_token;
mod joining;
mod node;
mod plan;
mod request;
mod scheduler;
#[cfg(feature = "openapi")]
pub mod schema;
mod secret;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;

use model::reason::Rejections;
use serde::{Deserialize, Serialize};

pub use access::{
    ApproveRequest, InvitationRequest, LoginRequest, NewTokenBody, Password, PasswordError,
    PasswordRequest, PolicyBody, QuotaBody, RoleRequest, ScopeBody, TenantBody, TenantPatch,
    TenantRequest, TokenBody, TokenRequest, UserBody, UserRequest, WhoamiBody,
};
pub use brake::BrakeBody;
pub use cluster::{ClusterBody, LocationBody};
pub use event::EventBody;
pub use explanation::{ClusterPartBody, ExplainedBody, ExplanationBody, RejectionBody};
pub use health::HealthBody;
pub use job::{EndpointBody, ExitBody, InstanceBody, JobBody, OperationBody, ServiceBody};
pub use join_token::{JoinTokenBody, JoinTokenRequest, NewJoinTokenBody};
pub use joining::{JoinRequest, JoinedBody, RenewRequest};
pub use node::NodeBody;
pub use plan::{PlanBody, PlannedBody};
pub use request::{MigrateRequest, NodePatch, RestartRequest, ScaleRequest, Strategy};
pub use scheduler::{PlaceAnswer, PlaceCandidate, PlaceRequest, SchedulerBody, SchedulerStatus};
pub use secret::{SecretBody, SecretRequest};
pub use yaml::to_yaml;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "{T}List"))]
pub struct List<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to send as `?cursor=` for the next page; null on the last one.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A list that is complete.
    pub const fn complete(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

/// Candidates counted by reason; nothing where none was counted.
fn counts(rejections: Option<&Rejections>) -> Option<BTreeMap<String, u32>> {
    rejections
        .filter(|rejections| !rejections.is_empty())
        .map(|rejections| {
            rejections
                .iter()
                .map(|(code, count, _)| (code.as_str().to_owned(), count))
                .collect()
        })
}
