//! One connection to the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daemon::crashpoint;
use futures_util::TryFutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use identity::Server;
use model::node::Leaving;
use mqtt::client::{self, Client, ClientError, Closed, Event, Events, Options, Qos};
use mqtt::endpoint::relay;
use node_core::Input;
use protocol::message::connection::{self, Connection};
use protocol::message::question::{self, Ask, Question};
use protocol::message::{adopt, control, events, reply};
use protocol::topic::Topic;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::orders::{Orders, Unproven};
use super::saved::{Known, RelayAt, Saved};
use super::{FromLink, Outgoing};
use crate::logs::{Outbound, Pace, Sources, Streams};
use crate::runtime::chain;
use crate::secrets::Secrets;

/// Chunks that the broker does not have yet, at most: a state waits behind so many.
const CHUNKS: usize = 2;
/// A connection that needs longer for a chunk gets smaller ones.
const SLOW: Duration = Duration::from_secs(1);

/// A connection, before it is made.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) saved: Saved,
    /// The relay that it goes through; `None`: it goes to the cluster's broker.
    pub(crate) relay: Option<RelayAt>,
    /// TLS, where it is spoken.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Whose orders are taken.
    pub(crate) orders: Orders,
    /// Takes the keys that come with them.
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) boot_id: String,
    /// Greater than that of every connection of this worker before.
    pub(crate) connect: u64,
    pub(crate) inputs: mpsc::Sender<FromLink>,
    /// What answers in chunks are made from.
    pub(crate) sources: Sources,
    /// Told of the other way to the cluster.
    pub(crate) known: Known,
    /// What is said when the engine stops.
    pub(crate) leaving: Leaving,
}

/// A session whose connection was made.
#[derive(Debug)]
pub(crate) struct Opened {
    session: Session,
    client: Client,
    events: Events,
}

/// Chunks of answers, on their way out.
struct Replies {
    chunks: mpsc::Receiver<Outbound>,
    pace: Pace,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// As asked.
    Stopped,
    /// It was there, and broke.
    Broken,
    /// The cluster does not sign what it has to; it was ended.
    Unsigned,
    /// Something better came.
    Replaced(T),
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Why it never came about.
    pub(crate) async fn dial(self) -> Result<Opened, Closed> {
        // The connection has a token of its own, so that the last word can be said before it ends.
        let (client, mut events) = client::connect(self.options(), CancellationToken::new());
        match events.next().await {
            Some(Event::Connected) => Ok(Opened {
                session: self,
                client,
                events,
            }),
            Some(Event::Closed { reason }) => Err(reason),
            Some(Event::Message { .. }) | None => {
                Err(Closed::Failed("the broker said nothing".to_owned()))
            }
        }
    }

    fn options(&self) -> Options {
        let node = self.saved.node;
        let offline = connection::encode(&Connection {
            online: false,
            connect: self.connect,
            leaving: None,
        });
        let username = format!("{node}:{}", self.boot_id);
        let (host, port, server, username) = match &self.relay {
            None => (&self.saved.host, self.saved.port, Server::Broker, username),
            Some(relay) => (
                &relay.host,
                relay.port,
                Server::Relayed(relay.cluster),
                relay::username(&username, relay.cluster),
            ),
        };
        Options {
            tls: self.tls.clone(),
            server,
            username: Some(username),
            password: Some(Bytes::from(self.saved.password.clone())),
            keep_alive: self.saved.keep_alive(),
            will: Some((Topic::Connection(node).to_string(), offline.into())),
            ..Options::new(host.clone(), port, node.to_string())
        }
    }

    async fn receive<T>(&self, events: &mut Events, streams: &mut Streams) -> End<T> {
        let node = self.saved.node;
        let control = Topic::Control(node).to_string();
        let request = Topic::Request(node).to_string();
        while let Some(event) = events.next().await {
            let input = match event {
                Event::Message { topic, payload } if topic == control => {
                    match self.orders.read(&topic, &payload) {
                        Ok(payload) => self.read_control(payload).await,
                        Err(Unproven::Unsigned) => return End::Unsigned,
                        Err(Unproven::Forged) => None,
                    }
                }
                Event::Message { topic, payload } if topic == request => {
                    self.read_question(&payload, streams)
                }
                Event::Message { .. } | Event::Connected => None,
                Event::Closed { reason } => {
                    tracing::info!(%reason, "the connection to the cluster ended");
                    return End::Broken;
                }
            };
            if let Some(input) = input {
                let is_control = matches!(input, Input::Control(_));
                crashpoint!("node.control.unheard", if is_control);
                if self.inputs.send(input).await.is_err() {
                    return End::Stopped;
                }
                crashpoint!("node.control.heard", if is_control);
            }
        }
        End::Broken
    }

    /// A change, once the keys that came with it are on the disk.
    async fn read_control(&self, payload: &[u8]) -> Option<FromLink> {
        let read = control::decode(payload).and_then(|change| {
            let keys = control::keys(payload, &change)?;
            Ok((change, keys))
        });
        let read = read.inspect_err(|error| {
            tracing::warn!(
                error = chain(error),
                "a change of what this worker runs cannot be read"
            );
        });
        let (change, keys) = read.ok()?;
        if !keys.is_empty() {
            let secrets = Arc::clone(&self.secrets);
            let kept = tokio::task::spawn_blocking(move || secrets.keep(&keys)).await;
            if let Ok(Err(error)) = &kept {
                tracing::error!(
                    error = chain(error),
                    "the keys to secrets cannot be kept; what needs them is not taken, and comes again"
                );
            }
            kept.ok()?.ok()?;
        }
        Some(Input::Control(change))
    }

    /// Subscribes, says that we are here, and sends what there is to send; returns when that fails.
    ///
    /// Chunks of answers come last, and few are under way at a time: they must not delay states.
    async fn send(
        &self,
        client: &Client,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        mut replies: Replies,
    ) -> ClientError {
        let begun = self.begin(client).await;
        if let Err(error) = begun {
            return error;
        }
        let way = match &self.relay {
            None => "the cluster's broker",
            Some(_) => "the root's relay",
        };
        tracing::info!(worker.id = %self.saved.node, way, "connected to the cluster");
        // The controller's end is the engine's, and noticed there.
        let _gone = self.inputs.send(Input::Connected).await;
        let node = self.saved.node;
        let mut unanswered = FuturesUnordered::new();
        loop {
            // Safe to cancel: two queues, and messages that are under way in any case.
            tokio::select! {
                biased;
                message = outgoing.recv() => {
                    let Some(message) = message else {
                        return ClientError::Ended;
                    };
                    if let Err(error) = self.forward(client, message).await {
                        return error;
                    }
                }
                Some(took) = unanswered.next() => match took {
                    Ok(took) if took > SLOW => replies.pace.slower(),
                    Ok(_) => replies.pace.faster(),
                    Err(error) => return error,
                },
                Some(Outbound { request, chunk }) = replies.chunks.recv(), if unanswered.len() < CHUNKS => {
                    let request = request.to_string();
                    let topic = Topic::Reply { node, request }.to_string();
                    let chunk = reply::encode(&chunk).into();
                    let began = Instant::now();
                    match client.publish_acknowledged(&topic, chunk).await {
                        Ok(answer) => unanswered.push(answer.map_ok(move |()| began.elapsed())),
                        Err(error) => return error,
                    }
                }
            }
        }
    }

    async fn forward(&self, client: &Client, message: Outgoing) -> Result<(), ClientError> {
        let node = self.saved.node;
        let is_ack = matches!(message, Outgoing::Sync(_));
        let is_report = matches!(message, Outgoing::Instances(_));
        let is_telling = matches!(message, Outgoing::Events(_));
        crashpoint!("node.ack.unsent", if is_ack);
        crashpoint!("node.report.unsent", if is_report);
        crashpoint!("node.events.unsent", if is_telling);
        let (topic, parts) = match message {
            Outgoing::Sync(payload) => (Topic::Sync(node), vec![payload]),
            Outgoing::Instances(parts) => (Topic::Instances(node), parts),
            Outgoing::Events(payload) => {
                let request = events::REQUEST.to_owned();
                (Topic::Reply { node, request }, vec![payload])
            }
            Outgoing::Information(payload) => (Topic::Information(node), vec![payload]),
            Outgoing::Adopt(parts) => {
                let request = adopt::REQUEST.to_owned();
                (Topic::Reply { node, request }, parts)
            }
        };
        for payload in parts {
            match publish(client, &topic, payload).await {
                // A message that no packet can hold must not end the link for ever.
                Err(ClientError::Invalid) => {
                    tracing::error!(%topic, "a message is too large to be sent");
                }
                other => other?,
            }
        }
        crashpoint!("node.ack.sent", if is_ack);
        crashpoint!("node.report.sent", if is_report);
        crashpoint!("node.events.sent", if is_telling);
        Ok(())
    }

    fn read_question(&self, payload: &[u8], streams: &mut Streams) -> Option<FromLink> {
        match question::decode(payload) {
            Ok(Some(Question::Ask(Ask::WholeReport))) => Some(Input::AskWhole),
            Ok(Some(Question::Ask(Ask::Adopt))) => Some(Input::AskAdopt),
            Ok(Some(Question::Confirmed(stamp))) => Some(Input::Confirmed(stamp)),
            Ok(Some(Question::Stream(stream))) => {
                streams.take(stream);
                None
            }
            Ok(Some(Question::Fallback(fallback))) => {
                self.known.told(fallback);
                None
            }
            Ok(Some(Question::Newer) | None) => None,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "a question of the cluster cannot be read"
                );
                None
            }
        }
    }

    async fn begin(&self, client: &Client) -> Result<(), ClientError> {
        let node = self.saved.node;
        let filters = [Topic::Control(node), Topic::Request(node)].map(|topic| topic.to_string());
        client
            .subscribe(&filters.each_ref().map(String::as_str))
            .await?;
        self.say(client, true, None).await
    }

    async fn say(
        &self,
        client: &Client,
        online: bool,
        leaving: Option<Leaving>,
    ) -> Result<(), ClientError> {
        let connection = connection::encode(&Connection {
            online,
            connect: self.connect,
            leaving,
        });
        publish(client, &Topic::Connection(self.saved.node), connection).await
    }

    /// A goodbye, so that the cluster need not guess; nothing can be done about one that fails.
    async fn leave(&self, client: &Client, events: &mut Events) {
        let goodbye = async {
            self.say(client, false, Some(self.leaving)).await?;
            client.disconnect().await?;
            while events.next().await.is_some() {}
            Ok::<(), ClientError>(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }
}

impl Opened {
    /// Carries messages both ways until the connection ends, or until `better` is there.
    pub(crate) async fn run<T>(
        mut self,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        shutdown: &CancellationToken,
        better: impl Future<Output = T>,
    ) -> End<T> {
        // What was written for an earlier connection says nothing here.
        while outgoing.try_recv().is_ok() {}
        let Self {
            session,
            client,
            events,
        } = &mut self;
        let (chunks, pace) = (mpsc::channel(1), Pace::default());
        let mut streams = Streams::new(session.sources.clone(), chunks.0, pace.clone());
        let replies = Replies {
            chunks: chunks.1,
            pace,
        };
        let end = tokio::select! {
            () = shutdown.cancelled() => {
                session.leave(client, events).await;
                return End::Stopped;
            }
            // This connection ends without a goodbye; the cluster has heard of the other one by then, or takes both in turn.
            better = better => End::Replaced(better),
            end = session.receive(events, &mut streams) => end,
            error = session.send(client, outgoing, replies) => {
                tracing::info!(error = chain(&error), "the connection to the broker cannot be used");
                End::Broken
            }
        };
        // The controller's end is the engine's, and noticed there.
        let _gone = session.inputs.send(Input::Disconnected).await;
        end
    }
}

async fn publish(client: &Client, topic: &Topic, payload: Vec<u8>) -> Result<(), ClientError> {
    client
        .publish(&topic.to_string(), payload.into(), Qos::AtLeastOnce)
        .await
}
