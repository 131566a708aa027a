//! Rows for each route that there is, as its own description tells them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::exchange::{Answer, exchange, request};
use super::refusal::{problem, row};
use super::rig::{Rig, Tier};
use super::row::Row;

/// All methods that a route may have.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(crate) fn rows(rig: &Rig) -> Vec<Row> {
    Tier::BOTH
        .into_iter()
        .flat_map(|tier| of_tier(rig, tier))
        .collect()
}

fn of_tier(rig: &Rig, tier: Tier) -> Vec<Row> {
    let paths = described(rig, tier);
    assert!(paths.len() > 10, "{tier:?} describes only {paths:?}");
    let mut rows = Vec::new();
    for (pattern, operations) in paths {
        for method in METHODS {
            let line = format!("{method} {}", path_of(&pattern, method));
            let Some(takes_body) = operations.get(&method.to_lowercase()) else {
                let expected = problem(405, "method_not_allowed").header("allow", "");
                rows.push(row(
                    format!("{tier:?}: no {line}"),
                    tier,
                    request(&line, "", b""),
                    expected,
                ));
                continue;
            };
            let asked = format!("{line}?no_such_parameter=1");
            rows.push(row(
                format!("{tier:?}: {asked}"),
                tier,
                request(&asked, "", b""),
                problem(400, "bad_request").says("parameter"),
            ));
            if *takes_body {
                for (name, headers) in ENVELOPES {
                    rows.push(row(
                        format!("{tier:?}: {line} {name}"),
                        tier,
                        request(&line, headers, b"replicas: 1\n"),
                        problem(415, "unsupported_media_type").says("application/yaml"),
                    ));
                }
            } else {
                rows.push(row(
                    format!("{tier:?}: {line} with a body"),
                    tier,
                    request(&line, "", b"force: true\n"),
                    problem(400, "bad_request").says("no body"),
                ));
            }
        }
    }
    rows
}

/// Headers of bodies that are not read.
const ENVELOPES: &[(&str, &str)] = &[
    ("as HTML", "Content-Type: text/html\r\n"),
    (
        "as a form with parts",
        "Content-Type: multipart/form-data; boundary=x\r\n",
    ),
    (
        "in UTF-16",
        "Content-Type: application/yaml; charset=utf-16\r\n",
    ),
    ("as nonsense", "Content-Type: ;;;\r\n"),
    ("compressed", "Content-Encoding: gzip\r\n"),
    (
        "compressed twice",
        "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
    ),
    (
        "in two types",
        "Content-Type: application/yaml\r\nContent-Type: text/html\r\n",
    ),
];

/// Each path with its operations, and whether they take a body.
fn described(rig: &Rig, tier: Tier) -> BTreeMap<String, BTreeMap<String, bool>> {
    let bytes = request("GET /openapi.json", "", b"");
    let answer = exchange(rig.http(tier), &bytes).unwrap();
    let document = match answer {
        Answer::Http(reply) => reply.json(),
        Answer::Closed(_) => Value::Null,
    };
    let paths = document["paths"].as_object().unwrap();
    let operations = |item: &Value| {
        let all = item.as_object().unwrap().iter();
        let operations = all.filter(|(key, _)| METHODS.contains(&key.to_uppercase().as_str()));
        operations
            .map(|(method, operation)| (method.clone(), operation.get("requestBody").is_some()))
            .collect()
    };
    paths
        .iter()
        .map(|(pattern, item)| (pattern.clone(), operations(item)))
        .collect()
}

/// With things that are there to be read, and none that could be changed if the request were taken.
fn path_of(pattern: &str, method: &str) -> String {
    let [job, cluster, node] = if method == "GET" {
        ["kept", "cluster-1", "worker-1"]
    } else {
        ["nobody"; 3]
    };
    pattern
        .replace("{job}", job)
        .replace("{cluster}", cluster)
        .replace("{node}", node)
}
