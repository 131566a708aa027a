//! What a worker that was let in may send, and what it says that is not so; the numbers are rows of the list in the
//! reliability notes.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::packet::{Heard, Peer, publish, subscribe, worker};
use super::polling::Session;
use super::registration::WORKER;
use super::rig::{Rig, Tier};
use super::row::{Row, Verdict, clipped};

/// Counts what could not be read.
const DROPPED: &str = "edgeio_messages_dropped_total";
/// The largest message that the endpoint takes, with its topic.
const PACKET: usize = 256 * 1024;

/// A worker that the cluster let in, and that means no good.
struct Liar {
    id: String,
    username: String,
    password: String,
}

/// What must come of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The connection is closed.
    Closed,
    /// It is dropped and counted, and the connection goes on.
    Counted,
    /// The connection goes on.
    Goes,
}

/// Payloads that nobody can read, for each topic upwards.
const GARBAGE: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("a byte", b"\xff"),
    ("no JSON", b"{"),
    ("a list", b"[]"),
    ("null", b"null"),
    ("another version", b"{\"version\":99}"),
    ("no version", b"{}"),
    ("a version that is a text", b"{\"version\":\"1\"}"),
    ("YAML", b"version: 1\n"),
    ("NUL behind it", b"{\"version\":1}\0"),
    ("no UTF-8", b"{\"version\":1,\"a\":\"\xff\"}"),
];

/// What stands in every message upwards.
const HELD: &str = r#""version":1,"term":0,"nonce":"0000000000000000","revision":0,"desired_digest":"00000000000000000000000000000000","boot":1,"sequence":0,"observed_digest":"00000000000000000000000000000000""#;
/// The same of the largest numbers: 43.
const LARGEST: &str = r#""version":1,"term":18446744073709551615,"nonce":"ffffffffffffffff","revision":18446744073709551615,"desired_digest":"ffffffffffffffffffffffffffffffff","boot":18446744073709551615,"sequence":18446744073709551615,"observed_digest":"ffffffffffffffffffffffffffffffff","incarnation":"ffffffffffffffffffffffffffffffff""#;
const FREE: &str = r#""free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn rows(rig: &Rig) -> Vec<Row> {
    let liar = Rc::new(join(rig).unwrap());
    let mut rows = Vec::new();
    let mut sent = |name: String, leaf: &str, payload: Vec<u8>, fate: Fate| {
        let (liar, leaf) = (Rc::clone(&liar), leaf.to_owned());
        rows.push(Row::new(name, move |rig: &Rig| {
            let topic = format!("nodes/{}/{leaf}", liar.id);
            sends(
                rig,
                &liar,
                &publish(2, topic.as_bytes(), Some(1), &payload),
                fate,
            )
        }));
    };
    // 41, 42
    for leaf in [
        "information",
        "instances",
        "sync",
        "connection",
        "reply/adopt",
        "reply/r-1",
    ] {
        for (name, payload) in GARBAGE {
            sent(
                format!("{leaf}: {name}"),
                leaf,
                payload.to_vec(),
                Fate::Counted,
            );
        }
        let deep = format!("{{\"version\":1,\"a\":{}", "[".repeat(10_000));
        sent(
            format!("{leaf}: 10,000 lists"),
            leaf,
            deep.into_bytes(),
            Fate::Counted,
        );
        sent(
            format!("{leaf}: random bytes"),
            leaf,
            super::bodies::random(4_096),
            Fate::Counted,
        );
        sent(
            format!("{leaf}: 1 MiB"),
            leaf,
            vec![b'x'; 1 << 20],
            Fate::Closed,
        );
        sent(
            format!("{leaf}: a packet too large by one"),
            leaf,
            vec![b'x'; PACKET],
            Fate::Closed,
        );
    }
    // 46
    for (name, fields) in USES {
        let payload = format!("{{{HELD},{fields}}}");
        sent(
            format!("use: {name}"),
            "information",
            payload.into_bytes(),
            Fate::Counted,
        );
    }
    // 43, 45
    sent(
        "the largest numbers held".to_owned(),
        "sync",
        format!("{{{LARGEST}}}").into_bytes(),
        Fate::Goes,
    );
    let payload = format!("{{{LARGEST},\"cpu\":1,{FREE},\"instances\":[]}}");
    sent(
        "the largest numbers of use".to_owned(),
        "information",
        payload.into_bytes(),
        Fate::Goes,
    );
    for (name, fields, fate) in PARTS {
        let payload = format!("{{{HELD},\"states\":[],{fields}}}");
        sent(
            format!("a report: {name}"),
            "instances",
            payload.into_bytes(),
            *fate,
        );
    }
    // 44, 46
    for (name, payload, fate) in foreign(rig) {
        sent(
            format!("a report: {name}"),
            "instances",
            payload.into_bytes(),
            fate,
        );
    }
    let adoption =
        format!("{{{LARGEST},\"part\":0,\"parts\":1,\"deploy\":[],\"jobs\":[],\"specs\":[]}}");
    sent(
        "a set that nobody gave".to_owned(),
        "reply/adopt",
        adoption.into_bytes(),
        Fate::Goes,
    );
    // 55
    for (name, text) in LINES {
        let chunk = format!("{{\"version\":1,\"sequence\":0,\"text\":\"{text}\"}}");
        sent(
            format!("an answer to nobody: {name}"),
            "reply/r-1",
            chunk.into_bytes(),
            Fate::Goes,
        );
    }
    let long = format!(
        "{{\"version\":1,\"sequence\":0,\"text\":\"{}\"}}",
        "x".repeat(20_000)
    );
    sent(
        "a line of 20,000".to_owned(),
        "reply/r-1",
        long.into_bytes(),
        Fate::Counted,
    );
    sent(
        "a line of 10 MB".to_owned(),
        "reply/r-1",
        vec![b'x'; 10_000_000],
        Fate::Closed,
    );
    // 47, 48: its own topics, which are not for it to write, and what is no topic.
    for leaf in [
        "control",
        "request",
        "",
        "information/",
        "information/x",
        "Information",
        "reply",
        "reply/",
        "reply/a/b",
        "reply/../control",
        "reply/a b",
        "nowhere",
        "+",
        "#",
    ] {
        sent(
            format!("to its {leaf:?}"),
            leaf,
            b"garbage".to_vec(),
            Fate::Closed,
        );
    }
    let long = format!("reply/{}", "r".repeat(65));
    sent(
        "to a request of 65".to_owned(),
        &long,
        b"garbage".to_vec(),
        Fate::Closed,
    );
    rows.extend(of_others(&liar));
    rows
}

/// What is no use of a machine.
const USES: &[(&str, &str)] = &[
    (
        "cpu NaN",
        r#""cpu":NaN,"free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "cpu null",
        r#""cpu":null,"free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "cpu -1",
        r#""cpu":-1,"free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "cpu 101",
        r#""cpu":101,"free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "cpu 1e999",
        r#""cpu":1e999,"free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "cpu a text",
        r#""cpu":"1","free_cores":1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "memory -1",
        r#""cpu":1,"free_cores":1,"memory":1,"memory_free_in_mb":-1,"disk_free_in_mb":1"#,
    ),
    (
        "memory 2^64",
        r#""cpu":1,"free_cores":1,"memory":1,"memory_free_in_mb":18446744073709551616,"disk_free_in_mb":1"#,
    ),
    (
        "10^7 cores",
        r#""cpu":1,"free_cores":1e7,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "-1 cores",
        r#""cpu":1,"free_cores":-1,"memory":1,"memory_free_in_mb":1,"disk_free_in_mb":1"#,
    ),
    (
        "no disk",
        r#""cpu":1,"free_cores":1,"memory":1,"memory_free_in_mb":1"#,
    ),
];

/// Parts of reports that do not fit together.
const PARTS: &[(&str, &str, Fate)] = &[
    ("part 1 of 0", r#""part":1,"parts":0"#, Fate::Counted),
    ("part 9 of 2", r#""part":9,"parts":2"#, Fate::Counted),
    (
        "4,000,000,000 parts",
        r#""part":0,"parts":4000000000"#,
        Fate::Counted,
    ),
    ("part -1", r#""part":-1,"parts":1"#, Fate::Counted),
    ("the second of two", r#""part":1,"parts":2"#, Fate::Goes),
    (
        "the first of two, again",
        r#""part":0,"parts":2"#,
        Fate::Goes,
    ),
];

/// Texts of answers, as JSON has them.
const LINES: &[(&str, &str)] = &[
    ("ANSI", r"\u001b[2J\u001b[31mred"),
    ("NUL", r"a\u0000b"),
    ("blanks", "   "),
];

/// Reports of what is another worker's.
fn foreign(rig: &Rig) -> Vec<(&'static str, String, Fate)> {
    let kept = rig.instance();
    let state = |instance: &str, generation: &str, report: &str| {
        let row = format!(
            "{{\"instance\":\"{instance}\",\"generation\":{generation},\"report\":{report}}}"
        );
        format!("{{{HELD},\"whole\":true,\"states\":[{row}]}}")
    };
    let failed = r#"{"state":"failed","at":"2026-01-01T00:00:00.000Z","restarts":1,"reason":{"code":"crash_loop","message":"x"}}"#;
    let ended = r#"{"state":"ended","at":"2126-01-01T00:00:00.000Z"}"#;
    let never = "ins_00000000000000000000000009";
    let largest = "[18446744073709551615,18446744073709551615]";
    vec![
        (
            "another's instance failed",
            state(&kept, "[1,1]", failed),
            Fate::Goes,
        ),
        (
            "another's instance ended in 100 years",
            state(&kept, "[1,1]", ended),
            Fate::Goes,
        ),
        (
            "another's instance of the largest generation",
            state(&kept, largest, ended),
            Fate::Goes,
        ),
        (
            "another's instance is gone",
            format!("{{{HELD},\"whole\":true,\"states\":[],\"gone\":[\"{kept}\"]}}"),
            Fate::Goes,
        ),
        (
            "an instance that never was",
            state(never, "[1,1]", failed),
            Fate::Goes,
        ),
        (
            "an instance that is none",
            state("kept/0", "[1,1]", ended),
            Fate::Counted,
        ),
        (
            "a generation of -1",
            state(never, "[-1,1]", ended),
            Fate::Counted,
        ),
        (
            "a generation of one number",
            state(never, "[1]", ended),
            Fate::Counted,
        ),
        (
            "a state that is none",
            state(never, "[1,1]", r#"{"state":"fine"}"#),
            Fate::Counted,
        ),
        (
            "a time that is none",
            state(never, "[1,1]", r#"{"state":"ended","at":"soon"}"#),
            Fate::Counted,
        ),
        (
            "a port of 65,536",
            state(
                never,
                "[1,1]",
                r#"{"state":"running","at":"2026-01-01T00:00:00.000Z","since":"2026-01-01T00:00:00.000Z","endpoints":[{"container_port":65536,"host_port":1}]}"#,
            ),
            Fate::Counted,
        ),
    ]
}

/// What belongs to others, and what is kept open.
fn of_others(liar: &Rc<Liar>) -> Vec<Row> {
    let mut rows = Vec::new();
    for leaf in [
        "information",
        "instances",
        "sync",
        "connection",
        "reply/r-1",
        "control",
        "request",
    ] {
        let liar = Rc::clone(liar);
        rows.push(Row::new(
            format!("to another's {leaf}"),
            move |rig: &Rig| {
                let topic = format!("nodes/{}/{leaf}", rig.worker());
                let bytes = publish(2, topic.as_bytes(), Some(1), b"{\"version\":1}");
                sends(rig, &liar, &bytes, Fate::Closed)
            },
        ));
    }
    let own = Rc::clone(liar);
    rows.push(Row::new("it reads what is for others", move |rig: &Rig| {
        let filters = [
            format!("nodes/{}/control", rig.worker()),
            "nodes/#".to_owned(),
            "#".to_owned(),
        ];
        let heard = session(rig, &own)?.say(&subscribe(filters.iter().map(String::as_bytes)))?;
        let refused = heard
            .bytes
            .windows(5)
            .any(|bytes| bytes == [0, 1, 0x80, 0x80, 0x80]);
        (refused && !heard.closed)
            .then_some(())
            .ok_or_else(|| format!("{heard:?}"))
    }));
    // 53
    let own = Rc::clone(liar);
    rows.push(Row::new(
        "65,535 packets that it never releases",
        move |rig: &Rig| {
            let topic = format!("nodes/{}/sync", own.id);
            let payload = format!("{{{HELD}}}");
            let all: Vec<u8> = (1..=u16::MAX)
                .flat_map(|id| publish(4, topic.as_bytes(), Some(id), payload.as_bytes()))
                .collect();
            sends(rig, &own, &all, Fate::Closed)
        },
    ));
    // 50
    for (name, topic) in [("of another", "information"), ("of nobody", "")] {
        let own = Rc::clone(liar);
        rows.push(Row::new(
            format!("a will on a topic {name}"),
            move |rig: &Rig| {
                let topic = format!("nodes/{}/{topic}", rig.worker());
                let fields = [
                    own.id.as_bytes(),
                    topic.as_bytes(),
                    b"gone",
                    own.username.as_bytes(),
                    own.password.as_bytes(),
                ];
                let bytes = super::packet::connect_with("MQTT", 4, 0xc6, &fields);
                let heard = Peer::new(rig.mqtt())?.say(&bytes)?;
                (heard.closed && heard.code() != Some(0))
                    .then_some(())
                    .ok_or_else(|| format!("{heard:?}"))
            },
        ));
    }
    rows
}

/// Sends what a worker sends after its CONNECT.
fn sends(rig: &Rig, liar: &Liar, bytes: &[u8], fate: Fate) -> Verdict {
    let before = rig.metric(Tier::Cluster, DROPPED)?;
    let heard = session(rig, liar)?.say(bytes)?;
    let told = |heard: &Heard| clipped(&format!("expected {fate:?}, heard {heard:?}"));
    if heard.closed != (fate == Fate::Closed) {
        return Err(told(&heard));
    }
    if fate != Fate::Counted {
        return Ok(());
    }
    // It is acknowledged when it was taken, and counted when it is read.
    for _ in 0..100 {
        if rig.metric(Tier::Cluster, DROPPED)? > before {
            return Ok(());
        }
        edgeio_tests::harness::pause(Duration::from_millis(10));
    }
    Err("it was not counted".to_owned())
}

fn session(rig: &Rig, liar: &Liar) -> Result<Peer, String> {
    let mut peer = Peer::new(rig.mqtt())?;
    let heard = peer.say(&worker(&liar.id, &liar.username, &liar.password))?;
    if heard.closed || heard.code() != Some(0) {
        return Err(format!("the worker was not let in: {heard:?}"));
    }
    Ok(peer)
}

/// Registers a worker that can run nothing.
fn join(rig: &Rig) -> Result<Liar, String> {
    let mut session = Session::join(rig.http(Tier::Cluster), "/")?;
    let answer = session.emit("/", "register", WORKER)?.unwrap_or_default();
    let text = |field: &str| answer[field].as_str().map(str::to_owned);
    let told = |answer: &Value| format!("the worker was not registered: {answer}");
    Ok(Liar {
        id: text("node_id").ok_or_else(|| told(&answer))?,
        username: text("username").ok_or_else(|| told(&answer))?,
        password: text("password").ok_or_else(|| told(&answer))?,
    })
}
