//! Workers that cannot reach their cluster's broker reach their cluster through here (`--mqtt`).
//!
//! # Flow
//! A worker begins TLS towards its cluster, and the name that it asks for says which that is; or, from this machine or with
//! `--insecure`, it sends its CONNECT in plain text, whose user name says it. If that cluster's uplink is up, a tunnel is begun in
//! it, and the worker's bytes and the cluster's go both ways as they are. The cluster's own MQTT endpoint ends the TLS, judges
//! the login, and is the only one that knows of a session.
//!
//! # Guarantees
//! - The root owns nothing of a worker, and of one that speaks TLS it reads nothing: no login, no message, no session, nothing on its disk. What it has are a few bytes
//!   under way, as many as the tunnel's window allows.
//! - What cannot be passed on now is refused with the code that lets a worker go on trying: the cluster is not connected, is
//!   of a version that relays nothing, or does not answer within [`ANSWER`].
//! - Workers end with the uplink that they go over.

use std::net::SocketAddr;
use std::time::Duration;

use mqtt::endpoint::relay::{Greeting, Refusal, Speaks, greet, refuse};
use orchestrator::tunnels::Tunnel;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::uplink::{Links, NoWay};

/// How long a peer may take to say whom it wants to reach.
const GREETING: Duration = Duration::from_secs(10);
/// How long a cluster may take to answer it; its check for cloned disks alone takes 2 s.
const ANSWER: Duration = Duration::from_secs(5);
/// Open connections of all clusters; further ones wait to be accepted.
const CONNECTIONS: usize = 20_000;
/// After a failed accept, mostly for want of file descriptors, this passes before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Why a connection is not relayed, in metrics.
pub(crate) const REASONS: [&str; 5] = ["version", "plain", "no_route", "unavailable", "silent"];

/// What passes connections on.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    links: Links,
    metrics: Metrics,
    /// Other machines may speak plain text.
    insecure: bool,
}

impl Relay {
    pub(crate) const fn new(links: Links, metrics: Metrics, insecure: bool) -> Self {
        Self {
            links,
            metrics,
            insecure,
        }
    }

    /// Accepts until the token is cancelled, and waits for what was accepted to end.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let mut serving = JoinSet::new();
        loop {
            let has_room = serving.len() < CONNECTIONS;
            // Cancel-safe: a connection is either accepted or stays in the listener's backlog.
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(_) = serving.join_next() => continue,
                accepted = listener.accept(), if has_room => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (relay, shutdown) = (self.clone(), shutdown.clone());
                    serving.spawn(async move {
                        tokio::select! {
                            () = shutdown.cancelled() => {}
                            () = relay.serve(stream, peer) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while serving.join_next().await.is_some() {}
    }

    /// One connection, from its first byte to its last.
    async fn serve(&self, mut stream: TcpStream, peer: SocketAddr) {
        // Commands are small and urgent; without this option an old system delays them by 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "the connection was gone before it was served");
            return;
        }
        let greeting = match greet(&mut stream, GREETING).await {
            Ok(greeting) => greeting,
            Err((refusal, speaks)) => return self.refuse(stream, peer, refusal, speaks).await,
        };
        let Greeting {
            cluster, speaks, ..
        } = greeting;
        if speaks == Speaks::Mqtt && !self.may_be_plain(peer) {
            return self.refuse(stream, peer, Refusal::Plain, speaks).await;
        }
        let tunnel = match self.links.tunnel(cluster) {
            Ok(tunnel) => tunnel,
            Err(reason @ (NoWay::NotConnected | NoWay::Full(_))) => {
                tracing::debug!(%peer, cluster.id = %cluster, %reason, "a worker cannot be relayed");
                return self
                    .refuse(stream, peer, Refusal::Unavailable, speaks)
                    .await;
            }
        };
        match introduce(tunnel, &mut stream, peer, &greeting).await {
            Some(tunnel) => {
                tracing::info!(%peer, cluster.id = %cluster, "a worker is relayed to its cluster");
                self.metrics.relayed.inc();
                let _counted = Counted(&self.metrics);
                let end = tunnel.carry(stream).await;
                tracing::info!(%peer, cluster.id = %cluster, ?end, "a relayed connection ended");
            }
            None => {
                self.refuse(stream, peer, Refusal::Unavailable, speaks)
                    .await;
            }
        }
    }

    fn may_be_plain(&self, peer: SocketAddr) -> bool {
        self.insecure || peer.ip().to_canonical().is_loopback()
    }

    async fn refuse(&self, stream: TcpStream, peer: SocketAddr, refusal: Refusal, speaks: Speaks) {
        let [version, plain, no_route, unavailable, silent] = REASONS;
        let reason = match refusal {
            Refusal::Version => version,
            Refusal::Plain => plain,
            Refusal::NoRoute => no_route,
            Refusal::Unavailable => unavailable,
            Refusal::Silent => silent,
        };
        tracing::debug!(%peer, %refusal, "a connection was not relayed");
        self.metrics.not_relayed.with_label_values(&[reason]).inc();
        refuse(stream, refusal, speaks).await;
    }
}

/// One fewer when it is dropped.
struct Counted<'m>(&'m Metrics);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.relayed.dec();
    }
}

/// Passes on what the worker said, and the first of the cluster's answer back; `None`: no answer came.
async fn introduce(
    mut tunnel: Tunnel,
    stream: &mut TcpStream,
    peer: SocketAddr,
    greeting: &Greeting,
) -> Option<Tunnel> {
    let answered = async {
        tunnel.introduce(peer, &greeting.bytes).await.ok()?;
        tunnel.next().await
    };
    let Ok(Some(answer)) = tokio::time::timeout(ANSWER, answered).await else {
        tunnel.close().await;
        return None;
    };
    // A peer that is gone shows when its connection is carried.
    let _ = stream.write_all(&answer).await;
    tunnel.passed_on(answer.len()).await.ok()?;
    Some(tunnel)
}
