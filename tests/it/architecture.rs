//! Who may know of whom.
//!
//! The crate table of the design, held against what cargo says, and the rule that a library's name stands in one
//! place, held against the sources. Tests may import what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate, and which of ours it may import.
const MAY_IMPORT: [(&str, &[&str]); 27] = [
    ("model", &[]),
    ("sync", &[]),
    ("socketio", &[]),
    ("store", &[]),
    ("audit", &[]),
    ("daemon", &[]),
    ("identity", &["model"]),
    ("protocol", &["model", "sync"]),
    // The files of keys are written as those of certificates.
    ("secrets", &["identity", "model"]),
    // Workers and clusters join in one way: it needs the certificates and their REST shapes, and none of either tier.
    ("joining", &["daemon", "identity", "model", "protocol"]),
    ("mqtt", &["identity", "model", "protocol"]),
    ("rest", &["daemon", "identity", "model", "protocol"]),
    (
        "orchestrator",
        &[
            "audit",
            "daemon",
            "identity",
            "model",
            "protocol",
            "rest",
            "schedulers",
            "secrets",
            "store",
            "sync",
        ],
    ),
    ("schedulers", &["model"]),
    ("root-core", &["model", "schedulers", "sync"]),
    ("cluster-core", &["model", "schedulers", "sync"]),
    ("node-core", &["model", "sync"]),
    (
        "root-orchestrator",
        &[
            "daemon",
            "identity",
            "model",
            "mqtt",
            "orchestrator",
            "protocol",
            "rest",
            "root-core",
            "schedulers",
            "secrets",
            "socketio",
            "store",
            "sync",
        ],
    ),
    (
        "cluster-orchestrator",
        &[
            "cluster-core",
            "daemon",
            "identity",
            "joining",
            "model",
            "mqtt",
            "orchestrator",
            "protocol",
            "rest",
            "schedulers",
            "secrets",
            "socketio",
            "store",
            "sync",
        ],
    ),
    (
        "node-engine",
        &[
            "daemon",
            "identity",
            "joining",
            "model",
            "mqtt",
            "node-core",
            "protocol",
            "secrets",
            "socketio",
            "store",
            "sync",
        ],
    ),
    // A program as the orchestrators are, without a core or a store.
    (
        "edgeio-scheduler",
        &[
            "daemon",
            "identity",
            "model",
            "orchestrator",
            "protocol",
            "rest",
            "schedulers",
        ],
    ),
    (
        "edgeio",
        &[
            "audit",
            "cluster-orchestrator",
            "daemon",
            "model",
            "node-engine",
            "orchestrator",
            "protocol",
            "root-orchestrator",
        ],
    ),
    (
        "edgeio-tests",
        &[
            "cluster-core",
            "model",
            "node-core",
            "root-core",
            "schedulers",
            "sync",
        ],
    ),
    (
        "edgeio-models",
        &["cluster-core", "model", "node-core", "protocol", "sync"],
    ),
    // It measures the programs from outside, as anybody could.
    ("edgeio-bench", &[]),
    (
        "edgeio-bench-endpoint",
        &["identity", "model", "mqtt", "protocol"],
    ),
    (
        "edgeio-fuzz-targets",
        &["audit", "identity", "model", "mqtt", "protocol"],
    ),
];

/// A library's name in sources, and the beginnings of the paths where it may stand.
const ONLY_IN: [(&str, &[&str]); 15] = [
    ("rcgen", &["crates/identity/src/"]),
    ("x509_parser", &["crates/identity/src/"]),
    ("hpke", &["crates/secrets/src/"]),
    ("chacha20poly1305", &["crates/secrets/src/"]),
    ("redb", &["crates/store/src/"]),
    ("mongodb", &["crates/store/src/mongo"]),
    ("redis", &["crates/orchestrator/src/queue"]),
    ("opentelemetry", &["crates/orchestrator/src/traces/"]),
    ("rumqttc", &["crates/mqtt/src/"]),
    ("rumqttd", &["cluster-orchestrator/src/general_broker.rs"]),
    ("rmqtt_codec", &["crates/mqtt/src/"]),
    ("bollard", &["node-engine/src/runtime/"]),
    ("tokio_tungstenite", &["crates/socketio/src/"]),
    (
        "axum",
        &[
            "crates/rest/src/",
            "crates/orchestrator/src/http",
            "crates/orchestrator/src/access",
            "crates/orchestrator/src/exchange.rs",
            "crates/orchestrator/src/scheduler.rs",
            "crates/orchestrator/src/traces/export.rs",
            "crates/orchestrator/benches/guard.rs",
            "root-orchestrator/src/http",
            "root-orchestrator/src/uplink.rs",
            "cluster-orchestrator/src/http",
            "cluster-orchestrator/src/workers.rs",
            "schedulers/service/src/http.rs",
        ],
    ),
    (
        "socketioxide",
        &[
            "root-orchestrator/src/uplink",
            "cluster-orchestrator/src/workers.rs",
            "cluster-orchestrator/src/lib.rs",
        ],
    ),
];

/// What the cores, the words and the algorithms may not name: they do nothing, so they wait for nothing.
const PURE: [&str; 6] = [
    "model",
    "sync",
    "schedulers",
    "root-core",
    "cluster-core",
    "node-core",
];
const IMPURE: [&str; 6] = [
    "tokio",
    "axum",
    "hyper",
    "redb",
    "tracing-subscriber",
    "rustix",
];

/// What would make the node-engine big.
const NOT_IN_THE_ENGINE: [&str; 4] = ["axum", "socketioxide", "mongodb", "redis"];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(args)
        .current_dir(workspace())
        .output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "cargo {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The normal dependencies of each crate of ours, with whether they are ours.
fn dependencies() -> BTreeMap<String, Vec<(String, bool)>> {
    let said = cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--offline",
    ]);
    let metadata: Value = serde_json::from_str(&said).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let of_one = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        let normal = all.filter(|dependency| dependency["kind"].is_null());
        let named = |dependency: &Value| {
            let name = dependency["name"].as_str().unwrap().to_owned();
            (name, dependency["path"].is_string())
        };
        (
            package["name"].as_str().unwrap().to_owned(),
            normal.map(named).collect(),
        )
    };
    packages.map(of_one).collect()
}

#[test]
fn crates_import_what_the_table_allows() {
    let there = dependencies();
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let names: BTreeSet<&str> = there.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        table.keys().copied().collect(),
        "the table names each crate"
    );
    for (name, of_one) in &there {
        let ours: BTreeSet<&str> = of_one
            .iter()
            .filter(|(_, ours)| *ours)
            .map(|(name, _)| name.as_str())
            .collect();
        let may: BTreeSet<&str> = table[name.as_str()].iter().copied().collect();
        let more: Vec<&&str> = ours.difference(&may).collect();
        assert!(more.is_empty(), "{name} may not import {more:?}");
    }
}

#[test]
fn what_only_decides_names_no_runtime_and_no_device() {
    let there = dependencies();
    for name in PURE {
        for (dependency, _) in &there[name] {
            assert!(
                !IMPURE.contains(&dependency.as_str()),
                "{name} names {dependency}"
            );
        }
    }
}

#[test]
fn a_library_is_named_in_its_one_place() {
    let mut found = BTreeSet::new();
    for path in sources(workspace()) {
        let relative = path
            .strip_prefix(workspace())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for (library, places) in ONLY_IN {
            if names(&text, library) {
                let allowed = places.iter().any(|place| relative.starts_with(place));
                assert!(
                    allowed,
                    "{relative} names {library}, which only {places:?} may"
                );
                found.insert(library);
            }
        }
    }
    assert_eq!(
        found.len(),
        ONLY_IN.len(),
        "it looked at the right sources: {found:?}"
    );
}

#[test]
fn the_node_engine_links_no_server_and_no_foreign_database() {
    let tree = cargo(&[
        "tree",
        "-p",
        "node-engine",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--offline",
    ]);
    let linked: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(linked.contains("bollard"), "{linked:?}");
    for library in NOT_IN_THE_ENGINE {
        assert!(!linked.contains(library), "the node-engine links {library}");
    }
}

/// Whether a source has a path that begins with this name.
fn names(text: &str, library: &str) -> bool {
    let word = |before: Option<char>| before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    let path = format!("{library}::");
    text.match_indices(&path)
        .any(|(at, _)| word(text.get(..at).and_then(|before| before.chars().last())))
}

/// The sources that are not tests, below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !matches!(name, "tests" | "target") && !name.starts_with('.') {
                found.extend(sources(&path));
            }
        } else if name != "tests.rs" && path.extension().is_some_and(|extension| extension == "rs")
        {
            found.push(path);
        }
    }
    found
}
