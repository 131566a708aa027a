//! What an application writes, and who reads it: no way to somebody's terminal, none past a role, none that stays open.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use edgeio_tests::harness::{Settings, System, TOKEN, programs, together, wait_until};
use serde_json::Value;

use crate::logs::{Get, native};

const LIMIT: Duration = Duration::from_secs(20);
/// As many streams as one worker serves at a time.
const STREAMS: usize = 64;

/// What a terminal would obey: it clears the screen, sets the title, turns the line around, and hides text.
const HOSTILE: &str =
    r"printf '\033[2J\033]0;owned\007title \342\200\256right-to-left \302\2332J\342\200\213end\n'";

/// A program of a terminal, so that `edgeio` writes as for one.
fn on_terminal(system: &System, args: &[&str]) -> String {
    let line = args.join(" ");
    let edgeio = programs().join("edgeio");
    let command = format!(
        "{} {line} --url {} --token {TOKEN}",
        edgeio.display(),
        system.root.said("http")
    );
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_an_application_writes_moves_nobody_s_terminal() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let script = format!("{HOSTILE}; {HOSTILE} >&2; exit 3");
    let job = native("hostile", &script, "restart: never\n");
    system.root().submit(&job);
    let shown = system.wait_state("hostile", "FAILED", LIMIT);
    // The last of its output is in the history, as it was.
    assert!(shown.to_string().contains("right-to-left"), "{shown}");
    for args in [
        &["logs", "hostile"][..],
        &["get", "jobs"],
        &["describe", "job", "hostile"],
        &["events", "hostile"],
        &["get", "job", "hostile", "-o", "json"],
        &["get", "job", "hostile", "-o", "yaml"],
    ] {
        let text = on_terminal(&system, args);
        for sign in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{200b}'] {
            assert!(!text.contains(sign), "{args:?}: {sign:?} in {text:?}");
        }
    }
    assert!(on_terminal(&system, &["logs", "hostile"]).contains("title"));
    // Nor do the programs' own logs carry it on.
    for program in [
        &system.root,
        &system.clusters[0],
        &system.workers[0].program,
    ] {
        let log = program.log();
        for sign in ['\u{1b}', '\u{7}', '\u{202e}'] {
            assert!(!log.contains(sign), "{}: {sign:?}", program.name());
        }
    }
}

#[test]
fn logs_are_for_who_may_read_them_and_each_refusal_is_recorded() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let root = system.root();
    root.submit(&native("quiet", "echo hello; exec sleep 1000", ""));
    system.wait_state("quiet", "RUNNING", LIMIT);
    let token = |role: &str| {
        let body = format!("{{role: {role}}}");
        let made = root.post("/api/v1/tokens", &body).unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["token"].as_str().unwrap().to_owned()
    };
    let viewer = root.with_token(Some(&token("viewer")));
    assert_eq!(viewer.get("/api/v1/jobs/quiet").unwrap().status, 200);
    let refused = viewer.get("/api/v1/jobs/quiet/logs").unwrap();
    assert_eq!(refused.status, 403, "{}", refused.body);
    let deployer = root.with_token(Some(&token("deployer")));
    let (status, text) = deployer.text("/api/v1/jobs/quiet/logs").unwrap();
    assert_eq!(status, 200, "{text}");
    let audit = system.directory().join("root/audit/audit-00000001.jsonl");
    wait_until("the refusal is recorded", LIMIT, || {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str::<Value>);
        let mut lines = lines.filter_map(Result::ok);
        let is = |line: &Value| {
            let of_logs = line["verb"] == "logs jobs";
            let is_hers = line["who"] == serde_json::json!({"kind": "user", "id": "admin"});
            of_logs && line["decision"] == "denied" && is_hers
        };
        lines.any(|line| is(&line)).then_some(()).ok_or(text)
    });
}

#[test]
fn who_detaches_in_the_middle_leaves_no_stream_behind() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let flood = "while :; do echo all work and no play; done";
    system
        .root()
        .submit(&native("flood", flood, "stop_grace: 1s\n"));
    system.wait_state("flood", "RUNNING", LIMIT);
    for server in [&system.root, &system.clusters[0]] {
        // More than a worker serves at a time, one after another, each cut off in the middle of a line.
        for number in 0..STREAMS + 10 {
            let chunk = wait_until("it is served", LIMIT, || {
                let mut get = Get::send(server, "flood/logs?follow=true&tail=all");
                let chunk = get.chunk();
                let is_text = get.status == 200 && chunk.contains("all work");
                is_text.then_some(chunk.len()).ok_or(chunk)
            });
            assert!(chunk > 0, "{number}");
        }
    }
}
