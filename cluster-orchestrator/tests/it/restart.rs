use std::path::Path;
use std::sync::Arc;

use store::{Embedded, Memory, Options, Store};

use crate::site::{Site, config, document};
use crate::worker::Worker;

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(Embedded::open(path, Options::default()).unwrap())
}

#[tokio::test]
async fn an_orchestrator_that_starts_again_knows_everything_and_restarts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let site = Site::start(config(), open(&path)).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    for name in ["a", "b", "c"] {
        site.submit(&document(name, 100)).await;
        site.until_state(name, "RUNNING").await;
    }
    let before = site.get("/api/v1/jobs/a").await;
    let again = site.same_place();
    site.stop().await;

    let site = Site::start(again, open(&path)).await;
    for name in ["a", "b", "c"] {
        site.until_state(name, "RUNNING").await;
    }
    let after = site.get("/api/v1/jobs/a").await;
    let id = |job: &serde_json::Value| job["instances"][0]["instance_id"].clone();
    assert_eq!(id(&after), id(&before));
    assert_eq!(
        after["instances"][0]["generation"],
        before["instances"][0]["generation"]
    );
    assert_eq!(worker.disk.lock().unwrap().started.len(), 3);
    // What is new still gets through.
    site.submit(&document("d", 100)).await;
    site.until_state("d", "RUNNING").await;
    site.ask("DELETE /api/v1/jobs/a", "", "").await;
    let job = before["job_id"].as_str().unwrap();
    site.until_state(job, "TERMINATED").await;
    assert_eq!(worker.disk.lock().unwrap().running(), 3);
    site.stop().await;
}

#[tokio::test]
async fn a_worker_that_comes_back_keeps_its_id_and_what_it_runs() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    let node = site
        .until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("a", 100)).await;
    site.until_state("a", "RUNNING").await;
    let disk = worker.kill().await;
    site.until("/api/v1/nodes/e580", |node| node["state"] != "ALIVE")
        .await;
    let worker = Worker::on(&site.ready.http, "e580", 1_000, disk);
    let again = site
        .until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    assert_eq!(again["node_id"], node["node_id"]);
    site.until_state("a", "RUNNING").await;
    assert_eq!(worker.disk.lock().unwrap().started.len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn an_emptied_store_takes_over_what_its_workers_run() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("a", 100)).await;
    let before = site.until_state("a", "RUNNING").await;
    let again = site.same_place();
    site.stop().await;

    let site = Site::start(again, Arc::new(Memory::new())).await;
    let after = site
        .until("/api/v1/jobs/a", |job| job["state"] == "RUNNING")
        .await;
    let id = |job: &serde_json::Value| job["instances"][0]["instance_id"].clone();
    assert_eq!(
        (id(&after), &after["job_id"]),
        (id(&before), &before["job_id"])
    );
    assert_eq!(worker.disk.lock().unwrap().started.len(), 1);
    site.stop().await;
}
