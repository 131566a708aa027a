//! Wills, keep-alive, PINGREQ and DISCONNECT (sections 3.1.2.5 to 3.1.2.10, 3.12 and 3.14).

use std::time::Duration;

use protocol::topic::Topic;
use tokio::time::Instant;

use super::{admitted, answer, connect, connection, information, is_alive, password, with_will};
use crate::endpoint::{Attempt, Inbound, Options, Reason};
use crate::rig::{Connect, Rig, node, publish};

/// [MQTT-3.1.2-8] [MQTT-3.1.2-12]: every end without a DISCONNECT, and a session without a will for comparison.
#[tokio::test]
async fn a_will_is_told_at_every_end_without_a_disconnect() {
    let options = Options {
        write_stall: Duration::from_millis(100),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 64).await;
    let ends: [(&str, &[u8]); 5] = [
        ("closed by the peer", &[]),
        ("a malformed packet", &[0xff]),
        ("a second CONNECT", &[0x10, 0]),
        ("half a packet", &[0x30]),
        ("a DISCONNECT with reserved flags", &[0xe1, 0]),
    ];
    for (what, bytes) in ends {
        for will in [true, false] {
            let bytes_in = if will {
                with_will()
            } else {
                Connect::worker(node(1))
            };
            let mut raw = admitted(&mut rig, &bytes_in.bytes()).await;
            raw.send(bytes).await;
            drop(raw);
            if will {
                let (topic, payload) = rig.message().await;
                assert_eq!(
                    (topic, payload),
                    (Topic::Connection(node(1)), "offline".into()),
                    "{what}"
                );
            }
            rig.closed().await;
        }
    }
}

/// [MQTT-3.1.2-8] at the end of the keep-alive, and when another connection takes over.
#[tokio::test]
async fn a_will_is_told_for_the_silent_and_the_displaced() {
    let mut rig = Rig::start().await;
    let silent = Connect {
        keep_alive: 1,
        ..with_will()
    };
    let _silent = admitted(&mut rig, &silent.bytes()).await;
    assert_eq!(rig.message().await.1, "offline");
    assert_eq!(rig.closed().await, Reason::Silent);
    let mut old = admitted(&mut rig, &with_will().bytes()).await;
    let mut new = rig.raw().await;
    new.send(&with_will().bytes()).await;
    assert_eq!(rig.message().await.1, "offline");
    assert_eq!(rig.closed().await, Reason::Displaced);
    assert_eq!(old.rest().await, b"");
}

/// [MQTT-3.1.2-10] [MQTT-3.14.4-3], and what follows a DISCONNECT is not read.
#[tokio::test]
async fn a_disconnect_discards_the_will_and_all_that_follows() {
    let mut rig = Rig::start().await;
    let mut raw = admitted(&mut rig, &with_will().bytes()).await;
    let bytes = [
        publish(&information(), b"before", 1, 1),
        vec![0xe0, 0],
        publish(&information(), b"after", 1, 2),
        vec![0xff],
    ];
    raw.send(&bytes.concat()).await;
    assert_eq!(rig.message().await.1, "before");
    assert_eq!(rig.closed().await, Reason::Disconnected);
    raw.ended().await;
    assert!(rig.inbound.try_recv().is_err());
}

/// [MQTT-3.1.2-9] [MQTT-3.1.2-16]: the will comes as it was given, at each QoS.
///
/// [MQTT-3.1.2-17] is not followed: as nothing is retained, a will that asks for it is refused by code 5. So is one elsewhere
/// than on the worker's own `connection` topic, as every publish there would be.
#[tokio::test]
async fn wills_of_every_qos_are_told_once_and_not_retained() {
    let mut rig = Rig::start().await;
    let own = node(1).to_string();
    let mut early = rig.reader("nodes/+/connection").await;
    for flags in [0x00, 0x08, 0x10] {
        let (will, message) = (connection(), [flags; 300]);
        let fields: [&[u8]; 5] = [
            own.as_bytes(),
            will.as_bytes(),
            &message,
            own.as_bytes(),
            password(),
        ];
        drop(admitted(&mut rig, &connect(b"MQTT", 4, 0xc6 | flags, &fields)).await);
        assert_eq!(rig.message().await.1, message.to_vec());
        rig.closed().await;
        let (first, body) = early.packet().await;
        assert_eq!(first, 0x30, "told as it happens, not as retained");
        assert!(body.ends_with(&message));
        let mut late = rig.reader("nodes/#").await;
        is_alive(&mut late).await;
    }
    for flags in [0x20, 0x28, 0x30] {
        let will = connection();
        let fields: [&[u8]; 5] = [
            own.as_bytes(),
            will.as_bytes(),
            b"x",
            own.as_bytes(),
            password(),
        ];
        let said = answer(&rig, &connect(b"MQTT", 4, 0xc6 | flags, &fields)).await;
        assert_eq!(said, [0x20, 2, 0, 5], "{flags:x}");
        assert_eq!(rig.denied().await.attempt, Attempt::Retained(will));
    }
    for topic in ["", "#", &information(), &format!("{}/", connection())] {
        let fields: [&[u8]; 5] = [
            own.as_bytes(),
            topic.as_bytes(),
            b"x",
            own.as_bytes(),
            password(),
        ];
        let said = answer(&rig, &connect(b"MQTT", 4, 0xc6, &fields)).await;
        assert_eq!(said, [0x20, 2, 0, 5], "{topic}");
        let will = Attempt::Will(topic.to_owned());
        assert_eq!(rig.denied().await.attempt, will);
    }
}

/// [MQTT-3.1.2-24]: one and a half times the keep-alive; any packet counts.
#[tokio::test]
async fn a_silent_peer_is_dropped_after_one_and_a_half_keep_alives() {
    let mut rig = Rig::start().await;
    let keep_alive = Connect {
        keep_alive: 2,
        ..Connect::worker(node(1))
    };
    let since = Instant::now();
    let mut raw = admitted(&mut rig, &keep_alive.bytes()).await;
    assert_eq!(raw.rest().await, b"");
    assert_eq!(rig.closed().await, Reason::Silent);
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(2_990), "{took:?}");
    assert!(took < Duration::from_millis(4_900), "{took:?}");
}

/// [MQTT-3.1.2-24] for a keep-alive of 0, which asks for none, and for 18 hours: our own limit takes their place.
#[tokio::test]
async fn a_keep_alive_of_zero_or_of_hours_is_the_silence_limit() {
    let options = Options {
        silence_limit: Duration::from_millis(300),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 16).await;
    for keep_alive in [0, 60, 0xffff] {
        let asked = Connect {
            keep_alive,
            ..Connect::worker(node(1))
        };
        let since = Instant::now();
        let mut raw = admitted(&mut rig, &asked.bytes()).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..6 {
            ticks.tick().await;
            is_alive(&mut raw).await;
        }
        assert_eq!(raw.rest().await, b"");
        assert_eq!(rig.closed().await, Reason::Silent);
        assert!(
            since.elapsed() >= Duration::from_millis(790),
            "pings were not counted"
        );
    }
}

/// [MQTT-3.12.4-1]
#[tokio::test]
async fn a_ping_is_answered_before_and_between_everything() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    for _ in 0..3 {
        is_alive(&mut raw).await;
    }
    let mut reader = rig.reader("nodes/#").await;
    is_alive(&mut reader).await;
    raw.send(
        &[
            &[0xc0, 0][..],
            &publish(&information(), b"x", 1, 1),
            &[0xc0, 0],
        ]
        .concat(),
    )
    .await;
    assert_eq!(raw.packet().await.0, 0xd0);
    assert_eq!(raw.packet().await.0, 0x40);
    assert_eq!(raw.packet().await.0, 0xd0);
}

/// [MQTT-3.14.1-1]: a DISCONNECT with reserved flags is none. See also the first bytes in `framing`.
#[tokio::test]
async fn a_disconnect_with_reserved_flags_is_a_violation() {
    let mut rig = Rig::start().await;
    for first in [0xe1, 0xe2, 0xe8, 0xef] {
        let mut raw = admitted(&mut rig, &with_will().bytes()).await;
        raw.send(&[first, 0]).await;
        assert_eq!(rig.message().await.1, "offline");
        assert!(matches!(
            rig.next().await,
            Inbound::Closed {
                reason: Reason::Violation(_),
                ..
            }
        ));
    }
}
