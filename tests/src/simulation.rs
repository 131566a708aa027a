//! All three cores in one process, under a seeded network and seeded faults.
//!
//! The network drops, doubles, delays and reorders; programs crash (also between a commit and its actions) and restart;
//! machines reboot; links are cut; stores are emptied or restored from an older copy. After every step the rules of
//! the protocol are checked ([`checks`]); after the faults stop, desired must become observed within a bound.
//!
//! A seed is the whole input: the same seed gives the same run.

mod checks;
mod rng;
mod runtime;
mod users;
mod world;

pub use checks::Violation;
pub use rng::Rng;
pub use world::{Outcome, Sabotage, World};

/// Runs one seed.
///
/// # Errors
/// The first rule that was broken, with the trace of what led to it.
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Result<Outcome, Box<Violation>> {
    World::new(seed, sabotage).run()
}
