//! The domain of edgeIO: what every tier talks about.
//!
//! Nothing here does I/O, reads a clock or makes random numbers, and nothing names an async runtime. Aggregates do not
//! derive serde: wire and disk shapes belong to `protocol` and to the `record` modules of the programs. Only ids and
//! units cross those borders as they are.

pub mod access;
pub mod aggregate;
pub mod book;
pub mod brake;
pub mod desired;
pub mod event;
pub mod history;
pub mod id;
pub mod instance;
pub mod job;
pub mod joining;
pub mod location;
pub mod name;
pub mod node;
pub mod operation;
pub mod reason;
pub mod rebuild;
pub mod secret;
pub mod security;
pub mod slot;
pub mod telling;
pub mod time;
pub mod units;
pub mod view;
pub mod workload;
