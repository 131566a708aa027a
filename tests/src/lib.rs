//! Whole-system tests: the simulation of all three cores, and the harness that runs real programs.

pub mod harness;
pub mod lab;
#[expect(
    clippy::indexing_slicing,
    reason = "indices into a world that never shrinks"
)]
pub mod simulation;
