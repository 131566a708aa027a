//! A cluster-orchestrator's link to its workers, over its own endpoint or over an external broker.
//!
//! Both give the same [`Inbound`] stream and take the same publish call. Through an external broker nobody tells who is
//! connected: there the owner learns it from the `connection` payloads, and from [`Inbound::Broker`] when to doubt them all.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::id::NodeId;
use protocol::topic::{Direction, Topic};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::client::{self, Client, ClientError, Event, Qos};
use crate::endpoint::{Handle, Inbound, Published};

/// What a cluster subscribes to at an external broker.
pub const UPWARD: [&str; 5] = [
    "nodes/+/information",
    "nodes/+/instances",
    "nodes/+/sync",
    "nodes/+/connection",
    "nodes/+/reply/#",
];

/// How the link to an external broker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerState {
    /// Connected, and every upward topic is subscribed to. What was sent before is lost: every worker is to be heard anew.
    Subscribed,
    /// The connection was lost or could not be made; it is being tried again.
    Lost {
        /// Why, for the log.
        reason: String,
    },
}

/// Sends to workers, whichever way they are reached. Clones use the same way.
#[derive(Debug, Clone)]
pub enum Link {
    /// The cluster's own endpoint.
    Own(Handle),
    /// A broker that the operator runs, and an endpoint for the workers that reach us past it.
    External(Broker, Handle),
}

impl Link {
    /// Sends a message to the worker of a downward topic. Never waits.
    ///
    /// Through an external broker `Published` only says that the message is under way to the broker.
    pub fn publish(&self, topic: &Topic, payload: Bytes) -> Published {
        match self {
            Self::Own(handle) => handle.publish(topic, payload),
            Self::External(broker, relayed) => match relayed.publish(topic, payload.clone()) {
                Published::NoSession => broker.publish(topic, payload),
                done @ (Published::Published | Published::Full | Published::TooLarge) => done,
            },
        }
    }

    /// Ends the session of a worker. An external broker is not asked to: it offers no such thing.
    pub fn disconnect(&self, node: NodeId) {
        match self {
            Self::Own(handle) | Self::External(_, handle) => handle.disconnect(node),
        }
    }

    /// Where workers are served that come by another way than the broker's address.
    pub const fn endpoint(&self) -> &Handle {
        match self {
            Self::Own(handle) | Self::External(_, handle) => handle,
        }
    }

    /// Resolves once the link was shut down and nothing of it runs any more.
    pub async fn stopped(&self) {
        match self {
            Self::Own(handle) => handle.stopped().await,
            Self::External(broker, relayed) => {
                broker.running.closed().await;
                relayed.stopped().await;
            }
        }
    }
}

/// The link to an external broker. A task of its own keeps it connected.
#[derive(Debug, Clone)]
pub struct Broker {
    /// The connection in use, once it is subscribed.
    current: Arc<Mutex<Option<Client>>>,
    /// Its receiver is held by the task.
    running: Arc<watch::Sender<()>>,
}

impl Broker {
    fn publish(&self, topic: &Topic, payload: Bytes) -> Published {
        if topic.direction() != Direction::Down {
            return Published::NoSession;
        }
        let Some(client) = self.current() else {
            return Published::NoSession;
        };
        match client.try_publish(&topic.to_string(), payload, Qos::AtLeastOnce) {
            Ok(()) => Published::Published,
            Err(ClientError::Full) => Published::Full,
            Err(ClientError::Invalid) => Published::TooLarge,
            Err(ClientError::Ended | ClientError::Refused) => Published::NoSession,
        }
    }

    fn current(&self) -> Option<Client> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, client: Option<Client>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

/// Keeps a link to an external broker until the token is cancelled. Must be called inside a tokio runtime.
///
/// `dial` says for each connection how it is made: what proves who we are does not last for ever. The session number of
/// each message counts the connections made since the start.
pub fn external(
    dial: impl Fn() -> io::Result<client::Options> + Send + 'static,
    inbound: mpsc::Sender<Inbound>,
    shutdown: CancellationToken,
) -> Broker {
    let (running, witness) = watch::channel(());
    let broker = Broker {
        current: Arc::default(),
        running: Arc::new(running),
    };
    let kept = broker.clone();
    tokio::spawn(async move {
        keep(dial, kept, inbound, shutdown).await;
        drop(witness);
    });
    broker
}

/// The owner of the inbound stream is gone, or hears no more because of the shutdown.
struct Deserted;

async fn keep(
    dial: impl Fn() -> io::Result<client::Options>,
    broker: Broker,
    inbound: mpsc::Sender<Inbound>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::default();
    let mut session = 0;
    while !shutdown.is_cancelled() {
        session += 1;
        let attempt = Attempt {
            session,
            broker: &broker,
            inbound: &inbound,
            shutdown: &shutdown,
        };
        let ended = match dial() {
            Ok(options) => attempt.run(options, &mut backoff).await,
            Err(error) => Ok(error.to_string()),
        };
        broker.set(None);
        let Ok(reason) = ended else { return };
        tracing::info!(%reason, "the link to the MQTT broker ended");
        if attempt
            .tell(Inbound::Broker(BrokerState::Lost { reason }))
            .await
            .is_err()
        {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// One connection to the broker.
struct Attempt<'a> {
    session: u64,
    broker: &'a Broker,
    inbound: &'a mpsc::Sender<Inbound>,
    shutdown: &'a CancellationToken,
}

impl Attempt<'_> {
    /// Runs the connection to its end and tells the reason.
    async fn run(
        &self,
        options: client::Options,
        backoff: &mut Backoff,
    ) -> Result<String, Deserted> {
        let (client, mut events) = client::connect(options, self.shutdown.clone());
        let subscribing = client.clone();
        let subscribe = async move { subscribing.subscribe(&UPWARD).await };
        tokio::pin!(subscribe);
        let mut subscribed = false;
        loop {
            let event = tokio::select! {
                biased;
                // First, so that the answer counts before the messages that came with it.
                answer = &mut subscribe, if !subscribed => {
                    match answer {
                        Ok(()) => {}
                        // The connection tells the reason of its own end.
                        Err(ClientError::Ended) => return self.drain(&mut events).await,
                        Err(error) => return Ok(error.to_string()),
                    }
                    subscribed = true;
                    backoff.reset();
                    self.broker.set(Some(client.clone()));
                    self.tell(Inbound::Broker(BrokerState::Subscribed)).await?;
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(Event::Connected) => {}
                Some(Event::Message { topic, payload }) => self.forward(&topic, payload).await?,
                Some(Event::Closed { reason }) => return Ok(reason.to_string()),
                None => return Ok("the connection ended".to_owned()),
            }
        }
    }

    async fn drain(&self, events: &mut client::Events) -> Result<String, Deserted> {
        while let Some(event) = events.next().await {
            match event {
                Event::Connected => {}
                Event::Message { topic, payload } => self.forward(&topic, payload).await?,
                Event::Closed { reason } => return Ok(reason.to_string()),
            }
        }
        Ok("the connection ended".to_owned())
    }

    /// Passes a message on. Through a foreign broker anything may come; what is no upward topic is dropped.
    async fn forward(&self, name: &str, payload: Bytes) -> Result<(), Deserted> {
        let topic = match name.parse::<Topic>() {
            Ok(topic) if topic.direction() == Direction::Up => topic,
            Ok(_) | Err(_) => {
                tracing::debug!(topic = name, "a message on no topic of ours was dropped");
                return Ok(());
            }
        };
        let (node, session) = (topic.node(), self.session);
        self.tell(Inbound::Message {
            node,
            session,
            topic,
            payload,
        })
        .await
    }

    async fn tell(&self, inbound: Inbound) -> Result<(), Deserted> {
        tokio::select! {
            biased;
            sent = self.inbound.send(inbound) => sent.map_err(|_| Deserted),
            () = self.shutdown.cancelled() => Err(Deserted),
        }
    }
}

#[cfg(test)]
mod tests;
