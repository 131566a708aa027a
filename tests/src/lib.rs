//! Whole-system tests: the simulation of all three cores, the harness that runs real programs, the network and the proxy
//! that break their links, a container engine that misbehaves when it is told to, and the history that says what must
//! never happen meanwhile.

pub mod fake_engine;
pub mod harness;
pub mod history;

pub mod lab;
pub mod proxy;
#[expect(
    clippy::indexing_slicing,
    reason = "indices into a world that never shrinks"
)]
pub mod simulation;
