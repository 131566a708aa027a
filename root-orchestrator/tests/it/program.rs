//! The program itself: its ready line, its exit codes, its end.

use std::path::Path;
use std::process::Stdio;

use identity::JoinToken;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http::ask;
use crate::root::{PATIENCE, document};

fn program(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_root-orchestrator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn on(directory: &Path) -> Child {
    let directory = directory.to_str().unwrap();
    program(&["--http", "127.0.0.1:0", "--data-dir", directory])
}

/// The ready line, within the time that is allowed.
async fn ready(child: &mut Child) -> Value {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    serde_json::from_str(&line.unwrap().unwrap().unwrap()).unwrap()
}

/// The exit code, and what was logged.
async fn ended(mut child: Child) -> (i32, String) {
    let mut log = String::new();
    let mut errors = child.stderr.take().unwrap();
    let ending = async {
        errors.read_to_string(&mut log).await.unwrap();
        child.wait().await.unwrap().code().unwrap()
    };
    let code = tokio::time::timeout(PATIENCE, ending).await.unwrap();
    (code, log)
}

async fn terminate(child: &Child) {
    let id = child.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(killed.unwrap().success());
}

#[tokio::test]
async fn it_says_where_it_serves_stops_when_told_and_has_its_jobs_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    for round in 0..2 {
        let mut child = on(&path);
        let line = ready(&mut child).await;
        assert_eq!(line["event"], "ready");
        assert_eq!(line["data_dir"], path.to_str().unwrap());
        let address = line["http"]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap();
        let body = document("kept", 1).replace("noop", "docker");
        let token = std::fs::read_to_string(path.join("admin.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("authorization", bearer.as_str())];
        let reply = ask(address, "POST", "/api/v1/jobs", &headers, body.as_bytes()).await;
        assert_eq!(reply.status, [202, 409][round], "{}", reply.body);
        let asking = ["healthy", "--http", address];
        assert_eq!(ended(program(&asking)).await.0, 0);
        terminate(&child).await;
        assert_eq!(ended(child).await.0, 0);
        assert_eq!(ended(program(&asking)).await.0, 1);
    }
}

#[tokio::test]
async fn a_join_token_names_what_is_advertised_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let options = ["--http", "127.0.0.1:0", "--data-dir", path];
    let mut child = program(&[&options[..], &["--advertise", "root.example"]].concat());
    let line = ready(&mut child).await;
    let address = line["http"].as_str().unwrap();
    let address = address.strip_prefix("http://").unwrap();
    let token = std::fs::read_to_string(directory.path().join("admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str())];
    let reply = ask(address, "POST", "/api/v1/join-tokens", &headers, b"{}").await;
    let made: Value = serde_json::from_str(&reply.body).unwrap();
    let token: JoinToken = made["token"].as_str().unwrap().parse().unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    assert_eq!(token.places, [format!("root.example:{port}")]);
}

#[tokio::test]
async fn each_reason_not_to_start_has_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = on(directory.path());
    let line = ready(&mut first).await;
    let address = line["http"]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();

    // A start that cannot succeed makes no store.
    let unmade = directory.path().join("unmade");
    let there = ["--data-dir", unmade.to_str().unwrap(), "--http"];
    let (code, log) = ended(program(&[&there[..], &[address]].concat())).await;
    assert!(code == 69 && log.contains("in use"), "{code} {log}");
    let (code, log) = ended(on(directory.path())).await;
    assert!(code == 78 && log.contains("in use"), "{code} {log}");
    let (code, log) = ended(program(
        &[&there[..], &["127.0.0.1:0", "--mqtt", address]].concat(),
    ))
    .await;
    assert!(code == 69 && log.contains("in use"), "{code} {log}");
    assert!(!unmade.exists());
    let (code, log) = ended(program(&["--lost-after", "5", "--report", "x"])).await;
    assert!(code == 64 && log.contains("--lost-after"), "{code} {log}");
}
