//! The program itself, as a process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Ended when it is dropped.
struct Scheduler(Child);

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(args: &[&str]) -> (Scheduler, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgeio-scheduler"))
        .args(["--http", "127.0.0.1:0"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "ready");
    let address = ready["http"]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    (Scheduler(child), address.to_owned())
}

fn ask(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_says_where_it_answers_and_answers() {
    let (_scheduler, address) = start(&["--scheduler", "location"]);
    let candidate = |id: &str| {
        format!(
            r#"{{"id":"{id}","name":"{id}","location":"{id}","free_cores":1,"memory_free_in_mb":1,"disk_free_in_mb":1,"replicas":0}}"#
        )
    };
    let question = format!(
        r#"{{"version":1,"job_name":"a","service":"a","replica":0,"image_runtime":"docker","cpu_cores":0,"memory_in_mb":0,"disk_in_mb":0,"location":"munich","candidates":[{},{}]}}"#,
        candidate("berlin"),
        candidate("munich")
    );
    for (path, chosen) in [("/", "munich"), ("/first-fit", "berlin")] {
        let answer = ask(&address, path, &question);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let chosen = format!(r#"{{"choose":"{chosen}"}}"#);
        assert!(answer.trim_end().ends_with(&chosen), "{answer}");
    }
}

#[test]
fn an_algorithm_that_is_not_there_is_refused() {
    let done = Command::new(env!("CARGO_BIN_EXE_edgeio-scheduler"))
        .args(["--scheduler", "best-guess"])
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(64));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("first-fit, location"), "{said}");
}
