//! A cluster's own MQTT 3.1.1 server (OASIS standard), restricted to the topics of [`protocol::topic`].
//!
//! # Flow
//! 1. A peer comes in by the [`Door`], with TLS or without (or is brought, [`Handle::attach`]), and sends CONNECT within [`Options::connect_within`]; the caller's
//!    [`Authenticate`] judges the [`Login`].
//! 2. A worker's session takes the one seat of its node. Whoever sat there is displaced first.
//! 3. The worker subscribes to its own `control` and `request`; what it publishes becomes [`Inbound::Message`]. All else is
//!    refused (`rules`), and what is refused is told to the [`Witness`].
//! 4. [`Handle::publish`] puts a message into the session's bounded queue and answers at once.
//!
//! # Guarantees
//! - Per session, [`Inbound`] tells `Connected`, then messages in the order they were sent, then `Closed`.
//! - Per node, the `Closed` of one session comes before the `Connected` of the next, and the will of a session comes before
//!   its `Closed`. Session numbers only grow. An old will can therefore never overtake a new session.
//! - A PUBACK or PUBREC is sent after the message was accepted by the inbound queue: a full queue slows the workers down.
//! - A certificate that was shown makes nobody but its holder: another client id or user name is refused, whatever the owner
//!   of the endpoint says. So nobody takes the seat of a worker who cannot prove to be it.
//! - A session does not outlive the certificate that it began with: the worker comes again with the next one.
//! - What goes to a worker is seen by nobody else.
//! - No queue, buffer or wait is unbounded. A peer that does not read is dropped after [`Options::write_stall`]; a peer that is
//!   silent for one and a half keep-alives is dropped whatever was sent to it in the meantime. Only if this process itself stood
//!   still do all peers get a second more.
//!
//! # Where the standard leaves a choice, or is not followed
//! - Sessions are clean: `clean session 0` is accepted, session present is always 0, and nothing is retained: a message that
//!   asks for it closes the connection, and a will that does is refused. Messages are not sent again, since a resend would
//!   need a session that outlives its connection, and that somebody else could take over.
//! - QoS 2 from a worker gets the full handshake, with at most [`UNRELEASED_LIMIT`] packets between PUBLISH and PUBREL; one more
//!   closes the connection. What is sent out is QoS 1 to workers, or 0 where 0 was asked for, and QoS 0 to readers.
//! - A publish that is not allowed closes the connection, as 3.1.1 has no other refusal; a filter that is not allowed is
//!   answered by 0x80. MQTT 3.1 and 5 are answered by CONNACK code 1, another protocol name by closing.
//! - What is malformed closes the connection without an answer, as soon as its first bytes show it.
//! - A keep-alive of 0, or a very long one, is replaced by [`Options::silence_limit`].
//! - Wills are published whenever a connection ends without DISCONNECT, a displaced one included, but not when the endpoint
//!   itself shuts down: the workers are well then.
//! - A cloned disk (protocol, section 5): a CONNECT whose user name carries another boot id than that of the seated session is
//!   refused by code 2 if the seated one acknowledges an empty QoS 1 message on its `request` topic within
//!   [`Options::probe_within`]. Engines ignore an empty request.

mod connection;
mod denied;
mod frame;
mod handshake;
mod registry;
pub mod relay;
mod rules;
mod session;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::door::Door;
use identity::gate::Peer;
use model::id::NodeId;
use protocol::topic::Topic;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use denied::{Attempt, Denied, NotAdmitted, TEXT_LIMIT, Who, Witness};
use registry::Registry;
pub use session::{TOLD, UNRELEASED_LIMIT};

/// The limits and times of an endpoint.
#[derive(Debug, Clone)]
pub struct Options {
    /// From accepting a connection to its CONNACK; default 10 s.
    pub connect_within: Duration,
    /// A write that makes no progress for this long ends the session; default 10 s.
    pub write_stall: Duration,
    /// The longest silence, whatever keep-alive was asked for; default 10 min.
    pub silence_limit: Duration,
    /// How long a seated session has to answer when a machine with another boot id wants its seat; default 2 s.
    pub probe_within: Duration,
    /// The largest packet in bytes, without its fixed header; default 256 KiB.
    pub max_packet: u32,
    /// Messages that wait for one session; default 32.
    pub queue: usize,
    /// Messages that may wait for the PUBACK of one session; default 16.
    pub inflight: usize,
    /// Open connections; further ones are closed at once; default 20,000.
    pub max_connections: usize,
    /// Told of everything that is refused; default nobody.
    pub witness: Witness,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(10),
            write_stall: Duration::from_secs(10),
            silence_limit: Duration::from_mins(10),
            probe_within: Duration::from_secs(2),
            max_packet: 256 * 1024,
            queue: 32,
            inflight: 16,
            max_connections: 20_000,
            witness: Witness::default(),
        }
    }
}

/// Who wants to connect, as the CONNECT packet says.
#[derive(Clone)]
pub struct Login {
    /// The client id; a worker's must be its node id.
    pub client_id: String,
    /// The user name; a worker's must be `<node id>` or `<node id>:<boot id>`, and may end with a [`relay`]'s route.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Bytes>,
    /// The address the connection comes from.
    pub peer: SocketAddr,
    /// How it comes.
    pub way: Way,
    /// By what the peer proved who it is, if it did. Whether that has expired is for the owner to look at.
    pub certificate: Option<Peer>,
    /// Whether a clean session was asked for; it is given in any case.
    pub clean_session: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password stays out of every log.
        f.debug_struct("Login")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("peer", &self.peer)
            .field("way", &self.way)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// How a connection came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over TCP in plain text, which the [`Door`] let in.
    Plain,
    /// Over TCP with TLS.
    Tls,
    /// By [`Handle::attach`], in plain text or by TLS: where the peer is, is what whoever attached it says.
    Attached {
        /// By TLS, which ended here.
        tls: bool,
    },
}

/// What the owner of the endpoint says to a [`Login`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This is the worker; it may use its own topics.
    Worker(NodeId),
    /// An operator's tool: it sees the `information` and `connection` of workers and publishes nothing.
    Reader,
    /// Not let in (CONNACK code 5, or 2 where the name is the fault).
    Refused(NotAdmitted),
}

/// Judges a login. It is called on the runtime's threads and must not block.
pub type Authenticate = Arc<dyn Fn(&Login) -> Verdict + Send + Sync>;

/// What a cluster-orchestrator hears from its workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A worker's session began.
    Connected {
        /// The worker.
        node: NodeId,
        /// The number of the session; later sessions have higher ones.
        session: u64,
        /// Where the worker connects from.
        peer: SocketAddr,
    },
    /// A worker published a message, or its will was published.
    Message {
        /// The worker.
        node: NodeId,
        /// The number of the session; over an external broker, of the connection to it.
        session: u64,
        /// One of the worker's upward topics.
        topic: Topic,
        /// The payload as it came; not yet read by anyone.
        payload: Bytes,
    },
    /// A worker's session ended; its will, if due, was told before.
    Closed {
        /// The worker.
        node: NodeId,
        /// The number of the session.
        session: u64,
        /// Why it ended.
        reason: Reason,
    },
    /// The link to an external broker changed. An own endpoint never says this.
    Broker(crate::link::BrokerState),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The peer sent DISCONNECT.
    #[error("the peer disconnected")]
    Disconnected,
    /// The connection ended without DISCONNECT.
    #[error("the connection ended")]
    Lost,
    /// Nothing was received for one and a half keep-alives.
    #[error("the peer was silent for longer than its keep-alive allows")]
    Silent,
    /// The peer did not read what was sent to it.
    #[error("the peer did not read")]
    Stalled,
    /// The peer sent what the standard or the topic rules forbid.
    #[error("the peer broke the protocol: {0}")]
    Violation(&'static str),
    /// Another connection took the seat.
    #[error("a newer connection took over")]
    Displaced,
    /// [`Handle::disconnect`] was called.
    #[error("the session was closed on request")]
    Dropped,
    /// The certificate that the session began with has ended.
    #[error("the peer's certificate expired")]
    Expired,
    /// The endpoint shuts down.
    #[error("the endpoint shut down")]
    Shutdown,
}

/// What became of a message given to [`Handle::publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a message that was not taken must be sent again later"]
pub enum Published {
    /// The message waits in the session's queue or is under way.
    Published,
    /// The worker has no session, or did not subscribe to the topic.
    NoSession,
    /// The session's queue is full.
    Full,
    /// The message is larger than [`Options::max_packet`]; it would never arrive.
    TooLarge,
}

/// How many sessions there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Sessions of workers.
    pub workers: usize,
    /// Sessions of readers.
    pub readers: usize,
}

/// The endpoint, as its owner holds it. Clones speak to the same endpoint.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    /// Its receivers are held by the accept loop and by each connection, so that their ends can be awaited.
    running: Arc<watch::Sender<()>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// What all connections of one endpoint share.
pub(crate) struct Shared {
    door: Door,
    options: Options,
    authenticate: Authenticate,
    inbound: mpsc::Sender<Inbound>,
    registry: Registry,
    shutdown: CancellationToken,
}

/// Serves MQTT on a bound listener until the token is cancelled. Must be called inside a tokio runtime.
///
/// Errors if the listener does not know its own address.
pub fn serve(
    (listener, door): (TcpListener, Door),
    options: Options,
    authenticate: Authenticate,
    inbound: mpsc::Sender<Inbound>,
    shutdown: CancellationToken,
) -> io::Result<Handle> {
    let local_addr = listener.local_addr()?;
    let mut handle = detached(door, options, authenticate, inbound, shutdown);
    handle.local_addr = local_addr;
    let (shared, witness) = (Arc::clone(&handle.shared), handle.running.subscribe());
    tokio::spawn(connection::accept(listener, shared, witness));
    Ok(handle)
}

/// An endpoint that nobody can dial: it serves what is given to [`Handle::attach`], until the token is cancelled.
pub fn detached(
    door: Door,
    options: Options,
    authenticate: Authenticate,
    inbound: mpsc::Sender<Inbound>,
    shutdown: CancellationToken,
) -> Handle {
    let registry = Registry::new(options.queue.max(1));
    let shared = Arc::new(Shared {
        door,
        options,
        authenticate,
        inbound,
        registry,
        shutdown,
    });
    let (running, _) = watch::channel(());
    Handle {
        shared,
        local_addr: SocketAddr::from(([0, 0, 0, 0], 0)),
        running: Arc::new(running),
    }
}

impl Handle {
    /// Sends a message to the worker of the topic, at QoS 1 unless the worker subscribed at QoS 0. Never waits.
    pub fn publish(&self, topic: &Topic, payload: Bytes) -> Published {
        let name = topic.to_string();
        // Two bytes of length and two of packet id stand before the payload.
        if name.len() + payload.len() + 4 > self.shared.options.max_packet as usize {
            return Published::TooLarge;
        }
        self.shared.registry.publish(topic, name, payload)
    }

    /// Ends the session of a worker, if there is one. Its `Closed` tells [`Reason::Dropped`].
    pub fn disconnect(&self, node: NodeId) {
        self.shared.registry.evict_worker(node);
    }

    /// How many sessions there are now.
    pub fn connections(&self) -> Connections {
        self.shared.registry.connections()
    }

    /// Serves one peer on a stream that did not come from the listener, for example a pipe; by TLS, if the peer begins so.
    ///
    /// Returns when the peer is gone and its end was told. Does not count towards [`Options::max_connections`].
    pub async fn attach<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _witness = self.running.subscribe();
        connection::attached(stream, peer, Arc::clone(&self.shared)).await;
    }

    /// The address the endpoint listens on; port 0 if it does not.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Resolves once the endpoint was shut down and every connection has ended.
    pub async fn stopped(&self) {
        self.running.closed().await;
    }
}

#[cfg(test)]
mod tests;
