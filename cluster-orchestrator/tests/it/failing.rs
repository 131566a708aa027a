use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use store::{Memory, Op, Page, Record, Store, StoreError, Table};

use crate::site::{Site, config, document};
use crate::worker::Worker;

/// A store on a disk that can be full.
#[derive(Debug, Default)]
struct Disk {
    memory: Memory,
    full: AtomicBool,
    unreadable: AtomicBool,
    /// Milliseconds that a commit takes.
    slow: AtomicU64,
}

impl Disk {
    fn has(&self, job: &str) -> bool {
        let records = self.memory.load().unwrap();
        records.iter().any(|record| {
            record.table == "job" && String::from_utf8_lossy(&record.value).contains(job)
        })
    }
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
        // A disk may take its time; the thread is the writer's own.
        let end = Instant::now() + Duration::from_millis(self.slow.load(Ordering::SeqCst));
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
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

#[tokio::test]
async fn row_25_while_the_store_is_out_changes_are_refused_and_reads_answered() {
    let disk = Arc::new(Disk::default());
    let site = Site::start(config(), Arc::clone(&disk) as Arc<dyn Store>).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("before", 100)).await;
    site.until_state("before", "RUNNING").await;

    disk.full.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        let reply = site.submit(&document("lost", 100)).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        let ready = site.ask("GET /readyz", "", "").await;
        assert_eq!(ready.status, 503, "{ready:?}");
        assert!(ready.text.contains("the store"), "{ready:?}");
        assert_eq!(site.ask("GET /healthz", "", "").await.status, 200);
        site.until("/api/v1/jobs/before", |job| job["job_name"] == "before")
            .await;
        assert_eq!(site.ask("GET /api/v1/jobs/lost", "", "").await.status, 404);
    }
    assert!(!disk.has("lost"));

    disk.full.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    site.until("/readyz", |health| health["status"] == "ready")
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    site.until_state("before", "RUNNING").await;
    assert_eq!(site.submit(&document("lost", 100)).await.status, 202);
    site.until_state("lost", "RUNNING").await;
    assert_eq!(
        worker.disk.lock().unwrap().started.len(),
        2,
        "none was started again"
    );
    site.stop().await;
}

#[tokio::test]
async fn row_25_a_store_that_takes_two_seconds_accepts_nothing_before_it_is_stored() {
    let disk = Arc::new(Disk::default());
    let site = Site::start(config(), Arc::clone(&disk) as Arc<dyn Store>).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("before", 100)).await;
    site.until_state("before", "RUNNING").await;

    disk.slow.store(2_000, Ordering::SeqCst);
    let begun = Instant::now();
    let slowly = document("slowly", 100);
    let asked = async {
        let reply = site.submit(&slowly).await;
        (reply, disk.has("slowly"), begun.elapsed())
    };
    let looked = async {
        let mut unready = 0;
        while begun.elapsed() < Duration::from_millis(1_800) {
            assert_eq!(site.ask("GET /healthz", "", "").await.status, 200);
            unready += u32::from(site.ask("GET /readyz", "", "").await.status == 503);
        }
        unready
    };
    let ((reply, stored, took), unready) = tokio::join!(asked, looked);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert!(stored, "it was accepted before it was stored");
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(
        unready > 0,
        "it says that it is ready while it waits for its disk"
    );

    disk.slow.store(0, Ordering::SeqCst);
    site.until("/readyz", |health| health["status"] == "ready")
        .await;
    site.until_state("slowly", "RUNNING").await;
    assert_eq!(
        worker.disk.lock().unwrap().started.len(),
        2,
        "none was started again"
    );
    site.stop().await;
}
