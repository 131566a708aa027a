//! Workers that come by way of a relay.

use std::time::Duration;

use bytes::Bytes;
use identity::{Holder, Server, Trust};
use model::id::ClusterId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use crate::endpoint::relay::{Greeting, Refusal, Speaks, greet, refuse, username};
use crate::endpoint::{Inbound, Options, Reason};
use crate::rig::{Connect, DEADLINE, PASSWORD, Papers, Rig, node, packet, publish};

const CLUSTER: ClusterId = ClusterId::from_bits(9);

/// What a worker says first to a relay.
fn connect(boot: &str) -> Vec<u8> {
    let user = username(&format!("{}:{boot}", node(1)), CLUSTER);
    let connect = Connect {
        user: Some(user),
        ..Connect::worker(node(1))
    };
    connect.bytes()
}

/// What a worker says first that goes by TLS.
async fn hello(server: Server) -> Vec<u8> {
    let nobody = Trust::pinned("A".repeat(43).parse().unwrap());
    let (worker, mut relay) = duplex(4_096);
    let tls = nobody.client(None).unwrap();
    tokio::spawn(async move { identity::secured(worker, Some(tls), server).await.map(drop) });
    let mut said = vec![0; 4_096];
    let read = timeout(DEADLINE, relay.read(&mut said)).await.unwrap();
    said.truncate(read.unwrap());
    said
}

async fn greeted(bytes: &[u8]) -> Result<Greeting, (Refusal, Speaks)> {
    let (mut peer, mut stream) = duplex(64);
    let bytes = bytes.to_vec();
    tokio::spawn(async move {
        // Byte by byte, as a slow line brings it; and then nothing.
        for byte in bytes {
            let _ = peer.write_all(&[byte]).await;
        }
        std::future::pending::<()>().await;
    });
    greet(&mut stream, Duration::from_secs(2)).await
}

#[tokio::test]
async fn a_greeting_says_where_to_and_keeps_every_byte() {
    let said = connect("boot-1");
    let greeting = greeted(&said).await.unwrap();
    assert_eq!((greeting.cluster, greeting.speaks), (CLUSTER, Speaks::Mqtt));
    assert_eq!(greeting.bytes, said);
    assert!(!format!("{greeting:?}").contains(PASSWORD));

    // What a peer did not wait to send is not lost.
    let (mut peer, mut stream) = duplex(4_096);
    let both = [said.as_slice(), &packet(0xc0, b"")].concat();
    peer.write_all(&both).await.unwrap();
    let greeting = greet(&mut stream, DEADLINE).await.unwrap();
    assert_eq!(greeting.bytes, both);

    let said = hello(Server::Relayed(CLUSTER)).await;
    let greeting = greeted(&said).await.unwrap();
    assert_eq!((greeting.cluster, greeting.speaks), (CLUSTER, Speaks::Tls));
    assert_eq!(greeting.bytes, said);
}

#[tokio::test]
async fn what_is_no_greeting_is_refused_as_far_as_it_can_be_answered() {
    let worker = || Connect::worker(node(1));
    let user = |user: &str| Connect {
        user: Some(user.to_owned()),
        ..worker()
    };
    let cases: Vec<(&str, Vec<u8>, Refusal)> = vec![
        ("no route", worker().bytes(), Refusal::NoRoute),
        ("nobody", Connect::reader("a").bytes(), Refusal::NoRoute),
        ("no cluster", user("a:b@c").bytes(), Refusal::NoRoute),
        ("an empty route", user("a:b@").bytes(), Refusal::NoRoute),
        (
            "two routes",
            user(&format!("a:b@{CLUSTER}@{CLUSTER}")).bytes(),
            Refusal::NoRoute,
        ),
        (
            "MQTT 5",
            Connect {
                level: 5,
                ..worker()
            }
            .bytes(),
            Refusal::Version,
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Refusal::Silent),
        ("a ping", packet(0xc0, b""), Refusal::Silent),
        ("half of it", connect("b")[..20].to_vec(), Refusal::Silent),
        (
            "a CONNECT that is too large",
            user(&"x".repeat(17_000)).bytes(),
            Refusal::Silent,
        ),
        (
            "a length without an end",
            b"\x10\xff\xff\xff\xff\xff".to_vec(),
            Refusal::Silent,
        ),
    ];
    for (what, bytes, refusal) in cases {
        let refused = Err((refusal, Speaks::Mqtt));
        assert_eq!(greeted(&bytes).await, refused, "{what}");
    }
    let said = hello(Server::Relayed(CLUSTER)).await;
    let cases = [
        ("no cluster", hello(Server::Broker).await, Refusal::NoRoute),
        (
            "half of it",
            said[..said.len() / 2].to_vec(),
            Refusal::Silent,
        ),
        (
            "no TLS",
            b"\x16\x03\x01\x00\x05hello".to_vec(),
            Refusal::Silent,
        ),
    ];
    for (what, bytes, refusal) in cases {
        let refused = Err((refusal, Speaks::Tls));
        assert_eq!(greeted(&bytes).await, refused, "{what}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_code_of_its_reason() {
    use Speaks::{Mqtt, Tls};
    for (refusal, speaks, answer) in [
        (Refusal::Version, Mqtt, &[0x20, 2, 0, 1][..]),
        (Refusal::Unavailable, Mqtt, &[0x20, 2, 0, 3]),
        (Refusal::NoRoute, Mqtt, &[0x20, 2, 0, 5]),
        (Refusal::Plain, Mqtt, &[0x20, 2, 0, 5]),
        (Refusal::Silent, Mqtt, &[]),
        (Refusal::NoRoute, Tls, &[0x15, 3, 3, 0, 2, 2, 112]),
        (Refusal::Unavailable, Tls, &[0x15, 3, 3, 0, 2, 2, 80]),
        (Refusal::Silent, Tls, &[]),
    ] {
        let (mut peer, stream) = duplex(64);
        let said = async {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            drop(peer);
            all
        };
        let (said, ()) = timeout(DEADLINE, async {
            tokio::join!(said, refuse(stream, refusal, speaks))
        })
        .await
        .unwrap();
        assert_eq!(said, answer);
    }
}

/// A stream into the endpoint, past its listener.
fn attach(rig: &Rig) -> DuplexStream {
    let (here, there) = duplex(4_096);
    let handle = rig.handle.clone();
    tokio::spawn(async move { handle.attach(there, ([192, 0, 2, 5], 40_000).into()).await });
    here
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> [u8; 4] {
    let mut answer = [0; 4];
    timeout(DEADLINE, stream.read_exact(&mut answer))
        .await
        .expect("no answer")
        .unwrap();
    answer
}

#[tokio::test]
async fn a_relayed_worker_has_the_seat_that_it_has_directly() {
    let mut rig = Rig::start().await;
    let mut relayed = attach(&rig);
    relayed.write_all(&connect("boot-1")).await.unwrap();
    assert_eq!(answer(&mut relayed).await, [0x20, 2, 0, 0]);
    let first = rig.connected().await;
    assert_eq!(first.0, node(1));
    let topic = format!("nodes/{}/information", node(1));
    relayed
        .write_all(&publish(&topic, b"up", 1, 7))
        .await
        .unwrap();
    assert_eq!(answer(&mut relayed).await, [0x40, 2, 0, 7]);
    assert_eq!(rig.message().await.1, "up");

    // The same engine comes back by the direct way: it is no clone, and nobody waits for the other connection.
    let (client, mut events) =
        crate::client::connect(rig.client(node(1)), rig.shutdown.child_token());
    assert_eq!(rig.closed().await, Reason::Displaced);
    let second = rig.connected().await;
    assert!(second.1 > first.1);
    let connected = timeout(DEADLINE, events.next()).await.unwrap();
    assert_eq!(connected, Some(crate::client::Event::Connected));
    let mut rest = Vec::new();
    timeout(DEADLINE, relayed.read_to_end(&mut rest))
        .await
        .expect("the displaced connection stays open")
        .unwrap();

    // Another engine of the same id, while this one answers.
    let mut clone = attach(&rig);
    clone.write_all(&connect("boot-2")).await.unwrap();
    assert_eq!(answer(&mut clone).await, [0x20, 2, 0, 2]);
    drop(client);
}

#[tokio::test]
async fn the_tls_of_a_relayed_worker_ends_here_and_its_certificate_says_who_it_is() {
    let papers = Papers::new();
    let mut rig = Rig::behind(papers.door(), Options::default(), 64).await;
    let tls = papers.tls(Holder::Worker(node(1)));
    let dial = async |tls| {
        let server = Server::Relayed(CLUSTER);
        timeout(DEADLINE, identity::secured(attach(&rig), Some(tls), server))
            .await
            .unwrap()
    };
    let mut relayed = dial(tls).await.unwrap();
    // No password: the rig takes the certificate for it.
    let connect = Connect {
        user: Some(username(&format!("{}:boot-1", node(1)), CLUSTER)),
        password: None,
        ..Connect::worker(node(1))
    };
    relayed.write_all(&connect.bytes()).await.unwrap();
    assert_eq!(answer(&mut relayed).await, [0x20, 2, 0, 0]);
    // Under another name than that of the certificate.
    let mut other = dial(papers.tls(Holder::Worker(node(2)))).await.unwrap();
    other.write_all(&connect.bytes()).await.unwrap();
    assert_ne!(answer(&mut other).await[3], 0);
    // Towards another cluster's authority the worker itself goes no further.
    let stranger = Trust::authority(&Papers::new().authority.certificate()).unwrap();
    assert!(dial(stranger.client(None).unwrap()).await.is_err());
    assert_eq!(rig.connected().await.0, node(1));
    let topic = format!("nodes/{}/information", node(1));
    relayed
        .write_all(&publish(&topic, b"up", 1, 7))
        .await
        .unwrap();
    assert_eq!(answer(&mut relayed).await, [0x40, 2, 0, 7]);
    assert_eq!(rig.message().await.1, "up");
}

#[tokio::test]
async fn the_end_of_a_relay_is_the_end_of_a_connection() {
    let mut rig = Rig::start().await;
    let mut relayed = attach(&rig);
    let connect = Connect {
        user: Some(username(&format!("{}:b", node(1)), CLUSTER)),
        will: Some((
            format!("nodes/{}/connection", node(1)),
            "offline".to_owned(),
        )),
        ..Connect::worker(node(1))
    };
    relayed.write_all(&connect.bytes()).await.unwrap();
    assert_eq!(answer(&mut relayed).await, [0x20, 2, 0, 0]);
    let (node, session) = rig.connected().await;
    drop(relayed);
    assert_eq!(rig.message().await.1, Bytes::from_static(b"offline"));
    let closed = Inbound::Closed {
        node,
        session,
        reason: Reason::Lost,
    };
    assert_eq!(rig.next().await, closed);
}
