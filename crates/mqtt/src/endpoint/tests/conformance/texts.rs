//! Texts (section 1.5.3), topic names and topic filters (section 4.7).

use bytes::Bytes;

use super::{admitted, answer, connect, connection, information, is_alive, is_violation, password};
use crate::rig::{Connect, Rig, binary, node, packet, publish, subscribe, text, unsubscribe};

/// Bytes that are no text: not UTF-8, an encoded surrogate, an overlong form, a cut-off sequence, and U+0000.
const NO_TEXT: [&[u8]; 6] = [
    b"\xff",
    b"a\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xe2\x82",
    b"\0",
    b"a\0b",
];

/// [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-3.1.3-4] [MQTT-3.1.3-10] [MQTT-3.1.3-11]
#[tokio::test]
async fn a_connect_with_a_malformed_text_is_closed_unanswered() {
    let rig = Rig::start().await;
    let own = node(1).to_string();
    let (own, will) = (own.as_bytes(), connection());
    for bad in NO_TEXT {
        let cases: [(&str, u8, &[&[u8]]); 4] = [
            ("client id", 0x02, &[bad]),
            ("user name", 0xc2, &[own, bad, password()]),
            ("will topic", 0xc6, &[own, bad, b"off", own, password()]),
            (
                "user name with a will",
                0xc6,
                &[own, will.as_bytes(), b"off", bad, password()],
            ),
        ];
        for (what, flags, fields) in cases {
            let bytes = connect(b"MQTT", 4, flags, fields);
            assert_eq!(answer(&rig, &bytes).await, b"", "{what} {bad:?}");
        }
        assert_eq!(
            answer(&rig, &connect(bad, 4, 2, &[b"any"])).await,
            b"",
            "name {bad:?}"
        );
    }
}

/// [MQTT-3.1.3-10] speaks of the will's topic only: its message and the password are bytes of any kind.
#[tokio::test]
async fn will_messages_are_any_bytes() {
    let mut rig = Rig::start().await;
    let own = node(1).to_string();
    let own = own.as_bytes();
    for message in [&b""[..], b"\0\xff\xed\xa0\x80"] {
        let will = connection();
        let fields = [own, will.as_bytes(), message, own, password()];
        drop(admitted(&mut rig, &connect(b"MQTT", 4, 0xc6, &fields)).await);
        assert_eq!(rig.message().await.1, message);
        rig.closed().await;
    }
}

/// [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2]
#[tokio::test]
async fn a_malformed_topic_or_filter_ends_the_session() {
    let mut rig = Rig::start().await;
    let good = information();
    for bad in NO_TEXT.into_iter().chain([&b""[..]]) {
        let field = binary(bad);
        for id in [None, Some(1)] {
            let mut body = field.clone();
            body.extend(id.map(u16::to_be_bytes).into_iter().flatten());
            let first = if id.is_some() { 0x32 } else { 0x30 };
            is_violation(&mut rig, "a topic name", &packet(first, &body)).await;
        }
        let after_a_good_one = [&[0, 1][..], &text(&good), &[1], &field, &[0]].concat();
        is_violation(&mut rig, "a filter", &packet(0x82, &after_a_good_one)).await;
        let after_a_good_one = [&[0, 1][..], &text(&good), &field].concat();
        is_violation(&mut rig, "an old filter", &packet(0xa2, &after_a_good_one)).await;
    }
}

/// [MQTT-1.5.3-3]
#[tokio::test]
async fn a_byte_order_mark_is_a_character_like_any_other() {
    let mut rig = Rig::start().await;
    let marked = format!("\u{feff}{}", information());
    is_violation(&mut rig, "no topic of ours", &publish(&marked, b"x", 0, 0)).await;
    let mut reader = rig.reader("nodes/#").await;
    assert_eq!(reader.subscribe("\u{feff}nodes/#", 0).await, 0x80);
}

/// [MQTT-4.7.3-3]: the longest text that a length can tell is taken, and refused for what it says.
#[tokio::test]
async fn topics_of_65535_bytes_are_read() {
    let mut rig = Rig::start().await;
    let long = format!("nodes/{}/information", "x".repeat(65_517));
    is_violation(&mut rig, "a long topic", &publish(&long, b"x", 0, 0)).await;
    let mut reader = rig.reader(&long).await;
    assert_eq!(reader.subscribe(&long, 0).await, 0);
    reader.send(&unsubscribe(7, &[&long])).await;
    assert_eq!(reader.packet().await, (0xb0, vec![0, 7]));
    let mut worker = rig.worker(node(1)).await;
    assert_eq!(worker.subscribe(&long, 0).await, 0x80);
    is_alive(&mut worker).await;
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.3.2-3]
///
/// A malformed filter is answered by 0x80. No topic begins with `$` here, since only those of edgeIO exist; that `#` and `+`
/// would not match one is shown beside the filter.
#[tokio::test]
async fn filters_match_level_by_level() {
    let mut rig = Rig::start().await;
    let own = node(1);
    let (information, lower) = (information(), information().to_lowercase());
    for filter in [
        "nodes/#/information",
        "nodes#",
        "#/",
        "no+es/#",
        "nodes/+information",
        "+nodes",
        "nodes/##",
        "nodes/++/information",
        // These are in order, and can match nothing that readers see.
        "+",
        "nodes/+",
        "+/+/+/+",
        "nodes/+/information/+",
        "nodes",
        "nodes/",
        "nodes/+/INFORMATION",
        "nodes/+/control",
        &format!("{information}/"),
    ] {
        let mut reader = rig.reader("#").await;
        assert_eq!(reader.subscribe(filter, 0).await, 0x80, "{filter}");
    }
    let cases = [
        ("#".to_owned(), true),
        ("nodes/#".into(), true),
        (format!("nodes/{own}/#"), true),
        (format!("nodes/{own}/information/#"), true),
        ("+/+/+".into(), true),
        ("nodes/+/information".into(), true),
        (format!("nodes/{own}/+"), true),
        (information.clone(), true),
        (lower, false),
        ("nodes/+/connection".into(), false),
        (format!("nodes/{}/#", node(2)), false),
    ];
    let mut worker = rig.worker(own).await;
    for (filter, matches) in cases {
        let mut reader = rig.reader(&filter).await;
        worker
            .send(&publish(&information, filter.as_bytes(), 0, 0))
            .await;
        rig.message().await;
        if matches {
            let seen = reader.publish().await;
            assert_eq!(seen, (information.clone(), filter.into_bytes(), None));
        } else {
            is_alive(&mut reader).await;
        }
    }
}

/// [MQTT-3.3.2-2]
#[tokio::test]
async fn a_topic_name_with_a_wildcard_ends_the_session() {
    let mut rig = Rig::start().await;
    for topic in [
        "#",
        "+",
        "nodes/+/information",
        "nodes/#",
        &format!("nodes/{}/+", node(1)),
        &format!("{}#", information()),
    ] {
        is_violation(&mut rig, topic, &publish(topic, b"x", 1, 1)).await;
    }
}

/// [MQTT-3.8.3-2]: wildcards are supported, for readers; a worker's are answered by 0x80 and its session goes on.
#[tokio::test]
async fn a_refused_wildcard_leaves_the_session_alone() {
    let mut rig = Rig::start().await;
    let mut worker = rig.worker(node(1)).await;
    worker
        .send(&subscribe(2, &[("#", 0), ("nodes/+/control", 1)]))
        .await;
    assert_eq!(worker.packet().await, (0x90, vec![0, 2, 0x80, 0x80]));
    is_alive(&mut worker).await;
    worker.send(&publish(&information(), b"on", 0, 0)).await;
    assert_eq!(rig.message().await.1, Bytes::from_static(b"on"));
    drop(worker);
    rig.closed().await;
    admitted(&mut rig, &Connect::worker(node(1)).bytes()).await;
}
