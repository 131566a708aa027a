//! Time as the cores see it: it arrives with each input.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds of the receiver's own steady clock, which also counts suspended time. Never compared across machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `after` later; saturates.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after.as_millis() as u64))
    }

    /// The time since `earlier`; zero when that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock milliseconds since 1970-01-01 UTC: shown to people, never compared.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Wall(pub i64);

impl Wall {
    /// The moment `after` later; saturates.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after.as_millis() as i64))
    }
}

/// The present, as one input carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For leases, deadlines and ages.
    pub steady: Instant,
    /// For what is shown.
    pub wall: Wall,
}
