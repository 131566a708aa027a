//! Whole-system tests: the simulation of all three cores, and the harness that runs real programs.

pub mod simulation;
