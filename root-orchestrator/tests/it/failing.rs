//! A store that fails, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{Memory, Op, Page, Record, Store, StoreError, Table};

use crate::cluster::{FakeCluster, Manner};
use crate::follow::Follower;
use crate::root::{Root, config, document};

/// Memory that can be told to fail.
#[derive(Debug, Default)]
struct Failing {
    memory: Memory,
    commits: AtomicBool,
    loads: AtomicBool,
}

impl Failing {
    fn set(&self, commits: bool, loads: bool) {
        self.commits.store(commits, Ordering::SeqCst);
        self.loads.store(loads, Ordering::SeqCst);
    }
}

fn fault() -> StoreError {
    StoreError::Io {
        operation: "commit to",
        source: Arc::new(std::io::Error::other("the test says so")),
    }
}

impl Store for Failing {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        if self.loads.load(Ordering::SeqCst) {
            return Err(fault());
        }
        self.memory.load()
    }

    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        if self.commits.load(Ordering::SeqCst) {
            return Err(fault());
        }
        self.memory.commit(ops)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.get(table, key)
    }

    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError> {
        self.memory.range(page)
    }
}

async fn until_accepted(root: &Root, name: &str) {
    let trying = async {
        while root.post("/api/v1/jobs", &document(name, 1)).await.status != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::root::PATIENCE, trying)
        .await
        .expect("it works again");
}

#[tokio::test]
async fn while_the_store_fails_requests_are_refused_and_nothing_is_seen_of_them() {
    let store = Arc::new(Failing::default());
    let root = Root::on(Arc::clone(&store) as Arc<dyn Store>, config()).await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("before", 1)).await;
    root.until_state("before", "RUNNING").await;
    for loads in [false, true] {
        store.set(true, loads);
        for _ in 0..3 {
            let reply = root.post("/api/v1/jobs", &document("during", 1)).await;
            assert_eq!(reply.status, 503, "{}", reply.body);
            assert!(reply.head.contains("retry-after"), "{}", reply.head);
        }
        let name = format!("after-{loads}");
        store.set(false, false);
        until_accepted(&root, &name).await;
        assert_eq!(root.get("/api/v1/jobs/during").await.status, 404);
        // The connection was kept, and what is assigned since arrives.
        root.until_state("before", "RUNNING").await;
        root.until_state(&name, "RUNNING").await;
    }
    assert_eq!(cluster.disk.lock().unwrap().begun.values().max(), Some(&1));
}

#[tokio::test]
async fn row_25_while_the_store_is_out_changes_are_refused_and_reads_answered() {
    let store = Arc::new(Failing::default());
    let root = Root::on(Arc::clone(&store) as Arc<dyn Store>, config()).await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("before", 1)).await;
    root.until_state("before", "RUNNING").await;
    store.set(true, false);
    for _ in 0..20 {
        let reply = root.post("/api/v1/jobs", &document("during", 1)).await;
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert_eq!(root.get("/readyz").await.status, 503);
        assert_eq!(root.get("/healthz").await.status, 200);
        assert_eq!(root.get("/api/v1/jobs/during").await.status, 404);
        assert_eq!(root.get("/api/v1/jobs/before").await.status, 200);
    }
    let metrics = root.get("/metrics").await.body;
    assert!(metrics.contains("edgeio_storing 0"), "{metrics}");
    assert!(
        !metrics.contains("edgeio_commit_failures_total 0"),
        "{metrics}"
    );
    store.set(false, false);
    until_accepted(&root, "after").await;
    let metrics = root.get("/metrics").await.body;
    assert!(metrics.contains("edgeio_storing 1"), "{metrics}");
    assert_eq!(root.get("/readyz").await.status, 200);
    root.until_state("before", "RUNNING").await;
    root.until_state("after", "RUNNING").await;
    assert_eq!(cluster.disk.lock().unwrap().begun.values().max(), Some(&1));
}

#[tokio::test]
async fn who_follows_events_is_told_that_a_commit_failed() {
    let store = Arc::new(Failing::default());
    let root = Root::on(Arc::clone(&store) as Arc<dyn Store>, config()).await;
    let mut follower = Follower::open(&root, "/api/v1/events?follow=true", "").await;
    store.set(true, false);
    assert_eq!(
        root.post("/api/v1/jobs", &document("a", 1)).await.status,
        503
    );
    store.set(false, false);
    assert_eq!(follower.next().await.unwrap().event, "reset");
    root.stop().await;
}

#[tokio::test]
async fn a_root_that_cannot_load_does_not_start() {
    let store = Arc::new(Failing::default());
    store.set(false, true);
    let ended = root_orchestrator::run_on(
        config(),
        store,
        tokio_util::sync::CancellationToken::new(),
        |_ready| panic!("it is not ready"),
    );
    assert_eq!(ended.await.unwrap_err().exit_code(), 78);
}
