//! What users do with jobs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{FakeCluster, Manner};
use crate::root::{Root, document};

#[tokio::test]
async fn a_job_is_assigned_and_seen_running() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let reply = root.post("/api/v1/jobs", &document("hello", 2)).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let job = reply.json();
    let id = job["job_id"].as_str().unwrap();
    assert!(
        reply
            .head
            .contains(&format!("location: /api/v1/jobs/{}", id.to_lowercase())),
        "{}",
        reply.head
    );
    assert_eq!(job["instances"].as_array().unwrap().len(), 2);
    let job = root.until_state("hello", "RUNNING").await;
    assert_eq!(job["job_id"], json!(id));
    let row = &job["instances"][0];
    assert_eq!(
        (
            &row["cluster"],
            &row["worker_node"],
            &row["state"],
            &row["generation"]
        ),
        (
            &json!("c1"),
            &json!("w1"),
            &json!("RUNNING"),
            &json!([1, 1])
        )
    );
    assert_eq!(
        (&job["reason"], &job["owner"]),
        (&Value::Null, &json!("root"))
    );

    let events = root.get("/api/v1/jobs/hello/events").await.json();
    let told: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["to"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "SCHEDULED_CLUSTER",
            "SCHEDULED_CLUSTER",
            "RUNNING",
            "RUNNING"
        ]
    );
    let all = root.get("/api/v1/events?limit=3").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    let cursor = all["next_cursor"].as_str().unwrap();
    let rest = root
        .get(&format!("/api/v1/events?cursor={cursor}"))
        .await
        .json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    root.stop().await;
}

#[tokio::test]
async fn five_hundred_equal_names_in_one_burst_are_one_job() {
    let root = std::sync::Arc::new(Root::new().await);
    let burst: Vec<_> = (0..500)
        .map(|_| {
            let root = std::sync::Arc::clone(&root);
            tokio::spawn(
                async move { root.post("/api/v1/jobs", &document("same", 1)).await.status },
            )
        })
        .collect();
    let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
    for status in burst {
        *counts.entry(status.await.unwrap()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([(202, 1), (409, 499)]));
    let jobs = root.get("/api/v1/jobs").await.json();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn several_documents_are_all_taken_or_none() {
    let root = Root::new().await;
    let two = format!("{}---\n{}", document("a", 1), document("b", 1));
    let reply = root.post("/api/v1/jobs", &two).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let names: Vec<Value> = reply.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["job_name"].clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let clash = format!("{}---\n{}", document("c", 1), document("b", 1));
    let reply = root.post("/api/v1/jobs", &clash).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (409, &json!("name_in_use"))
    );
    assert_eq!(root.get("/api/v1/jobs/c").await.status, 404);
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_and_by_state() {
    let root = Root::new().await;
    for number in 0..5 {
        root.submit(&document(&format!("job-{number}"), 1)).await;
    }
    let mut names = Vec::new();
    let mut path = "/api/v1/jobs?limit=2".to_owned();
    loop {
        let page = root.get(&path).await.json();
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|job| job["job_name"].clone()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs?limit=2&cursor={cursor}");
    }
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["job-0", "job-1", "job-2", "job-3", "job-4"]);
    let waiting = root.get("/api/v1/jobs?state=NOT_DEPLOYED").await.json();
    assert_eq!(waiting["items"].as_array().unwrap().len(), 5);
    let running = root.get("/api/v1/jobs?state=RUNNING").await.json();
    assert_eq!(running["items"].as_array().unwrap().len(), 0);
    assert_eq!(root.get("/api/v1/jobs?state=Running").await.status, 400);
}

#[tokio::test]
async fn a_changed_number_of_replicas_touches_only_what_differs() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("web", 2)).await;
    root.until_state("web", "RUNNING").await;
    let reply = root.put("/api/v1/jobs/web", &document("web", 4)).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert_eq!(reply.json()["generation"], 2);
    let all_run = |reply: &crate::http::Reply| {
        let job = reply.value();
        job["state"] == "RUNNING" && job["instances"].as_array().map(Vec::len) == Some(4)
    };
    root.until("/api/v1/jobs/web", all_run).await;
    root.put("/api/v1/jobs/web", &document("web", 1)).await;
    let one_runs = |reply: &crate::http::Reply| {
        let job = reply.value();
        job["state"] == "RUNNING" && job["instances"].as_array().map(Vec::len) == Some(1)
    };
    root.until("/api/v1/jobs/web", one_runs).await;
    let touched: BTreeMap<u32, u32> = cluster
        .touched()
        .into_iter()
        .map(|(slot, times)| (slot.index, times))
        .collect();
    assert_eq!(touched, BTreeMap::from([(0, 1), (1, 2), (2, 2), (3, 2)]));
    // The same document again is no change.
    let reply = root.put("/api/v1/jobs/web", &document("web", 1)).await;
    assert_eq!(
        (reply.status, &reply.json()["generation"]),
        (202, &json!(3))
    );
    assert!(
        cluster
            .disk
            .lock()
            .unwrap()
            .begun
            .values()
            .all(|times| *times == 1)
    );
}

#[tokio::test]
async fn put_creates_changes_and_refuses_another_name() {
    let root = Root::new().await;
    let reply = root.put("/api/v1/jobs/a", &document("b", 1)).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (422, &json!("name_mismatch"))
    );
    let reply = root.put("/api/v1/jobs/a", &document("a", 1)).await;
    assert_eq!(
        (reply.status, &reply.json()["generation"]),
        (202, &json!(1))
    );
    let id = reply.json()["job_id"].as_str().unwrap().to_owned();
    let reply = root
        .put(&format!("/api/v1/jobs/{id}"), &document("a", 2))
        .await;
    assert_eq!(
        (reply.status, &reply.json()["generation"]),
        (202, &json!(2))
    );
    let unknown = "/api/v1/jobs/job_00000000000000000000000000";
    assert_eq!(root.put(unknown, &document("a", 1)).await.status, 404);
}

#[tokio::test]
async fn a_deleted_job_ends_and_frees_its_name() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let id = root.submit(&document("gone", 1)).await;
    root.until_state("gone", "RUNNING").await;
    let reply = root.delete("/api/v1/jobs/gone").await;
    assert_eq!(
        (reply.status, &reply.json()["terminating"]),
        (202, &json!(true))
    );
    assert_eq!(root.get("/api/v1/jobs/gone").await.status, 404);
    assert_eq!(root.delete("/api/v1/jobs/gone").await.status, 404);
    let job = root.until_state(&id, "TERMINATED").await;
    assert_eq!(job["instances"], json!([]));
    assert_eq!(root.delete(&format!("/api/v1/jobs/{id}")).await.status, 202);
    assert_eq!(cluster.slots(), []);
    assert_ne!(root.submit(&document("gone", 1)).await, id);
}

#[tokio::test]
async fn a_deleted_job_is_forgotten_after_its_retention() {
    let config = root_orchestrator::Config {
        retention: std::time::Duration::from_millis(200),
        ..crate::root::config()
    };
    let root = Root::on(std::sync::Arc::new(store::Memory::new()), config).await;
    let id = root.submit(&document("gone", 1)).await;
    root.delete("/api/v1/jobs/gone").await;
    root.until(&format!("/api/v1/jobs/{id}"), |reply| reply.status == 404)
        .await;
}
