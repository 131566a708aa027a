//! Where a container engine listens, how long it is waited for, and as whom it runs what says nothing.

use std::time::Duration;

/// Where the Docker engine listens unless it is told otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// As whom containers run where nobody says it: the user that many images without one of their own have.
pub const DEFAULT_USER: u32 = 65_532;

/// A container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `unix://…`, or the path of its socket.
    pub address: String,
    /// How long it is waited for.
    pub patience: Patience,
    /// As whom containers run whose document and image name nobody but root.
    pub user: u32,
}

impl From<&str> for Host {
    fn from(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            patience: Patience::default(),
            user: DEFAULT_USER,
        }
    }
}

/// How long an engine may take before it counts as one that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For an ordinary call.
    pub call: Duration,
    /// It is asked this often whether it answers, and has this long to.
    pub check: Duration,
    /// While a registry says nothing. A large image on a thin line says something all the time.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(Duration::from_mins(1), Duration::from_secs(15))
    }
}

impl Patience {
    /// A registry may be silent twice as long as the engine may take for a call.
    pub const fn new(call: Duration, check: Duration) -> Self {
        Self {
            call,
            check,
            silence: call.saturating_mul(2),
        }
    }
}
