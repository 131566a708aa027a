use std::fmt::Write as _;
use std::sync::Arc;

use store::Memory;

use crate::site::{Site, config, document, request};
use crate::worker::Worker;

#[tokio::test]
async fn what_has_no_room_waits_and_says_so_and_runs_when_there_is_room() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let _first = Worker::start(&site.ready.http, "first", 600);
    site.until("/api/v1/nodes/first", |node| node["state"] == "ALIVE")
        .await;
    let mut body = String::new();
    for index in 0..100 {
        let _ = write!(body, "---\n{}", document(&format!("job-{index}"), 10));
    }
    let reply = site.submit(&body).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(reply.json()["items"].as_array().unwrap().len(), 100);
    let list = |state: &str| format!("/api/v1/jobs?limit=1000&state={state}");
    let count = |wanted: usize| {
        move |page: &serde_json::Value| page["items"].as_array().unwrap().len() == wanted
    };
    site.until(&list("RUNNING"), count(60)).await;
    let waiting = site.until(&list("NOT_DEPLOYED"), count(40)).await;
    for job in waiting["items"].as_array().unwrap() {
        assert_eq!(job["reason_code"], "insufficient_memory");
    }
    let _second = Worker::start(&site.ready.http, "second", 10_000);
    site.until(&list("RUNNING"), count(100)).await;
    let metrics = site.ask("GET /metrics", "", "").await.text;
    for line in [
        "edgeio_jobs{state=\"RUNNING\"} 100",
        "edgeio_instances{state=\"RUNNING\"} 100",
        "edgeio_node_up{node=\"second\"} 1",
        "edgeio_deploy_seconds_count 100",
        "edgeio_http_request_seconds_count{route=\"/api/v1/jobs\",status=\"202\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    site.stop().await;
}

#[tokio::test]
async fn that_replacements_are_held_back_shows_until_an_operator_lets_them_go() {
    // Long enough a grace that it is not over before it is looked at.
    let config = cluster_orchestrator::Config {
        reconnect_max: std::time::Duration::from_secs(10),
        ..config()
    };
    let site = Site::start(config, Arc::new(Memory::new())).await;
    let mut workers = Vec::new();
    for index in 0..10 {
        let name = format!("worker-{index}");
        workers.push(Worker::start(&site.ready.http, &name, 1_000));
        let path = format!("/api/v1/nodes/{name}");
        site.until(&path, |node| node["state"] == "ALIVE").await;
    }
    let metrics = site.ask("GET /metrics", "", "").await.text;
    let has = |metrics: &str, line: &str| metrics.lines().any(|it| it == line);
    assert!(has(&metrics, "edgeio_brake_engaged 0"), "{metrics}");
    assert!(
        has(&metrics, "edgeio_nodes{state=\"ALIVE\"} 10"),
        "{metrics}"
    );
    for worker in workers.drain(..8) {
        worker.kill().await;
    }
    let engaged = |brake: &serde_json::Value| brake["engaged"] == true;
    site.until("/api/v1/brake", engaged).await;
    let metrics = site.ask("GET /metrics", "", "").await.text;
    assert!(has(&metrics, "edgeio_brake_engaged 1"), "{metrics}");
    let released = site.ask("DELETE /api/v1/brake", "", "").await;
    assert_eq!(released.status, 200, "{}", released.text);
    let metrics = site.ask("GET /metrics", "", "").await.text;
    assert!(has(&metrics, "edgeio_brake_engaged 0"), "{metrics}");
    site.stop().await;
}

#[tokio::test]
async fn of_500_equal_names_at_once_one_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = store::Embedded::open(&path, store::Options::default()).unwrap();
    let site = Site::start(config(), Arc::new(store)).await;
    let body: Arc<str> = document("same", 10).into();
    let asked: Vec<_> = (0..500)
        .map(|_| {
            let (authority, body) = (site.authority().to_owned(), Arc::clone(&body));
            tokio::spawn(async move { request(&authority, "POST /api/v1/jobs", "", &body).await })
        })
        .collect();
    let mut counts = std::collections::BTreeMap::new();
    for reply in asked {
        let reply = reply.await.unwrap();
        if reply.status == 409 {
            assert_eq!(reply.json()["code"], "name_in_use");
        }
        *counts.entry(reply.status).or_insert(0) += 1;
    }
    assert_eq!(counts, [(202, 1), (409, 499)].into());
    site.stop().await;
}
