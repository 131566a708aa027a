//! Grouping, failing and closing of the writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::Writer;
use crate::{Memory, Op, Page, Record, Store, StoreError, Table};

const JOBS: Table = Table("jobs");

/// Counts commits, holds them at a gate, and fails those that contain the key `poison`.
#[derive(Debug, Default)]
struct Counting {
    inner: Memory,
    commits: AtomicUsize,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Counting {
    fn gate(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

impl Store for Counting {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        self.inner.load()
    }
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
        if ops
            .iter()
            .any(|op| matches!(op, Op::Put { key, .. } if key == b"poison"))
        {
            return Err(StoreError::Full {
                operation: "commit to",
                source: Arc::new(std::io::ErrorKind::StorageFull.into()),
            });
        }
        self.inner.commit(ops)
    }
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }
    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError> {
        self.inner.range(page)
    }
}

fn put(key: &str) -> Vec<Op> {
    vec![Op::put(JOBS, key, *b"v")]
}

/// Queues requests behind a commit that waits at the gate, in this order, then opens it.
async fn grouped(
    store: &Counting,
    writer: &Arc<Writer>,
    requests: Vec<Vec<Op>>,
) -> Vec<Result<(), StoreError>> {
    store.gate(true);
    let before = store.commits.load(Ordering::SeqCst);
    let mut tasks = Vec::new();
    for (index, ops) in std::iter::once(put("first")).chain(requests).enumerate() {
        let asked = Arc::clone(writer);
        tasks.push(tokio::spawn(async move { asked.commit(ops).await }));
        // The next one is asked only when this one is where the order wants it: the first at the
        // gate, the others in the queue.
        let queue = writer.requests.as_ref().unwrap();
        while store.commits.load(Ordering::SeqCst) == before
            || queue.max_capacity() - queue.capacity() < index
        {
            tokio::task::yield_now().await;
        }
    }
    store.gate(false);
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test]
async fn hundreds_of_requests_cost_one_commit() {
    let store = Arc::new(Counting::default());
    let writer = Arc::new(Writer::start(Arc::<Counting>::clone(&store)).unwrap());
    let requests: Vec<_> = (0..500).map(|i| put(&i.to_string())).collect();
    let results = grouped(&store, &writer, requests).await;
    assert_eq!(results.len(), 501);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(store.commits.load(Ordering::SeqCst), 2);
    assert_eq!(writer.load().await.unwrap().len(), 501);
}

#[tokio::test]
async fn a_group_that_fails_fails_all_its_members_and_what_follows_until_a_load() {
    let store = Arc::new(Counting::default());
    let writer = Arc::new(Writer::start(Arc::<Counting>::clone(&store)).unwrap());
    let results = grouped(&store, &writer, vec![put("a"), put("poison"), put("b")]).await;
    assert!(results[0].is_ok());
    assert!(
        results[1..]
            .iter()
            .all(|result| matches!(result, Err(StoreError::Full { .. }))),
        "{results:?}"
    );

    let refused = writer.commit(put("c")).await;
    assert!(
        matches!(refused, Err(StoreError::Stale { .. })),
        "{refused:?}"
    );
    let keys: Vec<_> = writer
        .load()
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.key)
        .collect();
    assert_eq!(keys, [b"first"]);
    writer.commit(put("c")).await.unwrap();
    assert_eq!(writer.load().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_impossible_table_fails_alone() {
    let writer = Writer::start(Arc::new(Memory::new())).unwrap();
    let refused = writer.commit(vec![Op::put(Table(""), *b"a", *b"b")]).await;
    assert!(matches!(refused, Err(StoreError::TableName { .. })));
    writer.commit(put("a")).await.unwrap();
}

#[tokio::test]
async fn a_request_nobody_waits_for_is_committed_before_the_writer_closes() {
    let store = Arc::new(Counting::default());
    let writer = Writer::start(Arc::<Counting>::clone(&store)).unwrap();
    store.gate(true);
    {
        let mut abandoned = Box::pin(writer.commit(put("a")));
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(abandoned.as_mut().poll(cx)))
                .await
                .is_pending()
        );
    }
    store.gate(false);
    writer.close().await;
    assert_eq!(store.load().unwrap().len(), 1);
    assert_eq!(Arc::strong_count(&store), 1, "the thread has ended");
}

#[tokio::test]
async fn dropping_ends_the_thread() {
    let store = Arc::new(Counting::default());
    let writer = Writer::start(Arc::<Counting>::clone(&store)).unwrap();
    writer.commit(put("a")).await.unwrap();
    drop(writer);
    assert_eq!(Arc::strong_count(&store), 1);
}

#[tokio::test]
async fn what_is_put_off_costs_no_commit_and_is_stored_before_the_next_one() {
    let store = Arc::new(Counting::default());
    let writer = Writer::start(Arc::<Counting>::clone(&store)).unwrap();
    writer.commit(put("a")).await.unwrap();
    writer.put_off(vec![Op::delete(JOBS, *b"a")]).await.unwrap();
    writer.put_off(put("b")).await.unwrap();
    writer
        .commit(vec![Op::delete(JOBS, *b"b"), Op::put(JOBS, *b"c", *b"v")])
        .await
        .unwrap();
    assert_eq!(store.commits.load(Ordering::SeqCst), 2);
    let records = store.load().unwrap().into_iter();
    let keys: Vec<_> = records.map(|record| record.key).collect();
    assert_eq!(keys, [b"c"]);

    // At a clean end nothing else comes that it could be stored with.
    writer.put_off(vec![Op::delete(JOBS, *b"c")]).await.unwrap();
    writer.close().await;
    assert_eq!(store.load().unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_put_off_goes_with_the_commit_that_fails_and_at_a_load() {
    let store = Arc::new(Counting::default());
    let writer = Writer::start(Arc::<Counting>::clone(&store)).unwrap();
    writer.put_off(put("a")).await.unwrap();
    writer.commit(put("poison")).await.unwrap_err();
    writer.put_off(put("b")).await.unwrap();
    assert_eq!(writer.load().await.unwrap().len(), 0);
    writer.commit(put("c")).await.unwrap();
    writer.put_off(put("d")).await.unwrap();
    // Who loads decides anew on what is there.
    assert_eq!(writer.load().await.unwrap().len(), 1);
    writer.close().await;
    assert_eq!(store.load().unwrap().len(), 1);
}
