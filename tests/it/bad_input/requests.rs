//! Requests for what is not there, or not so.

use std::time::Duration;

use super::exchange::request;
use super::held_open::followers;
use super::refusal::{Refusal, bare, fine, problem, row};
use super::rig::Tier;
use super::row::Row;

/// Request lines, and what must come back: status, code, words.
const LINES: &[(&str, u16, &str, &str)] = &[
    ("GET /nowhere", 404, "no_such_path", "/nowhere"),
    ("GET /", 404, "no_such_path", "/"),
    ("GET /api/v2/jobs", 404, "no_such_path", "/api/v2/jobs"),
    ("GET /api/v1/jobs/", 404, "no_such_path", ""),
    ("GET //api/v1/jobs", 404, "no_such_path", ""),
    ("GET /api/v1/jobs/../../etc/passwd", 404, "no_such_path", ""),
    ("GET /api/v1/jobs/nobody", 404, "no_such_job", "nobody"),
    ("DELETE /api/v1/jobs/nobody", 404, "no_such_job", "nobody"),
    (
        "GET /api/v1/jobs/nobody/events",
        404,
        "no_such_job",
        "nobody",
    ),
    (
        "GET /api/v1/jobs/nobody/events?follow=true",
        404,
        "no_such_job",
        "nobody",
    ),
    (
        "GET /api/v1/jobs/nobody/explain",
        404,
        "no_such_job",
        "nobody",
    ),
    ("GET /api/v1/jobs/nobody/logs", 404, "no_such_job", "nobody"),
    ("GET /api/v1/jobs/a%2Fb", 404, "no_such_job", "a/b"),
    ("GET /api/v1/jobs/%00", 404, "no_such_job", ""),
    ("GET /api/v1/jobs/%2e%2e", 404, "no_such_job", ".."),
    ("GET /api/v1/jobs/%0d%0aX-Evil:1", 404, "no_such_job", ""),
    (
        "GET /api/v1/jobs/%3Cscript%3E",
        404,
        "no_such_job",
        "<script>",
    ),
    ("GET /api/v1/jobs/%ff", 400, "bad_request", "UTF-8"),
    ("GET /api/v1/jobs/%zz", 404, "no_such_job", ""),
    // Ids of another kind, and of nothing.
    (
        "GET /api/v1/jobs/cl_00000000000000000000000009",
        404,
        "no_such_job",
        "",
    ),
    (
        "GET /api/v1/jobs/node_00000000000000000000000009",
        404,
        "no_such_job",
        "",
    ),
    (
        "GET /api/v1/jobs/ins_00000000000000000000000009",
        404,
        "no_such_job",
        "",
    ),
    (
        "GET /api/v1/jobs/job_00000000000000000000000009",
        404,
        "no_such_job",
        "",
    ),
    ("GET /api/v1/jobs/job_", 404, "no_such_job", ""),
    ("GET /api/v1/jobs/KEPT", 404, "no_such_job", "KEPT"),
    // Parameters.
    (
        "GET /api/v1/jobs?limit=0",
        400,
        "bad_request",
        "limit|1 to 1000",
    ),
    (
        "GET /api/v1/jobs?limit=1001",
        400,
        "bad_request",
        "limit|1 to 1000",
    ),
    ("GET /api/v1/jobs?limit=-1", 400, "bad_request", "limit"),
    (
        "GET /api/v1/jobs?limit=18446744073709551616",
        400,
        "bad_request",
        "limit",
    ),
    ("GET /api/v1/jobs?limit=ten", 400, "bad_request", "limit"),
    ("GET /api/v1/jobs?limit=", 400, "bad_request", "limit"),
    (
        "GET /api/v1/jobs?limit=5&limit=6",
        400,
        "bad_request",
        "limit",
    ),
    (
        "GET /api/v1/jobs?cursor=c&cursor=d",
        400,
        "bad_request",
        "cursor",
    ),
    (
        "GET /api/v1/jobs?cursor=",
        400,
        "bad_request",
        "cursor|begin without",
    ),
    (
        "GET /api/v1/jobs?cursor=c",
        400,
        "bad_request",
        "cursor|begin without",
    ),
    ("GET /api/v1/jobs?cursor=c00", 400, "bad_request", "cursor"),
    ("GET /api/v1/jobs?cursor=%00", 400, "bad_request", "cursor"),
    (
        "GET /api/v1/jobs?cursor=c636c5f3030303030303030303030303030303030303030303030303039",
        400,
        "bad_request",
        "cursor",
    ),
    ("GET /api/v1/jobs?state=FINE", 400, "bad_request", "RUNNING"),
    (
        "GET /api/v1/jobs?state=running",
        400,
        "bad_request",
        "RUNNING",
    ),
    ("GET /api/v1/jobs?state=", 400, "bad_request", "RUNNING"),
    (
        "GET /api/v1/jobs?state=RUNNING&state=FAILED",
        400,
        "bad_request",
        "state",
    ),
    ("GET /api/v1/jobs?Limit=5", 400, "bad_request", "Limit"),
    ("GET /api/v1/jobs?=5", 400, "bad_request", ""),
    ("GET /api/v1/jobs?limit", 400, "bad_request", "limit"),
    ("GET /api/v1/jobs?limit=%ff", 400, "bad_request", "limit"),
    (
        "GET /api/v1/events?limit=0",
        400,
        "bad_request",
        "limit|1 to 1000",
    ),
    ("GET /api/v1/events?cursor=x", 400, "bad_request", "cursor"),
    (
        "GET /api/v1/events?follow=yes",
        400,
        "bad_request",
        "follow",
    ),
    (
        "GET /api/v1/events?follow=true&follow=false",
        400,
        "bad_request",
        "follow",
    ),
    (
        "GET /api/v1/events?follow=true&cursor=x",
        400,
        "bad_request",
        "cursor",
    ),
    (
        "GET /api/v1/events?follow=true&limit=1001",
        400,
        "bad_request",
        "limit",
    ),
    (
        "GET /api/v1/jobs/kept/events?limit=1001",
        400,
        "bad_request",
        "limit",
    ),
    (
        "GET /api/v1/jobs/kept/logs?tail=-1",
        400,
        "bad_request",
        "tail",
    ),
    (
        "GET /api/v1/jobs/kept/logs?tail=ten",
        400,
        "bad_request",
        "tail",
    ),
    (
        "GET /api/v1/jobs/kept/logs?since=yesterday",
        400,
        "bad_request",
        "since",
    ),
    (
        "GET /api/v1/jobs/kept/logs?follow=1",
        400,
        "bad_request",
        "follow",
    ),
    (
        "GET /api/v1/jobs/kept/logs?instance=other/0",
        404,
        "no_such_instance",
        "other/0",
    ),
    (
        "GET /api/v1/jobs/kept/logs?instance=kept/9",
        404,
        "no_such_instance",
        "kept/9",
    ),
    (
        "GET /api/v1/jobs/kept/logs?instance=ins_00000000000000000000000009",
        404,
        "no_such_instance",
        "",
    ),
    (
        "GET /api/v1/jobs/kept/logs?instance=a&instance=b",
        400,
        "bad_request",
        "instance",
    ),
    ("POST /api/v1/jobs?dry_run=1", 400, "bad_request", "dry_run"),
    (
        "POST /api/v1/jobs?dry_run=true&dry_run=false",
        400,
        "bad_request",
        "dry_run",
    ),
    (
        "POST /api/v1/jobs?dryrun=true",
        400,
        "bad_request",
        "dryrun",
    ),
    (
        "PUT /api/v1/jobs/kept?dry_run=perhaps",
        400,
        "bad_request",
        "dry_run",
    ),
    // Methods.
    ("DELETE /api/v1/jobs", 405, "method_not_allowed", "DELETE"),
    (
        "PATCH /api/v1/jobs/kept",
        405,
        "method_not_allowed",
        "PATCH",
    ),
    ("TRACE /api/v1/jobs", 405, "method_not_allowed", "TRACE"),
    ("OPTIONS /api/v1/jobs", 405, "method_not_allowed", "OPTIONS"),
    ("get /api/v1/jobs", 405, "method_not_allowed", "get"),
    ("BREW /api/v1/jobs", 405, "method_not_allowed", "BREW"),
];

/// The same of what only a root has.
const ROOT: &[(&str, u16, &str, &str)] = &[
    (
        "GET /api/v1/clusters/nobody",
        404,
        "no_such_cluster",
        "nobody",
    ),
    (
        "POST /api/v1/clusters/nobody/cordon",
        404,
        "no_such_cluster",
        "nobody",
    ),
    (
        "POST /api/v1/clusters/nobody/drain",
        404,
        "no_such_cluster",
        "nobody",
    ),
    (
        "DELETE /api/v1/clusters/nobody",
        404,
        "no_such_cluster",
        "nobody",
    ),
    (
        "POST /api/v1/clusters/nobody/jobs",
        404,
        "no_such_cluster",
        "nobody",
    ),
    // What is said by the cluster.
    (
        "POST /api/v1/clusters/cluster-1/jobs",
        400,
        "bad_document",
        "the body is empty",
    ),
    (
        "POST /api/v1/clusters/cluster-1/jobs?dry_run=maybe",
        400,
        "bad_request",
        "dry_run",
    ),
    (
        "POST /api/v1/clusters/cluster-1/jobs?tenant=a//b",
        400,
        "bad_request",
        "university/lab",
    ),
    (
        "POST /api/v1/clusters/cluster-1/jobs?tenant=nobody",
        404,
        "no_such_tenant",
        "nobody",
    ),
    (
        "GET /api/v1/clusters/cluster-1/jobs",
        405,
        "method_not_allowed",
        "GET",
    ),
    // Who is heard is not forgotten.
    ("DELETE /api/v1/clusters/cluster-1", 409, "alive", "stop"),
    (
        "GET /api/v1/clusters/nobody/nodes",
        404,
        "no_such_cluster",
        "nobody",
    ),
    (
        "GET /api/v1/clusters/cluster-1/nodes/nobody",
        404,
        "no_such_node",
        "nobody",
    ),
    (
        "POST /api/v1/clusters/cluster-1/nodes/nobody/cordon",
        404,
        "no_such_node",
        "nobody",
    ),
    (
        "POST /api/v1/clusters/cluster-1/nodes/nobody/drain",
        404,
        "no_such_node",
        "nobody",
    ),
    (
        "DELETE /api/v1/clusters/cluster-1/nodes/nobody",
        404,
        "no_such_node",
        "nobody",
    ),
    (
        "GET /api/v1/clusters/cluster-1/nodes?limit=0",
        400,
        "bad_request",
        "limit",
    ),
    (
        "GET /api/v1/clusters/cluster-1/nodes?cursor=x",
        400,
        "bad_request",
        "cursor",
    ),
    (
        "GET /api/v1/clusters?cursor=x",
        400,
        "bad_request",
        "cursor",
    ),
    ("GET /api/v1/nodes", 404, "no_such_path", ""),
];

/// The same of what only a cluster has.
const CLUSTER: &[(&str, u16, &str, &str)] = &[
    ("GET /api/v1/clusters", 404, "no_such_path", ""),
    ("GET /api/v1/nodes/nobody", 404, "no_such_node", "nobody"),
    (
        "POST /api/v1/nodes/nobody/cordon",
        404,
        "no_such_node",
        "nobody",
    ),
    (
        "POST /api/v1/nodes/nobody/drain",
        404,
        "no_such_node",
        "nobody",
    ),
    ("DELETE /api/v1/nodes/nobody", 404, "no_such_node", "nobody"),
    ("GET /api/v1/nodes?limit=0", 400, "bad_request", "limit"),
    ("GET /api/v1/nodes?cursor=x", 400, "bad_request", "cursor"),
    // Jobs of the root are its own business.
    ("DELETE /api/v1/jobs/kept", 409, "owned_elsewhere", "root"),
];

/// What is no HTTP, or hardly.
const RAW: &[(&str, &[u8], &[u16])] = &[
    (
        "blank lines before the request line",
        b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[200],
    ),
    (
        "a word before the request line",
        b"x\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("NUL", b"\0\0\0\0\r\n\r\n", &[400]),
    // An answer is not what its sender would understand.
    ("no handshake of TLS", b"\x16\x03\x01\x00\x05hello", &[]),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
    (
        "HTTP/9",
        b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    ("HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n", &[200]),
    ("HTTP/0.9", b"GET /healthz\r\n\r\n", &[400]),
    ("no path", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    (
        "a blank in the path",
        b"GET /api/v1/jobs/a b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "bytes beyond ASCII in the path",
        b"GET /api/v1/jobs/\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[400, 404],
    ),
    (
        "another server's URL",
        b"GET http://example.org/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[200],
    ),
    (
        "CONNECT",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[400, 404, 405],
    ),
    (
        "a star",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[400, 404, 405],
    ),
];

pub(crate) fn rows() -> Vec<Row> {
    let both = Tier::BOTH.map(|tier| (tier, LINES));
    let tables = both
        .into_iter()
        .chain([(Tier::Root, ROOT), (Tier::Cluster, CLUSTER)]);
    let mut rows: Vec<Row> = tables
        .flat_map(|(tier, lines)| lines.iter().map(move |case| line(tier, case)))
        .collect();
    for (name, bytes, statuses) in RAW {
        let expected = bare(statuses);
        let expected = if statuses.is_empty() {
            expected.or_closed()
        } else {
            expected
        };
        rows.push(row(*name, Tier::Root, bytes.to_vec(), expected));
    }
    let long = format!("GET /api/v1/jobs/{}", "x".repeat(60_000));
    rows.push(row(
        "a path of 60,000",
        Tier::Root,
        request(&long, "", b""),
        bare(&[414, 431, 400]),
    ));
    let long = format!("GET /api/v1/jobs/{}", "x".repeat(4_000));
    rows.push(row(
        "a path of 4,000",
        Tier::Root,
        request(&long, "", b""),
        problem(404, "no_such_job"),
    ));
    let many = format!("GET /api/v1/jobs?{}", "limit=1&".repeat(500));
    rows.push(row(
        "500 parameters",
        Tier::Root,
        request(&many, "", b""),
        problem(400, "bad_request"),
    ));
    rows.push(row(
        "HEAD of nobody",
        Tier::Root,
        request("HEAD /api/v1/jobs/nobody", "", b""),
        fine(404),
    ));
    let seats = Row::new("257 followers", followers);
    rows.push(seats.within(Duration::from_secs(15)));
    rows
}

fn line(tier: Tier, (line, status, code, words): &(&str, u16, &str, &str)) -> Row {
    let expected = problem(*status, code).says(words);
    let expected: Refusal = if *status == 405 {
        expected.header("allow", "")
    } else {
        expected
    };
    row(
        format!("{tier:?}: {line}"),
        tier,
        request(line, "", b""),
        expected,
    )
}
