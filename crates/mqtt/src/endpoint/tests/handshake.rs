use std::time::Duration;

use crate::endpoint::{Attempt, Connections, Denied, Inbound, NotAdmitted, Options, Reason, Who};
use crate::rig::{Connect, Rig, node, packet, publish};

#[tokio::test]
async fn a_garbage_first_packet_closes_the_connection() {
    let mut rig = Rig::start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x10, 0xff, 0xff, 0x7f],
        &[0x10, 2, 0, 4],
        &[0x00, 0x00],
        &[0xc0, 0x00],
        &publish(&format!("nodes/{}/sync", node(1)), b"x", 0, 0),
    ] {
        let mut raw = rig.raw().await;
        raw.send(bytes).await;
        raw.ended().await;
    }
    rig.worker(node(1)).await;
}

#[tokio::test]
async fn a_second_connect_closes_the_session() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    raw.send(&Connect::worker(node(1)).bytes()).await;
    raw.ended().await;
    assert_eq!(rig.closed().await, Reason::Violation("a second CONNECT"));
}

#[tokio::test]
async fn silence_before_connect_closes_the_connection() {
    let options = Options {
        connect_within: Duration::from_millis(100),
        ..Options::default()
    };
    let rig = Rig::with(options, 4).await;
    let mut silent = rig.raw().await;
    let mut half = rig.raw().await;
    half.send(&Connect::worker(node(1)).bytes()[..10]).await;
    silent.ended().await;
    half.ended().await;
}

#[tokio::test]
async fn other_protocols_are_refused_with_code_1() {
    let rig = Rig::start().await;
    for (protocol, level) in [("MQTT", 5), ("MQTT", 3), ("MQIsdp", 3), ("MQTT", 0x84)] {
        let mut raw = rig.raw().await;
        raw.send(
            &Connect {
                protocol,
                level,
                ..Connect::worker(node(1))
            }
            .bytes(),
        )
        .await;
        assert_eq!(raw.packet().await, (0x20, vec![0, 1]), "{protocol} {level}");
        raw.ended().await;
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn who_may_not_come_in_is_told_why() {
    let mut rig = Rig::start().await;
    let worker = || Connect::worker(node(1));
    let foreign_will = Some((format!("nodes/{}/connection", node(2)), "x".into()));
    let other_will = Some((format!("nodes/{}/sync", node(1)), "x".into()));
    let written_will = Some((format!("nodes/{}/control", node(1)), "x".into()));
    let refused = Attempt::Connect;
    let will = |of: u128, leaf: &str| Attempt::Will(format!("nodes/{}/{leaf}", node(of)));
    let cases = [
        (
            Connect {
                password: Some("wrong".into()),
                ..worker()
            },
            5,
            refused(NotAdmitted::Password),
        ),
        (
            Connect {
                client_id: node(2).to_string(),
                ..worker()
            },
            2,
            refused(NotAdmitted::Name),
        ),
        (
            Connect {
                user: Some(format!("{}:", node(1))),
                ..worker()
            },
            4,
            refused(NotAdmitted::Name),
        ),
        (
            Connect {
                user: Some(format!("{}:{}", node(1), "b".repeat(65))),
                ..worker()
            },
            4,
            refused(NotAdmitted::Name),
        ),
        (
            Connect {
                will: foreign_will,
                ..worker()
            },
            5,
            will(2, "connection"),
        ),
        (
            Connect {
                will: other_will.clone(),
                ..worker()
            },
            5,
            will(1, "sync"),
        ),
        (
            Connect {
                will: written_will,
                ..worker()
            },
            5,
            will(1, "control"),
        ),
        (
            Connect {
                will: other_will,
                ..Connect::reader("r")
            },
            5,
            will(1, "sync"),
        ),
    ];
    for (connect, code, attempt) in cases {
        let mut raw = rig.raw().await;
        raw.send(&connect.bytes()).await;
        assert_eq!(
            raw.packet().await,
            (0x20, vec![0, code]),
            "{}",
            connect.client_id
        );
        let who = Who {
            holder: None,
            client_id: connect.client_id,
        };
        let peer = raw.stream.local_addr().unwrap();
        let told = Denied { who, peer, attempt };
        assert_eq!(rig.denied().await, told);
        raw.ended().await;
    }
    assert_eq!(rig.handle.connections(), Connections::default());
}

#[tokio::test]
async fn an_owner_that_does_not_listen_makes_the_endpoint_unavailable() {
    let options = Options {
        connect_within: Duration::from_millis(200),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 1).await;
    let mut first = rig.raw().await;
    first.send(&Connect::worker(node(1)).bytes()).await;
    assert_eq!(first.packet().await, (0x20, vec![0, 0]));
    let mut second = rig.raw().await;
    second.send(&Connect::worker(node(2)).bytes()).await;
    assert_eq!(second.packet().await, (0x20, vec![0, 3]));
    assert_eq!(rig.connected().await.0, node(1));
    rig.worker(node(2)).await;
}

#[tokio::test]
async fn a_displaced_session_ends_before_the_new_one_begins_and_its_will_comes_first() {
    let mut rig = Rig::start().await;
    let will = Some((format!("nodes/{}/connection", node(1)), "offline".into()));
    let mut old = rig.raw().await;
    old.send(
        &Connect {
            will,
            ..Connect::worker(node(1))
        }
        .bytes(),
    )
    .await;
    let (_, first) = rig.connected().await;
    let mut new = rig.raw().await;
    new.send(&Connect::worker(node(1)).bytes()).await;
    assert_eq!(rig.message().await.1, "offline");
    assert!(matches!(
        rig.next().await,
        Inbound::Closed { session, reason: Reason::Displaced, .. } if session == first
    ));
    let (_, second) = rig.connected().await;
    assert!(second > first);
    old.ended().await;
    assert_eq!(new.packet().await, (0x20, vec![0, 0]));
    assert_eq!(rig.handle.connections().workers, 1);
}

#[tokio::test]
async fn a_storm_of_one_client_id_leaves_one_session_and_a_history_in_order() {
    let mut rig = Rig::start().await;
    let will = Some((format!("nodes/{}/connection", node(1)), "offline".into()));
    let connect = Connect {
        will,
        ..Connect::worker(node(1))
    }
    .bytes();
    let mut storm = Vec::new();
    for _ in 0..50 {
        let mut raw = rig.raw().await;
        raw.send(&connect).await;
        storm.push(raw);
    }
    let mut last = 0;
    for round in 0..50 {
        let (_, session) = rig.connected().await;
        assert!(session > last, "session numbers grow");
        last = session;
        if round < 49 {
            assert_eq!(rig.message().await.1, "offline");
            let closed = rig.next().await;
            assert!(
                matches!(closed, Inbound::Closed { session, .. } if session == last),
                "{closed:?}"
            );
        }
    }
    assert_eq!(rig.handle.connections().workers, 1);
}

#[tokio::test]
async fn a_cloned_machine_is_refused_while_the_first_one_answers() {
    let mut rig = Rig::start().await;
    let boot = |boot: &str| Connect {
        user: Some(format!("{}:{boot}", node(1))),
        ..Connect::worker(node(1))
    };
    let mut first = rig.raw().await;
    first.send(&boot("a").bytes()).await;
    assert_eq!(first.packet().await, (0x20, vec![0, 0]));
    rig.connected().await;
    let mut clone = rig.raw().await;
    clone.send(&boot("b").bytes()).await;
    let (topic, payload, id) = first.publish().await;
    assert_eq!(
        (topic, payload),
        (format!("nodes/{}/request", node(1)), Vec::new())
    );
    first.ack(id.unwrap()).await;
    assert_eq!(clone.packet().await, (0x20, vec![0, 2]));
    clone.ended().await;
    let told = rig.denied().await.attempt;
    assert_eq!(told, Attempt::Connect(NotAdmitted::Cloned));
    // The first one is undisturbed, and the same machine may come back at once.
    first.send(&[0xc0, 0]).await;
    assert_eq!(first.packet().await, (0xd0, vec![]));
    let mut again = rig.raw().await;
    again.send(&boot("a").bytes()).await;
    assert_eq!(rig.closed().await, Reason::Displaced);
    assert_eq!(again.packet().await, (0x20, vec![0, 0]));
}

#[tokio::test]
async fn a_rebooted_machine_takes_its_seat_from_a_session_that_no_longer_answers() {
    let options = Options {
        probe_within: Duration::from_millis(100),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 16).await;
    let boot = |boot: &str| Connect {
        user: Some(format!("{}:{boot}", node(1))),
        ..Connect::worker(node(1))
    };
    let mut dead = rig.raw().await;
    dead.send(&boot("a").bytes()).await;
    rig.connected().await;
    let mut new = rig.raw().await;
    new.send(&boot("b").bytes()).await;
    assert_eq!(rig.closed().await, Reason::Displaced);
    rig.connected().await;
    assert_eq!(new.packet().await, (0x20, vec![0, 0]));
}

#[tokio::test]
async fn readers_of_one_name_displace_each_other_and_never_a_worker() {
    let mut rig = Rig::start().await;
    let mut worker = rig.worker(node(1)).await;
    let mut first = rig.raw().await;
    first
        .send(&Connect::reader(&node(1).to_string()).bytes())
        .await;
    assert_eq!(first.packet().await, (0x20, vec![0, 0]));
    let mut second = rig.raw().await;
    second
        .send(&Connect::reader(&node(1).to_string()).bytes())
        .await;
    assert_eq!(second.packet().await, (0x20, vec![0, 0]));
    first.ended().await;
    for _ in 0..2 {
        let mut unnamed = rig.raw().await;
        unnamed.send(&Connect::reader("").bytes()).await;
        assert_eq!(unnamed.packet().await, (0x20, vec![0, 0]));
        std::mem::forget(unnamed);
    }
    assert_eq!(
        rig.handle.connections(),
        Connections {
            workers: 1,
            readers: 3
        }
    );
    worker.send(&[0xc0, 0]).await;
    assert_eq!(worker.packet().await, (0xd0, vec![]));
}

#[tokio::test]
async fn surplus_connections_are_closed_at_once() {
    let rig = Rig::with(
        Options {
            max_connections: 2,
            ..Options::default()
        },
        4,
    )
    .await;
    let (first, _second) = (rig.raw().await, rig.raw().await);
    rig.raw().await.ended().await;
    drop(first);
    let admitted = async {
        loop {
            let mut raw = rig.raw().await;
            raw.send(&Connect::reader("r").bytes()).await;
            let mut byte = [0];
            if tokio::io::AsyncReadExt::read(&mut raw.stream, &mut byte)
                .await
                .unwrap_or(0)
                == 1
            {
                break;
            }
        }
    };
    tokio::time::timeout(crate::rig::DEADLINE, admitted)
        .await
        .unwrap();
}

#[tokio::test]
async fn random_bytes_after_a_good_connect_end_in_exactly_one_closed() {
    let mut rig = Rig::start().await;
    let topic = format!("nodes/{}/sync", node(1));
    let good = [
        publish(&topic, b"payload", 1, 7),
        publish(&topic, b"payload", 2, 8),
        packet(0x62, &[0, 8]),
        packet(0x82, &[0, 1, 0, 1, b'#', 1]),
        packet(0xa2, &[0, 1, 0, 1, b'#']),
        packet(0xc0, &[]),
    ]
    .concat();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            // A xorshift generator: the same noise in each run.
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let at = noise as usize % bytes.len();
            bytes[at] = (noise >> 32) as u8;
        }
        let mut raw = rig.worker(node(1)).await;
        // The endpoint may have closed in the middle of the noise.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &bytes).await;
        drop(raw);
        while !matches!(rig.next().await, Inbound::Closed { .. }) {}
    }
}

#[tokio::test]
async fn a_shutdown_ends_all_sessions_without_wills() {
    let mut rig = Rig::start().await;
    let will = Some((format!("nodes/{}/connection", node(1)), "offline".into()));
    let mut raw = rig.raw().await;
    raw.send(
        &Connect {
            will,
            ..Connect::worker(node(1))
        }
        .bytes(),
    )
    .await;
    rig.connected().await;
    let mut waiting = rig.raw().await;
    rig.shutdown.cancel();
    assert_eq!(rig.closed().await, Reason::Shutdown);
    raw.ended().await;
    waiting.ended().await;
    tokio::time::timeout(crate::rig::DEADLINE, rig.handle.stopped())
        .await
        .unwrap();
}
