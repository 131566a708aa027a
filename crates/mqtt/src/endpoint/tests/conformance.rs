//! The endpoint against MQTT 3.1.1 (OASIS Standard, 29 October 2014), statement by statement.
//!
//! Everything is hand-written bytes over TCP: no client library stands between a test and the endpoint. The doc comment of a
//! test names the normative statements it shows, as appendix B of the standard numbers them. The last test holds that every
//! statement is either named by a test or set aside here with a reason.

mod connect;
mod framing;
mod publish;
mod session;
mod subscribe;
mod texts;

use crate::endpoint::{Inbound, Reason};
use crate::rig::{Connect, PASSWORD, Raw, Rig, node, packet};

/// The will topic of `node(1)`.
fn connection() -> String {
    format!("nodes/{}/connection", node(1))
}

/// A topic that `node(1)` may publish to, and that readers see.
fn information() -> String {
    format!("nodes/{}/information", node(1))
}

/// A topic that `node(1)` may subscribe to.
fn control() -> String {
    format!("nodes/{}/control", node(1))
}

/// A CONNECT put together field by field.
fn connect(name: &[u8], level: u8, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = crate::rig::binary(name);
    body.extend([level, flags, 0, 60]);
    for field in fields {
        body.extend(crate::rig::binary(field));
    }
    packet(0x10, &body)
}

/// A good CONNECT of `node(1)` with a will.
fn with_will() -> Connect {
    Connect {
        will: Some((connection(), "offline".into())),
        ..Connect::worker(node(1))
    }
}

/// What a new connection is answered to these bytes, until it is closed.
async fn answer(rig: &Rig, bytes: &[u8]) -> Vec<u8> {
    let mut raw = rig.raw().await;
    // The endpoint may close before all was written.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, bytes).await;
    raw.rest().await
}

/// Holds that these bytes end the session of a worker, without an answer and for a violation.
async fn is_violation(rig: &mut Rig, what: &str, bytes: &[u8]) {
    let mut raw = rig.worker(node(1)).await;
    let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, bytes).await;
    assert_eq!(raw.rest().await, b"", "{what}");
    let told = rig.next().await;
    assert!(
        matches!(
            told,
            Inbound::Closed {
                reason: Reason::Violation(_),
                ..
            }
        ),
        "{what}: {told:?}"
    );
}

/// A session that was let in with these bytes.
async fn admitted(rig: &mut Rig, connect: &[u8]) -> Raw {
    let mut raw = rig.raw().await;
    raw.send(connect).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 0]));
    rig.connected().await;
    raw
}

/// Shows that a session still works: it is answered to a ping.
async fn is_alive(raw: &mut Raw) {
    raw.send(&[0xc0, 0]).await;
    assert_eq!(raw.packet().await, (0xd0, vec![]));
}

/// How many statements appendix B lists for each section.
const STATEMENTS: [(&str, u32); 38] = [
    ("1.5.3", 3),
    ("2.2.2", 2),
    ("2.3.1", 7),
    ("3.1.0", 2),
    ("3.1.2", 24),
    ("3.1.3", 11),
    ("3.1.4", 5),
    ("3.2.0", 1),
    ("3.2.2", 6),
    ("3.3.1", 12),
    ("3.3.2", 3),
    ("3.3.4", 1),
    ("3.3.5", 2),
    ("3.6.1", 1),
    ("3.8.1", 1),
    ("3.8.3", 4),
    ("3.8.4", 6),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.12.4", 1),
    ("3.14.1", 1),
    ("3.14.4", 3),
    ("4.1.0", 2),
    ("4.2.0", 1),
    ("4.3.1", 1),
    ("4.3.2", 2),
    ("4.3.3", 2),
    ("4.4.0", 1),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.1", 3),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.0", 2),
    ("6.0.0", 4),
    ("7.0.0", 2),
];

/// Statements that no test shows, and why.
const SET_ASIDE: [(&str, &[&str]); 7] = [
    (
        "binds clients only",
        &[
            "2.3.1-2", "2.3.1-3", "3.1.2-23", "3.14.4-1", "3.14.4-2", "4.1.0-1", "4.5.0-2",
            "4.6.0-1", "4.6.0-4",
        ],
    ),
    (
        "stored sessions are not offered: messages are not sent again, and a session ends with its connection",
        &["3.3.1-1", "4.1.0-2", "4.4.0-1"],
    ),
    (
        "retained messages are not offered",
        &["3.1.2-7", "3.3.1-6", "3.3.1-7", "3.3.1-8", "3.3.1-11"],
    ),
    ("nothing is sent at QoS 2", &["4.3.3-1"]),
    (
        "the transport is TCP, as all these tests show",
        &["4.2.0-1"],
    ),
    (
        "WebSocket is not offered",
        &["6.0.0-1", "6.0.0-2", "6.0.0-3", "6.0.0-4"],
    ),
    ("conformance as a whole", &["7.0.0-1", "7.0.0-2"]),
];

#[test]
fn every_statement_of_the_standard_is_shown_or_set_aside() {
    let sources = [
        include_str!("conformance/connect.rs"),
        include_str!("conformance/framing.rs"),
        include_str!("conformance/publish.rs"),
        include_str!("conformance/session.rs"),
        include_str!("conformance/subscribe.rs"),
        include_str!("conformance/texts.rs"),
    ];
    let mut wanted = Vec::new();
    for (section, count) in STATEMENTS {
        wanted.extend((1..=count).map(|n| format!("{section}-{n}")));
    }
    let mut named: Vec<String> = sources
        .iter()
        .flat_map(|source| source.split("[MQTT-").skip(1))
        .filter_map(|rest| Some(rest.split_once(']')?.0.to_owned()))
        .collect();
    for (_, statements) in SET_ASIDE {
        for statement in statements {
            assert!(
                !named.contains(&(*statement).to_owned()),
                "{statement} is shown and set aside"
            );
        }
        named.extend(statements.iter().map(|statement| (*statement).to_owned()));
    }
    let missing: Vec<&String> = wanted.iter().filter(|one| !named.contains(one)).collect();
    assert!(missing.is_empty(), "not shown: {missing:?}");
    let unknown: Vec<&String> = named.iter().filter(|one| !wanted.contains(one)).collect();
    assert!(unknown.is_empty(), "no such statement: {unknown:?}");
}

/// The password field of a good CONNECT.
fn password() -> &'static [u8] {
    PASSWORD.as_bytes()
}
