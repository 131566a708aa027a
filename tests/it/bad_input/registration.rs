//! Registrations over Socket.IO, of workers with their cluster and of clusters with their root.

use std::time::Duration;

use serde_json::{Value, json};

use super::exchange::request;
use super::polling::Session;
use super::refusal::{bare, row};
use super::rig::{Rig, Tier};
use super::row::{Row, Verdict, clipped};

/// A worker that can run nothing.
pub(crate) const WORKER: &str = r#"{"version":1,"name":"worker-bad","hostname":"bad","architecture":"x86_64","cpu_millicores":0,"memory":0,"disk":0,"runtimes":[],"engine_version":"1","boot_id":"bad","boot":1,"start":"0000000000000001"}"#;
/// A cluster without workers.
const CLUSTER: &str = r#"{"version":1,"name":"cluster-bad","location":"","scheduler":"first-fit","boot":1,"start":"0000000000000001"}"#;

/// Changes of a good registration: the field, its value (nothing takes it away), what must be said.
const OF_BOTH: &[(&str, &str, &str)] = &[
    ("version", "99", "version"),
    ("version", "", "version"),
    ("version", "\"1\"", "version"),
    ("version", "-1", "version"),
    ("name", "", "name"),
    ("name", "7", "name"),
    ("name", "null", "name"),
    ("name", "\"\"", "name"),
    ("name", "\"a/b\"", "name"),
    ("name", "\"../etc\"", "name"),
    ("name", "\"a\\u0000b\"", "name"),
    ("name", "\"\\ud800\"", ""),
    ("boot", "-1", "boot"),
    ("boot", "1.5", "boot"),
    ("boot", "18446744073709551616", "boot"),
    ("start", "1", "start"),
    ("start", "\"xyz\"", "start"),
    ("start", "", "start"),
    ("join_token", "7", "join_token"),
];

/// The same of workers only.
const OF_WORKERS: &[(&str, &str, &str)] = &[
    ("node_id", "\"node_x\"", "node_id"),
    ("node_id", "\"cl_00000000000000000000000009\"", "node_id"),
    ("boot_id", "\"\"", "boot_id"),
    ("boot_id", "\"a:b\"", "boot_id"),
    ("boot_id", "7", "boot_id"),
    ("cpu_millicores", "-1", "cpu_millicores"),
    ("cpu_millicores", "1.5", "cpu_millicores"),
    ("cpu_millicores", "1000000001", "more than any machine"),
    ("memory", "18446744073709551615", "more than any machine"),
    ("memory", "\"1\"", "memory"),
    ("disk", "null", "disk"),
    ("runtimes", "\"native\"", "runtimes"),
    ("runtimes", "[7]", "runtimes"),
    ("labels", "[]", "labels"),
    ("labels", "{\"a\": 1}", "labels"),
    ("addresses", "{}", "addresses"),
    ("architecture", "7", "architecture"),
    ("name", "\"worker-1\"", "worker-1|--name"),
];

/// The same of clusters only.
const OF_CLUSTERS: &[(&str, &str, &str)] = &[
    ("cluster_id", "\"cl_x\"", "cluster_id"),
    ("cluster_id", "7", "cluster_id"),
    ("location", "7", "location"),
    ("location", "\"lat=x,lon=y\"", "lat"),
    ("location", "\"lat=91,lon=0\"", "lat"),
    ("scheduler", "", "scheduler"),
    ("scheduler", "{}", "scheduler"),
    ("name", "\"cluster-1\"", "cluster-1|--name"),
];

/// What is no packet of Engine.IO or Socket.IO.
const PACKETS: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("a kind that is none", b"9"),
    ("a letter", b"x"),
    ("no UTF-8", b"42\xff\xfe"),
    ("no JSON", b"42[\"register\","),
    ("no event", b"42{}"),
    ("an event of no name", b"42[]"),
    ("an event whose name is a number", b"42[7, {}]"),
    (
        "a number that is too long",
        b"4299999999999999999999999[\"register\",{}]",
    ),
    (
        "a binary event without its parts",
        b"451-[\"register\",{\"_placeholder\":true,\"num\":0}]",
    ),
    ("10^9 parts", b"45999999999-[\"register\"]"),
    ("a part of nothing", b"bAAAA"),
    ("an answer to nothing", b"430[{}]"),
    ("a second CONNECT", b"40"),
    ("a namespace that is none", b"40/nowhere,"),
    ("a namespace of a path", b"40/../uplink,"),
    ("the other's namespace", b"40/uplink,"),
    ("a packet before CONNECT", b"42/other,[\"register\",{}]"),
    ("a CONNECT with rubbish", b"40{\"token\":"),
    ("an upgrade in vain", b"5"),
    ("a ping of the client", b"2probe"),
    ("an open of the client", b"0{\"sid\":\"x\"}"),
];

/// The handshake's requests, and the statuses that may come back.
const HANDSHAKES: &[(&str, &[u16])] = &[
    ("GET /socket.io/", &[400]),
    ("GET /socket.io/?EIO=3&transport=polling", &[400]),
    ("GET /socket.io/?EIO=x&transport=polling", &[400]),
    ("GET /socket.io/?EIO=4&transport=nonsense", &[400]),
    ("GET /socket.io/?EIO=4", &[400]),
    ("GET /socket.io/?EIO=4&transport=polling&sid=nobody", &[400]),
    (
        "POST /socket.io/?EIO=4&transport=polling&sid=nobody",
        &[400],
    ),
    ("POST /socket.io/?EIO=4&transport=polling", &[400]),
    ("GET /socket.io/?EIO=4&transport=websocket", &[400, 426]),
    ("DELETE /socket.io/?EIO=4&transport=polling", &[400, 405]),
    ("GET /socket.io", &[404]),
];

#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let desks = [
        (Tier::Cluster, "/", WORKER, OF_WORKERS, 64 * 1024),
        (Tier::Root, "/uplink", CLUSTER, OF_CLUSTERS, 1024 * 1024),
    ];
    for (tier, namespace, good, own, limit) in desks {
        for (field, value, words) in OF_BOTH.iter().chain(own) {
            let (data, words) = (changed(good, field, value), *words);
            let name = format!("{tier:?}: {field}: {value}");
            rows.push(Row::new(name, move |rig: &Rig| {
                refused(rig, tier, namespace, &data, words)
            }));
        }
        for (name, data) in [
            ("a text", "\"me\""),
            ("a list", "[]"),
            ("null", "null"),
            ("a number", "7"),
        ] {
            let name = format!("{tier:?}: {name}");
            rows.push(Row::new(name, move |rig: &Rig| {
                refused(rig, tier, namespace, data, "")
            }));
        }
        for (name, field, length) in [
            ("a name of 300", "name", 300),
            ("a token of 5,000", "join_token", 5_000),
        ] {
            let data = changed(good, field, &format!("\"{}\"", "x".repeat(length)));
            let name = format!("{tier:?}: {name}");
            rows.push(Row::new(name, move |rig: &Rig| {
                refused(rig, tier, namespace, &data, field)
            }));
        }
        let data = format!("{{\"version\":1,\"a\":{}", "[".repeat(10_000));
        rows.push(Row::new(
            format!("{tier:?}: 10,000 lists"),
            move |rig: &Rig| ends_or_refuses(rig, tier, namespace, &data),
        ));
        let data = changed(good, "name", &format!("\"{}\"", "x".repeat(limit + 1)));
        rows.push(Row::new(
            format!("{tier:?}: a name of {limit} and 1"),
            move |rig: &Rig| ends_or_refuses(rig, tier, namespace, &data),
        ));
        for (name, bytes) in PACKETS {
            let name = format!("{tier:?}: {name}");
            rows.push(Row::new(name, move |rig: &Rig| {
                packet(rig, tier, namespace, bytes)
            }));
        }
        for (line, statuses) in HANDSHAKES {
            rows.push(row(
                format!("{tier:?}: {line}"),
                tier,
                request(line, "", b""),
                bare(statuses),
            ));
        }
        rows.push(
            Row::new(format!("{tier:?}: a flood of events"), move |rig: &Rig| {
                flood(rig, tier, namespace)
            })
            .within(Duration::from_secs(10)),
        );
        rows.push(
            Row::new(
                format!("{tier:?}: 200 sessions that never join"),
                move |rig: &Rig| idle(rig, tier),
            )
            .within(Duration::from_secs(10)),
        );
        let foreign = request(
            "GET /socket.io/?EIO=4&transport=polling",
            "Origin: http://evil.example\r\n",
            b"",
        );
        rows.push(row(
            format!("{tier:?}: a page's session"),
            tier,
            foreign,
            bare(&[200, 400, 403]),
        ));
    }
    rows.push(Row::new("news before the registration", |rig: &Rig| {
        let mut session = Session::join(rig.http(Tier::Root), "/uplink")?;
        for event in ["sync", "report", "aggregate", "adopt", "reply", "nonsense"] {
            session.send(&format!("42/uplink,[\"{event}\",{{\"version\":1}}]"))?;
        }
        Ok(())
    }));
    rows.push(Row::new("a cluster that says nonsense", nonsense));
    rows
}

/// A good registration with one field changed, or taken away.
fn changed(good: &str, field: &str, value: &str) -> String {
    let mut data: serde_json::Map<String, Value> = serde_json::from_str(good).unwrap();
    data.remove(field);
    let rest = Value::Object(data).to_string();
    if value.is_empty() {
        return rest;
    }
    // As text, so that it can be what no value is.
    format!(
        "{{{}:{value},{}",
        json!(field),
        rest.strip_prefix('{').unwrap()
    )
}

/// It is answered by a problem that says this.
fn refused(rig: &Rig, tier: Tier, namespace: &str, data: &str, words: &str) -> Verdict {
    let mut session = Session::join(rig.http(tier), namespace)?;
    let Some(answer) = session.emit(namespace, "register", data)? else {
        return Err("the session was closed".to_owned());
    };
    let problem = &answer["problem"];
    let told = problem["message"].as_str().unwrap_or_default();
    let said = words.split('|').all(|word| told.contains(word));
    let named = problem["code"]
        .as_str()
        .is_some_and(|code| !code.is_empty());
    (named && said && !told.is_empty())
        .then_some(())
        .ok_or_else(|| clipped(&format!("expected {words:?} in {answer}")))
}

/// Either answers are a problem, or the session ends: both say no.
fn ends_or_refuses(rig: &Rig, tier: Tier, namespace: &str, data: &str) -> Verdict {
    let mut session = Session::join(rig.http(tier), namespace)?;
    match session.emit(namespace, "register", data) {
        Ok(None) => Ok(()),
        Ok(Some(answer)) if answer["problem"].is_object() => Ok(()),
        Ok(Some(answer)) => Err(clipped(&format!("answered by {answer}"))),
        Err(error) if error.contains("closed") => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whatever becomes of the session, the request is answered and no 5xx.
fn packet(rig: &Rig, tier: Tier, namespace: &str, bytes: &[u8]) -> Verdict {
    let status = Session::join(rig.http(tier), namespace)?.send_bytes(bytes)?;
    (status < 500)
        .then_some(())
        .ok_or_else(|| format!("answered by {status}"))
}

/// 20,000 events at once: they are taken or the session ends.
fn flood(rig: &Rig, tier: Tier, namespace: &str) -> Verdict {
    let mut session = Session::join(rig.http(tier), namespace)?;
    let prefix = if namespace == "/" { "" } else { "/uplink," };
    let event = format!("42{prefix}[\"sync\",{{\"version\":1}}]");
    let thousand = vec![event; 1_000].join("\x1e");
    for _ in 0..20 {
        if session.send(&thousand)? != 200 {
            break;
        }
    }
    Ok(())
}

fn idle(rig: &Rig, tier: Tier) -> Verdict {
    for _ in 0..200 {
        Session::open(rig.http(tier))?;
    }
    Ok(())
}

/// Registered, it says what cannot be read, and what is another's.
fn nonsense(rig: &Rig) -> Verdict {
    let mut session = Session::join(rig.http(Tier::Root), "/uplink")?;
    let answer = session
        .emit("/uplink", "register", CLUSTER)?
        .unwrap_or_default();
    if !answer["cluster_id"].is_string() {
        return Err(format!("not registered: {answer}"));
    }
    let before = rig.metric(Tier::Root, "edgeio_messages_dropped_total")?;
    let deep = "[".repeat(100) + &"]".repeat(100);
    let largest = u64::MAX;
    let data = [
        "null".to_owned(),
        "7".to_owned(),
        "{}".to_owned(),
        "{\"version\":99}".to_owned(),
        deep,
        format!("{{\"version\":1,\"term\":{largest},\"revision\":{largest}}}"),
        format!("{{\"version\":1,\"part\":1,\"parts\":{largest}}}"),
    ];
    let mut sent = 0;
    for event in ["sync", "report", "aggregate", "adopt", "reply"] {
        for data in &data {
            session.send(&format!("42/uplink,[\"{event}\",{data}]"))?;
            sent += 1;
        }
    }
    let again = session
        .emit("/uplink", "register", CLUSTER)?
        .unwrap_or_default();
    if again["problem"]["code"] != "already_registered" {
        return Err(format!("registered again: {again}"));
    }
    let counted = rig.metric(Tier::Root, "edgeio_messages_dropped_total")? - before;
    (counted >= f64::from(sent))
        .then_some(())
        .ok_or_else(|| format!("{counted} of {sent} were counted"))
}
