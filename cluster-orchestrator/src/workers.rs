//! Registration of workers: Socket.IO on the HTTP port, namespace `/`, event `register` with an acknowledgement.
//!
//! socketioxide spawns the future of each handler, so two events of one socket may overtake each other. Here each is a
//! request with its answer, and order means nothing.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use cluster_core::{Answer, Input, Registration, State};
use daemon::crashpoint;
use daemon::dial::authority;
use model::id::NodeId;
use mqtt::link::Link;
use orchestrator::access::{Access, Claim};
use orchestrator::clock::{self, NoRandom};
use orchestrator::with_sources;
use protocol::message::fallback::Fallback;
use protocol::message::register::{self, Refused, Request, Welcome};
use secrets::PublicKey;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::outlets::Credentials;
use crate::tier::Handle;

/// Socket.IO's own path.
const PATH: &str = "/socket.io/";
/// Bytes of a message of a worker at most.
const MESSAGE: usize = 64 * 1024;
/// How long a peer may take to join the namespace.
const CONNECT: Duration = Duration::from_secs(5);

/// Why who has no certificate is not told of a broker that asks for one.
const LOCKED: &str = "this cluster's broker lets in nobody without a certificate of the cluster";

/// What workers are told.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    /// Whether a worker is who it says.
    pub(crate) access: Access,
    /// The broker's host; `None`: the one that the worker used.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    /// Whether the broker speaks TLS: the own endpoint does.
    pub(crate) tls: bool,
    /// Whether it lets in nobody without a certificate of ours.
    pub(crate) locked: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) report_interval: Duration,
    /// The other way to this cluster; `None` until the root was met.
    pub(crate) fallback: watch::Receiver<Option<Fallback>>,
}

/// A page of another origin has no business here.
#[derive(Debug, thiserror::Error)]
#[error("workers connect from programs, not from web pages")]
struct FromPage;

/// Adds the workers' desk to a router. The second value closes all its connections.
pub(crate) fn serve(router: Router, desk: Desk) -> (Router, SocketIo) {
    let (service, io) = SocketIo::builder()
        .max_payload(MESSAGE as u64)
        .ws_max_message_size(MESSAGE)
        .connect_timeout(CONNECT)
        .build_svc();
    let attach = move |socket: SocketRef| {
        // A web page may open a WebSocket to any address that its browser reaches; browsers name the page.
        let from_page = socket.req_parts().headers.contains_key(ORIGIN);
        if !from_page {
            open(&socket, desk);
        }
        std::future::ready(if from_page { Err(FromPage) } else { Ok(()) })
    };
    let connected = async || ();
    io.ns(register::NAMESPACE, connected.with(attach));
    // As a layer, the service would be made anew for each request, and a polling client's session be lost with it.
    (router.route_service(PATH, service), io)
}

/// Sets the handler of one socket.
///
/// This happens before the worker is told that it is connected: later, its first event might be missed.
fn open(socket: &SocketRef, desk: Desk) {
    socket.on(
        register::EVENT,
        async move |socket: SocketRef, TryData(request): TryData<Value>, ack: AckSender| {
            let used = host_of(&socket);
            let request = request.map_err(|error| {
                tracing::debug!(%error, "a registration is no JSON");
            });
            let answer = match request {
                Ok(request) => desk.register(&request, socket.req_parts(), used).await,
                Err(()) => Err(refused("bad_message", "the registration is no JSON")),
            };
            crashpoint!("cluster.worker.registered");
            // A worker that is gone registers again.
            let _ = ack.send(&register::answer(&answer));
            crashpoint!("cluster.worker.answered");
        },
    );
}

/// The host that the worker used to reach us.
fn host_of(socket: &SocketRef) -> Option<String> {
    let host = socket.req_parts().headers.get(HOST)?.to_str().ok()?;
    authority(host).map(|(host, _)| host)
}

impl Desk {
    /// Who shows no certificate must not be somebody who has one, by id or by name.
    async fn identify(&self, request: &Request, opened_by: &Parts) -> Result<(), Refused> {
        let admitted = async |id: Option<NodeId>| {
            let claim = Claim::of(opened_by, id.map(NodeId::bits));
            self.access.admit_member(claim).await
        };
        let mut outcome = admitted(request.node).await;
        if outcome.is_ok() && request.node.is_none() {
            let name = request.facts.name.to_string();
            let find = move |core: &State, _now| core.node(&name).map(|node| node.id);
            let holder = self.handle.read(find).await;
            let holder = holder.map_err(|error| refused("unavailable", &error.to_string()))?;
            outcome = admitted(holder).await;
        }
        outcome.map_err(|error| refused(error.code(), &error.to_string()))
    }

    async fn register(
        &self,
        request: &Value,
        opened_by: &Parts,
        used: Option<String>,
    ) -> Result<Welcome, Refused> {
        let request = Request::decode(request).map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a registration cannot be read"
            );
            refused("bad_message", &with_sources(&error))
        })?;
        let sealing = request.sealing_key.as_deref();
        let sealing = sealing.map(str::parse::<PublicKey>).transpose();
        let sealing = sealing.map_err(|error| {
            refused(
                "bad_message",
                &format!("its sealing_key cannot be read: {error}"),
            )
        })?;
        self.identify(&request, opened_by).await?;
        if self.locked && Claim::of(opened_by, None).shown.is_none() {
            return Err(refused("no_identity", LOCKED));
        }
        let (fresh, password) = secrets().map_err(|error| {
            tracing::error!(%error, "cannot make a credential");
            refused(
                "unavailable",
                "the cluster cannot make a credential; its log says why",
            )
        })?;
        let name = request.facts.name.clone();
        let registration = Box::new(Registration {
            facts: request.facts,
            saved: request.node,
            fresh,
            credential: Credentials::hash(password.as_bytes()),
            verifies: request.signed,
            sealing: sealing.map(|key| key.bytes()),
            boot: request.boot,
            start: request.start,
        });
        let answer = self
            .handle
            .ask(|request| Input::Register {
                request,
                registration,
            })
            .await
            .map_err(|error| refused("unavailable", &error.to_string()))?;
        match answer {
            Answer::Registered(node) => {
                tracing::info!(worker.id = %node, worker.name = %name, "a worker registered");
                Ok(Welcome {
                    node,
                    broker_host: self.host.clone().or(used),
                    broker_port: self.port,
                    broker_tls: self.tls,
                    username: format!("{node}:{}", request.boot_id),
                    password,
                    keep_alive: self.keep_alive,
                    report_interval: self.report_interval,
                    fallback: self.fallback.borrow().clone(),
                })
            }
            Answer::NodeNameInUse(name) => Err(refused(
                "name_in_use",
                &format!("a worker named {name} is there already; give this one another --name"),
            )),
            Answer::Job(_)
            | Answer::Patched(_)
            | Answer::Scheduled
            | Answer::Released(_)
            | Answer::Forgotten(_)
            | Answer::NodeIsThere(..)
            | Answer::NoSuchNode(_) => Err(refused("superseded", orchestrator::SUPERSEDED)),
        }
    }
}

/// Ends the connection of each worker whose certificate means nothing any more.
pub(crate) async fn cut_off(access: Access, link: Link, shutdown: CancellationToken) {
    let mut revoked = access.revocations();
    loop {
        let news = tokio::select! {
            () = shutdown.cancelled() => return,
            news = revoked.recv() => news,
        };
        match news {
            Ok(id) => {
                let node = NodeId::from_bits(id);
                tracing::warn!(worker.id = %node, "a worker's identity was revoked; it is disconnected");
                link.endpoint().disconnect(node);
            }
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(missed)) => {
                tracing::error!(
                    missed,
                    "revocations came too fast; who was revoked stays connected until it registers"
                );
            }
        }
    }
}

/// An id and a password of 128 random bits.
fn secrets() -> Result<(NodeId, String), NoRandom> {
    let bytes: [u8; 16] = clock::random()?;
    let password = bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((NodeId::from_bits(clock::mint()?), password))
}

fn refused(code: &str, message: &str) -> Refused {
    Refused {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}
