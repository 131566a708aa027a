use std::sync::Arc;

use store::Memory;

use crate::site::{Site, config, document};
use crate::worker::Worker;

async fn site() -> Site {
    Site::start(config(), Arc::new(Memory::new())).await
}

#[tokio::test]
async fn a_job_runs_on_a_worker_and_ends_when_it_is_deleted() {
    let site = site().await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    let reply = site.submit(&document("hello", 100)).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let id = reply.json()["job_id"].as_str().unwrap().to_owned();
    assert!(
        reply
            .head
            .contains(&format!("location: /api/v1/jobs/{}", id.to_lowercase()))
    );
    let job = site.until_state("hello", "RUNNING").await;
    let instance = &job["instances"][0];
    assert_eq!(instance["worker_node"], "e580");
    assert_eq!(job["owner"], "garching");
    assert_eq!(worker.disk.lock().unwrap().running(), 1);
    let node = site.get("/api/v1/nodes/e580").await;
    assert_eq!(node["memory_free_in_mb"], 900);

    let reply = site.ask("DELETE /api/v1/jobs/hello", "", "").await;
    assert_eq!(
        (reply.status, &reply.json()["terminating"]),
        (202, &true.into())
    );
    site.until_state(&id, "TERMINATED").await;
    assert_eq!(worker.disk.lock().unwrap().running(), 0);
    assert_eq!(site.ask("GET /api/v1/jobs/hello", "", "").await.status, 404);
    let events = site.get(&format!("/api/v1/jobs/{id}/events")).await;
    let words: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["to"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["SCHEDULED_NODE", "RUNNING", "TERMINATED"]);
    site.stop().await;
}

#[tokio::test]
async fn what_a_lost_worker_ran_runs_on_another_one() {
    let site = site().await;
    let first = Worker::start(&site.ready.http, "first", 1_000);
    site.until("/api/v1/nodes/first", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("hello", 100)).await;
    site.until_state("hello", "RUNNING").await;
    let second = Worker::start(&site.ready.http, "second", 1_000);
    site.until("/api/v1/nodes/second", |node| node["state"] == "ALIVE")
        .await;
    first.kill().await;
    site.until("/api/v1/jobs/hello", |job| {
        let rows = job["instances"].as_array().unwrap();
        rows.iter()
            .any(|row| row["worker_node"] == "second" && row["state"] == "RUNNING")
    })
    .await;
    assert_eq!(second.disk.lock().unwrap().started.len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_drained_worker_gives_its_copies_away_and_is_forgotten_once_it_is_gone() {
    let site = site().await;
    let first = Worker::start(&site.ready.http, "first", 1_000);
    site.until("/api/v1/nodes/first", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("hello", 100)).await;
    site.until_state("hello", "RUNNING").await;
    let _second = Worker::start(&site.ready.http, "second", 1_000);
    site.until("/api/v1/nodes/second", |node| node["state"] == "ALIVE")
        .await;
    let node = site.ask("POST /api/v1/nodes/first/drain", "", "").await;
    assert_eq!(
        (node.status, &node.json()["scheduling"]),
        (200, &"DRAINING".into())
    );
    site.until("/api/v1/jobs/hello", |job| {
        let rows = job["instances"].as_array().unwrap();
        rows.len() == 1 && rows[0]["worker_node"] == "second" && rows[0]["state"] == "RUNNING"
    })
    .await;
    let refused = site.ask("DELETE /api/v1/nodes/first", "", "").await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &"alive".into()),
        "{refused:?}"
    );
    first.kill().await;
    site.until("/api/v1/nodes/first", |node| {
        node["state"] == "SUSPECT" || node["state"] == "LOST"
    })
    .await;
    let forgotten = site.ask("DELETE /api/v1/nodes/first", "", "").await;
    assert_eq!(
        (forgotten.status, &forgotten.json()["name"]),
        (200, &"first".into()),
        "{forgotten:?}"
    );
    let gone = site.ask("GET /api/v1/nodes/first", "", "").await;
    assert_eq!(gone.status, 404);
    site.stop().await;
}

#[tokio::test]
async fn a_cordoned_worker_gets_nothing_until_it_is_open_again() {
    let site = site().await;
    let _worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    let node = site.ask("POST /api/v1/nodes/e580/cordon", "", "").await;
    assert_eq!(
        (node.status, &node.json()["scheduling"]),
        (200, &"CORDONED".into())
    );
    site.submit(&document("hello", 100)).await;
    let job = site.until_state("hello", "NOT_DEPLOYED").await;
    assert_eq!(job["rejections"]["cordoned"], 1);
    let why = site.get("/api/v1/jobs/hello/explain").await;
    assert!(
        why["items"][0]["message"]
            .as_str()
            .unwrap()
            .contains("cordoned"),
        "{why}"
    );
    site.ask("POST /api/v1/nodes/e580/uncordon", "", "").await;
    site.until_state("hello", "RUNNING").await;
    let patch = "{labels: {zone: b, rack: \"7\"}, report_interval: 1s}";
    let node = site.ask("PATCH /api/v1/nodes/e580", "", patch).await.json();
    assert_eq!(
        (&node["labels"]["zone"], &node["labels"]["rack"]),
        (&"b".into(), &"7".into())
    );
    site.stop().await;
}
