//! Histories page by page, and as streams.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::{FakeCluster, Manner};
use crate::root::{PATIENCE, Root, document};

/// A client that follows events.
pub(crate) struct Follower {
    reader: BufReader<TcpStream>,
    status: u16,
    head: String,
}

/// One event of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    id: String,
    pub(crate) event: String,
    data: Value,
}

impl Follower {
    pub(crate) async fn open(root: &Root, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(root.address()).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            root.address()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        Self {
            reader,
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
        }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.read())
            .await
            .expect("an event in time")
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut frame = Frame::default();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            // Lines of chunks stand between: sizes, and an empty one after each chunk.
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut frame.id),
                Some(("event", event)) => event.clone_into(&mut frame.event),
                Some(("data", data)) => frame.data = serde_json::from_str(data).unwrap(),
                _ if !frame.event.is_empty() && line.trim_end().is_empty() => return Some(frame),
                _ => {}
            }
        }
    }

    async fn events(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.next().await.unwrap());
        }
        frames
    }
}

fn to(frames: &[Frame]) -> Vec<&str> {
    frames
        .iter()
        .map(|frame| frame.data["to"].as_str().unwrap())
        .collect()
}

async fn with_cluster() -> (Root, FakeCluster) {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    (root, cluster)
}

#[tokio::test]
async fn a_follower_gets_what_there_is_and_then_what_comes() {
    let (root, _cluster) = with_cluster().await;
    root.submit(&document("a", 1)).await;
    root.until_state("a", "RUNNING").await;
    let mut follower = Follower::open(&root, "/api/v1/events?follow=true", "").await;
    assert_eq!(follower.status, 200, "{}", follower.head);
    assert!(
        follower.head.contains("content-type: text/event-stream"),
        "{}",
        follower.head
    );
    let stored = follower.events(2).await;
    assert_eq!(to(&stored), ["SCHEDULED_CLUSTER", "RUNNING"]);
    assert_eq!(stored[0].event, "event");
    assert_eq!(stored[0].id, stored[0].data["id"].as_str().unwrap());

    let b = root.submit(&document("b", 1)).await;
    let came = follower.events(2).await;
    assert_eq!(to(&came), ["SCHEDULED_CLUSTER", "RUNNING"]);
    assert!(came.iter().all(|frame| frame.data["job_id"] == json!(b)));

    // A job's stream has nothing of others, and only as much of what there is as is asked for.
    let mut of_job = Follower::open(
        &root,
        "/api/v1/jobs/a/events?limit=1",
        "Accept: text/event-stream\r\n",
    )
    .await;
    assert_eq!(to(&of_job.events(1).await), ["RUNNING"]);
    for name in ["b", "a"] {
        let scale = format!("/api/v1/jobs/{name}/scale");
        root.post(&scale, "replicas: 2\n").await;
        root.until_state(name, "RUNNING").await;
    }
    let a = of_job.events(2).await;
    assert_eq!(to(&a), ["SCHEDULED_CLUSTER", "RUNNING"]);
    assert_eq!(a[0].data["job_id"], stored[0].data["job_id"]);

    let metrics = root.get("/metrics").await.body;
    assert!(metrics.contains("edgeio_event_followers 2"), "{metrics}");
    drop((follower, of_job));
    root.until("/metrics", |reply| {
        reply.body.contains("edgeio_event_followers 0")
    })
    .await;
}

#[tokio::test]
async fn a_follower_resumes_after_the_last_event_that_it_read() {
    let (root, _cluster) = with_cluster().await;
    for name in ["a", "b"] {
        root.submit(&document(name, 1)).await;
        root.until_state(name, "RUNNING").await;
    }
    let all = root.get("/api/v1/events").await.json();
    let ids: Vec<&str> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    let follow = "/api/v1/events?follow=true";
    let header = format!("Last-Event-ID: {}\r\n", ids[1]);
    let mut follower = Follower::open(&root, follow, &header).await;
    let got = follower.events(2).await;
    assert_eq!([&got[0].id, &got[1].id], [ids[2], ids[3]]);

    let page = root.get("/api/v1/events?limit=3").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let mut by_cursor = Follower::open(&root, &format!("{follow}&cursor={cursor}"), "").await;
    assert_eq!(by_cursor.next().await.unwrap().id, ids[3]);

    let header = "Last-Event-ID: evt_00000000000000000000000001\r\n";
    let mut late = Follower::open(&root, follow, header).await;
    let first = late.next().await.unwrap();
    assert_eq!((first.event.as_str(), &first.data), ("reset", &json!({})));
    assert_eq!(late.next().await.unwrap().id, ids[0]);

    let bad = Follower::open(&root, follow, "Last-Event-ID: x\r\n").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn a_stream_is_resumed_over_a_restart() {
    let store = std::sync::Arc::new(store::Memory::new());
    let root = Root::on(
        std::sync::Arc::<store::Memory>::clone(&store),
        crate::root::config(),
    )
    .await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("a", 1)).await;
    root.until_state("a", "RUNNING").await;
    let mut follower = Follower::open(&root, "/api/v1/events?follow=true", "").await;
    let first = follower.events(2).await;
    let begun = std::time::Instant::now();
    root.stop().await;
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(5),
        "a stream holds nobody up"
    );
    assert_eq!(follower.next().await, None);

    let root = Root::on(store, crate::root::config()).await;
    let header = format!("Last-Event-ID: {}\r\n", first[0].id);
    let mut follower = Follower::open(&root, "/api/v1/events?follow=true", &header).await;
    assert_eq!(follower.next().await.unwrap().id, first[1].id);
    root.stop().await;
}

#[tokio::test]
async fn one_follower_too_many_is_asked_to_come_later() {
    let root = Root::new().await;
    let mut followers = Vec::new();
    for _ in 0..256 {
        let follower = Follower::open(&root, "/api/v1/events?follow=true", "").await;
        assert_eq!(follower.status, 200);
        followers.push(follower);
    }
    let refused = Follower::open(&root, "/api/v1/events?follow=true", "").await;
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 10"), "{}", refused.head);
    // Nobody else is.
    assert_eq!(root.get("/api/v1/events").await.status, 200);
    followers.pop();
    let again = async {
        while Follower::open(&root, "/api/v1/events?follow=true", "")
            .await
            .status
            != 200
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again)
        .await
        .expect("a seat is given back");
    root.stop().await;
}

#[tokio::test]
async fn a_history_is_read_page_by_page() {
    let (root, _cluster) = with_cluster().await;
    root.submit(&document("a", 3)).await;
    root.until_state("a", "RUNNING").await;
    let mut ids = Vec::new();
    let mut path = "/api/v1/jobs/a/events?limit=4".to_owned();
    loop {
        let page = root.get(&path).await.json();
        ids.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs/a/events?limit=4&cursor={cursor}");
    }
    let whole = root.get("/api/v1/jobs/a/events").await.json();
    let all: Vec<_> = whole["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((ids.len(), &ids), (6, &all));
}
