//! What the `main` of every program shares: configuration, logging, shutdown, supervised tasks, listening, dialling.
//!
//! A `main` reads: [`config::load`], [`telemetry::init`], [`shutdown::on_signals`], [`listen::bind`],
//! [`Tasks::spawn`] for each long-running part, [`ready_line`] with [`notify::Notifier::ready`], and at last [`Tasks::finish`]. Only here and in `main`
//! is the process itself touched (arguments, environment, signals, standard streams); everything below gets values.

pub mod clock;
pub mod config;
pub mod crash;
pub mod dial;
pub mod exit;
pub mod listen;
pub mod memory;
pub mod network;
pub mod notify;
mod random;
mod ready;
pub mod shutdown;
mod tasks;
pub mod telemetry;
pub mod value;

pub use random::random;
pub use ready::ready_line;
pub use tasks::{Ended, Ending, How, Outcome, Tasks};
