//! MQTT packets that cannot be, or may not; the numbers are rows of the list in the reliability notes.

use super::packet::{
    Heard, PING, Peer, connect_with, packet, publish, reader, subscribe, text, worker,
};
use super::rig::Rig;
use super::row::{Row, Verdict, clipped};

/// What must come of it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// The connection is closed.
    Closed,
    /// It is refused by a CONNACK with this code, and closed.
    Code(u8),
    /// It goes on.
    Goes,
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = strangers();
    rows.extend(connects());
    rows.extend(readers());
    rows.push(Row::new("10,000 filters", filters));
    rows.push(Row::new("200 connections of one name", storm));
    rows.push(Row::new(
        "a reader is told nothing of what it sent",
        |rig| {
            // 49: nothing of it is kept for who comes later.
            let mut late = Peer::new(rig.mqtt())?;
            let heard = late.say(&[reader(), subscribe([b"nodes/#".as_slice()])].concat())?;
            let told = heard.bytes.windows(7).any(|bytes| bytes == b"garbage");
            (!told).then_some(()).ok_or_else(|| format!("{heard:?}"))
        },
    ));
    rows
}

/// What is no CONNECT: 41, 52.
#[expect(clippy::too_many_lines, reason = "a table")]
fn strangers() -> Vec<Row> {
    let cases: Vec<(&str, Vec<u8>, Fate)> = vec![
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            Fate::Closed,
        ),
        (
            "no handshake of TLS",
            b"\x16\x03\x01\x00\x05hello".to_vec(),
            Fate::Closed,
        ),
        ("random bytes", super::bodies::random(512), Fate::Closed),
        ("a ping first", Vec::new(), Fate::Closed),
        (
            "a SUBSCRIBE first",
            subscribe([b"nodes/#".as_slice()]),
            Fate::Closed,
        ),
        (
            "a PUBLISH first",
            publish(0, b"nodes/a/control", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "CONNECT with flags",
            [&[0x1f], &reader()[1..]].concat(),
            Fate::Closed,
        ),
        (
            "CONNECT of 256 MiB",
            b"\x10\xff\xff\xff\x7f\x00\x04MQTT".to_vec(),
            Fate::Closed,
        ),
        (
            "a length of five bytes",
            b"\x10\xff\xff\xff\xff\x01".to_vec(),
            Fate::Closed,
        ),
        ("an empty CONNECT", packet(0x10, b""), Fate::Closed),
        (
            "another protocol",
            connect_with("HTTP", 4, 2, &[b"a"]),
            Fate::Closed,
        ),
        (
            "MQTT 3.1",
            connect_with("MQIsdp", 3, 2, &[b"a"]),
            Fate::Code(1),
        ),
        ("MQTT 5", connect_with("MQTT", 5, 2, &[b"a"]), Fate::Code(1)),
        (
            "MQTT 255",
            connect_with("MQTT", 255, 2, &[b"a"]),
            Fate::Code(1),
        ),
        (
            "the reserved flag",
            connect_with("MQTT", 4, 3, &[b"a"]),
            Fate::Closed,
        ),
        (
            "a password without a name",
            connect_with("MQTT", 4, 0x42, &[b"a", b"b"]),
            Fate::Closed,
        ),
        (
            "a will of quality 3",
            connect_with("MQTT", 4, 0x1e, &[b"a", b"b", b"c"]),
            Fate::Closed,
        ),
        (
            "a will's flags without one",
            connect_with("MQTT", 4, 0x22, &[b"a"]),
            Fate::Closed,
        ),
        (
            "a client id that is no UTF-8",
            connect_with("MQTT", 4, 2, &[b"\xff\xfe"]),
            Fate::Closed,
        ),
        (
            "a client id with NUL",
            connect_with("MQTT", 4, 2, &[b"a\0b"]),
            Fate::Closed,
        ),
        (
            "a client id that ends early",
            packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x20abc"),
            Fate::Closed,
        ),
        (
            "more than the fields",
            packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01abc"),
            Fate::Closed,
        ),
    ];
    cases
        .into_iter()
        .map(|(name, bytes, fate)| said(name, bytes, fate))
        .collect()
}

/// Who may not come in: 50, 52, 54.
fn connects() -> Vec<Row> {
    const ID: &str = "node_00000000000000000000000009";
    let long = vec![b'x'; 20_000];
    let cases: Vec<(&str, Vec<u8>, Fate)> = vec![
        (
            "no client id, not clean",
            connect_with("MQTT", 4, 0, &[b""]),
            Fate::Code(2),
        ),
        (
            "no client id",
            connect_with("MQTT", 4, 2, &[b""]),
            Fate::Goes,
        ),
        (
            "an unknown worker",
            worker(ID, ID, "guessed"),
            Fate::Code(5),
        ),
        (
            "a worker without a password",
            connect_with("MQTT", 4, 0x82, &[ID.as_bytes(), ID.as_bytes()]),
            Fate::Code(5),
        ),
        (
            "a name that is none",
            worker("../etc", "root", "root"),
            Fate::Code(5),
        ),
        (
            "a CONNECT of 20 KiB",
            connect_with("MQTT", 4, 2, &[&long]),
            Fate::Closed,
        ),
        (
            "a reader's will",
            connect_with("MQTT", 4, 6, &[b"a", b"nodes/x/connection", b"gone"]),
            Fate::Code(5),
        ),
    ];
    let mut rows: Vec<Row> = cases
        .into_iter()
        .map(|(name, bytes, fate)| said(name, bytes, fate))
        .collect();
    rows.push(Row::new(
        "a worker's id with a guessed password",
        |rig: &Rig| {
            let id = rig.worker();
            judge(
                &Peer::new(rig.mqtt())?.say(&worker(id, &format!("{id}:boot"), "guessed"))?,
                Fate::Code(5),
            )
        },
    ));
    rows
}

/// What a reader may not: 41, 47, 48, 49, 52.
#[expect(clippy::too_many_lines, reason = "a table")]
fn readers() -> Vec<Row> {
    let control = |rig: &Rig| format!("nodes/{}/control", rig.worker());
    let long = vec![b'x'; 65_535];
    let cases: Vec<(&str, Vec<u8>, Fate)> = vec![
        ("CONNECT twice", reader(), Fate::Closed),
        (
            "a topic of nobody",
            publish(0, b"hello", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "an empty topic",
            publish(0, b"", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "a topic with +",
            publish(0, b"nodes/+/control", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "a topic with #",
            publish(0, b"nodes/#", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "a topic with NUL",
            publish(0, b"nodes/a\0/control", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "a topic of 65,535",
            publish(0, &long, None, b"garbage"),
            Fate::Closed,
        ),
        (
            "a topic with a slash first",
            publish(0, b"/nodes/a/control", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "a topic of the broker",
            publish(1, b"$SYS/x", None, b"garbage"),
            Fate::Closed,
        ),
        (
            "1 MiB",
            publish(0, b"nodes/a/control", None, &[b'x'; 1 << 20]),
            Fate::Closed,
        ),
        (
            "quality 3",
            publish(6, b"nodes/a/control", Some(1), b"garbage"),
            Fate::Closed,
        ),
        (
            "a packet without a number",
            publish(2, b"nodes/a/control", Some(0), b""),
            Fate::Closed,
        ),
        (
            "what only a broker sends",
            packet(0x20, &[0, 0]),
            Fate::Closed,
        ),
        ("a packet of kind 0", packet(0, b""), Fate::Closed),
        ("a packet of kind 15", packet(0xf0, b""), Fate::Closed),
        (
            "a SUBSCRIBE to nothing",
            packet(0x82, &[0, 1]),
            Fate::Closed,
        ),
        (
            "a SUBSCRIBE with other flags",
            packet(0x80, &[[0, 1].as_slice(), &text(b"a"), &[0]].concat()),
            Fate::Closed,
        ),
        (
            "a filter of quality 3",
            packet(0x82, &[[0, 1].as_slice(), &text(b"nodes/#"), &[3]].concat()),
            Fate::Closed,
        ),
        ("a PUBACK of nothing", packet(0x40, &[0, 9]), Fate::Goes),
        ("a PUBREL of nothing", packet(0x62, &[0, 9]), Fate::Goes),
        (
            "an UNSUBSCRIBE of nothing",
            packet(0xa2, &[[0, 1].as_slice(), &text(b"a")].concat()),
            Fate::Goes,
        ),
        ("an empty filter", subscribe([b"".as_slice()]), Fate::Closed),
        (
            "filters that are none",
            subscribe([b"a/#/b".as_slice(), b"a+", b"$SYS/#", b"/"]),
            Fate::Goes,
        ),
        (
            "a filter of 65,535",
            subscribe([long.as_slice()]),
            Fate::Goes,
        ),
    ];
    let mut rows: Vec<Row> = cases
        .into_iter()
        .map(|(name, bytes, fate)| {
            said(
                &format!("a reader: {name}"),
                [reader(), bytes].concat(),
                fate,
            )
        })
        .collect();
    for (name, flags) in [("at 0", 0), ("retained", 1), ("at 1", 2), ("at 2", 4)] {
        rows.push(Row::new(
            format!("a reader commands a worker {name}"),
            move |rig: &Rig| {
                let id = (flags > 1).then_some(7);
                let bytes = publish(flags, control(rig).as_bytes(), id, b"garbage");
                judge(
                    &Peer::new(rig.mqtt())?.say(&[reader(), bytes].concat())?,
                    Fate::Closed,
                )
            },
        ));
    }
    rows
}

/// 51: the broker says of each whether it was taken, and takes a bounded number.
fn filters(rig: &Rig) -> Verdict {
    let mut peer = Peer::new(rig.mqtt())?;
    peer.say(&reader())?;
    let mut refused = 0;
    for hundred in 0..100 {
        let names: Vec<String> = (0..100)
            .map(|one| format!("nodes/{hundred}-{one}/#"))
            .collect();
        let heard = peer.say(&subscribe(names.iter().map(String::as_bytes)))?;
        if heard.closed {
            return Ok(());
        }
        refused += heard.bytes.split(|byte| *byte == 0x80).count() - 1;
    }
    (refused > 9_000)
        .then_some(())
        .ok_or_else(|| format!("only {refused} of 10,000 were refused"))
}

/// 54: each displaces the one before.
fn storm(rig: &Rig) -> Verdict {
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = Peer::new(rig.mqtt())?;
        peer.send(&[reader(), PING.to_vec()].concat());
        peers.push(peer);
    }
    // Whose CONNECT is read last has the name: all of these are read before the last one dials.
    for peer in &mut peers {
        peer.hear()?;
    }
    let mut last = Peer::new(rig.mqtt())?;
    judge(&last.say(&reader())?, Fate::Goes)
}

fn said(name: &str, bytes: Vec<u8>, fate: Fate) -> Row {
    Row::new(name, move |rig: &Rig| {
        judge(&Peer::new(rig.mqtt())?.say(&bytes)?, fate)
    })
}

fn judge(heard: &Heard, fate: Fate) -> Verdict {
    let right = match fate {
        Fate::Closed => heard.closed && heard.code().is_none_or(|code| code == 0),
        Fate::Code(code) => heard.closed && heard.code() == Some(code),
        Fate::Goes => !heard.closed,
    };
    right
        .then_some(())
        .ok_or_else(|| clipped(&format!("expected {fate:?}, heard {heard:?}")))
}
