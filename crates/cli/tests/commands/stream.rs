//! Commands that follow streams.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::fake::{Answer, End, Server};
use crate::{ID, code, command, edgeio, err, event, job, out, problem};

const FOLLOW: &str = "GET /api/v1/events?follow=true";

/// An event as it is sent, with this id and cause.
fn sent(id: &str, cause: &str) -> String {
    let event = event()
        .replace('\n', "")
        .replace("\"accepted\"", &format!("\"{cause}\""));
    format!("id: {id}\nevent: event\ndata: {event}\n\n")
}

fn gone() -> Answer {
    problem(404, "no_such_job", "no job", "")
}

#[test]
fn events_go_on_after_the_last_one_when_the_connection_was_lost() {
    let server = Server::start(vec![(
        FOLLOW,
        vec![
            Answer::events(&[":\n\n", &sent("one", "first"), "id: t"], End::Cut),
            problem(503, "unavailable", "starting", ""),
            Answer::events(&[&sent("two", "second")], End::Complete),
            Answer::events(
                &["event: reset\ndata: {}\n\n", &sent("three", "third")],
                End::Cut,
            ),
            gone(),
        ],
    )]);
    let output = edgeio(&server, &["events", "-w", "-o", "json"]);
    assert_eq!(code(&output), 1);
    let causes: Vec<_> = out(&output)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["cause"].clone())
        .collect();
    assert_eq!(causes, ["first", "second", "third"]);
    let said = err(&output);
    assert_eq!(said.matches("connecting again").count(), 3, "{said}");
    assert_eq!(said.matches("connected again").count(), 2, "{said}");
    assert!(said.contains("some events are missing here"), "{said}");
    assert!(said.contains("no job (404 no_such_job)"), "{said}");
    let asked: Vec<_> = server
        .requests()
        .iter()
        .filter(|request| request.first == FOLLOW)
        .map(|request| {
            let line = request
                .head
                .lines()
                .find(|line| line.starts_with("last-event-id"));
            line.unwrap_or("none").to_owned()
        })
        .collect();
    let after = |id: &str| format!("last-event-id: {id}");
    assert_eq!(
        asked,
        [
            "none".to_owned(),
            after("one"),
            after("one"),
            after("two"),
            after("three")
        ]
    );
}

#[test]
fn followed_events_are_lines_with_names_until_a_signal_comes() {
    let path = format!("GET /api/v1/jobs/job_{ID}");
    let server = Server::start(vec![
        (
            "GET /api/v1/jobs/hello/events?follow=true",
            vec![Answer::events(&[&sent("one", "first")], End::Never)],
        ),
        (
            path.as_str(),
            vec![Answer::new(200, &job("RUNNING", "null"))],
        ),
    ]);
    let mut child = command(&["events", "hello", "--watch"])
        .env("EDGEIO_URL", &server.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let titles = lines.next().unwrap().unwrap();
    assert!(titles.starts_with("AT   "), "{titles}");
    let line = lines.next().unwrap().unwrap();
    assert!(
        line.contains("  hello  ") && line.contains("it was \u{fffd}[31maccepted (first)"),
        "{line}"
    );
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // Not an interrupt, which what a script starts in the background ignores.
    kill_process(pid, Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    // Ended by the signal, which a shell shows as 130.
    assert_eq!((output.status.code(), err(&output).as_str()), (None, ""));
}

#[test]
fn a_reader_that_has_enough_ends_a_stream_quietly() {
    let many: Vec<String> = (0..2_000).map(|_| sent("one", "first")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let server = Server::start(vec![
        (FOLLOW, vec![Answer::events(&many, End::Never)]),
        (
            "GET /api/v1/jobs/hello/logs?tail=100&follow=true",
            vec![Answer::text(
                &["line\n".repeat(100_000).as_str()],
                End::Never,
            )],
        ),
    ]);
    for args in [["events", "-wojson"].as_slice(), &["logs", "-f", "hello"]] {
        let mut child = command(args)
            .env("EDGEIO_URL", &server.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn logs_are_copied_into_a_pipe_as_they_are() {
    let server = Server::start(vec![(
        "GET /api/v1/jobs/hello/logs?tail=5&follow=false&instance=web%2F0&since=90m",
        vec![Answer::text(&["a\u{1b}[31m", "b\r\nno end"], End::Complete)],
    )]);
    let args = [
        "logs",
        "job/hello",
        "--tail",
        "5",
        "-i",
        "web/0",
        "--since",
        "1h30m",
    ];
    let output = edgeio(&server, &args);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output), "a\u{1b}[31mb\r\nno end");
    assert_eq!(
        code(&edgeio(&server, &["logs", "hello", "--since", "tomorrow"])),
        2
    );
}

#[test]
fn a_followed_log_goes_on_after_a_lost_connection_and_ends_with_the_applications() {
    let first = "GET /api/v1/jobs/hello/logs?tail=100&follow=true";
    let running = Answer::new(200, &job("RUNNING", "null"));
    let server = Server::start(vec![
        (
            first,
            vec![
                Answer::text(&["one\n"], End::Cut),
                Answer::text(&["two\n"], End::Complete),
                Answer::Hangup,
                Answer::text(&["three\n"], End::Complete),
            ],
        ),
        ("GET /api/v1/jobs/hello", vec![running, gone()]),
    ]);
    let output = edgeio(&server, &["logs", "hello", "-f"]);
    assert_eq!(
        (code(&output), out(&output).as_str()),
        (0, "one\ntwo\nthree\n"),
        "{}",
        err(&output)
    );
    let said = err(&output);
    assert!(
        said.contains("is lost (") && said.contains("before its applications did"),
        "{said}"
    );
    assert_eq!(said.matches("connected again").count(), 2, "{said}");
    let requests = server.requests();
    let (_, since) = requests[1]
        .first
        .split_once(&format!("{first}&since="))
        .unwrap();
    let passed: u64 = since.strip_suffix("ms").unwrap().parse().unwrap();
    assert!((1_000..60_000).contains(&passed), "{since}");
    // Without --follow a log that is cut short is a failure.
    let server = Server::start(vec![(
        "GET /api/v1/jobs/hello/logs?tail=100&follow=false",
        vec![Answer::text(&["one\n"], End::Cut)],
    )]);
    let output = edgeio(&server, &["logs", "hello"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("not complete"), "{}", err(&output));
}

#[test]
fn a_list_is_shown_again_until_nobody_reads_it() {
    let jobs = format!(
        r#"{{"items":[{}],"next_cursor":null}}"#,
        job("RUNNING", "null")
    );
    let server = Server::start(vec![("GET /api/v1/jobs", vec![Answer::new(200, &jobs)])]);
    let mut child = command(&["get", "jobs", "-w"])
        .env("EDGEIO_URL", &server.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<_> = stdout.lines().take(4).map(Result::unwrap).collect();
    assert_eq!((&lines[0], &lines[1][..14]), (&lines[2], &lines[3][..14]));
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
}

#[test]
fn answers_of_other_kinds_are_no_streams() {
    let server = Server::start(vec![
        (FOLLOW, vec![Answer::new(200, "{}")]),
        (
            "GET /api/v1/jobs/hello/logs?tail=100&follow=false",
            vec![Answer::new(200, "{}")],
        ),
    ]);
    for args in [["events", "-w"], ["logs", "hello"]] {
        let output = edgeio(&server, &args);
        assert_eq!((code(&output), out(&output).as_str()), (1, ""));
        assert!(
            err(&output).contains("is that the right address?"),
            "{}",
            err(&output)
        );
    }
}
