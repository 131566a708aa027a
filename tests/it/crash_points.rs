//! The points where a program can be told to die: that the lists are those of the sources, and that no program that is
//! shipped has any.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use edgeio_tests::harness::{Program, crash_points, programs};

/// Each program, and the folders of the sources whose points it has.
const PROGRAMS: [(&str, &[&str]); 3] = [
    (
        "root-orchestrator",
        &["root-orchestrator/src", "crates/orchestrator/src"],
    ),
    (
        "cluster-orchestrator",
        &["cluster-orchestrator/src", "crates/orchestrator/src"],
    ),
    ("node-engine", &["node-engine/src"]),
];

/// What is shipped: the command, and each program by itself.
const SHIPPED: [&str; 4] = [
    "edgeio",
    "root-orchestrator",
    "cluster-orchestrator",
    "node-engine",
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names of the points in the sources below a folder, each as often as it stands there.
fn named(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("crashpoint!(") {
                let name = text[at..].split('"').nth(1).unwrap();
                names.push(name.to_owned());
            }
        }
    }
}

#[test]
fn each_program_lists_the_points_of_its_sources() {
    for (program, folders) in PROGRAMS {
        let Some(listed) = crash_points(program) else {
            assert!(std::env::var_os("EDGEIO_TEST_PROGRAMS").is_some());
            eprintln!("ignored: the programs of EDGEIO_TEST_PROGRAMS have no crash points");
            return;
        };
        let mut there = Vec::new();
        for folder in folders {
            named(&workspace().join(folder), &mut there);
        }
        let twice: Vec<&String> = there
            .iter()
            .filter(|name| there.iter().filter(|other| other == name).count() > 1)
            .collect();
        assert!(twice.is_empty(), "{program}: {twice:?} each stand twice");
        let listed: BTreeSet<&String> = listed.iter().collect();
        let there: BTreeSet<&String> = there.iter().collect();
        assert_eq!(listed, there, "{program}: its list and its sources");
    }
}

#[test]
fn an_order_that_no_point_can_follow_is_refused_by_name() {
    if crash_points("root-orchestrator").is_none() {
        eprintln!("ignored: the programs of EDGEIO_TEST_PROGRAMS have no crash points");
        return;
    }
    let output = Command::new(programs().join("root-orchestrator"))
        .env("EDGEIO_CRASH", "turn.nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("no crash point \"turn.nowhere\""), "{said}");
}

#[test]
fn a_program_dies_at_the_time_that_it_was_told() {
    if crash_points("root-orchestrator").is_none() {
        eprintln!("ignored: the programs of EDGEIO_TEST_PROGRAMS have no crash points");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("root");
    let args = [
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
    ]
    .map(str::to_owned);
    let mut root = Program::start("root-orchestrator", "root", directory.path(), &args, None);
    root.kill();
    root.let_crash();
    root.arm("turn.before_commit:2");
    root.again();
    let client = edgeio_tests::harness::Client::new(root.said("http"), None);
    for number in 1..=2 {
        let document = crate::documents::sleeper(&format!("job-{number}"), "");
        let answer = client.post("/api/v1/jobs", &document);
        assert_eq!(answer.is_ok(), number == 1, "{answer:?}");
    }
    let status =
        edgeio_tests::harness::wait_until("it dies", std::time::Duration::from_secs(5), || {
            root.ended().ok_or_else(|| "it runs".to_owned())
        });
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    assert!(root.log().contains("crash point turn.before_commit"));
    root.disarm();
    root.again();
    // What was answered is there, what was not committed is not.
    let client = edgeio_tests::harness::Client::new(root.said("http"), None);
    let jobs = client.list("/api/v1/jobs").unwrap();
    let names: Vec<&str> = jobs
        .iter()
        .filter_map(|job| job["job_name"].as_str())
        .collect();
    assert_eq!(names, ["job-1"]);
}

#[test]
fn no_program_that_is_shipped_has_any() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for program in SHIPPED {
        let output = Command::new(&cargo)
            .args(["tree", "--offline", "-p", program, "-e", "normal,features"])
            .current_dir(workspace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(tree.contains("daemon v"), "{program}: {tree}");
        assert!(!tree.contains("crash-points"), "{program}: {tree}");
    }
}
