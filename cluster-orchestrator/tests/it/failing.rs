use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Memory, Op, Page, Record, Store, StoreError, Table};

use crate::site::{Site, config, document};
use crate::worker::Worker;

/// A store on a disk that can be full.
#[derive(Debug, Default)]
struct Disk {
    memory: Memory,
    full: AtomicBool,
    unreadable: AtomicBool,
}

fn fault(operation: &'static str) -> StoreError {
    StoreError::Full {
        operation,
        source: Arc::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    }
}

impl Store for Disk {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(fault("read"));
        }
        self.memory.load()
    }

    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(fault("commit to"));
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

#[tokio::test]
async fn a_request_that_cannot_be_stored_is_refused_and_never_seen() {
    let disk = Arc::new(Disk::default());
    let site = Site::start(config(), Arc::clone(&disk) as Arc<dyn Store>).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("before", 100)).await;
    site.until_state("before", "RUNNING").await;

    disk.full.store(true, Ordering::SeqCst);
    disk.unreadable.store(true, Ordering::SeqCst);
    let reply = site.submit(&document("lost", 100)).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.head.contains("retry-after"), "{}", reply.head);
    assert_eq!(site.ask("GET /readyz", "", "").await.status, 503);
    assert_eq!(site.ask("GET /healthz", "", "").await.status, 200);

    disk.full.store(false, Ordering::SeqCst);
    disk.unreadable.store(false, Ordering::SeqCst);
    site.until("/readyz", |health| health["status"] == "ready")
        .await;
    assert_eq!(site.ask("GET /api/v1/jobs/lost", "", "").await.status, 404);
    // The worker is still connected: the new state hears it without a new registration.
    site.until_state("before", "RUNNING").await;
    let reply = site.submit(&document("lost", 100)).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    site.until_state("lost", "RUNNING").await;
    assert_eq!(worker.disk.lock().unwrap().started.len(), 2);
    site.stop().await;
}
