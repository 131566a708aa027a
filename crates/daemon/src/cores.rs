//! Cores: what a program leaves of its memory when it crashes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// From now on this process leaves none: its memory may hold keys, and what applications may know alone. Whoever hunts a
/// crash has its message in the log.
pub fn leave_none() {
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    // A limit that is lowered can always be set.
    let _ = setrlimit(Resource::Core, limit);
}
