//! Real programs as processes of this machine, for whole-system tests.
//!
//! A [`System`] owns a temporary directory and what it started: one root, clusters, workers. Each has its data directory
//! and its log there; each can be killed and started again with the same addresses and data. When the system is dropped
//! everything ends, applications too; when a test panicked the ends of the logs are printed first.
//!
//! Whoever uses this is a test, so what should not happen panics.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "it is called by tests alone, and a test that panics is a test that fails"
)]

mod balancer;
mod command;
mod engine;
mod http;
#[path = "../support/mongod.rs"]
mod mongod;
mod namespace;
mod processes;
mod program;
mod programs;
#[path = "../support/redis.rs"]
mod redis;
mod sampler;
mod system;
mod turn;
mod wait;

pub use balancer::Balancer;
pub use command::{Done, edgeio};
pub use engine::{Container, Engine, Image, Replica};
pub use http::{Answer, Client};
pub use mongod::Mongod;
pub use namespace::inside;
pub use processes::{Copy, copies, copies_at_once, copies_in, end_all_in, listening};
pub use program::{Program, TOKEN, token_file};
#[cfg(feature = "general-broker")]
pub use programs::with_general_broker;
pub use programs::{crash_points, directory as programs};
pub use redis::Redis;
pub use sampler::{Sampler, Sampling};
pub use system::{Settings, System, Worker};
pub use turn::{Turn, alone, together};
pub use wait::{pause, wait_until};

/// Whether tests that need `what` (`docker`, `netns`, …) must run: `EDGEIO_REQUIRE` names it.
///
/// Where it does not, this says so, and the test returns at once.
pub fn required(what: &str) -> bool {
    let named = std::env::var("EDGEIO_REQUIRE").unwrap_or_default();
    let is = named.split(',').any(|name| name.trim() == what);
    if !is {
        eprintln!("ignored: set EDGEIO_REQUIRE={what}");
    }
    is
}
