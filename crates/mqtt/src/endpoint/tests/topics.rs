use std::time::Duration;

use bytes::Bytes;
use protocol::topic::Topic;

use crate::endpoint::{Attempt, Options, Published, Reason, TEXT_LIMIT, TOLD, UNRELEASED_LIMIT};
use crate::rig::{Connect, Rig, node, packet, publish};

#[tokio::test]
async fn a_publish_to_anything_but_the_own_upward_topics_closes_the_session() {
    let mut rig = Rig::start().await;
    let (own, other) = (node(1), node(2));
    let topics = [
        format!("nodes/{own}/control"),
        format!("nodes/{own}/request"),
        format!("nodes/{other}/sync"),
        format!("nodes/{other}/connection"),
        format!("nodes/{own}/reply"),
        format!("nodes/{own}/reply/a/b"),
        format!("nodes/{own}/sync\0"),
        format!("/nodes/{own}/sync"),
        format!("nodes/{}/sync", own.to_string().to_lowercase()),
        "nodes/+/sync".into(),
        "#".into(),
        "$SYS/broker".into(),
        "x".repeat(65_000),
        String::new(),
    ];
    for topic in topics {
        for qos in [0, 1, 2] {
            let mut raw = rig.worker(own).await;
            raw.send(&publish(&topic, b"payload", qos, 1)).await;
            raw.ended().await;
            let reason = rig.closed().await;
            assert!(
                matches!(reason, Reason::Violation(_)),
                "{topic:.80} {reason:?}"
            );
        }
        // An empty topic is malformed, which is no attempt at anything.
        let refused = !topic.is_empty();
        let clipped: String = topic.chars().take(TEXT_LIMIT).collect();
        let told = vec![Attempt::Publish(clipped); if refused { 3 } else { 0 }];
        assert_eq!(rig.attempts(), told);
    }
}

#[tokio::test]
async fn the_own_upward_topics_are_told_in_order() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    let topics = [
        Topic::Information(node(1)),
        Topic::Instances(node(1)),
        Topic::Sync(node(1)),
        Topic::Connection(node(1)),
        Topic::Reply {
            node: node(1),
            request: "r-1".into(),
        },
    ];
    let mut bytes = Vec::new();
    for topic in &topics {
        for qos in [0, 1] {
            bytes.extend(publish(&topic.to_string(), &[qos], qos, 5));
        }
    }
    raw.send(&bytes).await;
    for topic in topics {
        for qos in [0, 1] {
            assert_eq!(rig.message().await, (topic.clone(), Bytes::from(vec![qos])));
        }
        assert_eq!(raw.packet().await, (0x40, vec![0, 5]));
    }
}

#[tokio::test]
async fn a_worker_may_subscribe_to_its_own_control_and_request_only() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    for filter in [
        "#".into(),
        "nodes/#".into(),
        "nodes/+/control".into(),
        format!("nodes/{}/+", node(1)),
        format!("nodes/{}/#", node(1)),
        format!("nodes/{}/sync", node(1)),
        format!("nodes/{}/control", node(2)),
        "+".into(),
        "$SYS/#".into(),
        "$share/g/nodes/+/control".into(),
        format!("$share/g/nodes/{}/control", node(1)),
        format!("nodes/{}/information", node(1)),
        format!("nodes/{}/reply/r-1", node(1)),
    ] {
        assert_eq!(raw.subscribe(&filter, 1).await, 0x80, "{filter}");
        let denied = rig.denied().await;
        assert_eq!(denied.attempt, Attempt::Subscribe(filter));
        assert_eq!(denied.who.client_id, node(1).to_string());
        assert_eq!(denied.peer, raw.stream.local_addr().unwrap());
    }
    for topic in [Topic::Control(node(1)), Topic::Request(node(1))] {
        assert_eq!(
            rig.handle.publish(&topic, Bytes::new()),
            Published::NoSession
        );
        assert_eq!(raw.subscribe(&topic.to_string(), 1).await, 1);
        assert_eq!(
            rig.handle.publish(&topic, Bytes::from_static(b"a")),
            Published::Published
        );
        let (name, payload, id) = raw.publish().await;
        assert_eq!((name, payload), (topic.to_string(), b"a".to_vec()));
        raw.ack(id.unwrap()).await;
    }
    let mut body = vec![0, 3];
    let filter = Topic::Control(node(1)).to_string();
    body.extend((filter.len() as u16).to_be_bytes());
    body.extend(filter.as_bytes());
    raw.send(&packet(0xa2, &body)).await;
    assert_eq!(raw.packet().await, (0xb0, vec![0, 3]));
    assert_eq!(
        rig.handle.publish(&Topic::Control(node(1)), Bytes::new()),
        Published::NoSession
    );
    assert_eq!(
        rig.handle.publish(&Topic::Sync(node(1)), Bytes::new()),
        Published::NoSession
    );
    assert_eq!(
        rig.handle.publish(&Topic::Control(node(9)), Bytes::new()),
        Published::NoSession
    );
}

#[tokio::test]
async fn ten_thousand_filters_are_answered_and_mostly_refused() {
    let mut rig = Rig::start().await;
    let mut raw = rig.reader("nodes/#").await;
    let mut body = vec![0, 4];
    for n in 0..10_000_u32 {
        let filter = format!("nodes/{n}/#");
        body.extend((filter.len() as u16).to_be_bytes());
        body.extend(filter.as_bytes());
        body.push(1);
    }
    raw.send(&packet(0x82, &body)).await;
    let (first, body) = raw.packet().await;
    assert_eq!((first, body.len()), (0x90, 10_002));
    let granted: Vec<&u8> = body[2..].iter().filter(|code| **code != 0x80).collect();
    assert_eq!(granted, [&0; 31]);
    let told: Vec<_> = (31..31 + TOLD)
        .map(|n| Attempt::Subscribe(format!("nodes/{n}/#")))
        .collect();
    assert_eq!(rig.attempts(), told);
}

#[tokio::test]
async fn a_reader_sees_that_workers_are_there_and_nothing_of_what_they_run() {
    let mut rig = Rig::start().await;
    let mut all = rig.reader("#").await;
    let mut some = rig.raw().await;
    some.send(&Connect::reader("some").bytes()).await;
    some.packet().await;
    assert_eq!(
        some.subscribe("nodes/+/connection", 1).await,
        0,
        "readers get QoS 0"
    );
    let refused = [
        "nodes/+/control",
        "nodes/+/request",
        "nodes/+/reply/#",
        "nodes/+/reply/+",
        "nodes/+/instances",
        "nodes/+/sync",
        "other/#",
        "nodes/#/x",
        "$SYS/#",
        "$share/g/nodes/+/information",
    ];
    for filter in refused {
        assert_eq!(some.subscribe(filter, 2).await, 0x80, "{filter}");
    }
    let told = refused.map(|filter| Attempt::Subscribe(filter.to_owned()));
    assert_eq!(rig.attempts(), told);
    let mut worker = rig.worker(node(1)).await;
    let control = Topic::Control(node(1));
    worker.subscribe(&control.to_string(), 0).await;
    for leaf in [
        "sync",
        "instances",
        "reply/r-1",
        "information",
        "connection",
    ] {
        worker
            .send(&publish(
                &format!("nodes/{}/{leaf}", node(1)),
                leaf.as_bytes(),
                0,
                0,
            ))
            .await;
        rig.message().await;
    }
    assert_eq!(
        rig.handle.publish(&control, Bytes::from_static(b"down")),
        Published::Published
    );
    assert_eq!(
        worker.publish().await,
        (control.to_string(), b"down".to_vec(), None)
    );
    for expected in ["information", "connection"] {
        let (_, payload, id) = all.publish().await;
        assert_eq!((payload, id), (expected.as_bytes().to_vec(), None));
    }
    assert_eq!(some.publish().await.1, b"connection");
    for reader in [&mut all, &mut some] {
        reader.send(&[0xc0, 0]).await;
        assert_eq!(reader.packet().await, (0xd0, vec![]), "it saw nothing else");
    }
    drop(worker);
    rig.closed().await;
    all.send(&publish(&format!("nodes/{}/sync", node(1)), b"x", 0, 0))
        .await;
    all.ended().await;
    let topic = format!("nodes/{}/sync", node(1));
    assert_eq!(rig.denied().await.attempt, Attempt::Publish(topic));
    assert!(
        rig.inbound.try_recv().is_err(),
        "nothing of a reader is told"
    );
}

#[tokio::test]
async fn a_reader_sees_wills() {
    let mut rig = Rig::start().await;
    let mut reader = rig.reader("nodes/+/connection").await;
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
    drop(raw);
    assert_eq!(reader.publish().await.1, b"offline");
}

#[tokio::test]
async fn nothing_is_acknowledged_that_the_owner_has_not_taken() {
    let mut rig = Rig::with(Options::default(), 1).await;
    let mut raw = rig.worker(node(1)).await;
    let topic = format!("nodes/{}/sync", node(1));
    raw.send(&publish(&topic, b"1", 1, 1)).await;
    raw.send(&publish(&topic, b"2", 1, 2)).await;
    assert_eq!(raw.packet().await, (0x40, vec![0, 1]));
    let early = tokio::time::timeout(Duration::from_millis(100), raw.packet()).await;
    assert!(
        early.is_err(),
        "the second one was acknowledged with a full queue: {early:?}"
    );
    rig.message().await;
    assert_eq!(raw.packet().await, (0x40, vec![0, 2]));
}

#[tokio::test]
async fn qos_2_is_told_once_however_often_it_is_sent_before_its_release() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    let topic = format!("nodes/{}/sync", node(1));
    for _ in 0..3 {
        raw.send(&publish(&topic, b"once", 2, 7)).await;
        assert_eq!(raw.packet().await, (0x50, vec![0, 7]));
    }
    for _ in 0..2 {
        raw.send(&packet(0x62, &[0, 7])).await;
        assert_eq!(raw.packet().await, (0x70, vec![0, 7]));
    }
    raw.send(&publish(&topic, b"next", 2, 7)).await;
    assert_eq!(rig.message().await.1, "once");
    assert_eq!(rig.message().await.1, "next");
}

#[tokio::test]
async fn qos_2_without_release_is_bounded() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    let topic = format!("nodes/{}/sync", node(1));
    for id in 1..=UNRELEASED_LIMIT as u16 + 1 {
        raw.send(&publish(&topic, b"x", 2, id)).await;
    }
    for _ in 0..=UNRELEASED_LIMIT {
        rig.message().await;
    }
    assert!(matches!(rig.closed().await, Reason::Violation(_)));
    raw.ended().await;
}
