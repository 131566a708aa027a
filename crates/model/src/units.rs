//! Units and amounts of resources.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Thousandths of a CPU core.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millicores(pub u64);

impl Millicores {
    /// From cores, rounded to the nearest thousandth.
    pub fn from_cores(cores: f64) -> Self {
        Self((cores * 1000.0).round().max(0.0) as u64)
    }

    /// As cores.
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// One MB as documents mean it: 1,048,576 bytes.
    pub const MB: u64 = 1_048_576;

    /// From MB of 1,048,576 bytes; saturates.
    pub const fn from_mb(mb: u64) -> Self {
        Self(mb.saturating_mul(Self::MB))
    }

    /// In whole MB, rounded down.
    pub const fn mb(self) -> u64 {
        self.0 / Self::MB
    }
}

/// An amount of what a worker has and an application asks for. Zero means "nothing asked".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// CPU time.
    pub cpu: Millicores,
    /// Main memory.
    pub memory: Bytes,
    /// Disk.
    pub disk: Bytes,
}

impl Resources {
    /// More than any machine has. Room is a sum over machines, so one that says more must not fill 64 bits.
    pub const MACHINE: Self = Self {
        cpu: Millicores(1_000_000_000),
        memory: Bytes(1 << 56),
        disk: Bytes(1 << 56),
    };

    /// Both amounts together; saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu: Millicores(self.cpu.0.saturating_add(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
            disk: Bytes(self.disk.0.saturating_add(other.disk.0)),
        }
    }

    /// What is left of `self`; never below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu: Millicores(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
            disk: Bytes(self.disk.0.saturating_sub(other.disk.0)),
        }
    }

    /// Of each the greater.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
            disk: self.disk.max(other.disk),
        }
    }

    /// Whether `self` fits into `room`, in each dimension.
    pub fn fits(self, room: Self) -> bool {
        self.cpu <= room.cpu && self.memory <= room.memory && self.disk <= room.disk
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores, {} MB memory, {} MB disk",
            self.cpu.cores(),
            self.memory.mb(),
            self.disk.mb()
        )
    }
}
