//! One connection to an MQTT broker: of a node-engine to its cluster, or of a cluster to an external broker.
//!
//! # Flow
//! [`connect`] starts a task that owns the connection. [`Events`] tells `Connected` once the broker let us in, then the
//! messages, and at last `Closed`; after that the connection is never taken up again. Whoever wants another one calls
//! [`connect`] again, after a [`crate::backoff::Backoff`]: one connection for each call keeps "what was subscribed when" in
//! one place, with the caller.
//!
//! # Guarantees
//! - Sessions are clean, and no message of one connection is sent on another.
//! - Both queues are bounded. While nobody takes events, nothing is read and no ping is sent, so a caller that stops
//!   listening for longer than a keep-alive loses its connection.
//! - A broker that owes an answer (to a ping, a subscription or a QoS 1 message) is given up one and a half keep-alives after
//!   its last byte, as it gives up us.

mod silence;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::Server;
use rumqttc::{
    AsyncClient, Broker, ConnectionError, Event as Incident, EventLoop, LastWill, MqttOptions,
    NetworkOptions, Packet, PublishOptions, SubscribeFilter,
};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use silence::Silence;
use stream::Heard;

/// Messages that may wait for their PUBACK.
const INFLIGHT: u16 = 32;

/// How long the rest of a clean goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// How to reach a broker, and as whom.
#[derive(Clone)]
pub struct Options {
    /// The broker's host name or address.
    pub host: String,
    /// The broker's TCP port.
    pub port: u16,
    /// TLS, and whom it believes; plain text where there is none.
    pub tls: Option<Arc<ClientConfig>>,
    /// What is asked for by TLS; default [`Server::Broker`].
    pub server: Server,
    /// The client id; a worker's is its node id.
    pub client_id: String,
    /// The user name; a worker's is `<node id>:<boot id>`.
    pub username: Option<String>,
    /// The password; sent only with a user name.
    pub password: Option<Bytes>,
    /// Seconds without traffic after which a ping is sent; default 5.
    pub keep_alive: u16,
    /// Topic and payload that the broker publishes, at QoS 1, if the connection ends without a goodbye.
    pub will: Option<(String, Bytes)>,
    /// The largest packet in bytes, each way; default 256 KiB.
    pub max_packet: usize,
    /// From the first SYN to CONNACK, in whole seconds; default 5 s. The check for cloned disks alone may take 2 s.
    pub connect_within: Duration,
    /// Messages that wait to be sent, and events that wait to be taken; default 32 each.
    pub queue: usize,
}

impl Options {
    /// Defaults for a broker and a client id.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            server: Server::Broker,
            client_id: client_id.into(),
            username: None,
            password: None,
            keep_alive: 5,
            will: None,
            max_packet: 256 * 1024,
            connect_within: Duration::from_secs(5),
            queue: 32,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password stays out of every log.
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How surely a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Sent once, perhaps lost.
    AtMostOnce,
    /// Acknowledged by the broker.
    AtLeastOnce,
}

impl From<Qos> for rumqttc::QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

/// What a connection brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The broker let us in. Comes once, first.
    Connected,
    /// A message of a topic that was subscribed to. An empty one on a `request` topic is a sign of life being asked for, and
    /// is acknowledged already.
    Message {
        /// The topic.
        topic: String,
        /// The payload.
        payload: Bytes,
    },
    /// The connection ended or never came about. Comes once, last.
    Closed {
        /// Why.
        reason: Closed,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The broker refused us with this CONNACK code (MQTT 3.1.1, table 3.1).
    #[error("the broker refused the connection with code {0}")]
    Refused(u8),
    /// The options cannot be used, for instance an unusable will topic.
    #[error("the connection cannot be set up: {0}")]
    Unusable(String),
    /// The network or the broker failed.
    #[error("the connection to the broker failed: {0}")]
    Failed(String),
    /// We said goodbye, by the token or by [`Client::disconnect`].
    #[error("the connection was closed on request")]
    Finished,
}

/// Why a request to a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The connection has ended.
    #[error("the connection to the broker has ended")]
    Ended,
    /// A topic or filter is malformed, or a message is too large.
    #[error("the topic, filter or message is not permitted")]
    Invalid,
    /// The broker refused at least one of the filters.
    #[error("the broker refused a subscription")]
    Refused,
    /// The queue is full.
    #[error("too many messages wait to be sent")]
    Full,
}

/// Sends over one connection. Clones send over the same one.
#[derive(Debug, Clone)]
pub struct Client {
    inner: AsyncClient,
    max_packet: usize,
    /// Cancelled when the connection has ended. What the library still has queued then is never answered, nor given up
    /// while a client lives.
    ended: CancellationToken,
}

/// Brings what one connection receives.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` after `Closed`. Safe to cancel.
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.recv().await
    }
}

/// Begins one connection. Must be called inside a tokio runtime.
///
/// The connection ends with a DISCONNECT when the token is cancelled or [`Client::disconnect`] is called, and without one,
/// so that the will is published, when [`Events`] is dropped.
pub fn connect(options: Options, shutdown: CancellationToken) -> (Client, Events) {
    let (events, queue) = mpsc::channel(options.queue.max(1));
    let max_packet = options.max_packet;
    let network = network(&options);
    let (tls, server) = (options.tls.clone(), options.server);
    let requests = options.queue.max(1);
    let (mut options, heard) = (translate(options), Heard::new());
    let noted = heard.clone();
    // TLS is put around it here, so that every byte is a sign of life, and whom it believes is ours to say.
    options.set_socket_connector(move |place, network| {
        stream::dial(place, network, noted.clone(), (tls.clone(), server))
    });
    // The options were filled in by setters that cannot fail, so this builder has nothing to refuse.
    let (inner, mut eventloop) = AsyncClient::builder(options).capacity(requests).build();
    eventloop.set_network_options(network);
    let client = Client {
        inner,
        max_packet,
        ended: CancellationToken::new(),
    };
    tokio::spawn(run(eventloop, heard, client.clone(), events, shutdown));
    (client, Events { queue })
}

impl Client {
    /// Subscribes to filters at QoS 1 and waits for the broker's answer.
    ///
    /// Errs if the broker refused one of them, or if the connection ends first or never comes about.
    pub async fn subscribe(&self, filters: &[&str]) -> Result<(), ClientError> {
        let filters = filters
            .iter()
            .map(|filter| SubscribeFilter::new((*filter).to_owned(), rumqttc::QoS::AtLeastOnce));
        let asked = async {
            let notice = self
                .inner
                .subscribe_many_tracked(filters)
                .await
                .map_err(|error| translate_error(&error))?;
            notice.wait_async().await.map_err(|_| ClientError::Ended)
        };
        let granted = tokio::select! {
            biased;
            granted = asked => granted?,
            () = self.ended.cancelled() => return Err(ClientError::Ended),
        };
        if granted
            .return_codes
            .contains(&rumqttc::SubscribeReasonCode::Failure)
        {
            return Err(ClientError::Refused);
        }
        Ok(())
    }

    /// Hands a message over, waiting for room in the queue. Returns before the broker has it.
    ///
    /// What is sent more often than the keep-alive should be sent at least once: with nothing to be acknowledged and no
    /// reason to ping, a broker that stands still would go unnoticed.
    pub async fn publish(&self, topic: &str, payload: Bytes, qos: Qos) -> Result<(), ClientError> {
        self.check(topic, &payload)?;
        let options = PublishOptions::new(qos.into());
        self.inner
            .publish(topic, payload, options)
            .await
            .map_err(|error| translate_error(&error))
    }

    /// Hands a message over at QoS 1, waiting for room in the queue. The future that comes back ends when the broker has the
    /// message: whoever has much to say keeps what is under way small with it, so that other messages wait for little.
    pub async fn publish_acknowledged(
        &self,
        topic: &str,
        payload: Bytes,
    ) -> Result<impl Future<Output = Result<(), ClientError>> + Send + use<>, ClientError> {
        self.check(topic, &payload)?;
        let options = PublishOptions::new(rumqttc::QoS::AtLeastOnce);
        let published = self.inner.publish_tracked(topic, payload, options).await;
        let notice = published.map_err(|error| translate_error(&error))?;
        let ended = self.ended.clone();
        Ok(async move {
            tokio::select! {
                biased;
                answer = notice.wait_async() => answer.map(|_| ()).map_err(|_| ClientError::Ended),
                () = ended.cancelled() => Err(ClientError::Ended),
            }
        })
    }

    /// Hands a message over if there is room in the queue.
    pub fn try_publish(&self, topic: &str, payload: Bytes, qos: Qos) -> Result<(), ClientError> {
        self.check(topic, &payload)?;
        let options = PublishOptions::new(qos.into());
        self.inner
            .try_publish(topic, payload, options)
            .map_err(|error| translate_error(&error))
    }

    /// Sends what is queued, then DISCONNECT, so that the will is not published. `Closed` follows.
    pub async fn disconnect(&self) -> Result<(), ClientError> {
        self.inner
            .disconnect_with_timeout(GOODBYE)
            .await
            .map_err(|error| translate_error(&error))
    }

    /// A message that is too large would end the connection instead of being refused.
    fn check(&self, topic: &str, payload: &Bytes) -> Result<(), ClientError> {
        if topic.len() + payload.len() + 4 > self.max_packet {
            return Err(ClientError::Invalid);
        }
        Ok(())
    }
}

fn translate(options: Options) -> MqttOptions {
    let mut translated =
        MqttOptions::new(options.client_id, Broker::tcp(options.host, options.port));
    translated.set_keep_alive(options.keep_alive);
    // The library's own limit is 10 KiB each way, and a larger packet ends the connection.
    translated.set_max_packet_size(options.max_packet.max(1), options.max_packet.max(1));
    translated.set_inflight(INFLIGHT);
    match (options.username, options.password) {
        (Some(username), Some(password)) => translated.set_credentials(username, password),
        (Some(username), None) => translated.set_username(username),
        (None, _) => translated.clear_auth(),
    };
    if let Some((topic, payload)) = options.will {
        let will = LastWill::new(topic, payload, rumqttc::QoS::AtLeastOnce, false);
        translated.set_last_will(will);
    }
    translated
}

fn network(options: &Options) -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(options.connect_within.as_secs().max(1));
    network
}

fn translate_error(error: &rumqttc::ClientError) -> ClientError {
    match error {
        rumqttc::ClientError::RequestChannelFull(_) => ClientError::Full,
        rumqttc::ClientError::InvalidRequest(_) => ClientError::Invalid,
        _ => ClientError::Ended,
    }
}

/// Turns the library's loop, which would reconnect for ever, into one connection.
async fn run(
    mut eventloop: EventLoop,
    heard: Heard,
    client: Client,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    let ended = client.ended.drop_guard();
    let mut connected = false;
    let reason = tokio::select! {
        reason = deliver(&mut eventloop, &heard, &events, &mut connected) => Some(reason),
        () = shutdown.cancelled() => None,
        () = events.closed() => return,
    };
    let reason = if let Some(reason) = reason {
        reason
    } else if !connected {
        Closed::Finished
    } else {
        // Errors mean that the connection is gone already, which is what was wanted.
        let _ = client.inner.try_disconnect_with_timeout(GOODBYE);
        let farewell = async { while eventloop.poll().await.is_ok() {} };
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
        Closed::Finished
    };
    // The queue of requests closes before the end is told, so that a later publish fails at once.
    drop(eventloop);
    drop(ended);
    let _ = events.send(Event::Closed { reason }).await;
}

async fn deliver(
    eventloop: &mut EventLoop,
    heard: &Heard,
    events: &mpsc::Sender<Event>,
    connected: &mut bool,
) -> Closed {
    let keep_alive = eventloop.mqtt_options.keep_alive();
    let seconds = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX);
    let mut silence = Silence::new(keep_alive);
    loop {
        let incident = tokio::select! {
            // What waits to be read counts before a timer that fired late.
            biased;
            incident = eventloop.poll() => incident,
            // Cutting the library's turn short does no harm, since the connection is given up.
            () = silence.too_long(heard) => {
                return Closed::Failed("the broker is not heard any more".to_owned());
            }
        };
        if let Ok(incident) = &incident {
            silence.note(incident, Instant::now());
            let patience = if silence.awaits_pong() { 0 } else { seconds };
            eventloop.mqtt_options.set_keep_alive(patience);
        }
        let event = match incident {
            Ok(Incident::Incoming(Packet::ConnAck(_))) => {
                *connected = true;
                Event::Connected
            }
            Ok(Incident::Incoming(Packet::Publish(publish))) => {
                // The broker may send anything; a topic that is no text is none that we asked for.
                let Ok(topic) = std::str::from_utf8(&publish.topic) else {
                    continue;
                };
                Event::Message {
                    topic: topic.to_owned(),
                    payload: publish.payload,
                }
            }
            Ok(Incident::Incoming(_) | Incident::Outgoing(_)) => continue,
            Err(ConnectionError::ConnectionRefused(code)) => return Closed::Refused(code as u8),
            Err(ConnectionError::RequestsDone) => return Closed::Finished,
            Err(error) => return Closed::Failed(error.to_string()),
        };
        if events.send(event).await.is_err() {
            return Closed::Finished;
        }
    }
}

#[cfg(test)]
mod tests;
