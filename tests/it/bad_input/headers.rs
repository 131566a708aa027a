//! Headers that cannot be, or that would be ignored.

use std::fmt::Write as _;

use edgeio_tests::harness::TOKEN;

use super::documents::container;
use super::exchange::request;
use super::refusal::{Refusal, bare, fine, problem, row};
use super::rig::{Rig, Tier};
use super::row::Row;

/// Header lines of a good GET, and the statuses that may come back.
const OF_GET: &[(&str, &str, &[u16])] = &[
    // What can only be answered in other forms is answered in JSON, as the contract says.
    ("Accept: nonsense", "Accept: nonsense\r\n", &[200]),
    ("Accept: image/png", "Accept: image/png\r\n", &[200]),
    (
        "Accept: q=NaN",
        "Accept: application/yaml;q=NaN, */*;q=1e999\r\n",
        &[200],
    ),
    ("Accept of bytes", "Accept: \u{e9}\r\n", &[200]),
    ("Accept of 8 KiB", "", &[200]),
    ("Range", "Range: bytes=0-1\r\n", &[200]),
    ("Expect of nonsense", "Expect: miracles\r\n", &[200, 417]),
    (
        "Upgrade to nonsense",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        &[200],
    ),
    ("a name with a blank", "Bad Name: 1\r\n", &[400]),
    ("a line without a colon", "nonsense\r\n", &[400]),
    ("a folded line", "X-A: 1\r\n 2\r\n", &[400]),
    ("NUL in a value", "X-A: a\0b\r\n", &[400]),
    ("a bare carriage return", "X-A: a\rb\r\n", &[400]),
    (
        "two lengths",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        &[400],
    ),
    ("a length of -1", "Content-Length: -1\r\n", &[400]),
    (
        "a length in hexadecimal",
        "Content-Length: 0x10\r\n",
        &[400],
    ),
    (
        "a length beyond all",
        "Content-Length: 18446744073709551616\r\n",
        &[400],
    ),
    (
        "a transfer that is none",
        "Transfer-Encoding: nonsense\r\n",
        &[400, 501],
    ),
    (
        "chunked, and then not",
        "Transfer-Encoding: chunked, identity\r\n",
        &[400, 501],
    ),
];

/// `Idempotency-Key` lines that are no key.
const KEYS: &[(&str, &str)] = &[
    ("empty", "Idempotency-Key:\r\n"),
    ("with a blank", "Idempotency-Key: a b\r\n"),
    ("with bytes beyond ASCII", "Idempotency-Key: \u{e9}\r\n"),
    ("with a tab", "Idempotency-Key: a\tb\r\n"),
    ("twice", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
    (
        "twice the same",
        "Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
    ),
];

/// `Last-Event-ID` lines that are none.
const LAST: &[(&str, &str)] = &[
    ("of nonsense", "Last-Event-ID: nonsense\r\n"),
    (
        "of another kind",
        "Last-Event-ID: job_00000000000000000000000009\r\n",
    ),
    (
        "of another case",
        "Last-Event-ID: EVT_00000000000000000000000009\r\n",
    ),
    (
        "too long",
        "Last-Event-ID: evt_000000000000000000000000091\r\n",
    ),
    (
        "too large",
        "Last-Event-ID: evt_80000000000000000000000009\r\n",
    ),
    ("of bytes", "Last-Event-ID: \u{e9}\r\n"),
    (
        "twice",
        "Last-Event-ID: evt_00000000000000000000000009\r\nLast-Event-ID: nonsense\r\n",
    ),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for tier in Tier::BOTH {
        for (name, lines, statuses) in OF_GET {
            let bytes = request("GET /api/v1/jobs", lines, b"");
            rows.push(row(
                format!("{tier:?}: {name}"),
                tier,
                bytes,
                bare(statuses),
            ));
        }
        for (name, lines) in KEYS {
            rows.push(submitted(tier, &format!("a key {name}"), lines, key()));
        }
        let long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
        rows.push(submitted(tier, "a key of 256", &long, key()));
        for (name, lines) in LAST {
            for path in ["/api/v1/events", "/api/v1/jobs/kept/events"] {
                let bytes = request(&format!("GET {path}?follow=true"), lines, b"");
                let expected = problem(400, "bad_request").says("Last-Event-ID");
                rows.push(row(
                    format!("{tier:?}: {path}: last event {name}"),
                    tier,
                    bytes,
                    expected,
                ));
            }
        }
        rows.extend(large(tier));
        rows.extend(smuggled(tier));
        let foreign = "Origin: http://evil.example\r\n";
        rows.push(submitted(
            tier,
            "of a foreign page",
            foreign,
            problem(403, "forbidden"),
        ));
        rows.push(submitted(
            tier,
            "of no page",
            "Origin: null\r\n",
            problem(403, "forbidden"),
        ));
    }
    rows.push(Row::new("a key with another body", another_body));
    rows
}

fn key() -> Refusal {
    problem(400, "bad_request").says("Idempotency-Key|255")
}

/// A good document for nobody, with these headers.
fn submitted(tier: Tier, name: &str, headers: &str, expected: Refusal) -> Row {
    let body = container("cluster_location: nowhere");
    let bytes = request("POST /api/v1/jobs", headers, body.as_bytes());
    row(format!("{tier:?}: {name}"), tier, bytes, expected)
}

fn large(tier: Tier) -> [Row; 4] {
    let get = |lines: &str| request("GET /api/v1/jobs", lines, b"");
    let many = |count| {
        (0..count).fold(String::new(), |mut lines, number| {
            let _ = write!(lines, "X-{number}: 1\r\n");
            lines
        })
    };
    let of = |length: usize| format!("X-A: {}\r\n", "x".repeat(length));
    [
        row(
            format!("{tier:?}: 90 headers"),
            tier,
            get(&many(90)),
            fine(200),
        ),
        row(
            format!("{tier:?}: 150 headers"),
            tier,
            get(&many(150)),
            bare(&[431]),
        ),
        row(
            format!("{tier:?}: a header of 8 KiB"),
            tier,
            get(&of(8_000)),
            fine(200),
        ),
        row(
            format!("{tier:?}: a header of 32 KiB"),
            tier,
            get(&of(32_000)),
            bare(&[431]),
        ),
    ]
}

/// What two readers would read as two different requests.
fn smuggled(tier: Tier) -> [Row; 2] {
    let second = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
    );
    let old = format!(
        "POST /api/v1/jobs HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
    );
    // RFC 9112, section 6.3: chunks win, and nothing more is read of that connection; or it is refused.
    [
        row(
            format!("{tier:?}: a length and chunks"),
            tier,
            both.into_bytes(),
            bare(&[400]).or_closed(),
        ),
        row(
            format!("{tier:?}: chunks of HTTP/1.0"),
            tier,
            old.into_bytes(),
            bare(&[400]).or_closed(),
        ),
    ]
}

/// The first is taken, and gone afterwards; the second is not it.
fn another_body(rig: &Rig) -> Result<(), String> {
    let body = |replicas: u32| {
        format!(
            "api_version: v0.1\njob_name: good-key\nimage_runtime: native\ncommand: [/bin/true]\nreplicas: {replicas}\n"
        )
    };
    let submit = |replicas, expected: Refusal| {
        let text = body(replicas);
        let bytes = request(
            "POST /api/v1/jobs",
            "Idempotency-Key: once\r\n",
            text.as_bytes(),
        );
        super::refusal::ask(rig.http(Tier::Root), &bytes, &expected)
    };
    submit(0, fine(202))?;
    submit(0, fine(202))?;
    submit(1, problem(422, "idempotency_mismatch"))?;
    let id = rig.client(Tier::Root).job("good-key")?["job_id"].take();
    let gone = rig
        .client(Tier::Root)
        .delete(&format!("/api/v1/jobs/{}", id.as_str().unwrap_or_default()))?;
    (gone.status == 202)
        .then_some(())
        .ok_or_else(|| gone.body.to_string())
}
