//! Whole-system tests: the real programs, as processes, and what the kernel and the container engine say of them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics is a test that fails, and one that measures says what"
)]

mod abuse;
mod architecture;
mod bad_input;
mod broker;
mod brought;
mod burst;
mod compose;
mod crash_points;
mod crashes;
mod denials;
mod deploy;
mod docker;
mod documents;
mod encrypted;
mod engine;
mod fallback;
mod health;
mod joining;
mod leaving;
mod logs;
mod migration;
mod mongodb;
mod monitoring;
mod nat;
mod offline;
mod one_shot;
mod outages;
mod quarantine;
mod regressions;
mod remote_scheduler;
mod rounds;
mod rush;
mod scaling;
mod scheduler;
mod secrets;
mod standby;
mod stores;
mod straight;
mod supply;
mod sweep;
mod told;
mod traces;
mod traffic;
mod update;
mod worker_loss;
