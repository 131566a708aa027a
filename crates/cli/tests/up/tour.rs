//! The first hour of a user, against a whole system: deploy, look, find out, repair, delete.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::{Running, edgeio};

/// A system with a command line.
struct Tour {
    running: Running,
}

impl Tour {
    fn start(dir: &Path) -> Self {
        Self {
            running: Running::start(dir, &[]),
        }
    }

    /// Runs a command, and gives its exit code, output and complaints.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = edgeio(args)
            .env("EDGEIO_URL", &self.running.root)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// Runs a command that succeeds, and gives its output.
    fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }

    /// Runs a command until its output has a text in it.
    fn until(&self, args: &[&str], wanted: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (_, out, err) = self.run(args);
            if out.contains(wanted) {
                return out;
            }
            assert!(
                Instant::now() < deadline,
                "{args:?} never says {wanted:?}: {out}{err}"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

const TALKS: &str = r#"api_version: v1
job_name: talker
services:
  - name: voice
    image_runtime: native
    command: [/bin/sh, "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done"]
    requirements: {memory: MEMORY}
"#;

#[test]
fn a_user_deploys_looks_finds_out_repairs_and_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let tour = Tour::start(&dir.path().join("data"));
    let file = dir.path().join("talker.yaml");
    let path = file.to_str().unwrap();

    // Too much is asked for: it does not run, and the user finds out why.
    std::fs::write(&file, TALKS.replace("MEMORY", "99999999")).unwrap();
    let plan = tour.ok(&["apply", "-f", path, "--dry-run"]);
    assert!(plan.contains("0 of 1 instances") && plan.contains("memory"), "{plan}");
    assert_eq!(tour.run(&["get", "job", "talker"]).0, 1);
    tour.ok(&["apply", "-f", path]);
    tour.ok(&["wait", "talker", "--for", "NOT_DEPLOYED"]);
    let why = tour.ok(&["explain", "talker"]);
    assert!(why.contains("insufficient_memory") && why.contains("Try: ask for less"), "{why}");
    let all = tour.ok(&["describe", "job", "talker"]);
    assert!(all.contains("NOT_DEPLOYED") && all.contains("Last events:"), "{all}");

    // It is repaired.
    std::fs::write(&file, TALKS.replace("MEMORY", "16")).unwrap();
    tour.ok(&["apply", "-f", path]);
    tour.ok(&["wait", "talker"]);
    tour.until(&["logs", "talker"], "line 3");
    let (code, _, err) = tour.run(&["logs", "talkr"]);
    assert!(code == 1 && err.contains("Did you mean talker?"), "{err}");
    tour.ok(&["scale", "talker", "--replicas", "2"]);
    tour.until(&["get", "jobs"], "2/2");
    tour.until(&["logs", "talker", "--tail", "5"], "voice/1 | line");
    let one = tour.until(&["logs", "talker", "-i", "voice/1", "--tail", "2"], "line");
    assert!(!one.contains('|') && one.lines().count() <= 2, "{one}");

    // What there is.
    for format in ["table", "wide", "json", "yaml", "name"] {
        for args in [
            ["get", "jobs"].as_slice(),
            &["get", "job", "talker"],
            &["get", "clusters"],
            &["get", "nodes"],
            &["events", "talker"],
            &["describe", "job", "talker"],
            &["describe", "cluster", "cluster-1"],
            &["describe", "node", "worker-1"],
            &["explain", "talker"],
            &["top"],
            &["top", "nodes"],
        ] {
            let out = tour.ok(&[args, &["-o", format]].concat());
            assert!(!out.is_empty(), "{args:?} {format}");
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(&out).unwrap();
            }
        }
    }

    // Nothing new comes to a cordoned worker.
    tour.ok(&["cordon", "node", "worker-1"]);
    tour.until(&["get", "nodes"], "CORDONED");
    tour.ok(&["uncordon", "node", "worker-1"]);
    tour.ok(&["cordon", "cluster", "cluster-1"]);
    tour.until(&["get", "clusters"], "CORDONED");
    tour.ok(&["uncordon", "cluster", "cluster-1"]);

    tour.ok(&["scale", "talker", "--replicas", "0"]);
    tour.until(&["get", "jobs"], "0/0");
    tour.ok(&["delete", "talker"]);
    assert_eq!(tour.run(&["get", "job", "talker"]).0, 1);
    assert_eq!(tour.running.stop().0, 0);
}

#[test]
fn streams_show_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let tour = Tour::start(&dir.path().join("data"));
    let file = dir.path().join("talker.yaml");
    std::fs::write(&file, TALKS.replace("MEMORY", "16")).unwrap();
    let follow = |args: &[&str]| {
        let mut child = edgeio(args)
            .env("EDGEIO_URL", &tour.running.root)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let (mut watching, mut events) = follow(&["events", "-w"]);
    tour.ok(&["apply", "--create", "-f", file.to_str().unwrap()]);
    tour.ok(&["wait", "talker"]);
    let running = events.find(|line| line.as_ref().unwrap().contains("-> RUNNING"));
    assert!(running.unwrap().unwrap().contains("  talker  "));
    let (mut following, mut lines) = follow(&["logs", "-f", "talker", "--tail", "1"]);
    // More than there was when it began.
    assert!(lines.nth(4).unwrap().unwrap().contains("line"));
    watching.kill().unwrap();
    following.kill().unwrap();
    watching.wait().unwrap();
    following.wait().unwrap();
    tour.ok(&["delete", "talker"]);
    assert_eq!(tour.running.stop().0, 0);
}
