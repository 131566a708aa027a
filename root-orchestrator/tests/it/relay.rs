//! Workers that reach their clusters through the root: its part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use identity::authority::{Authority, Life};
use identity::door::{Door, Plain};
use identity::gate::{self, Showing};
use identity::{Server, Trust};
use model::id::{ClusterId, NodeId};
use model::name::Name;
use model::time::Wall;
use mqtt::client::{self, Client, Event, Events, Qos};
use mqtt::endpoint::relay::username;
use mqtt::endpoint::{self, Handle, Inbound, NotAdmitted, Verdict};
use orchestrator::tunnels::Tunnels;
use protocol::message::uplink::relay::{self, Frame};
use protocol::message::uplink::{self, Question, Request};
use protocol::topic::Topic;
use rustls::ClientConfig;
use serde_json::{Value, json};
use socketio::Options;
use store::Memory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::root::{PATIENCE, Root, config};

const NODE: NodeId = NodeId::from_bits(5);
const PASSWORD: &[u8] = b"correct horse";

async fn root() -> Root {
    let config = root_orchestrator::Config {
        mqtt: "127.0.0.1:0".parse().ok(),
        ..config()
    };
    Root::on(Arc::new(Memory::new()), config).await
}

async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(PATIENCE, done).await else {
        panic!("not within {PATIENCE:?}: {what}");
    };
    done
}

/// The door of a cluster, and TLS that believes it.
fn door() -> (Door, Arc<ClientConfig>) {
    let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
    let life = Life {
        from: Wall(0),
        lasting: Duration::from_hours(1),
    };
    let showing = Showing::new(&authority.server(&[], life).unwrap()).unwrap();
    let door = Door::new(
        gate::server(&authority, showing).unwrap(),
        Plain::ThisMachine,
    );
    let trust = Trust::authority(&authority.certificate()).unwrap();
    (door, trust.client(None).unwrap())
}

/// A cluster that serves workers and nothing else.
struct Cluster {
    id: ClusterId,
    tls: Arc<ClientConfig>,
    endpoint: Handle,
    inbound: mpsc::Receiver<Inbound>,
    task: JoinHandle<()>,
}

impl Cluster {
    /// One that knows what a relay is, or one of an older version.
    async fn join(root: &Root, name: &str, relays: bool) -> Self {
        let (sender, inbound) = mpsc::channel(1);
        let judge = |login: &endpoint::Login| match login.password.as_deref() {
            Some(PASSWORD) => Verdict::Worker(NODE),
            Some(_) | None => Verdict::Refused(NotAdmitted::Password),
        };
        let (door, tls) = door();
        let endpoint = endpoint::detached(
            door,
            endpoint::Options::default(),
            Arc::new(judge),
            sender,
            CancellationToken::new(),
        );
        let options = Options {
            namespace: uplink::NAMESPACE.to_owned(),
            ..Options::new(&root.url)
        };
        let (client, mut events) = socketio::connect(options).await.unwrap();
        let request = Request {
            name: Name::new(name).unwrap(),
            location: String::new(),
            scheduler: "first-fit".to_owned(),
            cluster_id: None,
            boot: 1,
            start: 1,
            incarnation: None,
            term: None,
            http: None,
            join_token: None,
            sealing_key: None,
        };
        let request = request.encode();
        let answer = client.emit_with_ack(uplink::REGISTER, &request, PATIENCE);
        let welcome = uplink::read_answer(&answer.await.unwrap())
            .unwrap()
            .unwrap();
        let uplink::RelayAt {
            port, tls: true, ..
        } = welcome.relay.unwrap()
        else {
            panic!("no TLS is passed on");
        };
        assert!(root.mqtt.as_ref().unwrap().ends_with(&format!(":{port}")));
        let (tunnels, mut frames) = Tunnels::new();
        let serving = endpoint.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(frame) = frames.recv() => {
                        client.emit_tracked(uplink::RELAY, &frame.encode()).await.unwrap();
                    }
                    event = events.next() => {
                        let Some(socketio::Event::Message { name, data, ack }) = event else { return };
                        let answer = match name.as_str() {
                            uplink::RELAY if relays => take(&tunnels, &serving, &data),
                            uplink::QUESTION => {
                                Question::decode(&data).unwrap();
                                uplink::reply(Ok(json!({"items": [], "next_cursor": null})))
                            }
                            _ => continue,
                        };
                        if let Some(ack) = ack {
                            ack.send(&answer).await.unwrap();
                        }
                    }
                }
            }
        });
        Self {
            id: welcome.cluster,
            tls,
            endpoint,
            inbound,
            task,
        }
    }

    async fn next(&mut self) -> Inbound {
        let inbound = self.inbound.recv();
        within("something is told", inbound).await.unwrap()
    }

    fn worker(&self, root: &Root, password: &'static [u8]) -> (Client, Events) {
        client::connect(self.options(root, password), CancellationToken::new())
    }

    /// The same by TLS, asking for the cluster `asked`.
    fn secured(&self, root: &Root, asked: ClusterId) -> (Client, Events) {
        let options = client::Options {
            tls: Some(Arc::clone(&self.tls)),
            server: Server::Relayed(asked),
            // The name of the handshake counts, and no other.
            username: Some(format!("{NODE}:boot")),
            ..self.options(root, PASSWORD)
        };
        client::connect(options, CancellationToken::new())
    }

    fn options(&self, root: &Root, password: &'static [u8]) -> client::Options {
        let port = root.mqtt.as_ref().unwrap().rsplit_once(':').unwrap().1;
        client::Options {
            username: Some(username(&format!("{NODE}:boot"), self.id)),
            password: Some(Bytes::from_static(password)),
            will: Some((
                Topic::Connection(NODE).to_string(),
                Bytes::from_static(b"offline"),
            )),
            ..client::Options::new("127.0.0.1", port.parse().unwrap(), NODE.to_string())
        }
    }
}

fn take(tunnels: &Tunnels, endpoint: &Handle, data: &Value) -> Value {
    let frame = Frame::decode(data).unwrap().unwrap();
    if let relay::Event::Open { peer } = frame.event {
        assert!(peer.ip().is_loopback(), "{peer}");
        let (here, there) = tokio::io::duplex(4_096);
        let endpoint = endpoint.clone();
        tokio::spawn(async move { endpoint.attach(there, peer).await });
        tokio::spawn(tunnels.accept(frame.connection).unwrap().carry(here));
    } else {
        tunnels.take(frame);
    }
    Value::Null
}

async fn told(events: &mut Events) -> Event {
    let event = events.next();
    within("the worker hears something", event).await.unwrap()
}

async fn relayed(root: &Root, workers: u32) {
    let line = format!("edgeio_relayed_workers {workers}\n");
    root.until("/metrics", |reply| reply.body.contains(&line))
        .await;
}

#[tokio::test]
async fn a_worker_is_served_by_its_cluster_and_ends_with_the_uplink() {
    let root = root().await;
    let mut cluster = Cluster::join(&root, "c1", true).await;
    let (client, mut events) = cluster.worker(&root, PASSWORD);
    assert_eq!(told(&mut events).await, Event::Connected);
    let connected = cluster.next().await;
    assert!(matches!(connected, Inbound::Connected { node: NODE, .. }));
    relayed(&root, 1).await;

    let topic = Topic::Request(NODE);
    let filter = topic.to_string();
    let filters = [filter.as_str()];
    let subscribed = client.subscribe(&filters);
    within("it is subscribed", subscribed).await.unwrap();
    // As large as it gets: many frames.
    let large = Bytes::from(vec![7; 200_000]);
    let payload = large.clone();
    let up = Topic::Information(NODE).to_string();
    let published = client.publish(&up, payload, Qos::AtLeastOnce);
    published.await.unwrap();
    let Inbound::Message { payload, .. } = cluster.next().await else {
        panic!("no message");
    };
    assert!(payload == large);
    let _ = cluster.endpoint.publish(&topic, large.clone());
    let Event::Message { payload, .. } = told(&mut events).await else {
        panic!("no message");
    };
    assert!(payload == large);

    // The uplink ends, and so does all that went over it: here and there.
    cluster.task.abort();
    assert!(matches!(told(&mut events).await, Event::Closed { .. }));
    let Inbound::Message { payload, .. } = cluster.next().await else {
        panic!("no will");
    };
    assert_eq!(payload, "offline");
    assert!(matches!(cluster.next().await, Inbound::Closed { .. }));
    relayed(&root, 0).await;
    root.stop().await;
}

#[tokio::test]
async fn a_worker_s_tls_ends_at_the_cluster_that_it_asks_for() {
    let root = root().await;
    let mut first = Cluster::join(&root, "c1", true).await;
    let second = Cluster::join(&root, "c2", true).await;
    let (client, mut events) = first.secured(&root, first.id);
    assert_eq!(told(&mut events).await, Event::Connected);
    let connected = first.next().await;
    assert!(matches!(connected, Inbound::Connected { node: NODE, .. }));
    relayed(&root, 1).await;
    let large = Bytes::from(vec![7; 200_000]);
    let up = Topic::Information(NODE).to_string();
    let published = client.publish(&up, large.clone(), Qos::AtLeastOnce);
    published.await.unwrap();
    let Inbound::Message { payload, .. } = first.next().await else {
        panic!("no message");
    };
    assert!(payload == large);

    // What a root passes on to another cluster is not believed to be ours.
    let failed = async |worker: (Client, Events)| {
        let (_client, mut events) = worker;
        match told(&mut events).await {
            Event::Closed {
                reason: client::Closed::Failed(why),
            } => why,
            other => panic!("{other:?}"),
        }
    };
    let why = failed(first.secured(&root, second.id)).await;
    assert!(why.contains("invalid peer certificate"), "{why}");
    // A cluster that is not there, and one that passes nothing on.
    let nobody = ClusterId::from_bits(9);
    let why = failed(first.secured(&root, nobody)).await;
    assert!(why.contains("alert"), "{why}");
    let older = Cluster::join(&root, "c3", false).await;
    let mut stream = dial(&root).await;
    stream.write_all(&hello(&older).await).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    within("it is refused", read).await.unwrap();
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 80]);
    let text = root.get("/metrics").await.body;
    assert!(
        text.contains("refused_total{reason=\"unavailable\"} 2"),
        "{text}"
    );
    root.stop().await;
}

/// What a worker of that cluster says first.
async fn hello(cluster: &Cluster) -> Vec<u8> {
    let (worker, mut relay) = tokio::io::duplex(4_096);
    let (tls, asked) = (Arc::clone(&cluster.tls), Server::Relayed(cluster.id));
    tokio::spawn(async move { identity::secured(worker, Some(tls), asked).await.map(drop) });
    let mut said = vec![0; 4_096];
    let read = within("it speaks", relay.read(&mut said)).await.unwrap();
    said.truncate(read);
    said
}

#[tokio::test]
async fn who_cannot_be_relayed_is_told_why() {
    let root = root().await;
    let cluster = Cluster::join(&root, "c1", true).await;
    let older = Cluster::join(&root, "c2", false).await;
    let refused = async |worker: (Client, Events)| {
        let (_client, mut events) = worker;
        match told(&mut events).await {
            Event::Closed {
                reason: client::Closed::Refused(code),
            } => code,
            other => panic!("{other:?}"),
        }
    };
    // By the cluster.
    assert_eq!(refused(cluster.worker(&root, b"wrong")).await, 5);
    // By the root, for now: nobody is there, or nobody who knows what to do.
    let begun = Instant::now();
    let answer = raw(&root, &connect(older.id)).await;
    assert_eq!(answer, [0x20, 2, 0, 3], "after {:?}", begun.elapsed());
    cluster.task.abort();
    let _ = cluster.task.await;
    let gone = raw(&root, &connect(ClusterId::from_bits(9))).await;
    assert_eq!(gone, [0x20, 2, 0, 3]);
    // What is no worker is closed.
    let silence = raw(&root, b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(silence.is_empty(), "{silence:?}");
    let text = root.get("/metrics").await.body;
    for counted in ["unavailable\"} 2", "silent\"} 1"] {
        assert!(
            text.contains(&format!("refused_total{{reason=\"{counted}")),
            "{text}"
        );
    }
    root.stop().await;
}

/// A CONNECT of a worker, by hand.
fn connect(cluster: ClusterId) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\xc2\x00\x3c".to_vec();
    let user = username(&format!("{NODE}:boot"), cluster);
    for field in [NODE.to_string().as_bytes(), user.as_bytes(), PASSWORD] {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field);
    }
    packet(0x10, &body)
}

/// A packet with its length, of one byte or two.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (low, high) = ((body.len() % 128) as u8, (body.len() / 128) as u8);
    let head = if high == 0 {
        vec![first, low]
    } else {
        vec![first, low | 0x80, high]
    };
    [head.as_slice(), body].concat()
}

async fn dial(root: &Root) -> TcpStream {
    let address = root.mqtt.as_ref().unwrap().strip_prefix("mqtt://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// All that is answered until the connection is closed.
async fn raw(root: &Root, bytes: &[u8]) -> Vec<u8> {
    let mut stream = dial(root).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    within("it is closed", read).await.unwrap();
    answer
}

#[tokio::test]
async fn a_flood_stands_still_and_the_uplink_s_own_traffic_does_not() {
    let root = root().await;
    // Nobody reads what its workers say.
    let cluster = Cluster::join(&root, "c1", true).await;
    let mut stream = dial(&root).await;
    stream.write_all(&connect(cluster.id)).await.unwrap();
    let mut answer = [0; 4];
    let read = stream.read_exact(&mut answer);
    within("it is let in", read).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let flood = tokio::spawn(async move {
        let topic = Topic::Information(NODE).to_string();
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.resize(16_000, b' ');
        let publish = packet(0x30, &body);
        while stream.write_all(&publish).await.is_ok() {
            count.fetch_add(publish.len(), Ordering::Relaxed);
        }
    });
    // What was taken is in the kernel's buffers and in windows: it ends, while the uplink answers as before.
    let begun = Instant::now();
    let (mut before, mut slowest) = (usize::MAX, Duration::ZERO);
    while written.load(Ordering::Relaxed) != before {
        before = written.load(Ordering::Relaxed);
        for _ in 0..50 {
            let asked = Instant::now();
            let reply = root.get("/api/v1/clusters/c1/nodes").await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            slowest = slowest.max(asked.elapsed());
        }
        assert!(begun.elapsed() < PATIENCE, "{before} bytes were taken");
    }
    assert!(!flood.is_finished());
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    flood.abort();
    root.stop().await;
}
