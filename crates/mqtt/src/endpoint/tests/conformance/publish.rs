//! PUBLISH and its acknowledgements (sections 3.3 to 3.7, 4.3 and 4.6).

use bytes::Bytes;
use protocol::topic::Topic;

use super::{control, information, is_alive, is_violation};
use crate::endpoint::{Attempt, Published, UNRELEASED_LIMIT};
use crate::rig::{Raw, Rig, node, packet, publish, subscribe, text};

/// A publish with flags of its own choice.
fn flagged(flags: u8, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = text(&information());
    body.extend(id.map(u16::to_be_bytes).into_iter().flatten());
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// Sends a command to `node(1)`.
fn command(rig: &Rig, payload: &'static [u8]) {
    let sent = rig
        .handle
        .publish(&Topic::Control(node(1)), Bytes::from_static(payload));
    assert_eq!(sent, Published::Published);
}

/// [MQTT-3.3.4-1] [MQTT-2.3.1-5] [MQTT-2.3.1-6] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
#[tokio::test]
async fn each_qos_is_answered_in_its_own_way() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    raw.send(&publish(&information(), b"at most once", 0, 0))
        .await;
    is_alive(&mut raw).await;
    for id in [1, 0x1234, 0xffff] {
        raw.send(&publish(&information(), b"at least once", 1, id))
            .await;
        assert_eq!(raw.packet().await, (0x40, id.to_be_bytes().to_vec()));
        raw.send(&publish(&information(), b"once", 2, id)).await;
        assert_eq!(raw.packet().await, (0x50, id.to_be_bytes().to_vec()));
        raw.send(&packet(0x62, &id.to_be_bytes())).await;
        assert_eq!(raw.packet().await, (0x70, id.to_be_bytes().to_vec()));
    }
    assert_eq!(rig.message().await.1, "at most once");
    for _ in 0..3 {
        assert_eq!(rig.message().await.1, "at least once");
        assert_eq!(rig.message().await.1, "once");
    }
}

/// [MQTT-4.3.3-2] [MQTT-4.3.2-2]: until PUBREL, an id of QoS 2 is one message; after PUBACK, an id of QoS 1 is a new one.
#[tokio::test]
async fn a_message_sent_again_is_told_once_at_qos_2_and_again_at_qos_1() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    for (flags, payload) in [(0x04, "first"), (0x0c, "first"), (0x0c, "first")] {
        raw.send(&flagged(flags, Some(3), payload.as_bytes())).await;
        assert_eq!(raw.packet().await, (0x50, vec![0, 3]));
    }
    for _ in 0..2 {
        // The second PUBREL names an id that is not known any more; it is answered all the same.
        raw.send(&packet(0x62, &[0, 3])).await;
        assert_eq!(raw.packet().await, (0x70, vec![0, 3]));
    }
    for flags in [0x02, 0x0a] {
        raw.send(&flagged(flags, Some(3), b"second")).await;
        assert_eq!(raw.packet().await, (0x40, vec![0, 3]));
    }
    for expected in ["first", "second", "second"] {
        assert_eq!(rig.message().await.1, expected);
    }
}

/// Section 4.3.3 sets no limit to the messages between PUBLISH and PUBREL; ours ends the session.
#[tokio::test]
async fn qos_2_messages_that_are_never_released_are_bounded_and_released_ones_are_not() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    for round in 0..3 {
        for id in 1..=UNRELEASED_LIMIT as u16 {
            raw.send(&publish(&information(), &[round], 2, id)).await;
            assert_eq!(raw.packet().await.0, 0x50);
            rig.message().await;
        }
        for id in 1..=UNRELEASED_LIMIT as u16 {
            raw.send(&packet(0x62, &id.to_be_bytes())).await;
            assert_eq!(raw.packet().await.0, 0x70);
        }
    }
}

/// [MQTT-2.3.1-1]
#[tokio::test]
async fn packet_id_0_ends_the_session() {
    let mut rig = Rig::start().await;
    for (what, bytes) in [
        ("publish at QoS 1", publish(&information(), b"x", 1, 0)),
        ("publish at QoS 2", publish(&information(), b"x", 2, 0)),
        ("puback", packet(0x40, &[0, 0])),
        ("pubrel", packet(0x62, &[0, 0])),
        ("subscribe", subscribe(0, &[(&control(), 0)])),
        ("unsubscribe", crate::rig::unsubscribe(0, &[&control()])),
    ] {
        is_violation(&mut rig, what, &bytes).await;
    }
}

/// [MQTT-3.3.1-2] [MQTT-3.3.1-4]
#[tokio::test]
async fn a_dup_at_qos_0_and_qos_3_end_the_session() {
    let mut rig = Rig::start().await;
    is_violation(&mut rig, "dup at QoS 0", &flagged(0x08, None, b"x")).await;
    is_violation(
        &mut rig,
        "dup and retain at QoS 0",
        &flagged(0x09, None, b"x"),
    )
    .await;
    for flags in [0x06, 0x07, 0x0e, 0x0f] {
        is_violation(&mut rig, "QoS 3", &flagged(flags, Some(1), b"x")).await;
    }
}

/// [MQTT-3.3.1-3] [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-12]
///
/// [MQTT-3.3.1-5] is not followed: nothing is retained, and a message that asks for it ends the session untold.
#[tokio::test]
async fn dup_is_not_passed_on_and_nothing_is_retained() {
    let mut rig = Rig::start().await;
    let mut early = rig.reader("nodes/#").await;
    for (flags, id, payload) in [
        (0x01, None, "retained"),
        (0x03, Some(1), "retained"),
        (0x0b, Some(2), "again"),
        (0x05, Some(3), "retained"),
        (0x03, Some(4), ""),
    ] {
        let bytes = flagged(flags, id, payload.as_bytes());
        is_violation(&mut rig, payload, &bytes).await;
        let retained = Attempt::Retained(information());
        assert_eq!(rig.denied().await.attempt, retained);
    }
    let mut raw = rig.worker(node(1)).await;
    for (flags, id, payload) in [
        (0x0a, Some(2), "again"),
        (0x0c, Some(3), "and again"),
        (0x00, None, "plain"),
    ] {
        raw.send(&flagged(flags, id, payload.as_bytes())).await;
        assert_eq!(rig.message().await.1, payload);
        let (first, body) = early.packet().await;
        assert_eq!(first, 0x30, "neither dup nor retain, at QoS 0");
        assert!(body.ends_with(payload.as_bytes()));
    }
    let mut late = rig.reader("nodes/#").await;
    is_alive(&mut late).await;
}

/// [MQTT-3.3.5-2]: 3.1.1 knows no refusal, so a publish that is not allowed ends the session, whatever its QoS.
#[tokio::test]
async fn a_publish_that_is_not_allowed_ends_the_session_unanswered() {
    let mut rig = Rig::start().await;
    let foreign = format!("nodes/{}/information", node(2));
    for topic in [&foreign, &control(), "elsewhere", "$SYS/x"] {
        for qos in 0..=2 {
            is_violation(&mut rig, topic, &publish(topic, b"x", qos, 1)).await;
        }
    }
    let mut reader = rig.reader("nodes/#").await;
    reader.send(&publish(&information(), b"x", 1, 1)).await;
    assert_eq!(reader.rest().await, b"");
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.5.0-1]
#[tokio::test]
async fn messages_and_acknowledgements_keep_their_order() {
    let mut rig = Rig::start().await;
    let mut reader = rig.reader("nodes/#").await;
    let mut raw = rig.worker(node(1)).await;
    let mut bytes = Vec::new();
    for id in 1..=15 {
        bytes.extend(publish(&information(), &[id as u8], 1 + (id % 2) as u8, id));
    }
    raw.send(&bytes).await;
    for id in 1..=15_u16 {
        let answer = if id % 2 == 0 { 0x40 } else { 0x50 };
        assert_eq!(raw.packet().await, (answer, id.to_be_bytes().to_vec()));
        assert_eq!(rig.message().await.1, vec![id as u8]);
        assert_eq!(reader.publish().await.1, [id as u8]);
    }
}

/// [MQTT-2.3.1-4] [MQTT-4.3.1-1] [MQTT-4.3.2-1]
#[tokio::test]
async fn what_is_sent_at_qos_1_has_an_id_of_its_own_until_it_is_acknowledged() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    assert_eq!(raw.subscribe(&control(), 0).await, 0);
    command(&rig, b"at most once");
    assert_eq!(raw.packet().await.0, 0x30);
    assert_eq!(raw.subscribe(&control(), 1).await, 1);
    let mut waiting: Vec<u16> = Vec::new();
    for round in 0..200 {
        command(&rig, b"at least once");
        let (first, body) = raw.packet().await;
        assert_eq!(first, 0x32, "QoS 1, neither dup nor retain");
        let at = 2 + control().len();
        let id = u16::from_be_bytes([body[at], body[at + 1]]);
        assert!(id != 0 && !waiting.contains(&id), "{id} waits already");
        waiting.push(id);
        // Acknowledged late and out of order, some twice, and ids that nobody knows.
        if waiting.len() > 10 {
            let id = waiting.swap_remove(round % 7);
            raw.ack(id).await;
            raw.ack(id).await;
            raw.ack(40_000).await;
        }
    }
}

/// Ids start again after 65,535 without touching one that still waits.
#[tokio::test]
async fn packet_ids_start_again_and_pass_over_those_in_use() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    raw.subscribe(&control(), 1).await;
    command(&rig, b"kept");
    let first = id_of(&mut raw).await;
    let mut last = first;
    for _ in 0..65_534 {
        command(&rig, b"x");
        let id = id_of(&mut raw).await;
        assert!(id != first && id != 0 && id != last);
        raw.ack(id).await;
        last = id;
    }
    command(&rig, b"x");
    assert_eq!(id_of(&mut raw).await, first + 1);
}

async fn id_of(raw: &mut Raw) -> u16 {
    raw.publish().await.2.expect("a message at QoS 1")
}
