//! A root that goes away and comes back, and clusters that do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use root_orchestrator::Config;
use serde_json::json;
use store::{Embedded, Memory, Options};

use crate::cluster::{FakeCluster, Manner};
use crate::root::{PATIENCE, Root, config, document};

/// The same address again.
fn config_at(root: &str) -> Config {
    Config {
        http: root.strip_prefix("http://").unwrap().parse().unwrap(),
        ..config()
    }
}

/// Opens a store once the connections of the run before are gone, which know of it, too.
async fn open(path: &Path) -> Arc<Embedded> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Embedded::open(path, Options::default()) {
            Ok(store) => return Arc::new(store),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_killed_root_has_its_jobs_back_and_its_clusters_sync() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.redb");
    let root = Root::on(open(&path).await, config()).await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let id = root.submit(&document("kept", 3)).await;
    let gone = root.submit(&document("gone", 1)).await;
    let before = root.until_state("kept", "RUNNING").await;
    root.until_state("gone", "RUNNING").await;
    root.delete("/api/v1/jobs/gone").await;
    let url = root.url.clone();
    root.kill().await;

    let root = Root::on(open(&path).await, config_at(&url)).await;
    let after = root.until_state("kept", "RUNNING").await;
    assert_eq!(after["job_id"], json!(id));
    assert_eq!(before["created_at"], after["created_at"]);
    let ids = |job: &serde_json::Value| -> Vec<_> {
        let rows = job["instances"].as_array().unwrap().iter();
        rows.map(|row| row["instance_id"].clone()).collect()
    };
    assert_eq!(ids(&before), ids(&after));
    root.until_state(&gone, "TERMINATED").await;
    assert!(
        cluster
            .disk
            .lock()
            .unwrap()
            .begun
            .values()
            .all(|times| *times == 1)
    );
    let events = root.get("/api/v1/jobs/kept/events").await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 6, "{events}");
    // It goes on from where it was.
    root.put("/api/v1/jobs/kept", &document("kept", 4)).await;
    let four = |reply: &crate::http::Reply| {
        let job = reply.value();
        job["state"] == "RUNNING" && job["instances"].as_array().map(Vec::len) == Some(4)
    };
    root.until("/api/v1/jobs/kept", four).await;
    root.stop().await;
}

#[tokio::test]
async fn what_a_cluster_missed_while_it_was_away_it_gets_when_it_is_back() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("first", 2)).await;
    root.until_state("first", "RUNNING").await;
    let disk = cluster.end().await;
    root.until("/api/v1/clusters/c1", |reply| {
        reply.value()["state"] == "INACTIVE"
    })
    .await;
    root.put("/api/v1/jobs/first", &document("first", 1)).await;
    let cluster = FakeCluster::on(&root.url, "c1", disk);
    cluster.until_active(&root).await;
    let one = |reply: &crate::http::Reply| {
        let job = reply.value();
        job["state"] == "RUNNING" && job["instances"].as_array().map(Vec::len) == Some(1)
    };
    root.until("/api/v1/jobs/first", one).await;
    assert_eq!(cluster.slots().len(), 1);
}

#[tokio::test]
async fn the_work_of_a_lost_cluster_moves_where_its_job_says_so() {
    let config = Config {
        lost_after: Duration::from_millis(300),
        ..config()
    };
    let root = Root::on(Arc::new(Memory::new()), config).await;
    let first = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    first.until_active(&root).await;
    root.submit(&format!("{}on_partition: move\n", document("mobile", 1)))
        .await;
    root.submit(&document("settled", 1)).await;
    root.until_state("mobile", "RUNNING").await;
    root.until_state("settled", "RUNNING").await;
    let second = FakeCluster::start(&root.url, "c2", 1_000, Manner::Runs);
    second.until_active(&root).await;
    let disk = first.end().await;
    let moved = |reply: &crate::http::Reply| {
        let job = reply.value();
        let rows = job["instances"].as_array().cloned().unwrap_or_default();
        job["state"] == "RUNNING" && rows.iter().any(|row| row["cluster"] == "c2")
    };
    root.until("/api/v1/jobs/mobile", moved).await;
    let job = root.until_state("settled", "UNKNOWN").await;
    assert_eq!(job["reason_code"], "cluster_lost");
    // It comes back with both: one of the two copies of the mobile job stays.
    let first = FakeCluster::on(&root.url, "c1", disk);
    let one = |reply: &crate::http::Reply| {
        let job = reply.value();
        job["state"] == "RUNNING" && job["instances"].as_array().map(Vec::len) == Some(1)
    };
    root.until_state("settled", "RUNNING").await;
    root.until("/api/v1/jobs/mobile", one).await;
    assert_eq!(first.slots().len() + second.slots().len(), 2);
}

#[tokio::test]
async fn an_emptied_root_takes_over_what_its_clusters_have() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    let id = root.submit(&document("kept", 2)).await;
    root.until_state("kept", "RUNNING").await;
    let url = root.url.clone();
    root.stop().await;
    let root = Root::on(Arc::new(Memory::new()), config_at(&url)).await;
    let job = root.until_state("kept", "RUNNING").await;
    assert_eq!(job["job_id"], json!(id));
    assert_eq!(job["instances"].as_array().unwrap().len(), 2);
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
