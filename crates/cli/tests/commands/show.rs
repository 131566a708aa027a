//! Commands that show things.

use expect_test::expect;

use crate::fake::{Answer, Server};
use crate::{ID, cluster, code, edgeio, err, event, instance, job, list, node, out, problem};

fn ok(body: &str) -> Vec<Answer> {
    vec![Answer::new(200, body)]
}

const EXPLANATION: &str = r#"{"job_id":"x","job_name":"hello","items":[{"service":"hello","index":0,"state":"NOT_DEPLOYED",
    "message":"no cluster can host it now","rejections":{"insufficient_memory":{"count":1,"examples":["cluster\u001b-1"]}}}],
    "clusters":[],"next_cursor":null}"#;

/// Ages depend on when the test runs.
fn without_ages(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let bare = word.trim_start_matches('(');
            let age = bare.len() > 1
                && bare.ends_with(['s', 'm', 'h', 'd'])
                && bare[..bare.len() - 1]
                    .bytes()
                    .all(|byte| byte.is_ascii_digit());
            if age {
                word.replace(bare, "AGE")
            } else {
                word.to_owned()
            }
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n")
}

#[test]
fn a_job_is_described_with_why_and_what_happened() {
    let script = || {
        vec![
            (
                "GET /api/v1/jobs/hello",
                ok(&job("NOT_DEPLOYED", r#""no room""#)),
            ),
            ("GET /api/v1/jobs/hello/explain", ok(EXPLANATION)),
            ("GET /api/v1/jobs/hello/events", ok(&list(&event()))),
        ]
    };
    let output = edgeio(&Server::start(script()), &["describe", "job", "hello"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    expect![[r"
        Name:      hello
        Id:        job_01JBZ0000000000000000000AA
        State:     NOT_DEPLOYED
        Reason:    no room
        Rejected:  2 insufficient_cpu
        Owner:     root (tenant default)
        Created:   2026-11-05T08:00:00.000Z (AGE ago), generation 1
        Service:   hello: 2 x a command (native)

        INSTANCE   STATE          CLUSTER     WORKER     ENDPOINTS                 RESTARTS   SINCE   REASON
        hello/0    NOT_DEPLOYED   cluster-1   worker-1   192.0.2.7:32768->80/tcp   2          AGE     last ended with 1
        hello/0    RUNNING        cluster-1   worker-1   192.0.2.7:32768->80/tcp   2          AGE     its worker or cluster cannot be reached; last ended with 1

        Why:
          hello/0 is NOT_DEPLOYED
            no cluster can host it now
            Rejected: 1 insufficient_memory (cluster�-1)
              Try: ask for less with requirements.memory, make room ('edgeio top nodes'), or add a worker

        Last events:
        AT                         TIER   JOB     INSTANCE   CHANGE      CAUSE      MESSAGE
        2026-11-05T08:00:00.000Z   root   hello   -          REQUESTED   accepted   it was �[31maccepted"]]
    .assert_eq(&without_ages(&out(&output)));
    let output = edgeio(
        &Server::start(script()),
        &["describe", "job", "hello", "-o", "json"],
    );
    let all: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(all["job"]["job_name"], "hello");
    assert_eq!(all["explanation"]["items"][0]["state"], "NOT_DEPLOYED");
    assert_eq!(all["events"][0]["cause"], "accepted");
}

#[test]
fn clusters_and_workers_are_described_with_what_is_on_them() {
    let server = Server::start(vec![
        ("GET /api/v1/clusters/cluster-1", ok(&cluster())),
        ("GET /api/v1/clusters/cluster-1/nodes", ok(&list(&node()))),
        ("GET /api/v1/clusters/cluster-1/nodes/worker-1", ok(&node())),
        ("GET /api/v1/jobs", ok(&list(&job("RUNNING", "null")))),
    ]);
    let output = edgeio(&server, &["describe", "cluster", "cluster-1"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    expect![[r"
        Name:      cluster-1
        Id:        cl_01JBZ0000000000000000000AA
        State:     ACTIVE,CORDONED
        Location:  Garching
        Address:   https://192.0.2.1:10001
        Scheduler: first-fit
        Runtimes:  native
        Workers:   2, 0 of them take work
        Jobs:      1
        Free:      3.5/4 cores, 7900/8000 MB
        In use:    1% of the cores, 2% of the memory

        NAME       STATE   SCHEDULING   ARCH     FREE CORES   FREE MEMORY    INSTANCES   RUNTIMES
        worker-1   ALIVE   OPEN         x86_64   2/2          4000/4000 MB   0           docker,native
    "]]
    .assert_eq(&out(&output));
    let args = ["describe", "node", "worker-1", "--cluster", "cluster-1"];
    let output = edgeio(&server, &args);
    assert_eq!(code(&output), 0, "{}", err(&output));
    expect![[r"
        Name:      worker-1
        Id:        node_01JBZ0000000000000000000AA
        Cluster:   cluster-1
        State:     ALIVE
        Machine:   x86_64
        Runtimes:  docker, native
        Labels:    zone=lab
        Free:      2/2 cores, 4000/4000 MB
        In use:    an unknown part of the cores, an unknown part of the memory

        JOB     INSTANCE   STATE     RESTARTS   SINCE   REASON
        hello   hello/0    RUNNING   2          AGE     last ended with 1
        hello   hello/0    RUNNING   2          AGE     its worker or cluster cannot be reached; last ended with 1"]]
    .assert_eq(&without_ages(&out(&output)));
}

#[test]
fn reasons_are_explained_with_what_to_do() {
    let server = Server::start(vec![("GET /api/v1/jobs/hello/explain", ok(EXPLANATION))]);
    let output = edgeio(&server, &["explain", "hello"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(
        out(&output).contains("Try: ask for less"),
        "{}",
        out(&output)
    );
    let output = edgeio(&server, &["explain", "hello", "-o", "yaml"]);
    assert!(
        out(&output).starts_with("clusters: []\n"),
        "{}",
        out(&output)
    );
}

#[test]
fn use_is_shown_for_clusters_and_workers() {
    let server = Server::start(vec![
        ("GET /api/v1/clusters", ok(&list(&cluster()))),
        ("GET /api/v1/clusters/cluster-1/nodes", ok(&list(&node()))),
    ]);
    let output = edgeio(&server, &["top"]);
    expect![[r"
        NAME        STATE             CPU   MEMORY   RESERVED CORES   RESERVED MEMORY   NODES   JOBS
        cluster-1   ACTIVE,CORDONED   1%    2%       0.5/4            100/8000 MB       0/2     1
    "]]
    .assert_eq(&out(&output));
    let output = edgeio(&server, &["top", "nodes", "--cluster", "cluster-1"]);
    expect![[r"
        NAME       STATE   CPU   MEMORY   RESERVED CORES   RESERVED MEMORY   INSTANCES
        worker-1   ALIVE   -     -        0/2              0/4000 MB         0
    "]]
    .assert_eq(&out(&output));
    // A cluster has no clusters.
    let server = Server::start(vec![
        (
            "GET /api/v1/clusters",
            vec![problem(404, "no_such_path", "nothing is served there", "")],
        ),
        ("GET /api/v1/nodes", ok(&list(&node()))),
    ]);
    assert!(out(&edgeio(&server, &["top"])).contains("worker-1"));
}

#[test]
fn names_like_the_one_that_is_not_there_are_told() {
    let nowhere = || {
        let nothing = "no job has the id or name";
        vec![problem(404, "no_such_job", nothing, "")]
    };
    let server = Server::start(vec![
        ("GET /api/v1/jobs/hallo", nowhere()),
        ("GET /api/v1/jobs/hallo/explain", nowhere()),
        (
            "GET /api/v1/jobs?limit=1000",
            ok(&list(&job("RUNNING", "null"))),
        ),
    ]);
    for args in [
        ["get", "job", "hallo"],
        ["describe", "job", "hallo"],
        ["explain", "hallo", "-ojson"],
    ] {
        let output = edgeio(&server, &args);
        assert_eq!(code(&output), 1);
        assert!(
            err(&output).ends_with("\nDid you mean hello?\n"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn a_worker_is_found_in_the_cluster_that_has_it() {
    let two = format!(
        "{},{}",
        cluster(),
        cluster()
            .replace("cluster-1", "cluster-2")
            .replace(ID, "01JBZ0000000000000000000AB")
    );
    let nodes = |ab: &str, name: &str| {
        (
            format!("GET /api/v1/clusters/cl_01JBZ0000000000000000000A{ab}/nodes"),
            ok(&list(&node().replace("worker-1", name))),
        )
    };
    let (a, b, same) = (
        nodes("A", "worker-1"),
        nodes("B", "worker-2"),
        nodes("B", "worker-1"),
    );
    let cordon = "POST /api/v1/clusters/cl_01JBZ0000000000000000000AA/nodes/node_01JBZ0000000000000000000AA/cordon";
    let one =
        "GET /api/v1/clusters/cl_01JBZ0000000000000000000AA/nodes/node_01JBZ0000000000000000000AA";
    let no_nodes = |name: &str| {
        (
            format!("GET /api/v1/nodes/{name}"),
            vec![problem(404, "no_such_path", "nothing is served there", "")],
        )
    };
    let (worker, typo) = (no_nodes("worker-1"), no_nodes("worker-11"));
    let script = |b: &(String, Vec<Answer>)| {
        let all = [
            (worker.0.clone(), worker.1.clone()),
            (typo.0.clone(), typo.1.clone()),
            (a.0.clone(), a.1.clone()),
            (b.0.clone(), b.1.clone()),
            (cordon.to_owned(), ok(&node())),
            (one.to_owned(), ok(&node())),
            ("GET /api/v1/clusters".to_owned(), ok(&list(&two))),
        ];
        let all = Vec::from(all);
        let all: Vec<(&str, Vec<Answer>)> = all
            .iter()
            .map(|(request, answers)| (request.as_str(), answers.clone()))
            .collect();
        Server::start(all)
    };
    let output = edgeio(&script(&b), &["cordon", "node", "worker-1"]);
    assert_eq!(
        (code(&output), out(&output).as_str()),
        (0, "node/worker-1 cordoned\n"),
        "{}",
        err(&output)
    );
    let output = edgeio(&script(&same), &["cordon", "node", "worker-1"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("cluster-1, cluster-2; say which one with --cluster"));
    let output = edgeio(&script(&b), &["describe", "node", "worker-11"]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).contains("Did you mean worker-1 or worker-2?"),
        "{}",
        err(&output)
    );
}

#[test]
fn names_of_jobs_and_instances_stand_in_events() {
    let event = event().replace(
        r#""instance_id":null"#,
        &format!(r#""instance_id":"ins_{ID}""#),
    );
    let server = Server::start(vec![
        ("GET /api/v1/events?limit=1000", ok(&list(&event))),
        (
            "GET /api/v1/jobs/job_01JBZ0000000000000000000AA",
            ok(&job("RUNNING", "null")),
        ),
    ]);
    let output = edgeio(&server, &["events"]);
    let text = out(&output);
    assert!(text.contains("hello   hello/0"), "{text}");
    let output = edgeio(&server, &["events", "-o", "name"]);
    assert_eq!(out(&output), format!("event/evt_{ID}\n"));
    assert!(instance("RUNNING", "holder").contains(ID));
}

#[test]
fn nothing_is_told_apart_from_a_table() {
    let server = Server::start(vec![("GET /api/v1/jobs", ok(&list("")))]);
    let output = edgeio(&server, &["get", "jobs"]);
    assert_eq!(
        (code(&output), out(&output).as_str(), err(&output).as_str()),
        (0, "", "No jobs.\n")
    );
}

#[test]
fn a_doctor_finds_a_cluster_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (data, nobody) = (dir.path().to_str().unwrap(), crate::fake::unused_url());
    let args = [
        "doctor",
        "--cluster",
        &nobody,
        "--data-dir",
        data,
        "-o",
        "json",
    ];
    let output = crate::command(&args).output().unwrap();
    assert_eq!(code(&output), 1, "{}", err(&output));
    let findings: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let cluster = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["check"] == "cluster");
    assert_eq!(cluster.unwrap()["level"], "bad");
    assert!(!cluster.unwrap()["remedy"].is_null());
}
