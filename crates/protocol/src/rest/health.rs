//! Liveness and readiness.

use serde::{Deserialize, Serialize};

/// The answer of `/healthz` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct HealthBody {
    /// `ok`, `ready` or `not ready`.
    pub status: String,
    /// What is missing.
    #[serde(default)]
    pub missing: Vec<String>,
}
