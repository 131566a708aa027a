//! The first hour of a user, against a whole system: deploy, look, find out, repair, delete.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Output};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Running, eventually, processes_of};

/// A command that goes on, for a minute at most.
struct Followed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _still_wanted: mpsc::Sender<()>,
}

impl Followed {
    /// The next line that is as wanted.
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        // Nothing: it ended, or the minute is over.
        lines.find(|line| wanted(line)).unwrap()
    }

    /// Ends it, and gives its complaints.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let output = self.child.wait_with_output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A system with a command line.
struct Tour {
    dir: PathBuf,
    running: Running,
}

impl Tour {
    fn start(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            running: Running::start(dir, &[]),
        }
    }

    /// Runs a command, and gives its exit code, output and complaints.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.running.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// Deletes a job, and stops the system when its applications are gone.
    fn end(self, job: &str) {
        self.ok(&["delete", job]);
        eventually("the applications end", || self.is_alone());
        assert_eq!(self.running.stop().0, 0);
    }

    /// Whether no application works any more; what else there is, if not.
    fn is_alone(&self) -> Result<(), String> {
        // The system itself names the directory, too.
        let left = processes_of(&self.dir);
        if left.len() == 1 {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    }

    /// Runs a command that succeeds, and gives its output.
    fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }

    /// Begins a command that goes on.
    fn follow(&self, args: &[&str]) -> Followed {
        let mut child = self.running.command(args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let (still_wanted, wanted) = mpsc::channel::<()>();
        // A line that never comes must not hold the test for ever.
        std::thread::spawn(move || {
            if wanted.recv_timeout(Duration::from_mins(1)) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Followed {
            child,
            lines,
            _still_wanted: still_wanted,
        }
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
    assert!(
        plan.contains("0 of 1 instances") && plan.contains("memory"),
        "{plan}"
    );
    assert_eq!(tour.run(&["get", "job", "talker"]).0, 1);
    tour.ok(&["apply", "-f", path]);
    tour.ok(&["wait", "talker", "--for", "NOT_DEPLOYED"]);
    let why = tour.ok(&["explain", "talker"]);
    assert!(
        why.contains("insufficient_memory") && why.contains("Try: ask for less"),
        "{why}"
    );
    let all = tour.ok(&["describe", "job", "talker"]);
    assert!(
        all.contains("NOT_DEPLOYED") && all.contains("Last events:"),
        "{all}"
    );

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
    let id = tour.ok(&["get", "job", "talker", "-o", "json"]);
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    tour.ok(&["delete", id["job_id"].as_str().unwrap()]);
    assert_eq!(tour.run(&["get", "job", "talker"]).0, 1);
    // It has no applications any more.
    assert_eq!(tour.running.stop().0, 0);
}

#[test]
fn streams_show_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let tour = Tour::start(&dir.path().join("data"));
    let file = dir.path().join("talker.yaml");
    std::fs::write(&file, TALKS.replace("MEMORY", "16")).unwrap();
    let mut events = tour.follow(&["events", "-w"]);
    tour.ok(&["apply", "--create", "-f", file.to_str().unwrap()]);
    tour.ok(&["wait", "talker"]);
    let running = events.line(|line| line.contains("-> RUNNING"));
    assert!(running.contains("  talker  "), "{running}");
    let mut logs = tour.follow(&["logs", "-f", "talker", "--tail", "1"]);
    // More than there was when it began.
    for _ in 0..5 {
        logs.line(|line| line.contains("line "));
    }
    events.end();
    logs.end();
    tour.end("talker");
}

#[test]
fn events_are_followed_beyond_a_restart_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut tour = Tour::start(&data);
    let file = dir.path().join("talker.yaml");
    std::fs::write(&file, TALKS.replace("MEMORY", "16")).unwrap();
    let mut events = tour.follow(&["events", "-w", "-o", "json"]);
    tour.ok(&["apply", "-f", file.to_str().unwrap()]);
    tour.ok(&["wait", "talker"]);
    let before = tour.ok(&["events", "-o", "name"]);
    let root = tour.running.root.clone();
    assert_eq!(tour.running.stop().0, 0);
    let address = root.strip_prefix("http://").unwrap();
    tour.running = Running::start_at(address, &data, &[]);
    tour.ok(&["delete", "talker"]);
    let mut seen = BTreeSet::new();
    loop {
        let line = events.line(|_| true);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let id = event["id"].as_str().unwrap().to_owned();
        let is_new = !before.contains(&id);
        assert!(seen.insert(id), "it was shown twice: {event}");
        if is_new && event["from"] == "RUNNING" {
            break;
        }
    }
    let missing = before
        .lines()
        .find(|line| !seen.contains(line.trim_start_matches("event/")));
    assert_eq!(missing, None);
    let said = events.end();
    assert!(said.contains("connected again"), "{said}");
    eventually("the applications end", || tour.is_alone());
    assert_eq!(tour.running.stop().0, 0);
}
