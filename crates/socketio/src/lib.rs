//! A Socket.IO 5 / Engine.IO 4 client over the WebSocket transport.
//!
//! Used by whoever opens a link upwards: a cluster to its root, a node-engine to its cluster. [`connect`] gives
//! a cloneable [`Client`] to send with and the one [`Events`] to receive from; one task behind them owns the socket.
//!
//! # Expected flow
//!
//! 1. TCP, WebSocket upgrade, Engine.IO `open`, Socket.IO CONNECT with [`Options::auth`]; [`connect`] returns when the
//!    server has accepted the namespace. The server's pings are answered from the first byte on.
//! 2. [`Client::emit`] and [`Client::emit_with_ack`] upwards, [`Event::Message`] downwards, each direction in order.
//! 3. [`Event::Closed`] ends [`Events`], exactly once and always with a reason.
//!
//! # Guarantees
//!
//! - Every queue is bounded. A full outgoing queue makes `emit` wait; a full incoming queue makes the session stop
//!   reading, so that TCP slows the server down.
//! - Sending goes on while receiving is held up, and the reverse, so that two full directions cannot block each other.
//! - A silent server is noticed after its own `pingInterval + pingTimeout`.
//!
//! # Caveats
//!
//! - No reconnecting: the caller owns back-off and decides what to say again.
//! - A queued message is not a delivered message; what must arrive is sent with [`Client::emit_with_ack`].
//! - Acknowledgements come in on the same socket as events. A consumer that awaits an acknowledgement and does not call
//!   [`Events::next`] meanwhile gets it only while the incoming queue (64 events) has room.
//! - While the consumer holds the session up, pings are not read either, so a server ends a link whose consumer sleeps.
//! - Binary packets are refused: JSON only.
//! - Only `http://` and `ws://` addresses. The session is generic over its byte stream: TLS is one more way to open one.

mod client;
mod connect;
mod packet;
mod session;

#[cfg(test)]
mod tests;

pub use client::{AckError, AckReply, Answer, Client, CloseReason, EmitError, Event, Events};
pub use connect::{ConnectError, Options, connect};
