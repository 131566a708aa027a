//! The worker of an edgeIO system: it runs what its cluster places on it, with or without a link (architecture, 6 and 10).
//!
//! # Parts
//! - `node-core` decides; [`run`] gives it a shell: `controller` owns its state and commits, `record` is the shape on
//!   the disk, `perform` does what it says to the [`runtime`]s, `link` speaks to the cluster.
//! - [`logs`] answers who wants to read what applications wrote.
//! - [`doctor`] says what keeps a worker from working.
//! - [`facts`] says what this machine is; [`shim`] is the parent of each native application.
//!
//! # Guarantees
//! Nothing is acknowledged or acted on before it is on the disk. A stopping engine leaves applications running, a
//! starting one takes them over. Nothing listens.

pub mod config;
mod controller;
pub mod doctor;
mod engine;
pub mod facts;
mod link;
pub mod logs;
mod perform;
mod record;
pub mod runtime;
pub mod shim;

pub use config::Config;
pub use engine::{EngineError, Ready, run};
