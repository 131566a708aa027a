//! The worker of an edgeIO system: it runs what its cluster places on it.

pub mod facts;
pub mod runtime;
pub mod shim;
