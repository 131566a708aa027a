//! Documents that are for one cluster.

use model::access::TenantPath;
use protocol::message::uplink::{Question, Submission, Written};
use serde_json::json;

use crate::cluster::{FakeCluster, HTTP, LOST, Manner};
use crate::http::{Reply, ask};
use crate::root::Root;

const PATH: &str = "/api/v1/clusters/c1/jobs";

async fn stage() -> (Root, FakeCluster) {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    (root, cluster)
}

async fn post(root: &Root, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    ask(root.address(), "POST", path, headers, body).await
}

fn asked(cluster: &FakeCluster) -> Vec<Submission> {
    let mut disk = cluster.disk.lock().unwrap();
    let questions = std::mem::take(&mut disk.questions).into_iter();
    let sent = questions.filter_map(|question| match question {
        Question::Submit(sent) => Some(sent),
        _ => None,
    });
    sent.collect()
}

#[tokio::test]
async fn documents_are_passed_on_unread_and_the_answer_is_the_clusters() {
    let (root, cluster) = stage().await;
    let taken = root.post(PATH, "{[ never read").await;
    assert_eq!(
        (taken.status, taken.json()),
        (202, json!({"job_id": "job_of_its_own"}))
    );
    let there = format!("location: {HTTP}/api/v1/jobs/job_of_its_own\r\n");
    assert!(taken.head.contains(&there), "{}", taken.head);

    let path = format!("{PATH}?dry_run=true&tenant=university");
    let headers = [
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "k"),
    ];
    let planned = post(&root, &path, &headers, b"anything").await;
    assert_eq!(
        (planned.status, planned.json()),
        (200, json!({"dry_run": true}))
    );
    let university = TenantPath::new("university").unwrap();
    let first = Submission {
        document: "{[ never read".to_owned(),
        format: Written::Yaml,
        dry_run: false,
        key: None,
        tenant: None,
        within: TenantPath::root(),
        by: "somebody".to_owned(),
    };
    let second = Submission {
        document: "anything".to_owned(),
        format: Written::Json,
        dry_run: true,
        key: Some("k".to_owned()),
        tenant: Some(university.clone()),
        within: university,
        by: "somebody".to_owned(),
    };
    assert_eq!(asked(&cluster), [first, second]);

    let refused = root.post(PATH, "{[").await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (422, &json!("mine"))
    );
    assert_eq!(root.get("/api/v1/jobs").await.json()["items"], json!([]));
    root.stop().await;
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_refused_by_the_root_with_what_to_do() {
    let (root, cluster) = stage().await;
    let bytes = post(&root, PATH, &[], b"a: \xff").await;
    assert_eq!(bytes.status, 400, "{}", bytes.body);
    assert_eq!(bytes.json()["errors"][0]["column"], 4, "{}", bytes.body);
    // Each of these takes six bytes on the way.
    let long = post(&root, PATH, &[], &vec![1; 200 * 1024]).await;
    assert_eq!(
        (long.status, &long.json()["code"]),
        (413, &json!("too_large"))
    );
    assert!(long.body.contains("in several requests"), "{}", long.body);
    let nowhere = root.post("/api/v1/clusters/c2/jobs", "a").await;
    assert_eq!(
        (nowhere.status, &nowhere.json()["code"]),
        (404, &json!("no_such_cluster"))
    );
    let query = root.post(&format!("{PATH}?dry=true"), "a").await;
    assert_eq!(query.status, 400, "{}", query.body);
    assert_eq!(asked(&cluster), []);
    root.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_nobody_in_doubt_what_to_do() {
    let (root, cluster) = stage().await;
    let key = [("Idempotency-Key", "k")];
    let lost = post(&root, PATH, &key, LOST.as_bytes()).await;
    assert_eq!(
        (lost.status, &lost.json()["code"]),
        (503, &json!("answer_lost"))
    );
    assert!(
        lost.body.contains("with the same Idempotency-Key"),
        "{}",
        lost.body
    );
    cluster.until_active(&root).await;
    let lost = root.post(PATH, LOST).await;
    assert_eq!(
        (lost.status, &lost.json()["code"]),
        (503, &json!("answer_lost"))
    );
    assert!(
        lost.body.contains("among the cluster's own jobs"),
        "{}",
        lost.body
    );
    cluster.until_active(&root).await;
    // Of a dry run nothing can be left.
    let dry = root.post(&format!("{PATH}?dry_run=true"), LOST).await;
    assert_eq!(
        (dry.status, &dry.json()["code"]),
        (503, &json!("cluster_unreachable"))
    );
    root.stop().await;
}

#[tokio::test]
async fn who_prefers_it_is_sent_to_the_cluster_as_long_as_that_is_connected() {
    let (root, cluster) = stage().await;
    let known = root.get("/api/v1/clusters/c1").await.json();
    assert_eq!(known["http"], HTTP, "{known}");
    let prefer = [("Prefer", "respond-async, redirect")];
    let path = format!("{PATH}?dry_run=true&tenant=university");
    let sent = post(&root, &path, &prefer, b"a").await;
    assert_eq!((sent.status, &*sent.body), (307, ""));
    let location = format!("location: {HTTP}/api/v1/jobs?dry_run=true&tenant=university\r\n");
    assert!(sent.head.contains(&location), "{}", sent.head);
    assert!(
        sent.head.contains("preference-applied: redirect\r\n"),
        "{}",
        sent.head
    );
    assert_eq!(asked(&cluster), []);

    cluster.end().await;
    root.until("/api/v1/clusters/c1", |reply| {
        reply.value()["state"] == "INACTIVE"
    })
    .await;
    let away = post(&root, PATH, &prefer, b"a").await;
    assert_eq!(
        (away.status, &away.json()["code"]),
        (503, &json!("cluster_unreachable"))
    );
    let known = root.get("/api/v1/clusters/c1").await.json();
    assert_eq!(known["http"], HTTP, "it may still be there: {known}");
    root.stop().await;
}
