//! Documents that are sent straight to one cluster: through the root, which does not read them, or by its word.

use std::fs;
use std::time::Duration;

use edgeio_tests::harness::{Client, Settings, System, TOKEN, programs, together, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(30);
const PATH: &str = "/api/v1/clusters/cluster-1/jobs";

/// What is answered by 202.
#[track_caller]
fn taken(client: &Client, path: &str, document: &str) -> Value {
    let answer = client.post(path, document).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body
}

/// The status and the code of a refusal, and what it says.
#[track_caller]
fn refused(client: &Client, path: &str, document: &str) -> (u16, String, String) {
    let answer = client.post(path, document).unwrap();
    let text = |field: &str| answer.body[field].as_str().unwrap_or_default().to_owned();
    (answer.status, text("code"), text("detail"))
}

fn names(client: &Client) -> Vec<String> {
    let rows = client.list("/api/v1/jobs").unwrap();
    let name = |row: &Value| row["job_name"].as_str().unwrap().to_owned();
    rows.iter().map(name).collect()
}

#[track_caller]
fn runs(client: &Client, job: &str) -> Value {
    wait_until(&format!("{job} runs"), LIMIT, || {
        let body = client.job(job)?;
        let is = body["state"] == "RUNNING";
        is.then(|| body.clone()).ok_or_else(|| body.to_string())
    })
}

#[test]
fn what_is_passed_on_is_a_job_of_the_clusters_own() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    let (root, cluster) = (system.root(), system.cluster(0));

    let planned = root
        .post(&format!("{PATH}?dry_run=true"), &sleeper("own", ""))
        .unwrap();
    let place = &planned.body["instances"][0]["worker_node"];
    assert_eq!(
        (planned.status, place),
        (200, &json!("worker-1")),
        "{}",
        planned.body
    );

    let under = |document: &str| root.post_under("once", PATH, document).unwrap();
    let first = under(&sleeper("own", ""));
    assert_eq!(first.status, 202, "{}", first.body);
    assert_eq!(first.body["owner"], "cluster-1", "{}", first.body);
    let id = first.body["job_id"].as_str().unwrap();
    let there = format!("{}/api/v1/jobs/{id}", system.clusters[0].said("http"));
    assert_eq!(first.location, Some(there));
    assert_eq!(
        under(&sleeper("own", "")).body["job_id"],
        first.body["job_id"]
    );
    let other = under(&sleeper("other", ""));
    assert_eq!(
        (other.status, &other.body["code"]),
        (422, &json!("idempotency_mismatch"))
    );
    runs(&cluster, "own");
    assert_eq!(
        (names(&cluster), names(&root)),
        (vec!["own".to_owned()], vec![])
    );

    // Several, all or none; and what is wrong, and where.
    let two = format!("{}---\n{}", sleeper("two", ""), sleeper("three", ""));
    assert_eq!(
        taken(&root, PATH, &two)["items"].as_array().unwrap().len(),
        2
    );
    let bad = format!("{}replicas: -1\n", sleeper("bad", ""));
    let faults = root.post(PATH, &bad).unwrap();
    assert_eq!(
        (faults.status, &faults.body["code"]),
        (400, &json!("bad_document"))
    );
    let fault = &faults.body["errors"][0];
    assert_eq!(
        (&fault["path"], &fault["line"]),
        (&json!("replicas"), &json!(5)),
        "{fault}"
    );
    let (status, code, _) = refused(&root, PATH, &sleeper("own", ""));
    assert_eq!((status, code.as_str()), (409, "name_in_use"));
    let (status, code, _) = refused(&root, "/api/v1/clusters/nobody/jobs", "a: b");
    assert_eq!((status, code.as_str()), (404, "no_such_cluster"));

    // By the command line.
    let file = system.directory().join("line.yaml");
    fs::write(&file, sleeper("line", "")).unwrap();
    let said = std::process::Command::new(programs().join("edgeio"))
        .args(["apply", "--create", "--cluster", "cluster-1", "-f"])
        .arg(&file)
        .env("EDGEIO_URL", system.root.said("http"))
        .env("EDGEIO_TOKEN", TOKEN)
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "job/line created\n");
    runs(&cluster, "line");
    assert!(names(&root).is_empty(), "{:?}", names(&root));

    // It does not need the root.
    let copies = system.copies("own");
    system.root.kill();
    let scaled = cluster
        .post("/api/v1/jobs/own/scale", "replicas: 2")
        .unwrap();
    assert_eq!(scaled.status, 202, "{}", scaled.body);
    wait_until("there are two copies", LIMIT, || {
        let now = system.copies("own").len();
        (now == 2).then_some(()).ok_or_else(|| now.to_string())
    });
    assert!(system.copies("own").contains(&copies[0]));
}

#[test]
fn a_cluster_that_is_away_is_told_and_an_answer_that_is_lost_can_be_asked_for_again() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    let (root, cluster) = (system.root(), system.cluster(0));
    // It is there, and says nothing.
    system.clusters[0].signal(Signal::STOP);
    let lost = root.post_under("once", PATH, &sleeper("own", "")).unwrap();
    system.clusters[0].signal(Signal::CONT);
    assert_eq!(
        (lost.status, &lost.body["code"]),
        (503, &json!("answer_lost")),
        "{}",
        lost.body
    );
    let again = wait_until("it is taken", LIMIT, || {
        let answer = root.post_under("once", PATH, &sleeper("own", ""))?;
        let is = answer.status == 202;
        is.then(|| answer.body.clone())
            .ok_or_else(|| answer.body.to_string())
    });
    assert_eq!(
        names(&cluster),
        ["own"],
        "whether it was taken then or now: {again}"
    );

    system.clusters[0].kill();
    wait_until("the root has seen it", LIMIT, || {
        let (status, code, detail) = refused(&root, PATH, &sleeper("later", ""));
        let is = (status, code.as_str()) == (503, "cluster_unreachable");
        is.then_some(()).ok_or(detail)
    });
    // Who prefers it is not sent where nobody is.
    let prefers = root.clone().with_header("prefer", "redirect");
    let (status, code, detail) = refused(&prefers, PATH, &sleeper("later", ""));
    assert_eq!((status, code.as_str()), (503, "cluster_unreachable"));
    assert!(detail.contains("try again when it is ACTIVE"), "{detail}");
    assert!(names(&root).is_empty());
}

#[test]
fn who_prefers_it_is_sent_to_the_cluster_and_shows_what_it_has_for_that() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    let advertised = ["--advertise-http", "https://edge.example/two/"];
    system.add_cluster("cluster-2", &advertised);
    let (root, cluster) = (system.root(), system.cluster(0));
    let http = system.clusters[0].said("http").to_owned();
    let known = root.get("/api/v1/clusters/cluster-1").unwrap().body;
    assert_eq!(known["http"], *http, "{known}");

    let prefers = root.clone().with_header("prefer", "wait=5, redirect");
    let sent = prefers
        .post(&format!("{PATH}?dry_run=true"), &sleeper("own", ""))
        .unwrap();
    assert_eq!(sent.status, 307, "{}", sent.body);
    let location = sent.location.unwrap();
    assert_eq!(location, format!("{http}/api/v1/jobs?dry_run=true"));
    let sent = prefers.post(PATH, &sleeper("own", "")).unwrap();
    let location = sent.location.unwrap();
    assert_eq!(
        (sent.status, location),
        (307, format!("{http}/api/v1/jobs"))
    );
    assert!(names(&cluster).is_empty(), "nobody has followed");
    let stranger = cluster
        .with_token(None)
        .post("/api/v1/jobs", &sleeper("own", ""))
        .unwrap();
    assert_eq!(stranger.status, 401, "{}", stranger.body);
    cluster.submit(&sleeper("own", ""));
    runs(&cluster, "own");

    let path = "/api/v1/clusters/cluster-2/jobs";
    let sent = prefers.post(path, &sleeper("own", "")).unwrap();
    let there = "https://edge.example/two/api/v1/jobs";
    assert_eq!((sent.status, sent.location.as_deref()), (307, Some(there)));
    // Who does not is served.
    let passed_on = taken(&root, path, &sleeper("own", ""));
    assert_eq!(passed_on["owner"], "cluster-2", "{passed_on}");
}

/// A user with one role in a tenant of an orchestrator.
fn user(admin: &Client, name: &str, tenant: &str, role: &str) -> Client {
    let invitation = json!({"tenant": tenant, "role": role}).to_string();
    let invitation = admin.post("/api/v1/invitations", &invitation).unwrap().body;
    let invited = admin.with_token(invitation["token"].as_str());
    let account = json!({"name": name, "password": "a long password"}).to_string();
    let made = invited.post("/api/v1/users", &account).unwrap();
    assert!(
        matches!(made.status, 201 | 202),
        "{} {}",
        made.status,
        made.body
    );
    let login = admin
        .with_token(None)
        .post("/api/v1/login", &account)
        .unwrap();
    let token = login.body["token"].as_str();
    assert!(token.is_some(), "{}", login.body);
    admin.with_token(token)
}

#[test]
fn rights_are_looked_at_by_the_root_and_all_else_by_the_cluster() {
    let _turn = together();
    let mut system = System::start(Settings::QUICK);
    // An administrator of the root has no account at the cluster, which has one of its own.
    let own = system.directory().join("own.token");
    system.add_cluster("cluster-1", &["--admin-token-file", own.to_str().unwrap()]);
    let own = fs::read_to_string(own).unwrap();
    let (root, cluster) = (
        system.root(),
        system.cluster(0).with_token(Some(own.trim())),
    );
    let tenant = |at: &Client, policy: &Value| {
        let wanted = json!({"tenant": "university", "policy": policy}).to_string();
        let made = at.post("/api/v1/tenants", &wanted).unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
    };
    tenant(&root, &json!({}));
    let viewer = user(&root, "vera", "university", "viewer");
    let alice = user(&root, "alice", "university", "deployer");
    let (status, code, _) = refused(&viewer, PATH, &sleeper("own", ""));
    assert_eq!((status, code.as_str()), (403, "forbidden"));
    let nobody = root.with_token(None);
    // To a stranger there is no such tenant, and nothing else.
    let status = refused(&nobody, PATH, &sleeper("own", "")).0;
    assert!(matches!(status, 401 | 404), "{status}");
    let above = format!("{PATH}?tenant=default");
    assert_eq!(refused(&alice, &above, &sleeper("own", "")).0, 404);

    // Her tenant is not the cluster's.
    let (status, code, detail) = refused(&alice, PATH, &sleeper("own", ""));
    assert_eq!((status, code.as_str()), (404, "no_such_tenant"));
    assert!(detail.contains("make it there"), "{detail}");
    tenant(&cluster, &json!({"runtimes": ["native"]}));
    let docker = "api_version: v0.1\njob_name: not-here\nimage_runtime: docker\nimage: x\n";
    let (status, code, detail) = refused(&alice, PATH, docker);
    assert_eq!(
        (status, code.as_str()),
        (403, "forbidden_by_policy"),
        "{detail}"
    );
    let job = taken(&alice, PATH, &sleeper("own", ""));
    assert_eq!(job["tenant"], "university", "{job}");
    // What a document names is not more than who sends it may.
    let named = format!("{}tenant: default\n", sleeper("more", ""));
    assert_eq!(refused(&alice, PATH, &named).0, 404);

    let log = system
        .directory()
        .join("cluster-1/audit/audit-00000001.jsonl");
    wait_until("the cluster has written down who asked", LIMIT, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["who"]["id"] == "alice at the root")
            .collect();
        let decided = |what: &str| lines.iter().filter(|line| line["decision"] == what).count();
        let is = decided("granted") == 1 && decided("refused") == 3;
        is.then_some(()).ok_or_else(|| format!("{lines:#?}"))
    });
}
