//! The endpoint against peers that speak hand-written packets.

mod handshake;
mod liveness;
mod load;
mod topics;
