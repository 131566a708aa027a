//! Slots, generations: who an instance is (protocol, sections 1 and 2).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::name::Name;

/// One replica of one service of a job: (job, service, index), index from 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The job.
    pub job: JobId,
    /// The service's name.
    pub service: Name,
    /// Which replica.
    pub index: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.service, self.index)
    }
}

/// The generation of an instance, compared in this order. Only the job's owner issues `assignment`, only the cluster
/// that holds the assignment issues `placement`. On the wire a pair: `[1, 1]`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(into = "(u64, u64)", from = "(u64, u64)")]
pub struct Generation {
    /// Which cluster; counts in the owner's incarnation.
    pub assignment: u64,
    /// Which worker; counts in the cluster's incarnation.
    pub placement: u64,
}

impl From<(u64, u64)> for Generation {
    fn from((assignment, placement): (u64, u64)) -> Self {
        Self {
            assignment,
            placement,
        }
    }
}

impl From<Generation> for (u64, u64) {
    fn from(generation: Generation) -> Self {
        (generation.assignment, generation.placement)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.assignment, self.placement)
    }
}

/// What an instance is to its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The copy that fills the slot.
    Holder,
    /// The copy that takes over from the holder once it is ready.
    Successor,
    /// A copy on a worker or cluster that cannot be reached.
    Dangling,
    /// A copy that must end.
    Leaving,
}
