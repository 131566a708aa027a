//! Numbers that nobody counts twice.

use std::hash::{BuildHasher, RandomState};

/// A random number: the standard library seeds its hashers from the system's. For telling starts apart, not for secrets.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
