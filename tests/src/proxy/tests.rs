//! What the proxy does to bytes and packets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3::{Codec, Connect, Packet};
use tokio_util::codec::Decoder;

use super::packets::{self, matches};
use super::{Direction, Fate, Options, Proxy, Rules, Speaks, Way};

const LIMIT: Duration = Duration::from_secs(10);
/// For so long nothing comes where nothing may come.
const SILENCE: Duration = Duration::from_millis(200);

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A proxy before a server that this test plays.
struct Stage {
    proxy: Proxy,
    server: TcpListener,
}

impl Stage {
    fn new(speaks: Speaks, seed: u64) -> Self {
        let server = TcpListener::bind(local()).unwrap();
        let options = Options::new(local(), server.local_addr().unwrap(), speaks, seed);
        Self {
            proxy: Proxy::start(options),
            server,
        }
    }

    /// A connection, and what the server has of it.
    fn pair(&self) -> (Peer, Peer) {
        let client = TcpStream::connect(self.proxy.address()).unwrap();
        let (server, _) = self.server.accept().unwrap();
        (Peer::new(client), Peer::new(server))
    }

    /// The same with a client id that the proxy has seen.
    fn named(&self, client: &str) -> (Peer, Peer) {
        let (mut one, mut other) = self.pair();
        let connect = Connect {
            protocol: rmqtt_codec::types::Protocol(4),
            ..Connect::default().client_id(client.to_owned())
        };
        one.send(Packet::Connect(Box::new(connect)));
        assert!(matches!(other.packet(), Packet::Connect(_)));
        (one, other)
    }
}

struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// How reading ends that finds nothing.
    fn silence(&mut self) -> ErrorKind {
        self.stream.set_read_timeout(Some(SILENCE)).unwrap();
        let end = self.stream.read(&mut [0; 64]);
        self.stream.set_read_timeout(Some(LIMIT)).unwrap();
        end.expect_err("nothing comes").kind()
    }

    fn send(&mut self, packet: Packet) {
        self.write(&packets::encode(packet));
    }

    fn publish(&mut self, topic: &str, id: u16, payload: &str) {
        let id = NonZeroU16::new(id);
        self.send(Packet::Publish(Box::new(Publish {
            dup: false,
            retain: false,
            qos: if id.is_some() {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            },
            topic: topic.into(),
            packet_id: id,
            payload: payload.to_owned().into(),
            properties: None,
        })));
    }

    fn packet(&mut self) -> Packet {
        loop {
            if let Some(packet) = packets::take(&mut self.input) {
                let mut packet = BytesMut::from(packet.as_ref());
                let (packet, _) = Codec::default().decode(&mut packet).unwrap().unwrap();
                return packet;
            }
            let mut space = [0; 512];
            let count = self.stream.read(&mut space).expect("a packet comes");
            assert!(count > 0, "the connection ended");
            self.input.extend_from_slice(&space[..count]);
        }
    }

    fn published(&mut self) -> Publish {
        match self.packet() {
            Packet::Publish(publish) => *publish,
            other => panic!("{other:?}"),
        }
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.published().payload.to_vec()).unwrap()
    }

    /// Takes a publish and acknowledges it.
    fn taken(&mut self) -> String {
        let publish = self.published();
        let packet_id = publish.packet_id.unwrap();
        self.send(Packet::PublishAck { packet_id });
        String::from_utf8(publish.payload.to_vec()).unwrap()
    }

    fn acknowledged(&mut self) -> u16 {
        match self.packet() {
            Packet::PublishAck { packet_id } => packet_id.get(),
            other => panic!("{other:?}"),
        }
    }
}

/// Rules for what goes up.
fn up(filter: &str, fate: Fate) -> Rules {
    Rules {
        up: Way::default().fate(filter, 100, fate),
        ..Rules::default()
    }
}

#[test]
fn bytes_pass_both_ways_and_an_end_ends_both() {
    let stage = Stage::new(Speaks::Bytes, 1);
    let (mut client, mut server) = stage.pair();
    client.write(b"there");
    assert_eq!(server.read(5), b"there");
    server.write(b"and back");
    assert_eq!(client.read(8), b"and back");
    server.write(b"the end");
    drop(server);
    assert_eq!(client.read(7), b"the end");
    assert_eq!(client.stream.read(&mut [0; 1]).unwrap(), 0);
    let counts = stage.proxy.counts();
    assert_eq!(
        (counts.connections, counts.up.bytes, counts.down.bytes),
        (1, 5, 15)
    );
}

#[test]
fn a_half_open_connection_says_nothing_and_the_next_one_passes() {
    let stage = Stage::new(Speaks::Bytes, 1);
    let (mut client, mut server) = stage.pair();
    client.write(b"a");
    assert_eq!(server.read(1), b"a");
    assert_eq!(stage.proxy.freeze(), 1);
    client.write(b"b");
    server.write(b"c");
    assert_eq!(server.silence(), ErrorKind::WouldBlock);
    assert_eq!(client.silence(), ErrorKind::WouldBlock);
    drop(server);
    assert_eq!(client.silence(), ErrorKind::WouldBlock, "no end is told");
    let (mut client, mut server) = stage.pair();
    client.write(b"d");
    assert_eq!(server.read(1), b"d");
}

#[test]
fn one_way_can_be_stalled_and_opened_again() {
    let stage = Stage::new(Speaks::Bytes, 1);
    let (mut client, mut server) = stage.pair();
    let stalled = Way {
        stalled: true,
        ..Way::default()
    };
    stage.proxy.set(Rules {
        up: stalled,
        ..Rules::default()
    });
    client.write(b"up");
    server.write(b"down");
    assert_eq!(client.read(4), b"down");
    assert_eq!(server.silence(), ErrorKind::WouldBlock);
    stage.proxy.set(Rules::default());
    assert_eq!(server.read(2), b"up");
}

#[test]
fn a_cap_cuts_in_the_middle_and_resets() {
    let stage = Stage::new(Speaks::Bytes, 1);
    let capped = Way {
        cap: Some(7),
        ..Way::default()
    };
    stage.proxy.set(Rules {
        down: capped,
        ..Rules::default()
    });
    let (mut client, mut server) = stage.pair();
    server.write(b"seven b");
    assert_eq!(client.read(7), b"seven b");
    server.write(b"ytes");
    let end = client.stream.read(&mut [0; 1]).map_err(|end| end.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(stage.proxy.counts().resets, 1);
}

#[test]
fn connections_are_reset_when_it_is_told_to() {
    let stage = Stage::new(Speaks::Bytes, 1);
    let (mut client, mut server) = stage.pair();
    client.write(b"a");
    assert_eq!(server.read(1), b"a");
    assert_eq!(stage.proxy.reset(), 1);
    for peer in [&mut client, &mut server] {
        let end = peer.stream.read(&mut [0; 1]).map_err(|end| end.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn what_is_late_keeps_its_order() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (low, high) = (Duration::from_millis(20), Duration::from_millis(120));
    let slow = Way {
        delay: Some((low, high)),
        ..Way::default()
    };
    stage.proxy.set(Rules::both(&slow));
    let (mut client, mut server) = stage.pair();
    let begun = Instant::now();
    for number in 0..10 {
        client.publish("a", 0, &number.to_string());
    }
    let came: Vec<String> = (0..10).map(|_| server.text()).collect();
    assert!(begun.elapsed() >= low, "{:?}", begun.elapsed());
    assert!(came.is_sorted() && came.len() == 10, "{came:?}");
}

#[test]
fn a_packet_lost_behind_its_acknowledgement_is_acknowledged_and_never_comes() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (mut client, mut server) = stage.pair();
    stage.proxy.set(up("nodes/+/sync", Fate::Lose));
    client.publish("nodes/1/sync", 7, "lost");
    assert_eq!(client.acknowledged(), 7);
    client.publish("nodes/1/other", 8, "kept");
    assert_eq!(server.taken(), "kept");
    assert_eq!(client.acknowledged(), 8);
    server.publish("nodes/1/sync", 9, "the other way");
    assert_eq!(client.taken(), "the other way");
    let counts = stage.proxy.counts();
    assert_eq!((counts.up.publishes, counts.up.lost), (2, 1));
    assert_eq!((counts.down.publishes, counts.down.lost), (1, 0));
}

#[test]
fn a_swallowed_packet_is_not_acknowledged() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (mut client, mut server) = stage.pair();
    stage.proxy.set(up("#", Fate::Swallow));
    client.publish("a", 7, "lost");
    assert_eq!(client.silence(), ErrorKind::WouldBlock);
    assert_eq!(server.silence(), ErrorKind::WouldBlock);
    assert_eq!(stage.proxy.counts().up.swallowed, 1);
}

#[test]
fn a_doubled_packet_comes_again_and_its_sender_hears_of_one() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (mut client, mut server) = stage.pair();
    let apart = Duration::from_millis(30);
    stage.proxy.set(up("a", Fate::Double { times: 3, apart }));
    let begun = Instant::now();
    client.publish("a", 7, "x");
    let came: Vec<String> = (0..4).map(|_| server.taken()).collect();
    assert_eq!(came, ["x"; 4]);
    assert!(begun.elapsed() >= apart * 3, "{:?}", begun.elapsed());
    assert_eq!(client.acknowledged(), 7);
    assert_eq!(client.silence(), ErrorKind::WouldBlock);
    assert_eq!(stage.proxy.counts().up.doubled, 3);
}

#[test]
fn a_late_packet_is_overtaken() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (mut client, mut server) = stage.pair();
    let late = Duration::from_millis(100);
    stage.proxy.set(up("late", Fate::Late(late, late)));
    client.publish("late", 1, "first");
    client.publish("soon", 2, "second");
    assert_eq!(server.taken(), "second");
    assert_eq!(server.taken(), "first");
    assert_eq!((client.acknowledged(), client.acknowledged()), (2, 1));
    assert_eq!(stage.proxy.counts().up.late, 1);
}

#[test]
fn a_corrupted_packet_has_other_bytes_under_the_same_topic() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (mut client, mut server) = stage.pair();
    stage.proxy.set(up("a", Fate::Corrupt));
    client.publish("a", 7, "a payload");
    let publish = server.published();
    assert_eq!(
        (publish.topic.to_string().as_str(), 9),
        ("a", publish.payload.len())
    );
    assert_ne!(publish.payload.as_ref(), b"a payload");
    assert_eq!(stage.proxy.counts().up.corrupted, 1);
}

#[test]
fn what_passed_can_come_again_over_a_later_connection_of_the_same_client() {
    let stage = Stage::new(Speaks::Mqtt, 1);
    let (mut client, mut server) = stage.named("one");
    server.publish("nodes/one/control", 5, "stale");
    assert_eq!(client.taken(), "stale");
    assert_eq!(server.acknowledged(), 5);
    drop((client, server));
    let (mut client, mut server) = stage.named("one");
    let (mut other, _kept) = stage.named("two");
    let tape = stage.proxy.tape();
    let [taped] = tape.as_slice() else {
        panic!("{tape:?}")
    };
    assert_eq!(
        (taped.direction, taped.topic(), taped.payload()),
        (Direction::Down, "nodes/one/control", b"stale".as_slice())
    );
    assert_eq!(stage.proxy.inject(taped, 50), 50);
    for _ in 0..50 {
        assert_eq!(client.taken(), "stale");
    }
    assert_eq!(server.silence(), ErrorKind::WouldBlock, "nobody sent it");
    assert_eq!(other.silence(), ErrorKind::WouldBlock);
    assert_eq!(stage.proxy.counts().down.injected, 50);
}

#[test]
fn a_seed_decides_all_chance() {
    let run = |seed| {
        let stage = Stage::new(Speaks::Mqtt, seed);
        let (mut client, mut server) = stage.pair();
        stage.proxy.set(Rules {
            up: Way::default().fate("a", 30, Fate::Lose),
            ..Rules::default()
        });
        for number in 0..200 {
            client.publish("a", 0, &number.to_string());
        }
        client.publish("end", 0, "end");
        let mut came = Vec::new();
        while came.last().is_none_or(|last| last != "end") {
            came.push(server.text());
        }
        came
    };
    let (one, same, other) = (run(42), run(42), run(43));
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert!((100..180).contains(&one.len()), "{}", one.len());
}

#[test]
fn filters_match_as_the_standard_says() {
    for (filter, topic) in [
        ("#", "a/b"),
        ("a/#", "a"),
        ("a/#", "a/b/c"),
        ("nodes/+/control", "nodes/x/control"),
        ("a", "a"),
    ] {
        assert!(matches(filter, topic), "{filter} {topic}");
    }
    for (filter, topic) in [
        ("a", "a/b"),
        ("+", "a/b"),
        ("nodes/+/control", "nodes/x/request"),
        ("a/b", "a"),
    ] {
        assert!(!matches(filter, topic), "{filter} {topic}");
    }
}
