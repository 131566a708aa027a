//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (sections 3.8 to 3.11).

use bytes::Bytes;
use protocol::topic::Topic;

use super::{control, information, is_alive, is_violation};
use crate::endpoint::Published;
use crate::rig::{Rig, binary, node, packet, publish, subscribe, text, unsubscribe};

fn request() -> String {
    format!("nodes/{}/request", node(1))
}

fn send(rig: &Rig, payload: &[u8]) -> Published {
    rig.handle
        .publish(&Topic::Control(node(1)), Bytes::copy_from_slice(payload))
}

/// A packet id, filters with the QoS asked for, and the codes they are answered by.
type Case<'a> = (u16, &'a [(&'a str, u8)], &'a [u8]);

/// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-4] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.3.1-7]
#[tokio::test]
async fn a_suback_has_a_code_for_each_filter_in_their_order() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    let (control, request, information) = (control(), request(), information());
    let cases: [Case<'_>; 5] = [
        (1, &[(&control, 0)], &[0]),
        (2, &[(&control, 1)], &[1]),
        (0xffff, &[(&control, 2)], &[1]),
        (
            0x1234,
            &[
                (&information, 1),
                (&control, 0),
                ("#", 0),
                (&request, 2),
                ("x", 1),
            ],
            &[0x80, 0, 0x80, 1, 0x80],
        ),
        // The same filter twice in one packet: as if in two, so the last one counts.
        (7, &[(&control, 0), (&control, 1)], &[0, 1]),
    ];
    for (id, filters, codes) in cases {
        raw.send(&subscribe(id, filters)).await;
        let body = [&id.to_be_bytes(), codes].concat();
        assert_eq!(raw.packet().await, (0x90, body));
    }
    assert_eq!(send(&rig, b"x"), Published::Published);
    assert!(raw.publish().await.2.is_some(), "at QoS 1, as asked last");
}

/// [MQTT-3.8.4-6]: what is granted is the least of what was asked for and what there is: 1 for workers, 0 for readers.
#[tokio::test]
async fn the_granted_qos_is_the_one_used() {
    let mut rig = Rig::start().await;
    let mut worker = rig.worker(node(1)).await;
    let mut reader = rig.reader("nodes/#").await;
    for (asked, granted) in [(0, 0), (1, 1), (2, 1)] {
        assert_eq!(worker.subscribe(&control(), asked).await, granted);
        assert_eq!(send(&rig, &[asked]), Published::Published);
        let (_, payload, id) = worker.publish().await;
        assert_eq!((payload, id.is_some()), (vec![asked], granted == 1));
        if let Some(id) = id {
            worker.ack(id).await;
        }
        assert_eq!(reader.subscribe("nodes/+/information", asked).await, 0);
        worker
            .send(&publish(&information(), &[asked], asked, 3))
            .await;
        rig.message().await;
        assert_eq!(reader.publish().await.2, None);
        if asked > 0 {
            worker.packet().await;
        }
    }
}

/// [MQTT-3.8.3-3] [MQTT-3.8.3-4] [MQTT-3.10.3-2]
#[tokio::test]
async fn subscriptions_without_a_filter_or_with_reserved_bits_end_the_session() {
    let mut rig = Rig::start().await;
    is_violation(&mut rig, "no filter", &packet(0x82, &[0, 1])).await;
    is_violation(&mut rig, "nothing to end", &packet(0xa2, &[0, 1])).await;
    for qos in [0x03, 0x04, 0x05, 0x80, 0xfc, 0xff] {
        is_violation(&mut rig, "alone", &subscribe(1, &[(&control(), qos)])).await;
        let second = subscribe(1, &[(&control(), 1), (&request(), qos)]);
        is_violation(&mut rig, "second", &second).await;
    }
}

/// [MQTT-3.8.4-3]
#[tokio::test]
async fn a_second_subscription_replaces_the_first_without_a_gap() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    raw.subscribe(&control(), 1).await;
    for n in 0..20 {
        assert_eq!(send(&rig, &[n]), Published::Published);
        raw.send(&subscribe(1, &[(&control(), n % 2)])).await;
        let (mut answered, mut seen) = (false, 0);
        while !answered || seen == 0 {
            match raw.packet().await {
                (0x90, _) => answered = true,
                (first, body) => {
                    assert_eq!((first & 0xf0, body.last()), (0x30, Some(&n)));
                    if let Some(id) = (first & 6 != 0).then(|| 2 + control().len()) {
                        raw.ack(u16::from_be_bytes([body[id], body[id + 1]])).await;
                    }
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 1, "one subscription, one copy");
    }
}

/// [MQTT-3.3.5-1]: filters that overlap bring one copy.
#[tokio::test]
async fn overlapping_filters_bring_one_copy() {
    let mut rig = Rig::start().await;
    let mut reader = rig.reader("#").await;
    for filter in [
        "nodes/#",
        "nodes/+/information",
        "+/+/information",
        &information(),
    ] {
        assert_eq!(reader.subscribe(filter, 0).await, 0);
    }
    let mut worker = rig.worker(node(1)).await;
    worker.send(&publish(&information(), b"one", 0, 0)).await;
    rig.message().await;
    assert_eq!(reader.publish().await.1, b"one");
    is_alive(&mut reader).await;
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]
#[tokio::test]
async fn unsubscribing_compares_letter_by_letter_and_is_always_answered() {
    let mut rig = Rig::start().await;
    let mut reader = rig.reader("nodes/#").await;
    reader.subscribe("nodes/+/information", 0).await;
    let mut worker = rig.worker(node(1)).await;
    let steps: [(u16, &[&str], bool); 5] = [
        (1, &["#", "nodes/+", "nodes/#/", "NODES/#", "no#good"], true),
        (2, &["nodes/#"], true),
        (3, &["nodes/#"], true),
        (0xffff, &["other", "nodes/+/information"], false),
        (4, &["nodes/+/information"], false),
    ];
    for (id, filters, still) in steps {
        reader.send(&unsubscribe(id, filters)).await;
        assert_eq!(reader.packet().await, (0xb0, id.to_be_bytes().to_vec()));
        worker
            .send(&publish(&information(), &id.to_be_bytes(), 0, 0))
            .await;
        rig.message().await;
        if still {
            assert_eq!(reader.publish().await.1, id.to_be_bytes());
        } else {
            is_alive(&mut reader).await;
        }
    }
}

/// [MQTT-3.10.4-2] [MQTT-3.10.4-3]
#[tokio::test]
async fn what_is_under_way_when_a_worker_unsubscribes_is_finished() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    raw.subscribe(&control(), 1).await;
    assert_eq!(send(&rig, b"under way"), Published::Published);
    let (_, payload, id) = raw.publish().await;
    assert_eq!(payload, b"under way");
    raw.send(&unsubscribe(5, &[&control()])).await;
    assert_eq!(raw.packet().await, (0xb0, vec![0, 5]));
    assert_eq!(send(&rig, b"no more"), Published::NoSession);
    raw.ack(id.unwrap()).await;
    is_alive(&mut raw).await;
}

/// Section 3.9: a server may refuse any filter, so many are refused rather than kept.
#[tokio::test]
async fn more_filters_than_a_reader_may_have_are_refused_one_by_one() {
    let rig = Rig::start().await;
    let mut reader = rig.reader("nodes/#").await;
    let names: Vec<String> = (0..40).map(|n| format!("nodes/{n}/#")).collect();
    let filters: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    reader.send(&subscribe(1, &filters)).await;
    let (_, body) = reader.packet().await;
    assert_eq!(body[2..33], [0; 31]);
    assert_eq!(body[33..], [0x80; 9]);
    // What is there already may be asked for again, and room is made by unsubscribing.
    assert_eq!(reader.subscribe(&names[3], 0).await, 0);
    reader.send(&unsubscribe(2, &[&names[3]])).await;
    assert_eq!(reader.packet().await.0, 0xb0);
    assert_eq!(reader.subscribe(&names[39], 0).await, 0);
    assert_eq!(reader.subscribe(&names[3], 0).await, 0x80);
}

/// Filters of a SUBSCRIBE that also holds a malformed one are not kept: the session is over.
#[tokio::test]
async fn a_subscribe_is_judged_as_a_whole() {
    let mut rig = Rig::start().await;
    let bytes = [&[0, 1][..], &text(&control()), &[1], &binary(b"\xff"), &[0]].concat();
    is_violation(&mut rig, "half of it good", &packet(0x82, &bytes)).await;
    assert_eq!(send(&rig, b"x"), Published::NoSession);
}
