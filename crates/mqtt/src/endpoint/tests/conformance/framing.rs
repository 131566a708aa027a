//! Packet types, flags, lengths and the stream below them (section 2).

use super::{answer, information, is_alive, is_violation, with_will};
use crate::endpoint::{Inbound, Options, Reason};
use crate::rig::{Connect, Rig, node, packet, publish};

/// [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-4.8.0-1]
///
/// The first byte is enough: nobody waits for the rest of what cannot be good.
#[tokio::test]
async fn a_first_byte_that_does_not_exist_ends_the_session() {
    let mut rig = Rig::start().await;
    let mut refused = 0;
    for first in 0..=255_u8 {
        let (kind, flags) = (first >> 4, first & 0x0f);
        let permitted = match kind {
            0 | 15 => false,
            3 => flags & 6 != 6 && (flags & 8 == 0 || flags & 6 != 0),
            6 | 8 | 10 => flags == 2,
            _ => flags == 0,
        };
        if !permitted {
            refused += 1;
            is_violation(&mut rig, &format!("{first:#x}"), &[first]).await;
        }
    }
    assert_eq!(refused, 256 - 13 - 10);
    for first in [0x11, 0x1f, 0x00, 0xf0] {
        assert_eq!(
            answer(&rig, &[first]).await,
            b"",
            "{first:#x} before CONNECT"
        );
    }
}

/// [MQTT-4.8.0-1]
#[tokio::test]
async fn packets_that_only_servers_send_end_the_session() {
    let mut rig = Rig::start().await;
    for bytes in [
        packet(0x20, &[0, 0]),
        packet(0x90, &[0, 1, 0]),
        packet(0xb0, &[0, 1]),
        packet(0xd0, &[]),
        // These two answer a QoS 2 message, and none is ever sent.
        packet(0x50, &[0, 1]),
        packet(0x70, &[0, 1]),
    ] {
        is_violation(&mut rig, &format!("{bytes:?}"), &bytes).await;
    }
}

/// Section 2.2.3: a remaining length has one to four bytes.
#[tokio::test]
async fn a_remaining_length_of_five_bytes_ends_the_session() {
    let mut rig = Rig::start().await;
    for bytes in [
        &[0x30, 0xff, 0xff, 0xff, 0xff][..],
        &[0x30, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0xc0, 0x80, 0x80, 0x80, 0x80],
    ] {
        is_violation(&mut rig, &format!("{bytes:?}"), bytes).await;
        let connect = [&[0x10], &bytes[1..]].concat();
        assert_eq!(answer(&rig, &connect).await, b"");
    }
    let mut raw = rig.worker(node(1)).await;
    // Longer than needed, which the standard does not forbid.
    for ping in [&[0xc0, 0x80, 0x00][..], &[0xc0, 0x80, 0x80, 0x80, 0x00]] {
        raw.send(ping).await;
        assert_eq!(raw.packet().await, (0xd0, vec![]));
    }
}

/// Section 2.2.3, and the limit of our own: each length of the length, up to the largest packet.
#[tokio::test]
async fn packets_of_every_length_up_to_the_limit_are_read() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    let overhead = 2 + information().len() + 2;
    for length in [
        overhead, 127, 128, 129, 16_383, 16_384, 16_385, 262_143, 262_144,
    ] {
        let payload = vec![7; length - overhead];
        raw.send(&publish(&information(), &payload, 1, 1)).await;
        assert_eq!(rig.message().await.1, payload);
        assert_eq!(raw.packet().await, (0x40, vec![0, 1]));
    }
    drop(raw);
    rig.closed().await;
    for length in [262_145_u32, 2_097_151, 2_097_152, 268_435_455] {
        let digits = (0..4).map(|n| (length >> (7 * n)) as u8 & 0x7f);
        let mut bytes: Vec<u8> = [0x30].into_iter().chain(digits).collect();
        for byte in &mut bytes[1..4] {
            *byte |= 0x80;
        }
        is_violation(&mut rig, &format!("{length}"), &bytes).await;
    }
}

/// [MQTT-4.8.0-1]: packets whose length and fields do not agree.
#[tokio::test]
async fn packets_with_too_few_or_too_many_bytes_end_the_session() {
    let mut rig = Rig::start().await;
    for (what, bytes) in [
        ("publish without a topic", packet(0x30, &[])),
        ("publish with half a length", packet(0x30, &[0])),
        ("publish with a short topic", packet(0x30, &[0, 9, b'x'])),
        ("publish without an id", packet(0x32, &[0, 1, b'x'])),
        ("publish with half an id", packet(0x32, &[0, 1, b'x', 1])),
        ("puback without an id", packet(0x40, &[])),
        ("puback with half an id", packet(0x40, &[1])),
        ("puback with more", packet(0x40, &[0, 1, 0])),
        ("pubrel with more", packet(0x62, &[0, 1, 0])),
        ("subscribe without a QoS", packet(0x82, &[0, 1, 0, 1, b'#'])),
        (
            "subscribe with a short filter",
            packet(0x82, &[0, 1, 0, 9, b'#', 0]),
        ),
        ("subscribe without an id", packet(0x82, &[0])),
        (
            "unsubscribe with a short filter",
            packet(0xa2, &[0, 1, 0, 9, b'#']),
        ),
        ("unsubscribe with half a length", packet(0xa2, &[0, 1, 0])),
        ("ping with a body", packet(0xc0, &[0])),
        ("disconnect with a body", packet(0xe0, &[0])),
    ] {
        is_violation(&mut rig, what, &bytes).await;
    }
}

/// Section 4.2: the stream may cut packets anywhere, and hold many.
#[tokio::test]
async fn packets_may_be_cut_anywhere_and_come_together() {
    let rig = Rig::start().await;
    let mut bytes = Connect::worker(node(1)).bytes();
    bytes.extend([0xc0, 0]);
    bytes.extend(publish(&information(), &[1; 200], 1, 1));
    bytes.extend([0xc0, 0]);
    let mut raw = rig.raw().await;
    for byte in &bytes {
        raw.send(&[*byte]).await;
    }
    assert_eq!(raw.packet().await, (0x20, vec![0, 0]));
    assert_eq!(raw.packet().await, (0xd0, vec![]));
    assert_eq!(raw.packet().await, (0x40, vec![0, 1]));
    assert_eq!(raw.packet().await, (0xd0, vec![]));
    raw.send(&[0xc0, 0].repeat(1000)).await;
    for _ in 0..1000 {
        assert_eq!(raw.packet().await, (0xd0, vec![]));
    }
}

/// [MQTT-4.8.0-2]: a fault of one connection, or of the network below it, ends that connection only.
#[tokio::test]
async fn the_end_of_one_connection_is_its_own() {
    let options = Options {
        max_packet: 1000,
        ..Options::default()
    };
    let mut rig = Rig::with(options, 64).await;
    let mut other = rig.worker(node(2)).await;
    for bytes in [
        &[0xf0][..],
        &publish(&information(), &[0; 2000], 0, 0),
        &[0x30],
    ] {
        let mut raw = rig.raw().await;
        raw.send(&with_will().bytes()).await;
        rig.connected().await;
        raw.send(bytes).await;
        drop(raw);
        assert_eq!(rig.message().await.1, "offline");
        let told = rig.next().await;
        assert!(
            matches!(
                told,
                Inbound::Closed {
                    reason: Reason::Violation(_) | Reason::Lost,
                    ..
                }
            ),
            "{told:?}"
        );
        is_alive(&mut other).await;
    }
}
