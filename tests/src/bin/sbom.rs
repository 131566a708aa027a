//! `cargo run -p edgeio-tests --bin sbom`: what goes into the programs, as a bill of materials (CycloneDX 1.5).
//!
//! It says what `Cargo.lock` says of everything that a program links, on any platform; what only tests use is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

/// What is shipped.
const PROGRAMS: [&str; 4] = [
    "edgeio",
    "root-orchestrator",
    "cluster-orchestrator",
    "node-engine",
];

fn main() -> Result<(), Box<dyn Error>> {
    let args = ["metadata", "--format-version", "1", "--locked"];
    let said = Command::new(env!("CARGO")).args(args).output()?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into_owned().into());
    }
    let metadata: Value = serde_json::from_slice(&said.stdout)?;
    let linked = linked(&metadata);
    let packages = list(&metadata, "packages");
    let components: Vec<Value> = packages
        .iter()
        .filter(|package| linked.contains(text(package, "id")))
        .map(component)
        .collect();
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "edgeio", "version": env!("CARGO_PKG_VERSION")}},
        "components": components,
    });
    let text = serde_json::to_string_pretty(&bill)?;
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The ids of the programs' packages, and of all that these link.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes = metadata
        .get("resolve")
        .map_or(&[][..], |it| list(it, "nodes"));
    let by_id: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let packages = list(metadata, "packages").iter();
    let is_program = |package: &&Value| {
        PROGRAMS.contains(&text(package, "name"))
            && package.get("source").is_none_or(Value::is_null)
    };
    let mut waiting: Vec<&str> = packages
        .filter(is_program)
        .map(|package| text(package, "id"))
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let needs = by_id.get(id).map_or(&[][..], |node| list(node, "deps"));
        let is_test = |kind: &Value| text(kind, "kind") == "dev";
        let real = needs
            .iter()
            .filter(|need| !list(need, "dep_kinds").iter().all(is_test));
        waiting.extend(real.map(|need| text(need, "pkg")));
    }
    seen
}

fn component(package: &Value) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = json!({
        "type": "library",
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
    });
    if let Some(licence) = package.get("license").and_then(Value::as_str) {
        // Before SPDX had expressions, crates wrote a slash.
        let expression = licence.replace('/', " OR ");
        if let Some(fields) = component.as_object_mut() {
            fields.insert("licenses".to_owned(), json!([{"expression": expression}]));
        }
    }
    component
}
