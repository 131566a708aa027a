//! Bytes as a peer of the MQTT endpoint, from its first to its last.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use identity::door::{Door, Plain};
use model::id::NodeId;
use mqtt::endpoint::{self, Handle, Inbound, Login, NotAdmitted, Options, Verdict};
use protocol::topic::{Direction, Topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The worker that the prefixes of a session connect.
fn node() -> NodeId {
    NodeId::from_bits((0x0192_u128 << 112) | 1)
}

/// An endpoint that serves one session after another, and what it tells.
struct Bench {
    runtime: Runtime,
    handle: Handle,
    inbound: mpsc::Receiver<Inbound>,
}

thread_local! {
    /// One endpoint for all runs of a thread: a session leaves nothing behind.
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

/// Anybody is a worker who comes with a user name, and a reader without one.
fn authenticate(login: &Login) -> Verdict {
    match &login.username {
        None => Verdict::Reader,
        Some(user) => {
            let id = user.split(':').next().unwrap_or_default();
            id.parse()
                .map_or(Verdict::Refused(NotAdmitted::Password), Verdict::Worker)
        }
    }
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, inbound) = mpsc::channel(4);
        let handle = runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("a port");
            let options = Options {
                max_packet: 4096,
                ..Options::default()
            };
            endpoint::serve(
                (listener, Door::plain(Plain::ThisMachine)),
                options,
                Arc::new(authenticate),
                sender,
                CancellationToken::new(),
            )
            .expect("an endpoint")
        });
        Self {
            runtime,
            handle,
            inbound,
        }
    }

    /// One session. Returns what was told and what was sent.
    fn run(&mut self, data: &[u8], chunk: usize) -> (Vec<Inbound>, Vec<u8>) {
        let Self {
            runtime,
            handle,
            inbound,
        } = self;
        let (ours, theirs) = tokio::io::duplex(64);
        let session = handle.attach(theirs, PEER);
        let mut told = Vec::new();
        let hear = async {
            while let Some(one) = inbound.recv().await {
                // A command after each message: some find a subscription.
                for topic in [Topic::Control(node()), Topic::Request(node())] {
                    let _ = handle.publish(&topic, b"command".as_slice().into());
                }
                told.push(one);
            }
        };
        let sent = runtime.block_on(async {
            let both = async { tokio::join!(session, talk(ours, data, chunk)).1 };
            tokio::select! {
                sent = both => sent,
                () = hear => panic!("the endpoint is gone"),
            }
        });
        while let Ok(one) = inbound.try_recv() {
            told.push(one);
        }
        (told, sent)
    }
}

/// Writes the bytes in chunks, closes, and reads to the end.
async fn talk(stream: DuplexStream, data: &[u8], chunk: usize) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut sent = Vec::new();
    let write = async {
        for part in data.chunks(chunk) {
            // The endpoint may have closed.
            if writer.write_all(part).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    let ((), read) = tokio::join!(write, reader.read_to_end(&mut sent));
    read.expect("a pipe does not fail");
    sent
}

/// Serves the bytes as one peer. The first says how a session begins (nothing, a worker's or a reader's CONNECT before the
/// rest) and in pieces of which size the rest comes.
///
/// What is told is one session from `Connected` to `Closed` with messages of its own topics; what is sent is a CONNACK and
/// then whole packets that servers send.
pub fn mqtt_session(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let user = node().to_string();
    let bytes = match mode & 3 {
        0 => rest.to_vec(),
        1 => [connect(&user, Some(&user)), rest.to_vec()].concat(),
        2 => [connect("reader", None), rest.to_vec()].concat(),
        _ => [connect(&user, Some(&format!("{user}:boot"))), rest.to_vec()].concat(),
    };
    let chunk = match mode >> 2 {
        0 => bytes.len().max(1),
        size => usize::from(size),
    };
    let (told, sent) = BENCH.with_borrow_mut(|bench| bench.run(&bytes, chunk));
    check_told(&told);
    check_sent(&sent);
}

/// A good CONNECT, with a will if it is a worker's.
fn connect(id: &str, user: Option<&str>) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04".to_vec();
    body.extend([if user.is_some() { 0x86 } else { 0x02 }, 0, 60]);
    let will = format!("nodes/{id}/connection");
    let fields = match user {
        Some(user) => vec![id, &will, "offline", user],
        None => vec![id],
    };
    for field in fields {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.bytes());
    }
    let mut packet = vec![
        0x10,
        (body.len() % 128) as u8 | 0x80,
        (body.len() / 128) as u8,
    ];
    packet.extend(body);
    packet
}

fn check_told(told: &[Inbound]) {
    let Some((first, rest)) = told.split_first() else {
        return;
    };
    let Inbound::Connected { node, session, .. } = first else {
        panic!("{first:?} came first");
    };
    let Some((last, messages)) = rest.split_last() else {
        panic!("no end was told");
    };
    assert!(
        matches!(last, Inbound::Closed { node: of, session: number, .. } if (of, number) == (node, session)),
        "{last:?} came last"
    );
    for message in messages {
        let Inbound::Message {
            node: of,
            session: number,
            topic,
            ..
        } = message
        else {
            panic!("{message:?} came between");
        };
        assert_eq!((of, number, topic.node()), (node, session, *node));
        assert_eq!(topic.direction(), Direction::Up);
    }
}

/// Packets that servers send, whole, a CONNACK first; only a refusal stands alone.
fn check_sent(mut sent: &[u8]) {
    let mut count = 0;
    let mut refused = false;
    while let Some((first, rest)) = sent.split_first() {
        let digits = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let length = rest
            .iter()
            .take(digits)
            .rev()
            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        // The last packet may be cut off where the session ended.
        let Some(body) = rest.get(digits..).and_then(|rest| rest.get(..length)) else {
            break;
        };
        assert_eq!(*first == 0x20, count == 0, "packet {count} is {first:#x}");
        assert!(!refused, "something follows a refusal");
        refused = *first == 0x20 && body != [0, 0];
        let known = matches!(
            first,
            0x20 | 0x30 | 0x32 | 0x40 | 0x50 | 0x70 | 0x90 | 0xb0 | 0xd0
        );
        assert!(known, "{first:#x} is sent by no server");
        sent = rest.get(digits + length..).unwrap_or_default();
        count += 1;
    }
}
