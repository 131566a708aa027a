//! The client's commands against a server that answers from a script, as users run them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

mod access;
mod audit;
mod change;
mod context;
mod fake;
mod show;
mod stream;
mod terminal;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fake::{Answer, Server};

/// `edgeio` with these arguments, and with nothing of the environment that would change what it does.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeio"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EDGEIO_") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// Runs `edgeio` with these arguments against `url`, with `input` on standard input.
fn edgeio_with(url: &str, args: &[&str], env: &[(&str, &str)], input: &str) -> Output {
    use std::io::Write;
    let mut child = command(args)
        .env("EDGEIO_URL", url)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn edgeio(server: &Server, args: &[&str]) -> Output {
    edgeio_with(&server.url, args, &[], "")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

const ID: &str = "01JBZ0000000000000000000AA";

fn instance(state: &str, role: &str) -> String {
    format!(
        r#"{{"instance_id":"ins_{ID}","service":"hello","index":0,"role":"{role}","generation":[1,1],"state":"{state}",
        "cluster":"cluster-1","cluster_id":"cl_{ID}","worker_node":"worker-1","worker_id":"node_{ID}",
        "endpoints":[{{"container_port":80,"host_port":32768,"address":"192.0.2.7"}}],"restarts":2,
        "last_exit":{{"code":1,"at":"2026-11-05T08:00:00Z"}},"since":"2026-11-05T08:00:00Z"}}"#
    )
}

fn job(state: &str, reason: &str) -> String {
    let (instance, dangling) = (instance(state, "holder"), instance("RUNNING", "dangling"));
    format!(
        r#"{{"job_id":"job_{ID}","job_name":"hello","tenant":"default","owner":"root","state":"{state}","terminating":false,
        "reason":{reason},"reason_code":null,"rejections":{{"insufficient_cpu":2}},"generation":1,
        "created_at":"2026-11-05T08:00:00Z","field_of_later":1,
        "services":[{{"name":"hello","replicas":2,"image":null,"image_runtime":"native"}}],"instances":[{instance},{dangling}]}}"#
    )
}

/// A job with an operation.
fn operated(job: &str, kind: &str, state: &str, reason: &str) -> String {
    let operation = format!(
        r#"{{"operation":{{"kind":"{kind}","state":"{state}","number":2,"started_at":"2026-11-05T08:00:00Z","reason":{reason},
        "reason_code":null}},"#
    );
    job.replacen('{', &operation, 1)
}

fn list(items: &str) -> String {
    format!(r#"{{"items":[{items}],"next_cursor":null}}"#)
}

fn cluster() -> String {
    format!(
        r#"{{"cluster_id":"cl_{ID}","cluster_name":"cluster-1","state":"ACTIVE","scheduling":"CORDONED",
        "location":{{"text":"Garching"}},"number_of_nodes":2,"cpu_cores":4.0,"free_cores":3.5,"cumulative_memory_in_mb":8000,
        "memory_free_in_mb":7900,"cpu_percent":1.0,"memory_percent":2.0,"technology":["native"],"number_of_jobs":1,
        "scheduler":"first-fit","http":"https://192.0.2.1:10001","last_seen":null}}"#
    )
}

fn node() -> String {
    format!(
        r#"{{"node_id":"node_{ID}","name":"worker-1","state":"ALIVE","scheduling":"OPEN","architecture":"x86_64",
        "cpu_cores":2.0,"free_cores":2.0,"memory_in_mb":4000,"memory_free_in_mb":4000,"runtimes":["docker","native"],
        "labels":{{"zone":"lab"}},"instances":0}}"#
    )
}

fn event() -> String {
    format!(
        r#"{{"id":"evt_{ID}","at":"2026-11-05T08:00:00Z","tier":"root","job_id":"job_{ID}","instance_id":null,
        "generation":[0,0],"from":null,"to":"REQUESTED","cause":"accepted","message":"it was \u001b[31maccepted"}}"#
    )
}

fn problem(status: u16, code: &str, detail: &str, errors: &str) -> Answer {
    Answer::new(
        status,
        &format!(
            r#"{{"status":{status},"title":"T","code":"{code}","detail":"{detail}","errors":[{errors}]}}"#
        ),
    )
}

#[test]
fn lists_and_jobs_are_shown_as_columns() {
    let routes: [(&[&str], &str, String, &[&str]); 9] = [
        (
            &["get", "jobs"],
            "GET /api/v1/jobs",
            list(&job("RUNNING", "null")),
            &["NAME", "READY", "hello", "RUNNING", "1/2", "cluster-1"],
        ),
        (
            &["get", "jobs", "--state", "running", "-o", "wide"],
            "GET /api/v1/jobs?state=RUNNING",
            list(&job("RUNNING", "null")),
            &["WORKERS", "worker-1", "192.0.2.7:32768->80/tcp"],
        ),
        (
            &["get", "jobs", "-o", "name"],
            "GET /api/v1/jobs",
            list(&job("RUNNING", "null")),
            &["job/hello"],
        ),
        (
            &["get", "job", "job/hello"],
            "GET /api/v1/jobs/hello",
            job("FAILED", r#""it crashed""#),
            &[
                "Reason:    it crashed",
                "Rejected:  2 insufficient_cpu",
                "hello/0",
                "last ended with 1",
                "cannot be reached",
            ],
        ),
        (
            &["get", "clusters"],
            "GET /api/v1/clusters",
            list(&cluster()),
            &[
                "cluster-1",
                "ACTIVE,CORDONED",
                "3.5/4",
                "7900/8000 MB",
                "first-fit",
            ],
        ),
        (
            &["get", "nodes", "--cluster", "a b"],
            "GET /api/v1/clusters/a%20b/nodes",
            list(&node()),
            &["worker-1", "ALIVE", "x86_64", "2/2", "docker,native"],
        ),
        (
            &["get", "events"],
            "GET /api/v1/events?limit=1000",
            list(&event()),
            &["REQUESTED", "it was \u{fffd}[31maccepted"],
        ),
        (
            &["get", "events", "--job", "hello"],
            "GET /api/v1/jobs/hello/events?limit=1000",
            list(&event()),
            &["accepted"],
        ),
        (
            &["get", "job", "hello", "-o", "yaml"],
            "GET /api/v1/jobs/hello",
            job("RUNNING", "null"),
            &["field_of_later: 1", "state: RUNNING"],
        ),
    ];
    for (args, request, body, shown) in routes {
        let server = Server::start(vec![(request, vec![Answer::new(200, &body)])]);
        let output = edgeio(&server, args);
        assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
        let text = out(&output);
        for part in shown {
            assert!(text.contains(part), "{args:?} lacks {part:?}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn all_pages_of_a_list_are_fetched_and_json_keeps_what_is_not_known() {
    let first = r#"{"items":[{"job_name":"a","new":"\u009b"}],"next_cursor":"c/1"}"#;
    let second = r#"{"items":[{"job_name":"b"}],"next_cursor":null}"#;
    let server = Server::start(vec![
        ("GET /api/v1/jobs", vec![Answer::new(200, first)]),
        (
            "GET /api/v1/jobs?cursor=c%2F1",
            vec![Answer::new(200, second)],
        ),
    ]);
    let output = edgeio(&server, &["get", "jobs", "-o", "json"]);
    let text = out(&output);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["items"][0]["new"], "\u{9b}");
    assert_eq!(value["items"][1]["job_name"], "b");
    assert!(text.contains("\\u009b") && !text.contains('\u{9b}'));
}

#[test]
fn a_root_is_asked_for_the_workers_of_each_cluster() {
    let server = Server::start(vec![
        (
            "GET /api/v1/nodes",
            vec![problem(404, "no_such_path", "nothing is served there", "")],
        ),
        (
            "GET /api/v1/clusters",
            vec![Answer::new(200, &list(&cluster()))],
        ),
        (
            "GET /api/v1/clusters/cl_01JBZ0000000000000000000AA/nodes",
            vec![Answer::new(200, &list(&node()))],
        ),
    ]);
    let output = edgeio(&server, &["get", "nodes"]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(
        text.contains("CLUSTER") && text.contains("cluster-1"),
        "{text}"
    );
}

#[test]
fn every_document_is_put_under_its_name_with_the_credential() {
    let put = |name: &str| format!("PUT /api/v1/jobs/{name}");
    let accepted = || vec![Answer::new(202, &job("REQUESTED", "null"))];
    let (a, b) = (put("a"), put("b"));
    let server = Server::start(vec![(a.as_str(), accepted()), (b.as_str(), accepted())]);
    let text = "# two\n---\napi_version: v0.1\njob_name: a\nimage: x\n---\napi_version: v0.1\njob_name: b\nimage: x\n";
    let env = [("EDGEIO_TOKEN", "secret")];
    let output = edgeio_with(&server.url, &["apply", "-f", "-"], &env, text);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output), "job/a applied\njob/b applied\n");
    let requests = server.requests();
    assert!(requests[0].head.contains("authorization: bearer secret"));
    assert!(requests[0].head.contains("content-type: application/yaml"));
    assert!(requests[0].body.contains("job_name: a") && !requests[0].body.contains("job_name: b"));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        r#"{"api_version":"v0.1","job_name":"a","image":"x"}"#,
    )
    .unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "of-file\n").unwrap();
    let (path, secret) = (
        file.path().to_str().unwrap(),
        secret.path().to_str().unwrap(),
    );
    let args = ["apply", "-f", path, "-o", "json", "--token-file", secret];
    let output = edgeio(&server, &args);
    assert!(serde_json::from_str::<serde_json::Value>(&out(&output)).is_ok());
    let last = server.requests().pop().unwrap();
    assert!(last.head.contains("content-type: application/json"));
    assert!(last.head.contains("authorization: bearer of-file"));
}

#[test]
fn faults_are_told_with_file_line_and_column_and_the_others_are_applied() {
    let fault = r#"{"path":"imge","line":3,"column":1,"message":"unknown field \u001b[2J; did you mean `image`?"}"#;
    let server = Server::start(vec![
        (
            "PUT /api/v1/jobs/a",
            vec![problem(400, "bad_document", "1 fault", fault)],
        ),
        (
            "PUT /api/v1/jobs/b",
            vec![Answer::new(202, &job("REQUESTED", "null"))],
        ),
    ]);
    let text = "job_name: a\n---\njob_name: b\n";
    let output = edgeio_with(&server.url, &["apply", "-f", "-"], &[], text);
    assert_eq!(code(&output), 1);
    assert_eq!(out(&output), "job/b applied\n");
    assert_eq!(
        err(&output),
        "error: standard input has 1 fault:\n\
         standard input:3:1: imge: unknown field \u{fffd}[2J; did you mean `image`?\n\
         error: 1 of 2 failed\n"
    );
    // The second document begins in line 2 of the file.
    let refused = || vec![problem(400, "bad_document", "1 fault", fault)];
    let server = Server::start(vec![
        ("PUT /api/v1/jobs/b", refused()),
        ("PUT /api/v1/jobs/c", refused()),
    ]);
    let text = "# one\n\n---\n# c\njob_name: b\n---\njob_name: c\n";
    let output = edgeio_with(&server.url, &["apply", "-f", "-"], &[], text);
    assert!(err(&output).contains("input:3:1: "), "{}", err(&output));
    assert!(err(&output).contains("input:8:1: "), "{}", err(&output));
    // Of two documents for one job the later would undo the earlier: nothing is sent.
    let text = "job_name: b\n---\njob_name: b\n";
    let output = edgeio_with(&server.url, &["apply", "-f", "-"], &[], text);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    assert!(
        err(&output).contains("input:2:1: job_name: "),
        "{}",
        err(&output)
    );
}

#[test]
fn jobs_are_deleted_one_after_the_other() {
    let server = Server::start(vec![
        (
            "DELETE /api/v1/jobs/a",
            vec![Answer::new(202, &job("RUNNING", "null"))],
        ),
        (
            "DELETE /api/v1/jobs/b",
            vec![problem(
                404,
                "no_such_job",
                "no job has the id or name b",
                "",
            )],
        ),
        (
            "DELETE /api/v1/jobs/c",
            vec![Answer::new(202, &job("RUNNING", "null"))],
        ),
    ]);
    let output = edgeio(&server, &["delete", "job/a", "b", "c", "-o", "name"]);
    assert_eq!(
        (code(&output), out(&output).as_str()),
        (1, "job/a\njob/c\n")
    );
    assert!(err(&output).contains("no job has the id or name b (404 no_such_job)"));
    let output = edgeio(&server, &["delete", "b"]);
    assert_eq!(err(&output).lines().count(), 1, "{}", err(&output));
}

#[test]
fn failures_are_told_with_what_helps() {
    let table: [(Answer, i32, &str); 5] = [
        (problem(401, "unauthorized", "no token", ""), 1, "--token"),
        (
            problem(503, "unavailable", "starting", ""),
            1,
            "starting (503 unavailable)",
        ),
        (Answer::new(404, "<html>"), 1, "is that the right address?"),
        (Answer::new(200, "no json"), 1, "is that the right address?"),
        (Answer::Hangup, 1, "whether it was done is not known"),
    ];
    for (answer, exit, told) in table {
        let server = Server::start(vec![("GET /api/v1/jobs/x", vec![answer])]);
        let output = edgeio(&server, &["get", "job", "x"]);
        assert_eq!(code(&output), exit);
        assert!(err(&output).contains(told), "{}", err(&output));
        assert_eq!(out(&output), "");
    }
    let nobody = fake::unused_url();
    let output = edgeio_with(&nobody, &["get", "jobs"], &[], "");
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains(&nobody), "{}", err(&output));
    assert!(err(&output).contains("edgeio up"), "{}", err(&output));
}

#[test]
fn wrong_usage_is_told_apart() {
    let server = Server::start(Vec::new());
    let table: [&[&str]; 10] = [
        &[],
        &["logs", "x", "-o", "json"],
        &["bogus"],
        &["apply"],
        &["get", "job", "node/a"],
        &["wait", "a", "--for", "GONE"],
        &["wait", "a", "--timeout", "30"],
        &["get", "jobs", "-o", "xml"],
        &["get", "jobs", "--url", "https://127.0.0.1"],
        &["get", "jobs", "--token", "a b"],
    ];
    for args in table {
        let output = edgeio(&server, args);
        assert_eq!(code(&output), 2, "{args:?}");
    }
    for args in [["--help", ""], ["--version", ""], ["apply", "--help"]] {
        let args: Vec<_> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
        assert_eq!(code(&edgeio(&server, &args)), 0, "{args:?}");
    }
    let missing = edgeio(&server, &["apply", "-f", "/nowhere/at/all.yaml"]);
    assert_eq!(code(&missing), 1);
    assert!(err(&missing).contains("/nowhere/at/all.yaml"));
    assert!(server.requests().is_empty());
}

/// The states a job goes through, what is waited for, and how that ends.
type Waiting = (
    &'static [&'static str],
    &'static [&'static str],
    i32,
    &'static str,
);

#[test]
fn waiting_ends_when_the_state_is_there_or_cannot_come_any_more() {
    let table: [Waiting; 7] = [
        (&["REQUESTED", "SCHEDULED_NODE", "RUNNING"], &[], 0, ""),
        (
            &["REQUESTED", "FAILED"],
            &[],
            1,
            "it is FAILED: it has a reason",
        ),
        (&["RUNNING", "FAILED"], &["--for", "failed"], 0, ""),
        (&["RUNNING", "404"], &["--for", "TERMINATED"], 0, ""),
        (&["404"], &[], 1, "there is no such job"),
        (
            &["NOT_DEPLOYED"],
            &["--timeout", "600ms"],
            1,
            "after the time given it is NOT_DEPLOYED: it has a reason",
        ),
        (&["REQUESTED", "503", "RUNNING"], &[], 0, ""),
    ];
    for (states, args, exit, told) in table {
        let answers = states.iter().map(|state| match *state {
            "404" => problem(404, "no_such_job", "no job", ""),
            "503" => problem(503, "unavailable", "starting", ""),
            state => Answer::new(200, &job(state, r#""it has a reason""#)),
        });
        let server = Server::start(vec![("GET /api/v1/jobs/hello", answers.collect())]);
        let args = [&["wait", "job/hello"], args].concat();
        let begun = Instant::now();
        let output = edgeio(&server, &args);
        assert_eq!(code(&output), exit, "{states:?}: {}", err(&output));
        assert!(err(&output).contains(told), "{states:?}: {}", err(&output));
        // A pipe is spared the progress.
        assert_eq!(
            err(&output).lines().count(),
            exit as usize,
            "{}",
            err(&output)
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn waiting_ends_with_the_operation_that_is_waited_for() {
    let running = job("RUNNING", "null");
    let update = |state: &str| operated(&running, "update", state, r#""it is not healthy""#);
    let table = [
        (vec![update("running"), update("done")], "RUNNING", 0, ""),
        (
            vec![update("running"), update("failed")],
            "RUNNING",
            1,
            "job/hello is RUNNING, but its last update failed: it is not healthy",
        ),
        (
            vec![
                operated(
                    &job("SCALING", "null"),
                    "update",
                    "failed",
                    r#""it is not healthy""#,
                ),
                running.clone(),
            ],
            "SCALING",
            0,
            "",
        ),
    ];
    for (answers, state, exit, told) in table {
        let answers = answers.iter().map(|answer| Answer::new(200, answer));
        let server = Server::start(vec![("GET /api/v1/jobs/hello", answers.collect())]);
        let output = edgeio(&server, &["wait", "hello", "--for", state]);
        assert_eq!(code(&output), exit, "{}", err(&output));
        assert!(err(&output).contains(told), "{told}: {}", err(&output));
    }
}

#[test]
fn an_operation_is_shown_where_its_job_is() {
    let failed = operated(
        &job("RUNNING", "null"),
        "migrate",
        "failed",
        r#""no other worker has room""#,
    );
    let healthy = failed.replacen(r#""restarts":2"#, r#""restarts":2,"health":"unhealthy""#, 1);
    let server = Server::start(vec![
        ("GET /api/v1/jobs", vec![Answer::new(200, &list(&healthy))]),
        ("GET /api/v1/jobs/hello", vec![Answer::new(200, &healthy)]),
        (
            "GET /api/v1/jobs/hello/explain",
            vec![Answer::new(200, r#"{"items":[],"clusters":[]}"#)],
        ),
    ]);
    let table: [(&[&str], &[&str]); 4] = [
        (
            &["get", "jobs"],
            &["its last migration failed: no other worker has room"],
        ),
        (
            &["get", "jobs", "-o", "wide"],
            &["OPERATION", "migrate failed"],
        ),
        (
            &["get", "job", "hello", "-o", "wide"],
            &[
                "Operation: migrate failed (began 2026-11-05T08:00:00.000Z, ",
                "ago): no other worker has room",
                "HEALTH",
                "unhealthy",
                "its health check fails",
            ],
        ),
        (&["explain", "hello"], &["Operation: migrate failed"]),
    ];
    for (args, told) in table {
        let output = edgeio(&server, args);
        assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
        for word in told {
            assert!(
                out(&output).contains(word),
                "{args:?} lacks {word}: {}",
                out(&output)
            );
        }
    }
}
