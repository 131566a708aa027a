//! What comes from the workers over MQTT, and who may log in.

mod clones;
mod logins;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cluster_core::{Beat, Input};
use identity::Holder;
use model::id::NodeId;
use model::node::Leaving;
use mqtt::endpoint::{Inbound, Reason};
use mqtt::link::BrokerState;
use orchestrator::access::Access;
use orchestrator::streams::Streams;
use orchestrator::{Metrics, Unavailable};
use protocol::message::adopt::Adoption;
use protocol::message::instances::Reported;
use protocol::message::parts::Assembler;
use protocol::message::{
    MessageError, ReportEntry, adopt, connection, events, information, instances, reply, sync,
};
use protocol::topic::Topic;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::announcer::Announcer;
use crate::tier::Handle;
use clones::Clones;
pub(crate) use logins::{Logins, authenticate, witness};

/// The request id under which a worker sends its former set.
pub(crate) const ADOPT: &str = "adopt";
/// Between two lines of log about messages that cannot be read.
const QUIET: Duration = Duration::from_secs(10);

/// Whose sessions the endpoint tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The cluster's own endpoint tells who is connected.
    Own,
    /// Nobody does: the workers' own messages have to.
    External,
}

/// Reads what comes in and tells the controller.
pub(crate) struct Inlet {
    kind: Kind,
    handle: Handle,
    metrics: Metrics,
    /// Who waits for answers in chunks.
    streams: Streams<NodeId>,
    reports: HashMap<NodeId, Assembler<Reported<ReportEntry>>>,
    adoptions: HashMap<NodeId, Assembler<Adoption>>,
    /// Over an external broker: the connection that each worker is believed to have.
    sessions: HashMap<NodeId, u64>,
    /// What workers said of the end of their connections, until those end.
    goodbyes: HashMap<NodeId, Leaving>,
    complained: Option<Instant>,
    clones: Clones,
    /// Workers whose identity another machine wanted to use.
    refused_clones: mpsc::Receiver<NodeId>,
    access: Access,
    /// Tells workers of the other way to this cluster.
    announcer: Announcer,
}

impl Inlet {
    pub(crate) fn new(
        kind: Kind,
        handle: Handle,
        metrics: Metrics,
        streams: Streams<NodeId>,
        announcer: Announcer,
        (access, refused_clones): (Access, mpsc::Receiver<NodeId>),
    ) -> Self {
        Self {
            kind,
            handle,
            metrics,
            streams,
            reports: HashMap::new(),
            adoptions: HashMap::new(),
            sessions: HashMap::new(),
            goodbyes: HashMap::new(),
            complained: None,
            clones: Clones::default(),
            refused_clones,
            access,
            announcer,
        }
    }

    /// Reads until the token is cancelled.
    pub(crate) async fn run(
        mut self,
        mut inbound: mpsc::Receiver<Inbound>,
        shutdown: CancellationToken,
    ) {
        loop {
            let message = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // Cancel-safe.
                message = inbound.recv() => message,
                () = self.announcer.news() => continue,
                Some(node) = self.refused_clones.recv() => {
                    if self.handle.tell(Input::Cloned(node)).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Some(message) = message else { return };
            if self.take(message).await.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, inbound: Inbound) -> Result<(), Unavailable> {
        match inbound {
            // Of workers that came past the external broker: their own messages tell all that is to be known.
            Inbound::Connected { .. } | Inbound::Closed { .. } if self.kind == Kind::External => {
                Ok(())
            }
            Inbound::Connected {
                node,
                session,
                peer,
            } => {
                if self.clones.came(node, peer.ip(), Instant::now()) {
                    self.two_machines(node, peer).await?;
                }
                self.connected(node, session, Some(peer)).await
            }
            Inbound::Closed {
                node,
                session,
                reason,
            } => {
                tracing::info!(worker.id = %node, session, %reason, "a worker's connection ended");
                if reason == Reason::Displaced {
                    self.clones.pushed_out(node);
                } else {
                    self.clones.left(node);
                }
                // Our own end says nothing about the workers.
                if reason == Reason::Shutdown {
                    return Ok(());
                }
                self.closed(node, session, reason == Reason::Silent).await
            }
            Inbound::Message {
                node,
                topic,
                payload,
                ..
            } => {
                if self.kind == Kind::External && !matches!(topic, Topic::Connection(_)) {
                    self.heard(node).await?;
                }
                match self.read(node, &topic, &payload) {
                    Ok(inputs) => {
                        for input in inputs {
                            self.handle.tell(input).await?;
                        }
                        Ok(())
                    }
                    Err(Unread::Connection(connection)) => self.connection(node, connection).await,
                    Err(Unread::Message(error)) => {
                        self.complain(&topic, &error);
                        Ok(())
                    }
                }
            }
            Inbound::Broker(state) => self.broker(state).await,
        }
    }

    /// A message becomes inputs, once all its parts are there.
    fn read(&mut self, node: NodeId, topic: &Topic, payload: &[u8]) -> Result<Vec<Input>, Unread> {
        match topic {
            Topic::Information(_) => {
                let read = information::decode(payload)?;
                let runtimes = read.silent;
                let held = Input::Held {
                    node,
                    held: read.held,
                    beat: beat(read.beat),
                    usage: Some(read.usage),
                };
                Ok(vec![held, Input::Silent { node, runtimes }])
            }
            Topic::Sync(_) => {
                let (held, numbers) = sync::decode(payload)?;
                Ok(vec![Input::Held {
                    node,
                    held,
                    beat: beat(numbers),
                    usage: None,
                }])
            }
            Topic::Instances(_) => {
                let piece = instances::decode(payload)?;
                let whole = self.reports.entry(node).or_default().take(piece);
                let input = |Reported { report, held }| Input::Reported { node, report, held };
                Ok(whole.map(input).into_iter().collect())
            }
            Topic::Connection(_) => Err(Unread::Connection(connection::decode(payload)?)),
            Topic::Reply { request, .. } if request == ADOPT => {
                let piece = adopt::decode(payload)?;
                let whole = self.adoptions.entry(node).or_default().take(piece);
                let input = |Adoption { held, desired }| Input::Adopt {
                    node,
                    held,
                    desired,
                };
                Ok(whole.map(input).into_iter().collect())
            }
            Topic::Reply { request, .. } if request == events::REQUEST => {
                let telling = events::decode(payload)?;
                Ok(vec![Input::Told { node, telling }])
            }
            Topic::Reply { request, .. } => {
                self.streams.take(node, request, reply::decode(payload)?);
                Ok(Vec::new())
            }
            // What never comes up.
            Topic::Control(_) | Topic::Request(_) => Ok(Vec::new()),
        }
    }

    /// Two machines push each other out of the seat of one worker.
    async fn two_machines(&mut self, node: NodeId, peer: SocketAddr) -> Result<(), Unavailable> {
        tracing::warn!(worker.id = %node, %peer, "two machines use the identity of this worker; revoke it, and join both again");
        let what = ("take turns", format!("mqtt as {node}"));
        let why = "two machines use the identity of this worker".to_owned();
        let holder = Some(Holder::Worker(node));
        self.access.refused(holder, Some(peer), what, why);
        self.handle.tell(Input::Cloned(node)).await
    }

    async fn connected(
        &mut self,
        node: NodeId,
        session: u64,
        peer: Option<SocketAddr>,
    ) -> Result<(), Unavailable> {
        tracing::info!(worker.id = %node, session, ?peer, "a worker connected");
        // Parts do not outlive their connection.
        self.reports.remove(&node);
        self.adoptions.remove(&node);
        self.streams.gone(node);
        self.goodbyes.remove(&node);
        self.announcer.came(node);
        self.handle.tell(Input::Connected { node, session }).await
    }

    async fn closed(
        &mut self,
        node: NodeId,
        session: u64,
        silent: bool,
    ) -> Result<(), Unavailable> {
        self.reports.remove(&node);
        self.adoptions.remove(&node);
        self.streams.gone(node);
        let leaving = self.goodbyes.remove(&node);
        if let Some(leaving) = leaving {
            tracing::info!(worker.id = %node, ?leaving, "a worker said goodbye");
        }
        self.announcer.left(node);
        self.handle
            .tell(Input::Closed {
                node,
                session,
                silent,
                leaving,
            })
            .await
    }

    /// A worker's own word about its connection. The own endpoint knows better whether it is there, but not why it ends.
    async fn connection(
        &mut self,
        node: NodeId,
        news: connection::Connection,
    ) -> Result<(), Unavailable> {
        if news.online {
            // It has subscribed by now.
            self.announcer.tell(node);
        }
        let known = self.sessions.get(&node).copied();
        // An old will that comes after a newer connection.
        let late = known.is_some_and(|known| news.connect < known);
        if late {
            return Ok(());
        }
        if let Some(leaving) = news.leaving.filter(|_| !news.online) {
            self.goodbyes.insert(node, leaving);
        }
        if self.kind == Kind::Own {
            return Ok(());
        }
        if news.online {
            self.sessions.insert(node, news.connect);
            return self.connected(node, news.connect, None).await;
        }
        match self.sessions.remove(&node) {
            Some(session) => self.closed(node, session, false).await,
            // Its first word since this cluster began to listen is its last one.
            None if news.leaving.is_some() => {
                self.handle
                    .tell(Input::Connected {
                        node,
                        session: news.connect,
                    })
                    .await?;
                self.closed(node, news.connect, false).await
            }
            None => Ok(()),
        }
    }

    /// Over an external broker a worker that was connected before us is known by its messages only.
    async fn heard(&mut self, node: NodeId) -> Result<(), Unavailable> {
        if self.sessions.contains_key(&node) {
            return Ok(());
        }
        self.sessions.insert(node, 0);
        self.connected(node, 0, None).await
    }

    async fn broker(&mut self, state: BrokerState) -> Result<(), Unavailable> {
        match state {
            BrokerState::Lost { reason } => {
                tracing::warn!(reason, "the link to the MQTT broker is down");
                self.handle.tell(Input::Broker { reachable: false }).await
            }
            BrokerState::Subscribed => {
                tracing::info!("the link to the MQTT broker is up");
                self.handle.tell(Input::Broker { reachable: true }).await?;
                // What was sent before is lost: each worker's next message opens its session anew.
                for (node, session) in std::mem::take(&mut self.sessions) {
                    self.connected(node, session, None).await?;
                }
                Ok(())
            }
        }
    }

    /// Counts a message that cannot be read; not every one is worth a line.
    fn complain(&mut self, topic: &Topic, error: &MessageError) {
        self.metrics.dropped.inc();
        let now = Instant::now();
        let quiet = self
            .complained
            .is_some_and(|last| now.duration_since(last) < QUIET);
        if !quiet {
            self.complained = Some(now);
            let error = error as &dyn std::error::Error;
            tracing::warn!(%topic, error, "a message cannot be read and was dropped; others may follow unnamed");
        }
    }
}

/// A message that is no input by itself.
enum Unread {
    Connection(connection::Connection),
    Message(MessageError),
}

impl From<MessageError> for Unread {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

const fn beat(beat: protocol::message::Beat) -> Beat {
    Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}
