//! The worker of an edgeIO system: it runs what its cluster places on it, with or without a link (architecture, 6 and 10).
//!
//! # Parts
//! - `node-core` decides; [`run`] gives it a shell: `controller` owns its state and commits, `record` is the shape on
//!   the disk, `perform` does what it says to the [`runtime`]s, `link` speaks to the cluster.
//! - `approach` says which cluster that is, and joins it where a token says so.
//! - [`logs`] answers who wants to read what applications wrote.
//! - [`doctor`] says what keeps a worker from working.
//! - [`policy`] says what the machine's owner lets run.
//! - [`facts`] says what this machine is; [`shim`] is the parent of each native application.
//!
//! # Guarantees
//! Nothing is acknowledged or acted on before it is on the disk. A stopping engine leaves applications running, a
//! starting one takes them over. Nothing listens.

mod approach;
pub mod config;
mod controller;
pub mod doctor;
mod engine;
pub mod facts;
mod link;
pub mod logs;
mod perform;
pub mod policy;
mod record;
pub mod runtime;
mod secrets;
pub mod shim;

/// Where this program can be told to die (`daemon::crash`).
pub const CRASH_POINTS: &[&str] = daemon::crashpoints![
    "node.start.loaded",
    "node.start.committed",
    "node.adopting",
    "node.adopted",
    "node.register.answered",
    "node.register.saved",
    "node.control.unheard",
    "node.control.heard",
    "node.turn.before_commit",
    "node.turn.after_commit",
    "node.turn.between_actions",
    "node.turn.acted",
    "node.part.staged",
    "node.ack.unsent",
    "node.ack.sent",
    "node.report.unsent",
    "node.report.sent",
    "node.events.unsent",
    "node.events.sent",
    "node.exit.heard",
    "node.exit.recorded",
    "node.start.done",
    "node.stop.done",
    "native.start.unmade",
    "native.start.made",
    "native.start.spawned",
    "native.start.running",
    "native.stop.asked",
    "native.stop.ended",
    "native.stop.removed",
    "docker.start.uncreated",
    "docker.start.created",
    "docker.start.started",
    "docker.start.taken",
    "docker.stop.asked",
    "docker.stop.stopped",
    "docker.stop.removed",
];

pub use config::Config;
pub use engine::{EngineError, Ready, run};
