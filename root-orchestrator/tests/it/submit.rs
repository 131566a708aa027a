//! Submissions under a key, dry runs, and other numbers of replicas.

use serde_json::{Value, json};

use crate::cluster::{FakeCluster, Manner};
use crate::http::{Reply, ask};
use crate::root::{Root, config, document, heavy};

async fn submit(root: &Root, key: &str, body: &str) -> Reply {
    let key = [("Idempotency-Key", key)];
    ask(
        root.address(),
        "POST",
        "/api/v1/jobs",
        &key,
        body.as_bytes(),
    )
    .await
}

async fn count(root: &Root) -> usize {
    let jobs = root.get("/api/v1/jobs").await.json();
    jobs["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_submission_under_a_key_is_carried_out_once_also_over_a_restart() {
    let store = std::sync::Arc::new(store::Memory::new());
    let root = Root::on(std::sync::Arc::<store::Memory>::clone(&store), config()).await;
    let first = submit(&root, "deploy-7", &document("a", 1)).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let again = submit(&root, "deploy-7", &document("a", 1)).await;
    assert_eq!(
        (again.status, &again.json()["job_id"]),
        (202, &first.json()["job_id"])
    );
    root.stop().await;

    let root = Root::on(store, config()).await;
    let later = submit(&root, "deploy-7", &document("a", 1)).await;
    assert_eq!(
        (later.status, &later.json()["job_id"]),
        (202, &first.json()["job_id"])
    );
    let other = submit(&root, "deploy-7", &document("b", 1)).await;
    assert_eq!(
        (other.status, &other.json()["code"]),
        (422, &json!("idempotency_mismatch"))
    );
    // The name is taken, whatever the key.
    let new = submit(&root, "deploy-8", &document("a", 1)).await;
    assert_eq!(new.status, 409, "{}", new.body);
    assert_eq!(count(&root).await, 1);
    root.stop().await;
}

#[tokio::test]
async fn a_burst_under_one_key_is_one_job_and_one_answer() {
    let root = std::sync::Arc::new(Root::new().await);
    let burst: Vec<_> = (0..100)
        .map(|_| {
            let root = std::sync::Arc::clone(&root);
            tokio::spawn(async move { submit(&root, "k", &document("same", 1)).await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for reply in burst {
        let reply = reply.await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        ids.insert(reply.json()["job_id"].as_str().unwrap().to_owned());
    }
    assert_eq!((ids.len(), count(&root).await), (1, 1));
}

#[tokio::test]
async fn several_documents_under_a_key_are_answered_alike() {
    let root = Root::new().await;
    let two = format!("{}---\n{}", document("a", 1), document("b", 1));
    let names = |reply: &Reply| -> Vec<Value> {
        let jobs = reply.json()["items"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["job_name"].clone()).collect()
    };
    for _ in 0..2 {
        let reply = submit(&root, "both", &two).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        assert_eq!(names(&reply), ["a", "b"]);
    }
}

#[tokio::test]
async fn a_dry_run_tells_where_instances_would_go_and_changes_nothing() {
    let root = Root::new().await;
    let dry = "/api/v1/jobs?dry_run=true";
    let plan = root.post(dry, &document("a", 2)).await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    let plan = plan.json();
    assert_eq!(
        (&plan["dry_run"], &plan["job_name"]),
        (&json!(true), &json!("a"))
    );
    assert_eq!(plan["instances"][0]["reason_code"], "no_cluster", "{plan}");

    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let two = format!("{}---\n{}", document("a", 2), heavy("big", 2_000));
    let plans = root.post(dry, &two).await.json();
    let placed = &plans["items"][0]["instances"];
    assert_eq!(placed.as_array().unwrap().len(), 2, "{plans}");
    assert_eq!(
        (
            &placed[0]["cluster"],
            &placed[0]["worker_node"],
            &placed[0]["reason"]
        ),
        (&json!("c1"), &Value::Null, &Value::Null)
    );
    assert!(placed[0]["cluster_id"].as_str().unwrap().starts_with("cl_"));
    let big = &plans["items"][1]["instances"][0];
    assert_eq!(
        (&big["cluster"], &big["reason_code"], &big["rejections"]),
        (
            &Value::Null,
            &json!("insufficient_memory"),
            &json!({"insufficient_memory": 1})
        )
    );

    assert_eq!(count(&root).await, 0);
    assert_eq!(cluster.slots(), []);
    assert_eq!(root.get("/api/v1/events").await.json()["items"], json!([]));
    let metrics = root.get("/metrics").await.body;
    assert!(
        !metrics.contains("edgeio_placement_seconds_count"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_dry_run_is_refused_as_the_request_would_be() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("a", 1)).await;
    root.until_state("a", "RUNNING").await;
    let reply = root
        .post("/api/v1/jobs?dry_run=true", &document("a", 1))
        .await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (409, &json!("name_in_use"))
    );
    let put = "/api/v1/jobs/a?dry_run=true";
    let reply = root.put(put, &document("b", 1)).await;
    assert_eq!(reply.status, 422, "{}", reply.body);
    let plan = root.put(put, &document("a", 3)).await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    let plan = plan.json();
    assert_eq!(plan["instances"].as_array().unwrap().len(), 3, "{plan}");
    let job = root.get("/api/v1/jobs/a").await.json();
    assert_eq!(
        (&job["generation"], &job["state"]),
        (&json!(1), &json!("RUNNING"))
    );
}

#[tokio::test]
async fn a_plan_shows_the_first_thousand_instances() {
    let root = Root::new().await;
    let plan = root
        .post("/api/v1/jobs?dry_run=true", &document("many", 1_200))
        .await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    let plan = plan.json();
    assert_eq!(
        (
            plan["instances"].as_array().unwrap().len(),
            &plan["not_shown"]
        ),
        (1_000, &json!(200))
    );
}

const TWO: &str = "api_version: v1\njob_name: pair\nservices:\n  - {name: web, image: x, image_runtime: noop}\n  - {name: db, image: x, image_runtime: noop}\n";

#[tokio::test]
async fn a_job_is_scaled_up_down_and_to_nothing() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("a", 1)).await;
    root.until_state("a", "RUNNING").await;
    for (body, count) in [
        ("{\"replicas\": 3}", 3),
        ("replicas: 1\n", 1),
        ("replicas: 0\n", 0),
    ] {
        let reply = root.post("/api/v1/jobs/a/scale", body).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        assert!(
            reply.head.contains("location: /api/v1/jobs/job_"),
            "{}",
            reply.head
        );
        assert_eq!(reply.json()["services"][0]["replicas"], count);
        let settled = |reply: &Reply| {
            let rows = reply.value()["instances"].as_array().unwrap().clone();
            rows.len() == count && rows.iter().all(|row| row["state"] == "RUNNING")
        };
        root.until("/api/v1/jobs/a", settled).await;
    }
    assert_eq!(cluster.slots(), []);

    root.submit(TWO).await;
    let scale = "/api/v1/jobs/pair/scale";
    let reply = root.post(scale, "replicas: 2\n").await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (400, &json!("bad_request"))
    );
    assert!(reply.body.contains("web"), "{}", reply.body);
    let reply = root.post(scale, "{replicas: 2, service: cache}").await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    let reply = root.post(scale, "{replicas: 2, service: db}").await;
    assert_eq!(reply.json()["services"][1]["replicas"], 2, "{}", reply.body);
}

#[tokio::test]
async fn a_bad_scale_tells_all_its_faults() {
    let root = Root::new().await;
    root.submit(&document("a", 1)).await;
    let reply = root
        .post("/api/v1/jobs/a/scale", "replicas: 100001\nservce: x\n")
        .await;
    assert_eq!(
        (
            reply.status,
            reply.json()["errors"].as_array().unwrap().len()
        ),
        (400, 2),
        "{}",
        reply.body
    );
    assert_eq!(
        root.post("/api/v1/jobs/b/scale", "replicas: 1\n")
            .await
            .status,
        404
    );
    let query = root
        .post("/api/v1/jobs/a/scale?dry_run=true", "replicas: 1\n")
        .await;
    assert_eq!(query.status, 400, "{}", query.body);
}
