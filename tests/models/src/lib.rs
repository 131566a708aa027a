//! Small models of the protocol, searched in every order of events by stateright.
//!
//! The simulation (`tests/src/simulation`) drives large worlds along random ways; these drive small ones along all ways, up
//! to a bound, and call the same functions: [`hop`] is `sync::Parent` and `sync::Child` alone, [`cluster`] is the `turn` of
//! `cluster-core` and of `node-core`. After each step the rules of the protocol are held against the world, and it is
//! asked whether all would agree if the faults stopped there ("soon": within a fixed number of exchanges or
//! keep-alives). That question is put to each state by itself, since stateright's `eventually` overlooks circles and
//! ways that meet.
//!
//! # Bounds
//! A [`check::Scene`] says how often each fault may happen in one history, and its test how many steps a history has at
//! most. Within both, everything is looked at, and each search prints how many states that were. All of them together
//! take some 35 seconds of one core; two share them. To go further, one test at a time:
//!
//! ```text
//! EDGEIO_DEPTH=10 cargo test -p edgeio-models -- --nocapture no_crash_of_either_side
//! ```
//!
//! Then each state is asked whether all agree, also in [`cluster`], where otherwise one in eight is. A step more makes most
//! searches two to five times as large. A core does some 12,000 states of a hop in a second, or 2,500 of a cluster; each
//! needs 2 KB of memory, or 17 KB.
//!
//! # When a rule is broken
//! The test prints the fewest steps that break it. They become a test of their own beside the code that is mended:
//! `crates/sync/tests/it/regressions.rs`, or the tests of the core.

pub mod check;
pub mod cluster;
pub mod hop;
