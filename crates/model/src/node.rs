//! Workers: what they are, and what is heard of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::units::{Bytes, Millicores, Resources};
use crate::workload::RuntimeKind;

/// What a worker says of itself when it registers.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    /// Its name, unique in its cluster.
    pub name: Name,
    /// Host name.
    pub hostname: String,
    /// Addresses of the machine, without loopback.
    pub addresses: Vec<String>,
    /// CPU architecture, as in `uname -m`.
    pub architecture: String,
    /// What applications may use in all.
    pub allocatable: Resources,
    /// Accelerators (GPU, VPU), free words.
    pub accelerators: Vec<String>,
    /// Sensors, free words.
    pub sensors: Vec<String>,
    /// Runtimes it has.
    pub runtimes: BTreeSet<RuntimeKind>,
    /// Labels that its operator gave.
    pub labels: BTreeMap<String, String>,
    /// Version of its node-engine.
    pub engine_version: String,
}

/// Measured use of a worker; only scores, never admits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// 0 to 100 over all cores.
    pub cpu_percent: f64,
    /// Cores not in use.
    pub free_cores: Millicores,
    /// 0 to 100.
    pub memory_percent: f64,
    /// Memory not in use.
    pub memory_free: Bytes,
    /// Disk not in use.
    pub disk_free: Bytes,
}

/// How sure a parent is that a child lives (protocol, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Heard lately.
    Alive,
    /// Silent for longer than it should be, or its connection closed.
    Suspect,
    /// Silent for `lost_after`: its instances are dangling.
    Lost,
    /// Known from the store or connecting again, but its state was not heard yet.
    Reconnecting,
}

impl Liveness {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "ALIVE",
            Self::Suspect => "SUSPECT",
            Self::Lost => "LOST",
            Self::Reconnecting => "RECONNECTING",
        }
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a worker says of itself when its engine stops in an orderly way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// It is back soon, and what it runs goes on running.
    Restart,
    /// It does not come back: its work is to be placed elsewhere.
    Gone,
}

/// Whether a worker or cluster gets new work.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scheduling {
    /// Yes.
    #[default]
    Open,
    /// No, what it has stays.
    Cordoned,
    /// No, and what it has moves elsewhere.
    Draining,
    /// The same of a worker that is not trusted: what it says is heard as what it says of its own instances, and no more.
    Quarantined,
}

impl Scheduling {
    /// Whether what is there is to be elsewhere.
    pub const fn empties(self) -> bool {
        matches!(self, Self::Draining | Self::Quarantined)
    }

    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Cordoned => "CORDONED",
            Self::Draining => "DRAINING",
            Self::Quarantined => "QUARANTINED",
        }
    }
}
