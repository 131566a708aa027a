//! The link to the root: one Socket.IO connection that this cluster opens.
//!
//! # Flow
//! Connect, `register`, then the controller is told the cluster's id and sends what it holds, observes and has free. The
//! task here owns the socket; the controller only fills a bounded queue and never waits for it.
//!
//! # Guarantees
//! A run that is superseded has no link: its root hears of the cluster from the run that goes on.
//!
//! Messages go out in the order in which the controller gave them. What is given while the link is down is dropped, and
//! a queue that is full ends the link: after the next `register` the sync protocol repairs both.

mod questions;
mod relays;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use cluster_core::{Beat, Input, SlotEntry};
use daemon::crashpoint;
use identity::files::FileError;
use joining::Approach;
use model::aggregate::Aggregate;
use model::desired::Desired;
use model::location::Location;
use model::name::Name;
use model::telling::Telling;
use mqtt::backoff::Backoff;
use mqtt::endpoint;
use orchestrator::access::Access;
use orchestrator::http::Service;
use orchestrator::tunnels::{Tunnels, UNDER_WAY};
use orchestrator::{Unavailable, with_sources};
use protocol::message::control::WireTerm;
use protocol::message::fallback::Fallback;
use protocol::message::question::{Ask, RequestId};
use protocol::message::reply::Chunk;
use protocol::message::uplink::relay::Frame;
use protocol::message::uplink::{self, Standing};
use serde_json::Value;
use socketio::{Client, ConnectError, Event, Events};
use sync::{Held, UpReport};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::approach::{Root, RootError};
use crate::metrics::Metrics;
use crate::tier::{Cluster, Handle};

use questions::Questions;
use relays::Relays;

pub(crate) use relays::Desk;

/// Messages that wait for the socket.
const QUEUE: usize = 1_024;
/// For the connection, and for the answer to `register`.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Chunks of answers that wait for the socket.
const CHUNKS: usize = 4_096;
/// Between two looks at the answers under way.
const TIDY: Duration = Duration::from_secs(1);
/// How long the root may take to say that a frame arrived; past that it is a matter of the pings.
const ARRIVAL: Duration = Duration::from_secs(10);

/// The root wants a certificate, and was shown none that counts.
const NO_IDENTITY: &str = "no_identity";
/// The certificate that was shown has ended.
const EXPIRED: &str = "expired";
/// The certificate that was shown is not this cluster's.
const WRONG_IDENTITY: &str = "wrong_identity";

/// What the controller tells the root.
#[derive(Debug)]
pub(crate) enum Up {
    /// What is held.
    Acknowledge { held: Held, beat: Beat },
    /// What is observed.
    Report {
        report: UpReport<SlotEntry>,
        held: Held,
    },
    /// What happened.
    Tell(Telling),
    /// The set that is held of another store.
    Adopt { held: Held, desired: Vec<Desired> },
    /// What is free.
    Aggregate(Box<Aggregate>),
}

/// The controller's end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Upward {
    queue: mpsc::Sender<Up>,
    overflow: Arc<Notify>,
    fenced: CancellationToken,
}

impl Upward {
    /// This run is superseded: the link ends and stays away.
    pub(crate) fn give_up(&self) {
        self.fenced.cancel();
    }

    /// Queues a message; never waits.
    pub(crate) fn send(&self, up: Up) {
        if self.queue.try_send(up).is_err() {
            self.overflow.notify_one();
        }
    }
}

/// Which root, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) root: Root,
    pub(crate) name: Name,
    pub(crate) location: Location,
    /// Where its own REST interface is reached.
    pub(crate) http: String,
    pub(crate) reconnect_max: Duration,
}

/// What the link needs of workers that come through the root.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Who serves them.
    pub(crate) endpoint: endpoint::Handle,
    /// Told where they find the root's relay.
    pub(crate) fallback: watch::Sender<Option<Fallback>>,
}

/// The task that keeps the link.
pub(crate) struct Uplink {
    options: Options,
    handle: Handle,
    metrics: Metrics,
    desk: Desk,
    relayed: Relayed,
    queue: mpsc::Receiver<Up>,
    overflow: Arc<Notify>,
    fenced: CancellationToken,
    /// What keeps the certificate fresh.
    keeping: JoinSet<()>,
}

/// Why a link ended or did not come about.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("cannot connect to the root")]
    Connect(#[from] ConnectError),
    #[error("the root did not answer the registration")]
    Register(#[from] socketio::AckError),
    #[error("the root's answer cannot be read")]
    Answer(#[from] protocol::message::MessageError),
    #[error("the root refuses this cluster ({code}): {message}")]
    Refused { code: String, message: String },
    #[error("the connection closed")]
    Closed(#[from] socketio::CloseReason),
    #[error("a message cannot be sent")]
    Emit(#[from] socketio::EmitError),
    #[error("the root does not take messages as fast as they come")]
    Overflow,
    #[error("this run of the cluster's store is superseded")]
    Superseded,
    #[error("the controller has stopped")]
    Stopped,
}

impl From<Unavailable> for Ended {
    fn from(_: Unavailable) -> Self {
        Self::Stopped
    }
}

/// The task, and the controller's way to it.
pub(crate) fn new(
    options: Options,
    handle: Handle,
    metrics: Metrics,
    (desk, relayed): (Desk, Relayed),
) -> (Uplink, Upward) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let (overflow, fenced) = (Arc::new(Notify::new()), CancellationToken::new());
    let upward = Upward {
        queue: sender,
        overflow: Arc::clone(&overflow),
        fenced: fenced.clone(),
    };
    let uplink = Uplink {
        options,
        handle,
        metrics,
        desk,
        relayed,
        queue,
        overflow,
        fenced,
        keeping: JoinSet::new(),
    };
    (uplink, upward)
}

impl Uplink {
    /// Keeps the link until the token is cancelled.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        self.metrics.root_connected(false);
        let first = Duration::from_millis(200).min(self.options.reconnect_max);
        let mut backoff = Backoff::new(first, self.options.reconnect_max);
        let mut last = String::new();
        if let Root::Known(approach) = &self.options.root {
            self.keeping
                .spawn(approach.credentials.clone().keep(shutdown.clone()));
        }
        loop {
            let fenced = self.fenced.clone();
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = fenced.cancelled() => Ended::Superseded,
                ended = self.attempt(&mut backoff, &shutdown) => ended,
            };
            self.metrics.root_connected(false);
            if matches!(ended, Ended::Stopped) || self.handle.tell(Input::RootClosed).await.is_err()
            {
                return;
            }
            let root = self.options.root.shown();
            if let Ended::Refused { code, .. } = &ended
                && code == uplink::OVERTAKEN
                && self.handle.tell(Input::RootKnowsLater).await.is_err()
            {
                return;
            }
            if matches!(ended, Ended::Superseded) {
                tracing::warn!(root, reason = %ended, "the uplink stays down");
                return shutdown.cancelled().await;
            }
            let text = with_sources(&ended);
            // The same reason again and again says nothing new.
            if text == last {
                tracing::debug!(reason = text, root, "the uplink is down");
            } else {
                tracing::warn!(reason = text, root, "the uplink is down");
            }
            last = text;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(backoff.next_wait()) => {}
            }
        }
    }

    /// One connection, from its opening to its end.
    async fn attempt(&mut self, backoff: &mut Backoff, shutdown: &CancellationToken) -> Ended {
        let connected = async {
            let approach = self.approach(shutdown).await?;
            // A certificate that has ended is renewed first; where that fails, the root says what it thinks of it.
            approach.credentials.freshen().await;
            let options = socketio::Options {
                namespace: uplink::NAMESPACE.to_owned(),
                max_message: uplink::LARGEST,
                tls: approach.credentials.tls(),
                tls_name: Some(identity::any_name()),
                connect_timeout: TIMEOUT,
                ..socketio::Options::new(approach.url.clone())
            };
            let (client, events) = socketio::connect(options).await?;
            let welcome = self.register(&client, &approach).await?;
            crashpoint!("cluster.uplink.registered");
            // What was queued for the last connection means nothing to this one.
            while self.queue.try_recv().is_ok() {}
            let cluster = welcome.cluster;
            self.relayed.learn(&welcome, &approach.url);
            self.handle.tell(Input::RootConnected(cluster)).await?;
            tracing::info!(cluster.id = %cluster, root = approach.url, "the uplink is up");
            Ok::<_, Ended>((client, events))
        };
        let (client, events) = match connected.await {
            Ok(both) => both,
            Err(ended) => return ended,
        };
        self.metrics.root_connected(true);
        backoff.reset();
        let overflow = Arc::clone(&self.overflow);
        let jobs = self.desk.jobs.clone();
        let (to_root, chunks) = mpsc::channel(CHUNKS);
        let relays = Relays::new(self.desk.clone(), to_root);
        // Workers' connections end with the receiver.
        let (tunnels, frames) = Tunnels::new();
        let relayed = workers::Relay::new(tunnels, self.relayed.endpoint.clone());
        let waiting = Waiting { chunks, frames };
        let ended = tokio::select! {
            ended = receive(&jobs, events, relays, relayed) => ended,
            ended = self.send(&client, waiting) => ended,
            () = overflow.notified() => Ended::Overflow,
        };
        client.close();
        ended
    }

    /// Where the root is; it is joined first where that is still to be done.
    async fn approach(&mut self, shutdown: &CancellationToken) -> Result<Approach, Ended> {
        let entry = match &self.options.root {
            Root::Known(approach) => return Ok(approach.clone()),
            Root::ToJoin(entry) => entry,
        };
        let approach = entry.enter().await?;
        self.keeping
            .spawn(approach.credentials.clone().keep(shutdown.clone()));
        self.options.root = Root::Known(approach.clone());
        Ok(approach)
    }

    async fn register(
        &self,
        client: &Client,
        approach: &Approach,
    ) -> Result<uplink::Welcome, Ended> {
        let Options {
            root,
            name,
            location,
            http,
            ..
        } = self.options.clone();
        let sealing_key = self.desk.access.sealing_key();
        let request = self
            .handle
            .read(move |state, _now| uplink::Request {
                name,
                location: location.text,
                scheduler: state.policy().name().to_owned(),
                cluster_id: root.cluster().or_else(|| state.cluster()),
                boot: state.term().number,
                start: state.term().nonce,
                incarnation: Some(state.incarnation()),
                term: Some(WireTerm::from(state.term())),
                http: Some(http),
                // A token is for joining, and goes to nobody afterwards.
                join_token: None,
                sealing_key: Some(sealing_key),
            })
            .await?;
        let answer = client
            .emit_with_ack(uplink::REGISTER, &request.encode(), TIMEOUT)
            .await?;
        uplink::read_answer(&answer)?.map_err(|refused| {
            let has_joined = approach.holder().is_some();
            let remedy = match refused.code.as_str() {
                NO_IDENTITY | EXPIRED if has_joined => {
                    // It may have ended by the root's clock, which is the one that counts.
                    approach.credentials.doubt();
                    "; the certificate is renewed first now, and if that is refused as well, start with a new --join-token"
                }
                NO_IDENTITY => "; start with --join-token (edgeio token create at the root)",
                WRONG_IDENTITY => "; the data directory is another cluster's, or a copy of one",
                _ => "",
            };
            Ended::Refused {
                code: refused.code,
                message: refused.message + remedy,
            }
        })
    }

    /// Sends what the controller gives, in its order; chunks of answers when there is nothing else, and what is relayed
    /// for workers after those, no more of it at a time than leaves room for the rest.
    async fn send(&mut self, client: &Client, mut waiting: Waiting) -> Ended {
        let mut under_way = JoinSet::new();
        loop {
            // Cancel-safe: queues, and frames that are under way in any case.
            let sent = tokio::select! {
                biased;
                up = self.queue.recv() => match up {
                    Some(up) => self.emit(client, up).await,
                    None => return Ended::Stopped,
                },
                Some((request, chunk)) = waiting.chunks.recv() => {
                    let value = uplink::chunk(&request, &chunk);
                    client.emit(uplink::REPLY, &value).await.map_err(Ended::from)
                }
                Some(_) = under_way.join_next() => Ok(()),
                Some(frame) = waiting.frames.recv(), if under_way.len() < UNDER_WAY => {
                    let arrived = client.emit_tracked(uplink::RELAY, &frame.encode()).await;
                    arrived.map_err(Ended::from).map(|arrived| {
                        under_way.spawn(tokio::time::timeout(ARRIVAL, arrived.wait()));
                    })
                }
            };
            if let Err(ended) = sent {
                return ended;
            }
        }
    }

    async fn emit(&self, client: &Client, up: Up) -> Result<(), Ended> {
        let is_report = matches!(up, Up::Report { .. });
        let is_ack = matches!(up, Up::Acknowledge { .. });
        let is_telling = matches!(up, Up::Tell(_));
        crashpoint!("cluster.ack.unsent", if is_ack);
        crashpoint!("cluster.report.unsent", if is_report);
        crashpoint!("cluster.events.unsent", if is_telling);
        let (event, values): (&str, Vec<Value>) = match up {
            Up::Acknowledge { held, beat } => {
                (uplink::SYNC, vec![uplink::sync(&held, &wire(beat))])
            }
            Up::Report { report, held } => (uplink::REPORT, uplink::report(&report, &held)),
            Up::Tell(telling) => (uplink::EVENTS, vec![uplink::events(&telling)]),
            Up::Adopt { held, desired } => (uplink::ADOPT, uplink::adoption(&held, &desired)),
            Up::Aggregate(aggregate) => {
                let (held, beat, scheduler) = self
                    .handle
                    .read(|state, _now| {
                        let scheduler = state.policy().name().to_owned();
                        (state.held(), state.beat(), scheduler)
                    })
                    .await?;
                let standing = Standing {
                    aggregate: *aggregate,
                    scheduler,
                    held,
                    beat: wire(beat),
                };
                (uplink::AGGREGATE, vec![standing.encode()])
            }
        };
        for value in values {
            client.emit(event, &value).await?;
        }
        crashpoint!("cluster.ack.sent", if is_ack);
        crashpoint!("cluster.report.sent", if is_report);
        crashpoint!("cluster.events.sent", if is_telling);
        Ok(())
    }
}

/// What goes out when the controller has nothing to say.
struct Waiting {
    chunks: mpsc::Receiver<(RequestId, Chunk)>,
    frames: mpsc::Receiver<Frame>,
}

/// Takes what the root sends, until the connection ends.
async fn receive(
    jobs: &Service<Cluster>,
    mut events: Events,
    mut relays: Relays,
    relayed: workers::Relay,
) -> Ended {
    let (handle, access) = (&jobs.handle, &jobs.access);
    let mut questions = Questions::new(jobs.clone());
    let mut tidy = tokio::time::interval(TIDY);
    loop {
        // Cancel-safe: a queue and a timer.
        let event = tokio::select! {
            event = events.next() => match event {
                Some(event) => event,
                None => return Ended::Stopped,
            },
            _tick = tidy.tick() => {
                relays.tidy();
                continue;
            }
        };
        let (name, data, ack) = match event {
            Event::Message { name, data, ack } => (name, data, ack),
            Event::Closed { reason } => return Ended::Closed(reason),
        };
        if name == uplink::QUESTION {
            questions.take(data, ack);
            continue;
        }
        if name == uplink::RELAY {
            relayed.take(&data, ack);
            continue;
        }
        if name == uplink::REQUEST {
            match uplink::read_stream(&data) {
                Ok(stream) => relays.take(handle, stream).await,
                Err(error) => {
                    let reason = with_sources(&error);
                    tracing::warn!(reason, "a question of the root cannot be read");
                }
            }
            continue;
        }
        if name == uplink::ADMINISTRATORS {
            match uplink::read_administrators(&data) {
                Ok(all) => access.root_said(all),
                Err(error) => {
                    let reason = with_sources(&error);
                    tracing::warn!(reason, "the administrators of the root cannot be read");
                }
            }
            continue;
        }
        let input = match read(&name, &data) {
            Ok(Some(input)) => input,
            Ok(None) => continue,
            Err(error) => {
                let reason = with_sources(&error);
                tracing::error!(event = name, reason, "a message of the root cannot be read");
                continue;
            }
        };
        let is_assign = matches!(input, Input::Assigned(_));
        if is_assign && let Err(error) = keep_keys(access, &data).await {
            let reason = with_sources(&error);
            tracing::error!(
                reason,
                "the keys to secrets cannot be kept; what needs them is not taken, and comes again"
            );
            continue;
        }
        crashpoint!("cluster.assign.unheard", if is_assign);
        if handle.tell(input).await.is_err() {
            return Ended::Stopped;
        }
        crashpoint!("cluster.assign.heard", if is_assign);
    }
}

/// Keeps the keys that came with an assignment.
async fn keep_keys(access: &Access, data: &Value) -> Result<(), FileError> {
    match uplink::read_assign_keys(data) {
        Ok(keys) => access.keep_secret_keys(keys).await,
        Err(error) => {
            let reason = with_sources(&error);
            tracing::error!(reason, "the keys to secrets of the root cannot be read");
            Ok(())
        }
    }
}

fn read(name: &str, data: &Value) -> Result<Option<Input>, protocol::message::MessageError> {
    Ok(match name {
        uplink::ASSIGN => Some(Input::Assigned(uplink::read_assign(data)?)),
        uplink::ASK => Some(match uplink::read_ask(data)? {
            Ask::WholeReport => Input::RootAsksWhole,
            Ask::Adopt => Input::RootAsksAdopt,
        }),
        uplink::CONFIRMED => Some(Input::RootConfirmed(uplink::read_confirmed(data)?)),
        _ => {
            tracing::debug!(event = name, "an event of the root is not known here");
            None
        }
    })
}

const fn wire(beat: Beat) -> protocol::message::Beat {
    protocol::message::Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}
