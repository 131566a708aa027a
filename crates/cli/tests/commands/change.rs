//! Commands that change things.

use crate::fake::{Answer, Server};
use crate::{cluster, code, edgeio, edgeio_with, err, job, node, out, problem};

#[test]
fn replicas_and_openness_are_changed_with_one_request() {
    let server = Server::start(vec![
        (
            "POST /api/v1/jobs/hello/scale",
            vec![Answer::new(202, &job("SCALING", "null"))],
        ),
        (
            "POST /api/v1/clusters/cluster-1/cordon",
            vec![Answer::new(200, &cluster())],
        ),
        (
            "POST /api/v1/clusters/cluster-1/uncordon",
            vec![Answer::new(200, &cluster())],
        ),
        (
            "GET /api/v1/nodes/worker-1",
            vec![Answer::new(200, &node())],
        ),
        (
            "POST /api/v1/nodes/worker-1/uncordon",
            vec![Answer::new(200, &node())],
        ),
    ]);
    let table: [(&[&str], &str); 5] = [
        (
            &["scale", "job/hello", "--replicas", "3"],
            "job/hello scaled to 3\n",
        ),
        (
            &[
                "scale",
                "hello",
                "--replicas",
                "0",
                "--service",
                "web",
                "-o",
                "name",
            ],
            "job/hello\n",
        ),
        (
            &["cordon", "cluster", "cluster-1"],
            "cluster/cluster-1 cordoned\n",
        ),
        (
            &["uncordon", "cluster", "cluster/cluster-1"],
            "cluster/cluster-1 uncordoned\n",
        ),
        (
            &["uncordon", "node", "worker-1"],
            "node/worker-1 uncordoned\n",
        ),
    ];
    for (args, told) in table {
        let output = edgeio(&server, args);
        assert_eq!(
            (code(&output), out(&output).as_str()),
            (0, told),
            "{args:?}: {}",
            err(&output)
        );
    }
    let requests = server.requests();
    assert_eq!(requests[0].body, r#"{"replicas":3}"#);
    assert_eq!(requests[1].body, r#"{"replicas":0,"service":"web"}"#);
    let output = edgeio(
        &server,
        &["scale", "hello", "--replicas", "3", "-o", "json"],
    );
    let body: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(body["state"], "SCALING");
    for wrong in [
        ["scale", "hello"].as_slice(),
        &["scale", "hello", "--replicas", "-1"],
    ] {
        assert_eq!(code(&edgeio(&server, wrong)), 2);
    }
}

#[test]
fn a_scheduler_is_shown_and_exchanged_with_one_request() {
    let local = r#"{"scheduler":"first-fit"}"#;
    let remote = r#"{"scheduler":"http://127.0.0.1:10004","deadline":"500ms","fallback":"none","away":"no answer came"}"#;
    let wrong = problem(400, "bad_request", "there is no scheduler \\\"a\\\"", "");
    let server = Server::start(vec![
        ("GET /api/v1/scheduler", vec![Answer::new(200, local)]),
        (
            "PUT /api/v1/scheduler",
            vec![Answer::new(200, remote), wrong],
        ),
    ]);
    let shown = out(&edgeio(&server, &["scheduler", "get"]));
    let words = |shown: &str| {
        shown
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&shown), ["Scheduler:", "first-fit"]);
    let url = "http://127.0.0.1:10004";
    let set = [
        "scheduler",
        "set",
        url,
        "--deadline",
        "500ms",
        "--fallback",
        "none",
    ];
    let shown = out(&edgeio(&server, &set));
    assert!(
        ["500ms", "none", "no answer came"]
            .iter()
            .all(|word| shown.contains(word)),
        "{shown}"
    );
    let sent = server.requests().pop().unwrap().body;
    assert_eq!(
        sent,
        r#"{"scheduler":"http://127.0.0.1:10004","deadline":"500ms","fallback":"none"}"#
    );
    let refused = edgeio(&server, &["scheduler", "set", "a"]);
    assert_eq!(code(&refused), 1);
    assert!(
        err(&refused).contains("there is no scheduler"),
        "{}",
        err(&refused)
    );
    let named = out(&edgeio(&server, &["scheduler", "get", "-o", "name"]));
    assert_eq!(named, "scheduler/first-fit\n");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of requests")]
fn instances_move_restart_and_make_way_with_one_request() {
    let moving = || vec![Answer::new(202, &job("MIGRATING", "null"))];
    let server = Server::start(vec![
        ("POST /api/v1/jobs/hello/migrate", moving()),
        ("POST /api/v1/jobs/hello/restart", moving()),
        (
            "POST /api/v1/clusters/cluster-1/drain",
            vec![Answer::new(200, &cluster())],
        ),
        (
            "DELETE /api/v1/clusters/cluster-1",
            vec![problem(
                409,
                "alive",
                "cluster cluster-1 is connected (ALIVE)",
                "",
            )],
        ),
        (
            "GET /api/v1/nodes/worker-1",
            vec![Answer::new(200, &node())],
        ),
        (
            "POST /api/v1/nodes/worker-1/drain",
            vec![Answer::new(200, &node())],
        ),
        (
            "DELETE /api/v1/nodes/worker-1",
            vec![Answer::new(200, &node())],
        ),
    ]);
    let table: [(&[&str], &str, Option<&str>); 7] = [
        (
            &["migrate", "job/hello"],
            "job/hello migrates\n",
            Some("{}"),
        ),
        (
            &[
                "migrate",
                "hello",
                "--instance",
                "hello/0",
                "--cluster",
                "c1",
                "--worker",
                "node/w1",
                "--strategy",
                "stop_first",
            ],
            "job/hello migrates\n",
            Some(
                r#"{"instance":"hello/0","cluster":"c1","worker_node":"w1","strategy":"stop_first"}"#,
            ),
        ),
        (&["restart", "hello"], "job/hello restarts\n", Some("{}")),
        (
            &["restart", "hello", "--service", "web", "-o", "name"],
            "job/hello\n",
            Some(r#"{"service":"web"}"#),
        ),
        (
            &["drain", "cluster", "cluster-1"],
            "cluster/cluster-1 drains\n",
            None,
        ),
        (
            &["drain", "node", "worker-1"],
            "node/worker-1 drains\n",
            None,
        ),
        (
            &["forget", "node", "worker-1"],
            "node/worker-1 forgotten\n",
            None,
        ),
    ];
    for (args, told, body) in table {
        let output = edgeio(&server, args);
        assert_eq!(
            (code(&output), out(&output).as_str()),
            (0, told),
            "{args:?}: {}",
            err(&output)
        );
        if let Some(body) = body {
            assert_eq!(server.requests().last().unwrap().body, body, "{args:?}");
        }
    }
    let output = edgeio(&server, &["forget", "cluster", "cluster-1"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("is connected"), "{}", err(&output));
    let wrong = ["migrate", "hello", "--strategy", "both"];
    assert_eq!(code(&edgeio(&server, &wrong)), 2);
}

#[test]
fn what_an_apply_begins_is_said() {
    let changed = crate::operated(&job("SCALING", "null"), "update", "running", "null");
    let server = Server::start(vec![(
        "PUT /api/v1/jobs/a",
        vec![Answer::new(202, &changed)],
    )]);
    let document = "job_name: a\nimage: x\n";
    let output = edgeio_with(&server.url, &["apply", "-f", "-"], &[], document);
    assert_eq!(
        (code(&output), out(&output).as_str()),
        (0, "job/a applied (update begun)\n")
    );
}

const TWO: &str = "job_name: a\nimage: x\n---\njob_name: b\nimage: x\n";

#[test]
fn a_dry_run_shows_where_instances_would_go() {
    let plan = r#"{"dry_run":true,"job_name":"a","not_shown":7,"instances":[
        {"service":"web","index":0,"cluster":"cluster-1","cluster_id":null,"worker_node":null,"worker_id":null,"reason":null,
         "reason_code":null,"rejections":null},
        {"service":"web","index":1,"cluster":null,"cluster_id":null,"worker_node":null,"worker_id":null,
         "reason":"no cluster can host it\u001b now","reason_code":"insufficient_memory","rejections":{"insufficient_memory":1}}]}"#;
    let server = Server::start(vec![(
        "PUT /api/v1/jobs/a?dry_run=true",
        vec![Answer::new(200, plan)],
    )]);
    let args = ["apply", "-f", "-", "--dry-run"];
    let output = edgeio_with(&server.url, &args, &[], "job_name: a\nimage: x\n");
    assert_eq!(code(&output), 0, "{}", err(&output));
    expect_test::expect![[r"
        job/a would be applied: 1 of 2 instances find a place (dry run, nothing is changed)
        INSTANCE   CLUSTER     WORKER   REASON
        web/0      cluster-1   -        -
        web/1      -           -        no cluster can host it� now
        7 more instances are not listed.
    "]]
    .assert_eq(&out(&output));
    let args = ["apply", "-f", "-", "--dry-run", "-o", "json"];
    let output = edgeio_with(&server.url, &args, &[], "job_name: a\nimage: x\n");
    assert!(out(&output).contains(r#""dry_run": true"#));
}

#[test]
fn what_got_no_answer_is_sent_again_under_the_same_key() {
    let both = format!(
        r#"{{"items":[{0},{0}],"next_cursor":null}}"#,
        job("REQUESTED", "null")
    );
    let server = Server::start(vec![(
        "POST /api/v1/jobs",
        vec![Answer::Hangup, Answer::new(202, &both)],
    )]);
    let output = edgeio_with(&server.url, &["apply", "-f", "-", "--create"], &[], TWO);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output), "job/a created\njob/b created\n");
    assert!(
        err(&output).contains("sending it again"),
        "{}",
        err(&output)
    );
    let key = |head: &str| {
        let line = head
            .lines()
            .find(|line| line.starts_with("idempotency-key: "));
        line.unwrap().to_owned()
    };
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(key(&requests[0].head), key(&requests[1].head));
    assert_eq!(requests[0].body, TWO);
    // Another command is another request, unless a script says that it is the same.
    let args = [
        "apply",
        "-f",
        "-",
        "--create",
        "--idempotency-key",
        "mine-1",
    ];
    edgeio_with(&server.url, &args, &[], TWO);
    edgeio_with(&server.url, &["apply", "-f", "-", "--create"], &[], TWO);
    let requests = server.requests();
    assert_eq!(key(&requests[2].head), "idempotency-key: mine-1");
    assert_ne!(key(&requests[3].head), key(&requests[0].head));
}

#[test]
fn documents_for_a_cluster_go_to_its_path_until_it_has_answered() {
    let lost = r#"{"type":"x","title":"x","status":503,"code":"answer_lost","detail":"it may have been taken"}"#;
    let script = vec![(
        "POST /api/v1/clusters/garching/jobs",
        vec![
            Answer::new(503, lost),
            Answer::Hangup,
            Answer::new(202, &job("REQUESTED", "null")),
        ],
    )];
    let server = Server::start(script);
    let args = ["apply", "-f", "-", "--create", "--cluster", "garching"];
    let output = edgeio_with(&server.url, &args, &[], "job_name: hello\nimage: x\n");
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output), "job/hello created\n");
    assert_eq!(err(&output).matches("sending it again").count(), 2);
    let requests = server.requests();
    let key = |head: &str| {
        let mut lines = head.lines();
        let line = lines.find(|line| line.starts_with("idempotency-key: "));
        line.unwrap().to_owned()
    };
    let keys: Vec<_> = requests.iter().map(|request| key(&request.head)).collect();
    assert!(
        keys.len() == 3 && keys.iter().all(|it| *it == keys[0]),
        "{keys:?}"
    );

    // Nothing is put there.
    let args = ["apply", "-f", "-", "--cluster", "garching"];
    let output = edgeio_with(&server.url, &args, &[], "job_name: hello\nimage: x\n");
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--create"), "{}", err(&output));
}

#[test]
fn an_application_is_put_again_when_no_answer_came() {
    let server = Server::start(vec![(
        "PUT /api/v1/jobs/a",
        vec![Answer::Hangup, Answer::new(202, &job("REQUESTED", "null"))],
    )]);
    let output = edgeio_with(
        &server.url,
        &["apply", "-f", "-"],
        &[],
        "job_name: a\nimage: x\n",
    );
    assert_eq!(
        (code(&output), out(&output).as_str()),
        (0, "job/a applied\n")
    );
    // Nobody being there is told at once.
    let server = Server::start(vec![("PUT /api/v1/jobs/a", vec![Answer::Hangup])]);
    let output = edgeio_with(
        &server.url,
        &["apply", "-f", "-"],
        &[],
        "job_name: a\nimage: x\n",
    );
    assert_eq!((code(&output), server.requests().len()), (1, 3));
    assert!(err(&output).contains("whether it was done is not known"));
}

#[test]
fn faults_of_several_files_are_told_with_each_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = file("one.yaml", "# c\n---\njob_name: a\nimge: x\n");
    let other = file(
        "other.yaml",
        "job_name: b\nimage: x\n---\n# d\njob_name: c\nimge: x",
    );
    // As the server counts: lines of the whole body.
    let fault = |line: u64, path: &str| {
        format!(r#"{{"path":"{path}","line":{line},"column":1,"message":"unknown field"}}"#)
    };
    let faults = format!(
        "{},{}",
        fault(4, "documents[0].imge"),
        fault(11, "documents[2].imge")
    );
    let server = Server::start(vec![(
        "POST /api/v1/jobs",
        vec![problem(400, "bad_document", "2 faults", &faults)],
    )]);
    let output = edgeio(&server, &["apply", "--create", "-f", &one, "-f", &other]);
    assert_eq!(code(&output), 1);
    let body = &server.requests()[0].body;
    let wrong: Vec<_> = (1..)
        .zip(body.lines())
        .filter(|(_, line)| line.starts_with("imge"))
        .collect();
    assert_eq!(wrong, [(4, "imge: x"), (11, "imge: x")], "{body}");
    assert_eq!(
        err(&output),
        format!(
            "error: {one} and {other} have 2 faults:\n{one}:4:1: documents[0].imge: unknown field\n\
             {other}:6:1: documents[2].imge: unknown field\n"
        )
    );
}

#[test]
fn refusals_say_what_to_do() {
    let later = |headers: &str| {
        let body = r#"{"status":503,"title":"T","code":"unavailable","detail":"starting"}"#;
        Answer::Json(503, headers.to_owned(), body.to_owned())
    };
    let table = [
        (later("retry-after: 7\r\n"), "try again in 7 s"),
        (later(""), "try again in a few seconds"),
        (problem(429, "too_many_requests", "slower", ""), "try again"),
        (
            problem(403, "forbidden", "no", ""),
            "token that may do this",
        ),
        (problem(401, "unauthorized", "no", ""), "edgeio context set"),
    ];
    for (answer, told) in table {
        let server = Server::start(vec![("DELETE /api/v1/jobs/x", vec![answer])]);
        let output = edgeio(&server, &["delete", "x"]);
        assert_eq!(code(&output), 1);
        assert!(err(&output).contains(told), "{}", err(&output));
    }
}

#[test]
fn a_worker_is_put_into_quarantine_with_one_request() {
    let server = Server::start(vec![
        (
            "GET /api/v1/nodes/worker-1",
            vec![Answer::new(200, &node())],
        ),
        (
            "POST /api/v1/nodes/worker-1/quarantine",
            vec![Answer::new(200, &node())],
        ),
    ]);
    let output = edgeio(&server, &["quarantine", "node/worker-1"]);
    let told = "node/worker-1 is in quarantine\n";
    assert_eq!(out(&output), told, "{}", err(&output));
    assert_eq!(code(&output), 0);
}
