//! One thread that commits for everybody, many requests at a time.
//!
//! # Flow
//!
//! A request waits in a bounded queue. The thread takes the first one and whatever waits behind
//! it, commits them all in one transaction, and answers all. Under load one sync of the disk so
//! pays for hundreds of requests; an idle store answers after one.
//!
//! # Guarantees
//!
//! - Requests are committed in the order they were queued, each wholly or not at all.
//! - If a group fails, all its members fail, and so does every later request until somebody calls
//!   [`Writer::load`]: a request decided on top of a lost one must not be stored.
//! - A caller that stops waiting does not take its request back.
//! - What is put off ([`Writer::put_off`]) is stored with the next group, before it, or when the writer closes; it is lost
//!   with that group, and at a load.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::{Op, Record, Store, StoreError, check_ops};

/// Requests that may wait before callers do.
const QUEUE: usize = 1_024;
/// A group is closed once it holds so many bytes, so that a transaction's memory stays bounded.
const GROUP_BYTES: usize = 4 * 1_024 * 1_024;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Commit { ops: Vec<Op>, answer: Answer<()> },
    PutOff { ops: Vec<Op> },
    Load { answer: Answer<Vec<Record>> },
}

/// The async side of a [`Store`]: a thread of its own and a queue in front of it.
#[derive(Debug)]
pub struct Writer {
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the operating system gives no thread.
    pub fn start(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                Groups {
                    store,
                    queue,
                    put_off: Vec::new(),
                    failed: None,
                    next: None,
                }
                .run();
            })
            .map_err(|source| StoreError::Io {
                operation: "start the writer of",
                source: Arc::new(source),
            })?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// Commits `ops` with whatever else waits; durable when it returns `Ok`.
    ///
    /// # Errors
    ///
    /// Those of [`Store::commit`], [`StoreError::Stale`] after an earlier failure, and
    /// [`StoreError::Closed`].
    pub async fn commit(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        // Checked here because one impossible name must not fail the neighbours in its group.
        check_ops(&ops)?;
        self.ask(|answer| Request::Commit { ops, answer }).await
    }

    /// Stores `ops` with the next commit, for what may be lost: no sync of the disk is made for it.
    ///
    /// # Errors
    ///
    /// Ops that no store takes, and [`StoreError::Closed`].
    pub async fn put_off(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        check_ops(&ops)?;
        self.send(Request::PutOff { ops }).await
    }

    /// Loads everything, after the commits queued before, and accepts commits again after a
    /// failed one.
    ///
    /// # Errors
    ///
    /// Those of [`Store::load`]; commits then stay refused.
    pub async fn load(&self) -> Result<Vec<Record>, StoreError> {
        self.ask(|answer| Request::Load { answer }).await
    }

    /// Finishes the queued commits and ends the thread.
    ///
    /// Dropping does the same, but blocks the thread it happens on while the disk works.
    pub async fn close(mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The join must not block the runtime; its only error is a panic, logged by the hook.
            let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(request(answer)).await?;
        answered.await.map_err(|_gone| StoreError::Closed)?
    }

    async fn send(&self, request: Request) -> Result<(), StoreError> {
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        requests
            .send(request)
            .await
            .map_err(|_gone| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// The thread's side.
struct Groups {
    store: Arc<dyn Store>,
    queue: mpsc::Receiver<Request>,
    /// Stored before the next group.
    put_off: Vec<Op>,
    /// Why commits are refused until the next load.
    failed: Option<StoreError>,
    /// A load that ended a group and is served after it.
    next: Option<Request>,
}

impl Groups {
    fn run(mut self) {
        while let Some(request) = self.next.take().or_else(|| self.queue.blocking_recv()) {
            match request {
                Request::Commit { ops, answer } => self.commit(ops, answer),
                Request::PutOff { ops } => self.put_off.extend(ops),
                Request::Load { answer } => self.load(answer),
            }
        }
        if self.failed.is_none()
            && !self.put_off.is_empty()
            && let Err(error) = self.store.commit(&self.put_off)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was put off is not stored"
            );
        }
    }

    fn commit(&mut self, more: Vec<Op>, answer: Answer<()>) {
        let mut ops = std::mem::take(&mut self.put_off);
        ops.extend(more);
        let mut answers = vec![answer];
        let mut bytes: usize = ops.iter().map(Op::len_bytes).sum();
        while bytes < GROUP_BYTES {
            match self.queue.try_recv() {
                Ok(Request::Commit { ops: more, answer }) => {
                    bytes += more.iter().map(Op::len_bytes).sum::<usize>();
                    ops.extend(more);
                    answers.push(answer);
                }
                Ok(Request::PutOff { ops: more }) => {
                    bytes += more.iter().map(Op::len_bytes).sum::<usize>();
                    ops.extend(more);
                }
                Ok(load @ Request::Load { .. }) => {
                    self.next = Some(load);
                    break;
                }
                Err(_empty_or_closed) => break,
            }
        }
        let result = match &self.failed {
            Some(source) => Err(StoreError::Stale {
                source: Box::new(source.clone()),
            }),
            None => self.store.commit(&ops).inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    requests = answers.len(),
                    "commit failed"
                );
                self.failed = Some(error.clone());
            }),
        };
        tracing::debug!(
            requests = answers.len(),
            ops = ops.len(),
            bytes,
            "group committed"
        );
        for answer in answers {
            // A caller that has gone away does not want to know.
            let _gone = answer.send(result.clone());
        }
    }

    fn load(&mut self, answer: Answer<Vec<Record>>) {
        let result = self.store.load();
        self.put_off.clear();
        if result.is_ok() {
            self.failed = None;
        }
        let _gone = answer.send(result);
    }
}

#[cfg(test)]
mod tests;
