//! Dry runs, and why something does not run.

use std::sync::Arc;

use serde_json::{Value, json};
use store::Memory;

use crate::site::{Site, config, document};
use crate::worker::Worker;

#[tokio::test]
async fn a_dry_run_names_the_workers_and_places_nothing() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    let documents = format!("{}---\n{}", document("fits", 600), document("big", 5_000));
    let reply = site
        .ask("POST /api/v1/jobs?dry_run=true", "", &documents)
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let plans = reply.json();
    let fits = &plans["items"][0]["instances"][0];
    assert_eq!(
        (&fits["cluster"], &fits["worker_node"], &fits["reason"]),
        (&json!("garching"), &json!("e580"), &Value::Null),
        "{plans}"
    );
    let big = &plans["items"][1]["instances"][0];
    assert_eq!(big["worker_node"], Value::Null, "{plans}");
    assert_eq!(big["reason_code"], "insufficient_memory", "{plans}");
    assert_eq!(
        big["rejections"],
        json!({"insufficient_memory": 1}),
        "{plans}"
    );
    assert_eq!(site.get("/api/v1/jobs").await["items"], json!([]));
    assert_eq!(worker.disk.lock().unwrap().started.len(), 0);
    let node = site.get("/api/v1/nodes/e580").await;
    assert_eq!(node["memory_free_in_mb"], 1_000);
    site.stop().await;
}

#[tokio::test]
async fn what_asks_for_too_much_is_told_the_largest_free_amount() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let _small = Worker::start(&site.ready.http, "small", 300);
    let _large = Worker::start(&site.ready.http, "large", 1_000);
    for node in ["small", "large"] {
        let path = format!("/api/v1/nodes/{node}");
        site.until(&path, |node| node["state"] == "ALIVE").await;
    }
    site.submit(&document("big", 5_000)).await;
    let job = site.until_state("big", "NOT_DEPLOYED").await;
    let why = site.get("/api/v1/jobs/big/explain").await;
    let row = &why["items"][0];
    assert_eq!(
        row["rejections"]["insufficient_memory"]["count"], 2,
        "{why}"
    );
    let message = row["message"].as_str().unwrap();
    assert!(
        message.ends_with("it asks for 5000 MB of memory, and one worker has 1000 MB free at most"),
        "{message}"
    );
    assert_eq!(job["reason"], row["message"]);
    site.stop().await;
}
