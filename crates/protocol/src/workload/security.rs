//! Wire and disk shape of what a container asks for.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use model::security::{Capability, Security, User};
use serde::{Deserialize, Serialize};

use super::is_default;

/// What a container asks for; the order of the fields is hashed, as that of a workload.
///
/// A word for a capability that no document can ask for makes the workload unreadable, as an unknown field does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSecurity {
    /// Beside none at all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Capability>,
    /// Processes and threads; 256 where left out.
    #[serde(default = "pids", skip_serializing_if = "is_pids")]
    pub pids: u32,
    /// Its number, 0 for root; left out where the image or the worker says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The root file system is not read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub writable: bool,
}

impl Default for WireSecurity {
    fn default() -> Self {
        Self::from(&Security::default())
    }
}

impl From<&Security> for WireSecurity {
    fn from(security: &Security) -> Self {
        let number = |user| match user {
            User::Root => 0,
            User::Id(id) => NonZeroU32::get(id),
        };
        Self {
            capabilities: security.capabilities.clone(),
            pids: security.pids,
            user: security.user.map(number),
            writable: !security.read_only,
        }
    }
}

impl From<WireSecurity> for Security {
    fn from(wire: WireSecurity) -> Self {
        let user = |number| NonZeroU32::new(number).map_or(User::Root, User::Id);
        Self {
            read_only: !wire.writable,
            user: wire.user.map(user),
            capabilities: wire.capabilities,
            pids: wire.pids,
        }
    }
}

const fn pids() -> u32 {
    Security::PIDS
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_pids(pids: &u32) -> bool {
    *pids == Security::PIDS
}
