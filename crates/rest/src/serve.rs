//! Serving a router over HTTP/1.1, with TLS or without, at one port.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use identity::Holder;
use identity::door::{Door, Guest, Refused};
use identity::gate::{Peer, Standing};
use model::time::Wall;
use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
    set_tcp_user_timeout,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::guard::From;
use crate::patience::Patient;

/// Silence after which the client's system is asked whether it is still there.
const SILENT: Duration = Duration::from_secs(30);
/// Between two such questions.
const BETWEEN_PROBES: Duration = Duration::from_secs(10);
/// Questions without an answer that end the connection.
const PROBES: u32 = 3;

/// What plain text from another machine is answered.
const USE_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\
    \"detail\":\"other machines reach this server by https only\"}\n";

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a TLS handshake, for the header of a request, and between two requests of a connection.
    pub header: Duration,
    /// Bytes of a request's header, and of the read buffer; 8 KiB at least.
    pub header_bytes: usize,
    /// Open connections; more of them wait in the system's queue.
    pub connections: usize,
    /// How long a client may take, or its system may acknowledge, nothing of what is sent to it.
    pub stuck: Duration,
    /// From the shutdown to the end of the last request.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            connections: 20_000,
            stuck: Duration::from_mins(1),
            drain: Duration::from_secs(3),
        }
    }
}

/// Serves until the token is cancelled, with the default limits: then requests under way are finished.
///
/// Handlers find who proved to be somebody as an `Extension<Shown>`, and where a request comes from as a [`From`].
///
/// # Errors
/// Never in fact: a failed accept is logged and tried again.
pub async fn serve(
    (listener, door): (TcpListener, Door),
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve_with((listener, door), router, shutdown, Limits::default()).await
}

/// As [`serve`], with other limits.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    (listener, door): (TcpListener, Door),
    router: Router,
    shutdown: CancellationToken,
    limits: Limits,
) -> io::Result<()> {
    let connections = TaskTracker::new();
    let seats = Arc::new(Semaphore::new(limits.connections));
    while let Some((stream, from, seat)) = accept(&listener, &seats, &shutdown).await {
        let connection = Connection {
            door: door.clone(),
            from,
            router: router.clone(),
            shutdown: shutdown.clone(),
            limits,
            _seat: seat,
        };
        connections.spawn(connection.run(stream));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "connections were still open at the end of the grace period"
        );
    }
    Ok(())
}

/// The next connection; `None` at the shutdown.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let seat = Arc::clone(seats).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, from)) => return Some((stream, from, seat)),
                Err(error) => {
                    // Out of descriptors, or a peer that is gone again: both pass.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        // Cancel-safe: only `accept` and a permit are pending.
        accepted = accepted => accepted,
    }
}

/// Ends the connection when the client's system no longer answers: who follows events sends nothing, so nothing else
/// says that it vanished, and its seat would not be free again. A silent connection is probed; probes are not sent
/// where heartbeats wait for their acknowledgement, so those get a limit, which the system sets to a quarter of an hour.
fn keep_alive(stream: &TcpStream, stuck: Duration) -> io::Result<()> {
    set_tcp_keepidle(stream, SILENT)?;
    set_tcp_keepintvl(stream, BETWEEN_PROBES)?;
    set_tcp_keepcnt(stream, PROBES)?;
    set_socket_keepalive(stream, true)?;
    set_tcp_user_timeout(stream, u32::try_from(stuck.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// In a request that a root passes on to another one: the address that it came from.
pub const PASSED_ON_FROM: &str = "edgeio-passed-on-from";
/// In such a request: the certificate that was shown with it, as [`Peer`] is written; left out where there was none.
pub const PASSED_ON_CERTIFICATE: &str = "edgeio-passed-on-certificate";

/// By what a client proved who it is, if it did.
pub type Shown = Option<Arc<Peer>>;

/// The router, as one client reaches it: each request says whose it is. As a layer of the router this would be a router of
/// its own for each connection.
#[derive(Clone)]
struct Known {
    router: Router,
    peer: Shown,
    from: SocketAddr,
}

impl Service<Request<Incoming>> for Known {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let (peer, from) = self.speaks_for(&request);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(From(from));
        self.router.call(request)
    }
}

impl Known {
    /// Whom a request is of: of whoever opened the connection, or, where that is another root that passes on what came to
    /// it, of whom that says.
    fn speaks_for(&self, request: &Request<Incoming>) -> (Shown, SocketAddr) {
        let is_root = |peer: &Arc<Peer>| {
            let valid = peer.standing(Wall(daemon::clock::wall_millis())) == Standing::Valid;
            peer.holder == Holder::Root && valid
        };
        if !self.peer.as_ref().is_some_and(is_root) {
            return (self.peer.clone(), self.from);
        }
        let said = |name: &str| request.headers().get(name)?.to_str().ok();
        let peer = said(PASSED_ON_CERTIFICATE).and_then(Peer::told);
        let from = said(PASSED_ON_FROM).and_then(|from| from.parse().ok());
        (peer.map(Arc::new), from.unwrap_or(self.from))
    }
}

struct Connection {
    door: Door,
    from: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    limits: Limits,
    _seat: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Small answers must not wait for the acknowledgement of the ones before; it works without, too.
        let _ = stream.set_nodelay(true);
        if let Err(error) = keep_alive(&stream, self.limits.stuck) {
            tracing::debug!(%error, "a connection is kept open without looking whether its client is there");
        }
        let Some(Guest { stream, peer }) = self.enter(stream).await else {
            return;
        };
        let guest = Known {
            router: self.router.clone(),
            peer: peer.map(Arc::new),
            from: self.from,
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header)
            .max_buf_size(self.limits.header_bytes.max(8_192))
            .serve_connection(
                TokioIo::new(Patient::new(stream, self.limits.stuck)),
                TowerToHyperService::new(guest),
            )
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(self.limits.drain, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    /// Waits for the first byte and the handshake; `None` where there is nobody to serve.
    async fn enter(&self, stream: TcpStream) -> Option<Guest> {
        let entering = tokio::time::timeout(self.limits.header, self.door.enter(stream, self.from));
        let entered = tokio::select! {
            () = self.shutdown.cancelled() => return None,
            entered = entering => entered,
        };
        match entered {
            Ok(Ok(guest)) => return Some(guest),
            Ok(Err(Refused::Plain(mut stream))) => {
                tracing::debug!(from = %self.from, "a request in plain text came from another machine");
                let told = stream.write_all(USE_TLS.as_bytes());
                let _ = tokio::time::timeout(self.limits.drain, told).await;
            }
            Ok(Err(refused)) => {
                tracing::debug!(from = %self.from, %refused, "a connection was not opened");
            }
            Err(_) => tracing::debug!(from = %self.from, "a connection said nothing"),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{
        socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl, tcp_user_timeout,
    };

    use super::*;

    #[tokio::test]
    async fn a_client_that_vanished_is_noticed_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (stream, _)) = (client.unwrap(), accepted.unwrap());
        keep_alive(&stream, Duration::from_mins(1)).unwrap();
        assert!(socket_keepalive(&stream).unwrap());
        let probes = tcp_keepcnt(&stream).unwrap();
        let longest = tcp_keepidle(&stream).unwrap() + tcp_keepintvl(&stream).unwrap() * probes;
        assert_eq!(longest, Duration::from_mins(1));
        assert_eq!(tcp_user_timeout(&stream), Ok(60_000));
    }
}
