//! Which cluster gets what.

use serde_json::json;

use crate::cluster::{FakeCluster, Manner};
use crate::root::{Root, document, heavy};

#[tokio::test]
async fn what_one_cluster_offers_back_goes_to_the_next() {
    let root = Root::new().await;
    let first = FakeCluster::start(&root.url, "c1", 1_000, Manner::Refuses);
    first.until_active(&root).await;
    root.submit(&document("picky", 1)).await;
    let job = root.until_state("picky", "NOT_DEPLOYED").await;
    assert_eq!(
        (&job["reason_code"], &job["rejections"]),
        (&json!("port_taken"), &json!({"port_taken": 1}))
    );
    let second = FakeCluster::start(&root.url, "c2", 1_000, Manner::Runs);
    let job = root.until_state("picky", "RUNNING").await;
    assert_eq!(job["instances"][0]["cluster"], "c2");
    assert_eq!(second.slots().len(), 1);
    assert_eq!(first.slots(), []);
}

#[tokio::test]
async fn what_fits_nowhere_waits_and_is_tried_when_room_arrives() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 100, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&heavy("big", 500)).await;
    let job = root.until_state("big", "NOT_DEPLOYED").await;
    assert_eq!(job["reason_code"], "insufficient_memory");
    assert_eq!(job["rejections"], json!({"insufficient_memory": 1}));
    let explained = root.get("/api/v1/jobs/big/explain").await.json();
    let row = &explained["items"][0];
    let message = row["message"].as_str().unwrap();
    assert!(
        message.ends_with("it asks for 500 MB of memory, and one worker has 100 MB free at most"),
        "{message}"
    );
    assert_eq!(
        row["rejections"]["insufficient_memory"]["examples"],
        json!(["c1"])
    );
    cluster.change(Manner::Runs, 1_000);
    root.until_state("big", "RUNNING").await;
}

#[tokio::test]
async fn a_cordoned_cluster_gets_nothing_new() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let reply = root.post("/api/v1/clusters/c1/cordon", "").await;
    assert_eq!(
        (reply.status, &reply.json()["scheduling"]),
        (200, &json!("CORDONED"))
    );
    root.submit(&document("later", 1)).await;
    let job = root.until_state("later", "NOT_DEPLOYED").await;
    assert_eq!(job["rejections"], json!({"cordoned": 1}));
    let reply = root.post("/api/v1/clusters/c1/uncordon", "").await;
    assert_eq!(reply.json()["scheduling"], "OPEN");
    root.until_state("later", "RUNNING").await;
    assert_eq!(
        root.post("/api/v1/clusters/none/cordon", "").await.status,
        404
    );
}

#[tokio::test]
async fn a_drained_cluster_gives_its_work_away_and_is_forgotten_once_it_is_gone() {
    let root = Root::new().await;
    let first = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    first.until_active(&root).await;
    root.submit(&document("job", 1)).await;
    root.until_state("job", "RUNNING").await;
    let second = FakeCluster::start(&root.url, "c2", 1_000, Manner::Runs);
    second.until_active(&root).await;
    let reply = root.post("/api/v1/clusters/c1/drain", "").await;
    assert_eq!(
        (reply.status, &reply.json()["scheduling"]),
        (200, &json!("DRAINING"))
    );
    root.until("/api/v1/jobs/job", |reply| {
        let job = reply.value();
        let rows = job["instances"].as_array().unwrap();
        rows.len() == 1 && rows[0]["cluster"] == "c2" && rows[0]["state"] == "RUNNING"
    })
    .await;
    let forget = || crate::http::ask(root.address(), "DELETE", "/api/v1/clusters/c1", &[], b"");
    let refused = forget().await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("alive")),
        "{refused:?}"
    );
    first.end().await;
    root.until("/api/v1/clusters/c1", |reply| {
        reply.value()["state"] != "ACTIVE"
    })
    .await;
    let forgotten = forget().await;
    assert_eq!(
        (forgotten.status, &forgotten.json()["cluster_name"]),
        (200, &json!("c1")),
        "{forgotten:?}"
    );
    assert_eq!(root.get("/api/v1/clusters/c1").await.status, 404);
    assert_eq!(forget().await.status, 404);
}

#[tokio::test]
async fn a_second_cluster_of_a_name_is_not_let_in() {
    let root = Root::new().await;
    let first = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    first.until_active(&root).await;
    let second = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    let other = FakeCluster::start(&root.url, "c2", 1_000, Manner::Runs);
    other.until_active(&root).await;
    assert_eq!(second.disk.lock().unwrap().id, None);
    // Once the first is away, the name brings its id back.
    let id = first.end().await.lock().unwrap().id;
    root.until("/api/v1/clusters/c1", |reply| {
        reply.value()["state"] == "ACTIVE" && second.disk.lock().unwrap().id == id
    })
    .await;
}

#[tokio::test]
async fn questions_about_workers_go_through_the_uplink() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let nodes = root.get("/api/v1/clusters/c1/nodes").await.json();
    assert_eq!(nodes["items"][0]["name"], "w1");
    assert_eq!(root.get("/api/v1/clusters/c1/nodes/w1").await.status, 200);
    let reply = root.get("/api/v1/clusters/c1/nodes/w2").await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (404, &json!("no_such_node"))
    );
    assert_eq!(
        root.post("/api/v1/clusters/c1/nodes/w1/cordon", "")
            .await
            .status,
        200
    );
    let drained = root.post("/api/v1/clusters/c1/nodes/w1/drain", "").await;
    assert_eq!(drained.status, 200);
    let node = "/api/v1/clusters/c1/nodes/w1";
    let forgotten = crate::http::ask(root.address(), "DELETE", node, &[], b"").await;
    assert_eq!(forgotten.status, 200);
    let patch = "labels: {zone: a, old: null}\nreport_interval: 5s\n";
    let patched = crate::http::ask(
        root.address(),
        "PATCH",
        "/api/v1/clusters/c1/nodes/w1",
        &[],
        patch.as_bytes(),
    );
    assert_eq!(patched.await.status, 200);
    let asked = cluster.disk.lock().unwrap().questions.clone();
    assert!(
        asked.contains(&protocol::message::uplink::Question::ForgetNode {
            node: "w1".to_owned()
        })
    );
    let bodies: Vec<_> = asked
        .iter()
        .filter_map(|question| match question {
            protocol::message::uplink::Question::PatchNode { body, .. } => Some(body.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"scheduling": "CORDONED"}),
            json!({"scheduling": "DRAINING"}),
            json!({"labels": {"zone": "a", "old": null}, "report_interval": "5s"})
        ]
    );
    root.submit(&document("job", 1)).await;
    root.until_state("job", "RUNNING").await;
    let explained = root.get("/api/v1/jobs/job/explain").await.json();
    let message = explained["clusters"][0]["items"][0]["message"]
        .as_str()
        .unwrap();
    assert!(message.starts_with("c1 has job_"), "{explained}");

    cluster.end().await;
    root.until("/api/v1/clusters/c1", |reply| {
        reply.value()["state"] == "INACTIVE"
    })
    .await;
    let reply = root.get("/api/v1/clusters/c1/nodes").await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (503, &json!("cluster_unreachable"))
    );
    assert!(reply.head.contains("retry-after"), "{}", reply.head);
    assert_eq!(root.get("/api/v1/clusters/none/nodes").await.status, 404);
}

#[tokio::test]
async fn a_set_larger_than_what_a_connection_holds_arrives_in_parts() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("wide", 5_000)).await;
    let job = root.until_state("wide", "RUNNING").await;
    assert_eq!(job["instances"].as_array().unwrap().len(), 5_000);
    let disk = cluster.disk.lock().unwrap();
    let parts = disk.heard.iter().filter(|event| *event == "assign").count();
    // More than may be under way at once.
    assert!(parts > 32, "{parts}");
    // Nothing of it was sent twice, so the connection was never given up.
    assert!(parts < 600, "{parts}");
}
