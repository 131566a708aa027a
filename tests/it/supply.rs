//! What is linked, held against `deny.toml`: its licences, and what is never linked. (`cargo deny check` looks at more.)

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The texts in quotes of the list that begins with this line.
fn list<'a>(text: &'a str, beginning: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(beginning).unwrap();
    let (list, _) = rest.split_once("\n]").unwrap();
    let lines = list.lines().map(|line| line.split('#').next().unwrap());
    lines.filter_map(|line| line.split('"').nth(1)).collect()
}

#[test]
fn every_licence_is_one_that_is_allowed_and_what_is_banned_is_not_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let deny = fs::read_to_string(root.join("deny.toml")).unwrap();
    let allowed: BTreeSet<&str> = list(&deny, "allow = [").into_iter().collect();
    assert!(allowed.contains("MIT"), "{allowed:?}");
    // Those without `wrappers` may be named by nobody.
    let banned: Vec<&str> = deny
        .lines()
        .filter(|line| line.contains("{ crate = ") && !line.contains("wrappers"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(banned.contains(&"openssl-sys"), "{banned:?}");

    // What is optional was fetched for its own test alone (tests/general_broker).
    let optional = cfg!(feature = "general-broker").then_some("--all-features");
    let said = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(optional)
        // What was fetched to build this test is enough.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&said.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        if banned.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
        let licence = package["license"].as_str().unwrap_or_default();
        let plain = licence.replace('/', " OR ").replace(['(', ')'], "");
        let is_fine = |part: &str| part.split(" OR ").any(|one| allowed.contains(one.trim()));
        if !plain.split(" AND ").all(is_fine) {
            wrong.push(format!("{name} has the licence {licence:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
