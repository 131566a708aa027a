//! CONNECT and CONNACK (sections 3.1 and 3.2).

use super::{
    admitted, answer, connect, control, information, is_alive, is_violation, password, with_will,
};
use crate::endpoint::{Connections, Inbound, Options, Published};
use crate::rig::{Connect, Rig, node, packet, publish, subscribe};

/// A CONNACK of this code, and nothing after it.
fn connack(code: u8) -> [u8; 4] {
    [0x20, 2, 0, code]
}

/// [MQTT-3.1.0-1]
#[tokio::test]
async fn a_first_packet_that_is_no_connect_closes_the_connection_unanswered() {
    let rig = Rig::start().await;
    for bytes in [
        packet(0x20, &[0, 0]),
        publish(&information(), b"x", 0, 0),
        publish(&information(), b"x", 1, 1),
        packet(0x40, &[0, 1]),
        packet(0x62, &[0, 1]),
        subscribe(1, &[(&control(), 1)]),
        packet(0xc0, &[]),
        packet(0xe0, &[]),
    ] {
        assert_eq!(answer(&rig, &bytes).await, b"", "{bytes:?}");
    }
}

/// [MQTT-3.1.0-2]
#[tokio::test]
async fn a_second_connect_is_a_violation() {
    let mut rig = Rig::start().await;
    is_violation(&mut rig, "the same", &Connect::worker(node(1)).bytes()).await;
    is_violation(&mut rig, "another", &Connect::worker(node(2)).bytes()).await;
}

/// [MQTT-3.1.2-1]: a name that is none of MQTT's closes the connection. That of MQTT 3.1 is known, and answered like a level.
#[tokio::test]
async fn a_wrong_protocol_name_is_not_served() {
    let rig = Rig::start().await;
    let id = node(1).to_string();
    for name in [&b"MQTX"[..], b"mqtt", b"", b"MQTT ", b"MQTTMQTT"] {
        let bytes = connect(name, 4, 2, &[id.as_bytes()]);
        assert_eq!(answer(&rig, &bytes).await, b"", "{name:?}");
    }
    for level in [3, 4] {
        let bytes = connect(b"MQIsdp", level, 2, &[id.as_bytes()]);
        assert_eq!(answer(&rig, &bytes).await, connack(1), "MQIsdp {level}");
    }
}

/// [MQTT-3.1.2-2]
#[tokio::test]
async fn other_protocol_levels_are_answered_by_code_1() {
    let rig = Rig::start().await;
    for level in [0, 3, 5, 6, 0x84, 255] {
        let bytes = connect(b"MQTT", level, 2, &[b"any"]);
        assert_eq!(answer(&rig, &bytes).await, connack(1), "level {level}");
    }
    // The properties of MQTT 5 stand where 3.1.1 has the client id; they are not looked at.
    let properties = packet(0x10, b"\0\x04MQTT\x05\x02\0\x3c\x05\x11\0\0\0\x0a\0\x01p");
    assert_eq!(answer(&rig, &properties).await, connack(1));
}

/// [MQTT-3.1.2-3] [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.1.2-18]
/// [MQTT-3.1.2-19] [MQTT-3.1.2-20] [MQTT-3.1.2-21] [MQTT-3.1.2-22] [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.4-1]
#[tokio::test]
async fn flags_and_fields_that_do_not_agree_close_the_connection_unanswered() {
    let rig = Rig::start().await;
    let (id, will) = (node(1).to_string(), super::connection());
    let (id, will) = (id.as_bytes(), will.as_bytes());
    let cases: [(&str, u8, &[&[u8]]); 15] = [
        ("reserved flag", 0xc3, &[id, id, password()]),
        ("will QoS 1 without a will", 0xca, &[id, id, password()]),
        ("will QoS 2 without a will", 0xd2, &[id, id, password()]),
        ("will retain without a will", 0xe2, &[id, id, password()]),
        ("will QoS 3", 0xde, &[id, will, b"off", id, password()]),
        ("no client id", 0x02, &[]),
        ("will flag, no will", 0x06, &[id]),
        ("will flag, no will message", 0x06, &[id, will]),
        (
            "will fields without a will",
            0xc2,
            &[id, will, b"off", id, password()],
        ),
        ("user flag, no user", 0x82, &[id]),
        ("user without its flag", 0x02, &[id, id]),
        ("password flag, no password", 0xc2, &[id, id]),
        ("password without its flag", 0x82, &[id, id, password()]),
        ("password without a user", 0x42, &[id, password()]),
        (
            "bytes after the last field",
            0xc2,
            &[id, id, password(), b""],
        ),
    ];
    for (what, flags, fields) in cases {
        assert_eq!(
            answer(&rig, &connect(b"MQTT", 4, flags, fields)).await,
            b"",
            "{what}"
        );
    }
    for cut in [1, 5, 8, 9, 11] {
        let whole = Connect::worker(node(1)).bytes();
        let bytes = packet(0x10, &whole[2..2 + cut]);
        assert_eq!(answer(&rig, &bytes).await, b"", "{cut} bytes of a CONNECT");
    }
    assert_eq!(rig.handle.connections(), Connections::default());
}

/// [MQTT-3.1.3-5] [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.1.3-8] [MQTT-3.1.3-9]: who is judged to be a worker must come by its
/// own id; a reader may have any, and none if its session is clean.
#[tokio::test]
async fn client_ids_are_taken_or_answered_by_code_2() {
    let rig = Rig::start().await;
    let own = node(1).to_string();
    for (id, flags, code) in [
        ("", 0x02, 0),
        ("", 0x00, 2),
        ("a", 0x00, 0),
        ("0123456789abcdefghijklm", 0x02, 0),
        ("NOPQRSTUVWXYZnopqrstuvw", 0x02, 0),
        ("any length, ümläuts and / + # too", 0x02, 0),
    ] {
        let mut raw = rig.raw().await;
        raw.send(&connect(b"MQTT", 4, flags, &[id.as_bytes()]))
            .await;
        assert_eq!(raw.packet().await, (0x20, vec![0, code]), "{id:?}");
        if code != 0 {
            assert_eq!(raw.rest().await, b"");
        }
    }
    for id in ["", "worker", &node(2).to_string(), &own.to_lowercase()] {
        let bytes = connect(
            b"MQTT",
            4,
            0xc2,
            &[id.as_bytes(), own.as_bytes(), password()],
        );
        assert_eq!(answer(&rig, &bytes).await, connack(2), "{id:?} as a worker");
    }
}

/// [MQTT-3.1.4-5] [MQTT-3.2.2-4] [MQTT-3.2.2-5]
#[tokio::test]
async fn a_refusal_is_one_connack_without_a_session_and_nothing_else_is_read() {
    let mut rig = Rig::start().await;
    let own = node(1).to_string();
    let cases: [(u8, u8, &[&[u8]]); 5] = [
        (1, 0x02, &[b"any"]),
        (2, 0xc2, &[b"other", own.as_bytes(), password()]),
        (2, 0x00, &[b""]),
        (5, 0xc2, &[own.as_bytes(), own.as_bytes(), b"wrong"]),
        (5, 0x82, &[own.as_bytes(), own.as_bytes()]),
    ];
    for (code, flags, fields) in cases {
        let level = if code == 1 { 5 } else { 4 };
        let mut bytes = connect(b"MQTT", level, flags, fields);
        bytes.extend(subscribe(1, &[(&control(), 1), ("#", 0)]));
        bytes.extend(publish(&information(), b"x", 1, 2));
        bytes.extend([0xc0, 0]);
        assert_eq!(answer(&rig, &bytes).await, connack(code));
    }
    assert!(rig.inbound.try_recv().is_err());
    assert_eq!(rig.handle.connections(), Connections::default());
}

/// [MQTT-3.1.4-4] [MQTT-3.2.0-1]
#[tokio::test]
async fn connack_comes_first_whatever_was_sent_after_connect() {
    let mut rig = Rig::start().await;
    let mut bytes = Connect::worker(node(1)).bytes();
    bytes.extend([0xc0, 0]);
    bytes.extend(subscribe(3, &[(&control(), 1)]));
    bytes.extend(publish(&information(), b"early", 1, 4));
    let mut raw = rig.raw().await;
    raw.send(&bytes).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 0]));
    assert_eq!(raw.packet().await, (0xd0, vec![]));
    assert_eq!(raw.packet().await, (0x90, vec![0, 3, 1]));
    assert_eq!(raw.packet().await, (0x40, vec![0, 4]));
    rig.connected().await;
    assert_eq!(rig.message().await.1, "early");
}

/// [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
///
/// [MQTT-3.1.2-4] [MQTT-3.1.2-5] are not followed: all sessions are clean. A client that asks for a stored one is told by
/// session present 0 that there is none, and subscribes anew.
#[tokio::test]
async fn every_session_is_clean_and_says_so() {
    let mut rig = Rig::start().await;
    let topic = control().parse().unwrap();
    let own = node(1).to_string();
    for clean in [0x00, 0x02, 0x00] {
        let bytes = connect(
            b"MQTT",
            4,
            0xc0 | clean,
            &[own.as_bytes(), own.as_bytes(), password()],
        );
        let mut raw = admitted(&mut rig, &bytes).await;
        let sent = rig.handle.publish(&topic, b"x".as_slice().into());
        assert_eq!(
            sent,
            Published::NoSession,
            "a subscription outlived its session"
        );
        assert_eq!(raw.subscribe(&control(), 1).await, 1);
        // A QoS 2 message that was not released is forgotten with its session: the same id is a new message in the next.
        raw.send(&publish(&information(), b"again", 2, 5)).await;
        assert_eq!(raw.packet().await, (0x50, vec![0, 5]));
        assert_eq!(rig.message().await.1, "again");
        drop(raw);
        rig.closed().await;
    }
}

/// [MQTT-3.2.2-6]: what no code fits is closed without one; the time for a CONNECT is such a case.
#[tokio::test]
async fn an_unfinished_connect_is_closed_without_a_connack() {
    let options = Options {
        connect_within: std::time::Duration::from_millis(100),
        ..Options::default()
    };
    let rig = Rig::with(options, 4).await;
    let whole = with_will().bytes();
    for cut in [0, 1, 2, 14, whole.len() - 1] {
        assert_eq!(answer(&rig, &whole[..cut]).await, b"", "{cut} bytes");
    }
}

/// [MQTT-3.1.3-2] [MQTT-3.1.4-2]
#[tokio::test]
async fn a_second_client_of_one_id_takes_the_place_of_the_first() {
    let mut rig = Rig::start().await;
    let mut old = admitted(&mut rig, &Connect::worker(node(1)).bytes()).await;
    let mut other = admitted(&mut rig, &Connect::worker(node(2)).bytes()).await;
    let mut new = rig.raw().await;
    new.send(&Connect::worker(node(1)).bytes()).await;
    assert_eq!(new.packet().await, (0x20, vec![0, 0]));
    assert_eq!(old.rest().await, b"");
    assert!(matches!(rig.next().await, Inbound::Closed { .. }));
    rig.connected().await;
    is_alive(&mut new).await;
    is_alive(&mut other).await;
}
