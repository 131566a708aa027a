//! What the tests share: an endpoint on a free port, and a peer that speaks hand-written packets.

mod papers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::Holder;
use identity::door::{Door, Plain};
use identity::gate::Peer;
use model::id::NodeId;
use protocol::topic::Topic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client;
use crate::endpoint::{
    self, Attempt, Denied, Handle, Inbound, Login, NotAdmitted, Options, Reason, Verdict, Witness,
};
pub(crate) use papers::{LIFE, Papers};

/// Whatever is awaited in a test comes within this time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Rig {
    pub(crate) handle: Handle,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    /// What the witness was told.
    pub(crate) denials: mpsc::UnboundedReceiver<Denied>,
    pub(crate) shutdown: CancellationToken,
}

/// Workers come with their certificate, or with their id and the password, readers without a user name, and the rest is
/// refused.
fn authenticate(login: &Login) -> Verdict {
    if let Some(Peer {
        holder: Holder::Worker(node),
        ..
    }) = login.certificate
    {
        return Verdict::Worker(node);
    }
    match (&login.username, &login.password) {
        (None, _) => Verdict::Reader,
        (Some(user), Some(password)) if password == PASSWORD.as_bytes() => {
            let id = user.split(':').next().unwrap_or_default();
            id.parse()
                .map_or(Verdict::Refused(NotAdmitted::Password), Verdict::Worker)
        }
        (Some(_), _) => Verdict::Refused(NotAdmitted::Password),
    }
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default(), 64).await
    }

    pub(crate) async fn with(options: Options, inbound: usize) -> Self {
        Self::behind(Door::plain(Plain::ThisMachine), options, inbound).await
    }

    pub(crate) async fn behind(door: Door, options: Options, inbound: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, receiver) = mpsc::channel(inbound);
        let (told, denials) = mpsc::unbounded_channel();
        let options = Options {
            // A test that ended does not listen.
            witness: Witness::new(move |denied| drop(told.send(denied.clone()))),
            ..options
        };
        let shutdown = CancellationToken::new();
        let handle = endpoint::serve(
            (listener, door),
            options,
            Arc::new(authenticate),
            sender,
            shutdown.clone(),
        )
        .unwrap();
        Self {
            handle,
            inbound: receiver,
            denials,
            shutdown,
        }
    }

    pub(crate) async fn next(&mut self) -> Inbound {
        timeout(DEADLINE, self.inbound.recv())
            .await
            .expect("nothing was told")
            .expect("no sender")
    }

    /// The next thing told, which must be the beginning of a session.
    pub(crate) async fn connected(&mut self) -> (NodeId, u64) {
        match self.next().await {
            Inbound::Connected { node, session, .. } => (node, session),
            other => panic!("expected Connected, got {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> (Topic, Bytes) {
        match self.next().await {
            Inbound::Message { topic, payload, .. } => (topic, payload),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> Reason {
        match self.next().await {
            Inbound::Closed { reason, .. } => reason,
            other => panic!("expected Closed, got {other:?}"),
        }
    }

    /// The next refusal that the witness is told of.
    pub(crate) async fn denied(&mut self) -> Denied {
        timeout(DEADLINE, self.denials.recv())
            .await
            .expect("no refusal was told")
            .expect("no sender")
    }

    /// All that was refused so far.
    pub(crate) fn attempts(&mut self) -> Vec<Attempt> {
        std::iter::from_fn(|| self.denials.try_recv().ok())
            .map(|denied| denied.attempt)
            .collect()
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw {
            stream: TcpStream::connect(self.handle.local_addr()).await.unwrap(),
        }
    }

    /// A peer with a small receive buffer, so that it fills soon.
    pub(crate) async fn narrow(&self) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Raw {
            stream: socket.connect(self.handle.local_addr()).await.unwrap(),
        }
    }

    /// A connected worker; its `Connected` is taken from the inbound queue.
    pub(crate) async fn worker(&mut self, node: NodeId) -> Raw {
        let mut raw = self.raw().await;
        raw.send(&Connect::worker(node).bytes()).await;
        assert_eq!(raw.packet().await, (0x20, vec![0, 0]));
        assert_eq!(self.connected().await.0, node);
        raw
    }

    pub(crate) async fn reader(&self, filter: &str) -> Raw {
        let mut raw = self.raw().await;
        raw.send(&Connect::reader("").bytes()).await;
        assert_eq!(raw.packet().await, (0x20, vec![0, 0]));
        assert_eq!(raw.subscribe(filter, 0).await, 0);
        raw
    }

    pub(crate) fn client(&self, node: NodeId) -> client::Options {
        let address = self.handle.local_addr();
        let mut options =
            client::Options::new(address.ip().to_string(), address.port(), node.to_string());
        options.username = Some(format!("{node}:boot-1"));
        options.password = Some(Bytes::from_static(PASSWORD.as_bytes()));
        options
    }
}

pub(crate) fn node(number: u128) -> NodeId {
    NodeId::from_bits((0x0192_u128 << 112) | number)
}

/// A CONNECT packet in the making.
pub(crate) struct Connect {
    pub(crate) protocol: &'static str,
    pub(crate) level: u8,
    pub(crate) client_id: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(String, String)>,
}

impl Connect {
    pub(crate) fn worker(node: NodeId) -> Self {
        Self {
            protocol: "MQTT",
            level: 4,
            client_id: node.to_string(),
            user: Some(node.to_string()),
            password: Some(PASSWORD.into()),
            keep_alive: 60,
            will: None,
        }
    }

    pub(crate) fn reader(name: &str) -> Self {
        Self {
            protocol: "MQTT",
            level: 4,
            client_id: name.into(),
            user: None,
            password: None,
            keep_alive: 60,
            will: None,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = 2;
        let mut body = text(self.protocol);
        let mut payload = text(&self.client_id);
        if let Some((topic, message)) = &self.will {
            flags |= 0x04 | 0x08;
            payload.extend(text(topic));
            payload.extend(text(message));
        }
        if let Some(user) = &self.user {
            flags |= 0x80;
            payload.extend(text(user));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(text(password));
        }
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(payload);
        packet(0x10, &body)
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// A field with its length before it.
pub(crate) fn binary(field: &[u8]) -> Vec<u8> {
    let mut bytes = (field.len() as u16).to_be_bytes().to_vec();
    bytes.extend(field);
    bytes
}

/// A SUBSCRIBE packet.
pub(crate) fn subscribe(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(text(filter));
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE packet.
pub(crate) fn unsubscribe(id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for filter in filters {
        body.extend(text(filter));
    }
    packet(0xa2, &body)
}

/// Whether a test that needs Mosquitto runs: the harness asks for it by `EDGEIO_REQUIRE`.
#[expect(clippy::print_stderr, reason = "says why a test did nothing")]
pub(crate) fn mosquitto_is_required() -> bool {
    let required = std::env::var("EDGEIO_REQUIRE").is_ok_and(|list| list.contains("mosquitto"));
    if !required {
        eprintln!("left out: set EDGEIO_REQUIRE=mosquitto to test against Mosquitto");
    }
    required
}

/// A packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub(crate) fn publish(topic: &str, payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | (qos << 1), &body)
}

/// A peer that speaks hand-written packets.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet: its first byte and its body.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        timeout(DEADLINE, self.try_packet())
            .await
            .expect("no packet came")
            .expect("closed")
    }

    async fn try_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((first, body))
    }

    /// Waits for the other side to close, whatever it still sends.
    pub(crate) async fn ended(&mut self) {
        self.rest().await;
    }

    /// All that the other side sends until it closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut bytes = [0; 1024];
        let end = async {
            while let Ok(count @ 1..) = self.stream.read(&mut bytes).await {
                all.extend(&bytes[..count]);
            }
        };
        timeout(DEADLINE, end)
            .await
            .expect("the connection stayed open");
        all
    }

    /// Subscribes and returns the code of the answer.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.send(&subscribe(9, &[(filter, qos)])).await;
        let (first, body) = self.packet().await;
        assert_eq!((first, &body[..2]), (0x90, &[0, 9][..]));
        body[2]
    }

    /// The next packet, which must be a publish: topic, payload, packet id.
    pub(crate) async fn publish(&mut self) -> (String, Vec<u8>, Option<u16>) {
        let (first, body) = self.packet().await;
        assert_eq!(first >> 4, 3, "expected a publish, got {first:#x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let rest = &body[2 + length..];
        if first & 0x06 == 0 {
            return (topic, rest.to_vec(), None);
        }
        (
            topic,
            rest[2..].to_vec(),
            Some(u16::from_be_bytes([rest[0], rest[1]])),
        )
    }

    pub(crate) async fn ack(&mut self, id: u16) {
        self.send(&packet(0x40, &id.to_be_bytes())).await;
    }
}
