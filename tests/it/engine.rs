//! What a container engine that fails does to the worker that uses it, and to nobody else.
//!
//! Rows 20 and 21 of the table of faults. The engine is the fake one, at a tenth of the true times; what the real one can
//! show without being stopped is asked of the real one.

mod alike;
mod pulls;
mod restarts;
mod rig;
mod silence;
