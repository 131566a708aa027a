//! What is fuzzed: one function of bytes for each border where a stranger's bytes are read.
//!
//! A function returns where the bytes were handled, well or by a refusal, and panics where an invariant is broken. The fuzzer
//! calls them in the package beside this one; an ordinary test replays the corpora that it found.
#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a broken invariant is told to the fuzzer by a panic"
)]

mod audited;
mod door;
mod identity;
mod mqtt_session;
mod names;
mod relay;
mod wire;

pub use audited::audited;
pub use door::door;
pub use identity::identity;
pub use mqtt_session::mqtt_session;
pub use names::names;
pub use relay::relay;
pub use wire::{document, messages, socketio, uplink};

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("mqtt_session", mqtt_session),
    ("document", document),
    ("messages", messages),
    ("uplink", uplink),
    ("socketio", socketio),
    ("names", names),
    ("identity", identity),
    ("door", door),
    ("audited", audited),
    ("relay", relay),
];
