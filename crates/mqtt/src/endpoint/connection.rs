//! Accepting connections, and the life of one from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::door::{Guest, Refused};
use identity::gate::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;

use super::handshake::{self, Admission};
use super::session::Session;
use super::wire::Wire;
use super::{Inbound, Reason, Shared, Way};

/// A refused peer has this long to read its CONNACK and to close.
const GOODBYE: Duration = Duration::from_secs(1);

/// After a failed accept, mostly for want of file descriptors, this passes before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a peer came here.
pub(super) struct Arrival {
    /// From where.
    pub(super) peer: SocketAddr,
    /// By what.
    pub(super) way: Way,
    /// By what it proved who it is.
    pub(super) certificate: Option<Peer>,
    /// When its CONNACK is due.
    pub(super) until: Instant,
}

/// Accepts connections until the shutdown.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    witness: watch::Receiver<()>,
) {
    // Counts the open connections without a lock or a counter to keep right: each holds a clone.
    let open = Arc::new(());
    loop {
        let accepted = tokio::select! {
            // Cancel-safe: a connection is either accepted or stays in the listener's backlog.
            () = shared.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if Arc::strong_count(&open) <= shared.options.max_connections => {
                let shared = Arc::clone(&shared);
                let held = (witness.clone(), Arc::clone(&open));
                tokio::spawn(async move {
                    tcp(stream, peer, shared).await;
                    drop(held);
                });
            }
            Ok((_, peer)) => tracing::warn!(%peer, "too many connections; one was closed at once"),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn tcp(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // Commands are small and urgent; without this option an old system delays them by 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection was gone before it was served");
        return;
    }
    let way = |is_tls| if is_tls { Way::Tls } else { Way::Plain };
    let entering = shared.door.enter(stream, peer);
    come_in(entering, way, peer, &shared).await;
}

/// A connection that somebody else accepted.
pub(super) async fn attached<S>(stream: S, peer: SocketAddr, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let way = |tls| Way::Attached { tls };
    let entering = shared.door.enter_attached(stream);
    come_in(entering, way, peer, &shared).await;
}

async fn come_in<S>(
    entering: impl Future<Output = Result<Guest<S>, Refused>>,
    way: impl FnOnce(bool) -> Way,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let until = Instant::now() + shared.options.connect_within;
    let entered = tokio::select! {
        // Nobody was told about this peer yet, so it may be dropped at any point.
        () = shared.shutdown.cancelled() => return,
        entered = timeout_at(until, entering) => entered,
    };
    match entered {
        Ok(Ok(Guest {
            stream,
            peer: certificate,
        })) => {
            let arrival = Arrival {
                peer,
                way: way(matches!(stream, Either::Right(_))),
                certificate,
                until,
            };
            serve(stream, arrival, Arc::clone(shared)).await;
        }
        Ok(Err(refused @ (Refused::Plain(_) | Refused::NoTls))) => {
            tracing::info!(%peer, %refused, "an MQTT connection was refused");
        }
        Ok(Err(Refused::Io(error))) => {
            tracing::debug!(%peer, %error, "an MQTT connection was not opened");
        }
        Err(_) => tracing::debug!(%peer, "an MQTT connection was not opened in time"),
    }
}

/// Serves one connection on any stream.
async fn serve<S>(stream: S, arrival: Arrival, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream, handshake::CONNECT_LIMIT);
    let admission = tokio::select! {
        // Nothing was told about this peer yet, so it may be dropped at any point.
        () = shared.shutdown.cancelled() => return,
        admission = handshake::admit(&mut wire, arrival, &shared) => admission,
    };
    match admission {
        Admission::Granted(ticket) => {
            let will = ticket.will.clone();
            let mut session = Session::new(wire, *ticket, Arc::clone(&shared));
            let reason = session.converse().await;
            let seat = session.hang_up();
            tracing::debug!(role = ?seat.role, session = seat.session, %reason, "session ended");
            if let Some(will) = will
                && !matches!(reason, Reason::Disconnected | Reason::Shutdown)
            {
                shared.registry.show(&will.name, &will.payload);
                shared.tell(will.into_inbound(seat.session)).await;
            }
            if let super::registry::Role::Worker(node) = seat.role {
                shared
                    .tell(Inbound::Closed {
                        node,
                        session: seat.session,
                        reason,
                    })
                    .await;
            }
            // Only now may the next session of this node begin.
            drop(seat);
        }
        Admission::Refused => {
            let _ = tokio::time::timeout(GOODBYE, wire.say_goodbye()).await;
        }
        Admission::Gone => {}
    }
}

impl Shared {
    /// Tells the owner of the endpoint, who may take a while, but only a second once the endpoint shuts down.
    async fn tell(&self, inbound: Inbound) {
        let abandoned = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(GOODBYE).await;
        };
        tokio::select! {
            biased;
            // An owner that is gone wants to hear nothing.
            _ = self.inbound.send(inbound) => {}
            () = abandoned => tracing::warn!("the end of a session was not heard before the shutdown"),
        }
    }
}
