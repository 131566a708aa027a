//! The shell that both orchestrators share: what is around a pure core that decides.
//!
//! # Who does what
//! - [`Core`] is what an orchestrator's decisions are to its shell, [`Jobs`] what of them the jobs API needs.
//! - [`Controller`] owns the state, commits what was decided, and hands what follows to the program's [`Outlets`].
//! - [`Handle`] is how everybody else reaches the state.
//! - [`access`] owns users and members, and is asked before anything is done; [`audited`] writes down what was.
//! - [`keys`] is what an orchestrator proves itself with. [`scheduler`] asks elsewhere where something is to run, also by a [`queue`].
//! - [`record`] keeps what both store, [`http`] serves what both serve, [`streams`] carries answers
//!   in chunks, [`tunnels`] connections of workers through the root, [`Metrics`] counts what both count.
//! - [`traces`] tells a collector of OpenTelemetry how instances came to run.
//! - [`backup`] is what a store is carried away as, and what is made of it again; [`migrate`] carries it to another place.
//! - [`program`] is what is around all of it: options, signals, exit code.
//!
//! A program adds its children: what it hears from them becomes inputs, and actions go out to them.

pub mod access;
pub mod audited;
pub mod backup;
pub mod clock;
pub mod http;
pub mod keys;
pub mod migrate;
pub mod queue;
pub mod record;
pub mod scheduler;
pub mod streams;
pub mod traces;
pub mod tunnels;

/// What is wrong with a run that is superseded, and what to do about it.
pub const SUPERSEDED: &str = "this store is a copy, and what was decided after it was made is known elsewhere, so nothing \
    is changed by this run; if another orchestrator goes on with the original, stop this one for good; if this is the one \
    to go on, stop it, run 'edgeio restore --in-place --data-dir DIR' on its data directory, and start it again";

mod controller;
mod data;
mod error;
mod exchange;
mod feed;
mod healthy;
mod lease;
mod metrics;
mod program;
mod tier;

/// Where this shell can be told to die (`daemon::crash`), in both orchestrators.
pub const CRASH_POINTS: &[&str] = daemon::crashpoints![
    "start.loaded",
    "start.committed",
    "turn.before_commit",
    "turn.after_commit",
    "turn.published",
    "turn.before_answer",
    "turn.after_answer",
    "turn.between_actions",
    "turn.acted",
    "sweep.before_commit",
    "sweep.after_commit",
];

pub use controller::{Controller, Handle, StartError, Unavailable, open};
pub use data::{Opened, StoreAt, StoreKind, Tier, open_store};
pub use error::RunError;
pub use lease::{HeldBy, Lost, Wait, Waiting};
pub use metrics::{Counts, Metrics, Seen, Standing, registered};
pub use program::{Options, program, with_sources};
pub use tier::{Core, Decision, Effect, Jobs, Outlets, Placing};
