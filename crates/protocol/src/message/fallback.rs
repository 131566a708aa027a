//! Where a worker reaches its cluster when it cannot reach the cluster's broker: through its root.
//!
//! # Flow
//! The root tells its clusters where its relay is ([`super::uplink::Welcome`]). A cluster tells its workers, in the answer
//! to their registration and, when it learns of it later, as a question on `nodes/{id}/request` that nobody answers. A
//! worker keeps it on its disk.

use model::id::ClusterId;
use serde::{Deserialize, Serialize};

use super::{MessageError, at_most};

/// What a cluster knows of its root's relay. Who knows nothing of it says nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fallback {
    /// `None`: the root relays nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
}

/// A root's relay, as the workers of one cluster use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// The cluster's id at that root, which the worker names there.
    #[serde(rename = "cluster_id")]
    pub cluster: ClusterId,
    /// The relay's host; `None`: the one that the worker uses for its cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The relay's port.
    pub port: u16,
    /// Whether it passes TLS on, and the cluster ends it there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

impl Fallback {
    pub(crate) fn check(&self) -> Result<(), MessageError> {
        let host = self.relay.as_ref().and_then(|relay| relay.host.as_ref());
        at_most(host.map_or(0, String::len), 255, "relay")
    }
}
