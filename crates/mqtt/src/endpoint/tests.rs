//! The endpoint against peers that speak hand-written packets.

mod conformance;
mod greedy;
mod handshake;
mod liveness;
mod load;
mod locked;
mod mosquitto;
mod relayed;
mod secured;
mod topics;
