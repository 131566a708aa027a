//! The clusters' uplinks: Socket.IO on the HTTP port, namespace `/uplink`.
//!
//! # Flow
//! A cluster connects, registers, and from then on one [`session`] puts what it says into the controller's queue, in the
//! order of arrival, and sends it what the controller decided.
//!
//! # Guarantees
//! - socketioxide spawns the future of each handler, so that events would overtake each other. Handlers here put the
//!   event into the session's queue before they return that future.
//! - Every queue is bounded. A cluster that sends more than is taken, or takes less than is sent, is disconnected; the
//!   sync protocol repairs what is lost.
//! - They are in place before the cluster is told that it is connected, so that its first event is not lost.

mod links;
mod session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use model::id::ClusterId;
use orchestrator::Metrics;
use orchestrator::access::Access;
use orchestrator::streams::Streams;
use orchestrator::tunnels::Tunnels;
use protocol::message::uplink::relay::Frame as Relayed;
use protocol::message::uplink::{
    self, ADOPT, AGGREGATE, EVENTS, LARGEST, NAMESPACE, REGISTER, RELAY, REPLY, REPORT, RelayAt,
    SYNC,
};
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::socket::DisconnectReason;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::tier::Handle;
use session::{Frame, Kind, Session};

pub(crate) use links::{Down, Links, NoWay, Unanswered};

/// Socket.IO's own path.
const PATH: &str = "/socket.io/";
/// How long a peer may take to join the namespace, and then to register.
const CONNECT: Duration = Duration::from_secs(5);
/// Messages of one cluster that wait for the controller; a whole report has at most 256.
const INBOUND: usize = 512;

/// What sessions need.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    /// Whether a cluster is who it says.
    pub(crate) access: Access,
    pub(crate) links: Links,
    /// Who waits for answers in chunks.
    pub(crate) streams: Streams<ClusterId>,
    pub(crate) metrics: Metrics,
    /// What clusters are told.
    pub(crate) report_interval: Duration,
    /// How often their uplinks are pinged; the answer may take half of that.
    pub(crate) ping: Duration,
    /// Where their workers are relayed, if they are.
    pub(crate) relay: Option<RelayAt>,
    /// Ends all sessions.
    pub(crate) shutdown: CancellationToken,
}

/// A page of another origin has no business here.
#[derive(Debug, thiserror::Error)]
#[error("clusters connect from programs, not from web pages")]
struct FromPage;

/// Adds the uplink to a router. The second value closes all its connections.
pub(crate) fn serve(router: Router, desk: Desk) -> (Router, SocketIo) {
    let (service, io) = SocketIo::builder()
        .max_payload(LARGEST as u64)
        .ws_max_message_size(LARGEST)
        .ws_read_buffer_size(16 * 1024)
        .connect_timeout(CONNECT)
        .ping_interval(desk.ping)
        .ping_timeout(desk.ping / 2)
        .build_svc();
    let attach = move |socket: SocketRef| {
        // A web page may open a WebSocket to any address that its browser reaches; browsers name the page.
        let from_page = socket.req_parts().headers.contains_key("origin");
        if !from_page {
            open(&socket, desk);
        }
        async move { if from_page { Err(FromPage) } else { Ok(()) } }
    };
    let connected = async || ();
    io.ns(NAMESPACE, connected.with(attach));
    // As a layer, the service would be made anew for each request, and a polling client's session be lost with it.
    (router.route_service(PATH, service), io)
}

/// Sets the handlers of one socket, and starts its session.
fn open(socket: &SocketRef, desk: Desk) {
    let (frames, inbound) = mpsc::channel(INBOUND);
    let gone = desk.shutdown.child_token();
    let silent = Arc::new(AtomicBool::new(false));
    socket.on_disconnect({
        let (gone, silent) = (gone.clone(), Arc::clone(&silent));
        move |reason: DisconnectReason| {
            let timeout = matches!(reason, DisconnectReason::HeartbeatTimeout);
            silent.store(timeout, Ordering::Relaxed);
            gone.cancel();
            std::future::ready(())
        }
    });
    for (event, kind) in [
        (SYNC, Kind::Sync),
        (REPORT, Kind::Report),
        (AGGREGATE, Kind::Aggregate),
        (ADOPT, Kind::Adopt),
        (EVENTS, Kind::Events),
    ] {
        let (frames, gone) = (frames.clone(), gone.clone());
        socket.on(event, move |TryData(value): TryData<Value>| {
            push(&frames, &gone, Frame::News(kind, value.unwrap_or_default()));
            std::future::ready(())
        });
    }
    socket.on(REGISTER, {
        let gone = gone.clone();
        move |TryData(value): TryData<Value>, ack: AckSender| {
            push(
                &frames,
                &gone,
                Frame::Register(value.unwrap_or_default(), ack),
            );
            std::future::ready(())
        }
    });
    let member = Arc::new(OnceLock::new());
    socket.on(REPLY, {
        let (member, desk) = (Arc::clone(&member), desk.clone());
        move |TryData(value): TryData<Value>| {
            chunk(&desk, member.get(), &value.unwrap_or_default());
            std::future::ready(())
        }
    });
    let (tunnels, relayed) = Tunnels::new();
    socket.on(RELAY, {
        let (tunnels, desk) = (tunnels.clone(), desk.clone());
        move |TryData(value): TryData<Value>, ack: AckSender| {
            match Relayed::decode(&value.unwrap_or_default()) {
                Ok(Some(frame)) => tunnels.take(frame),
                Ok(None) => {}
                Err(_) => desk.metrics.dropped.inc(),
            }
            // It arrived; a cluster that is gone needs no word of it.
            let _ = ack.send(&Value::Null);
            std::future::ready(())
        }
    });
    let session = Session {
        socket: socket.clone(),
        desk,
        gone,
        silent,
        member,
        tunnels,
    };
    tokio::spawn(session.run(inbound, relayed));
}

/// Gives a chunk of an answer to who waits for it: beside the session's queue, which must not fill up with them.
fn chunk(desk: &Desk, member: Option<&ClusterId>, value: &Value) {
    match (member, uplink::read_chunk(value)) {
        (Some(cluster), Ok((request, chunk))) => {
            desk.streams.take(*cluster, request.as_str(), chunk);
        }
        (None, _) | (_, Err(_)) => desk.metrics.dropped.inc(),
    }
}

/// Called by handlers, which cannot wait.
fn push(frames: &mpsc::Sender<Frame>, gone: &CancellationToken, frame: Frame) {
    if frames.try_send(frame).is_err() && !gone.is_cancelled() {
        tracing::warn!("a cluster sends more than is taken; it is disconnected");
        gone.cancel();
    }
}
