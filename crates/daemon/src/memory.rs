//! What is left of a program's memory: it may hold keys, and what applications alone may know.
//!
//! # Guarantees
//! In every program that links this crate, memory is wiped when it is freed: a value that went through a request, a parser or a
//! buffer is gone with them. After [`leave_none`], a crash leaves no core.

use std::alloc::System;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static WIPED: ZeroAlloc<System> = ZeroAlloc(System);

/// From now on this process leaves no core. Whoever hunts a crash has its message in the log.
pub fn leave_none() {
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    // A limit that is lowered can always be set.
    let _ = setrlimit(Resource::Core, limit);
}
