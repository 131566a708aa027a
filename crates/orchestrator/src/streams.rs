//! Answers in chunks: the questions that are open with the children, and who waits for their chunks.
//!
//! # Flow
//! A [`Reader`] asks a child and grants credit; what comes is put into its buffer by whoever hears the children
//! ([`Streams::take`]), and each take of the reader grants the child as much again. A cluster opens a [`Relay`] for the
//! root instead: chunks go on as they come, and so does credit.
//!
//! # Guarantees
//! - A buffer never holds more text than was granted; a child that sends more is not heard any more.
//! - Nothing here waits: a reader that takes nothing costs its own buffer, and nobody else anything.
//! - A question ends with its reader, with its last chunk, or with its child's connection.

mod reader;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::message::question::{Logs, RequestId, Stream};
use protocol::message::reply::{Chunk, End};
use tokio::sync::{Notify, mpsc};

pub use reader::{Asked, Came, Reader, Relay, Wanted};

/// Bytes that a child may send before the reader took any.
pub const CREDIT: u64 = 64 << 10;
/// Credit goes back when so much of it is used, so that it costs few messages.
const GRANT: u64 = CREDIT / 2;
/// Open questions of one orchestrator.
pub const OPEN: usize = 256;

/// How children are told.
pub trait Tell<K>: Debug + Send + Sync {
    /// Tells a child; `false` when it cannot be told now. Never waits.
    fn tell(&self, child: K, stream: &Stream) -> bool;
}

/// What names a child.
pub trait Child: Copy + Eq + Hash + Debug + Send + Sync + 'static {}

impl<K: Copy + Eq + Hash + Debug + Send + Sync + 'static> Child for K {}

/// The open questions. Clones share them.
#[derive(Debug)]
pub struct Streams<K> {
    table: Arc<Mutex<Table<K>>>,
    children: Arc<dyn Tell<K>>,
}

impl<K> Clone for Streams<K> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            children: Arc::clone(&self.children),
        }
    }
}

#[derive(Debug)]
struct Table<K> {
    open: HashMap<RequestId, Open<K>>,
    /// Of this start, so that chunks for an earlier one find nobody.
    prefix: String,
    last: u64,
}

#[derive(Debug)]
struct Open<K> {
    child: K,
    /// The number of the next chunk.
    next: u64,
    /// Bytes that may still come.
    granted: u64,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Reader(Arc<Inbox>),
    Relay(RequestId, mpsc::Sender<(RequestId, Chunk)>),
}

/// What came and was not taken yet.
#[derive(Debug)]
struct Inbox {
    waiting: Mutex<Waiting>,
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    text: String,
    heard: bool,
    lost: bool,
    end: Option<End>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End) {
        let mut waiting = self.lock();
        waiting.end.get_or_insert(end);
        drop(waiting);
        self.news.notify_one();
    }
}

/// No more questions may be open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{OPEN} logs are read at this moment, which is as many as can be; try again later")]
pub struct Full;

impl<K: Child> Streams<K> {
    /// None open.
    pub fn new(children: Arc<dyn Tell<K>>) -> Self {
        let table = Table {
            open: HashMap::new(),
            prefix: format!("{:016x}", daemon::random()),
            last: 0,
        };
        Self {
            table: Arc::new(Mutex::new(table)),
            children,
        }
    }

    /// Asks a child. `news` is notified when something came.
    ///
    /// # Errors
    /// [`Full`].
    pub fn read(&self, child: K, wanted: &Wanted, news: Arc<Notify>) -> Result<Reader<K>, Full> {
        let inbox = Arc::new(Inbox {
            waiting: Mutex::default(),
            news,
        });
        let sink = Sink::Reader(Arc::clone(&inbox));
        let request = self.open(child, CREDIT, sink)?;
        let logs = wanted.logs(request.clone(), CREDIT);
        if !self.children.tell(child, &Stream::Logs(logs)) {
            inbox.end(End::Gone);
        }
        Ok(Reader {
            streams: self.clone(),
            child,
            request,
            inbox,
            owed: 0,
            is_over: false,
        })
    }

    /// Asks a child for a question of the parent: chunks go to `sender` under the parent's id.
    ///
    /// # Errors
    /// Why the parent gets no chunk.
    pub fn relay(
        &self,
        child: K,
        logs: &Logs,
        sender: mpsc::Sender<(RequestId, Chunk)>,
    ) -> Result<Relay<K>, End> {
        let sink = Sink::Relay(logs.request.clone(), sender);
        let request = self
            .open(child, logs.credit, sink)
            .map_err(|Full| End::Busy)?;
        let relay = Relay {
            streams: self.clone(),
            child,
            request: request.clone(),
            owed: 0,
        };
        let logs = Logs {
            request,
            ..logs.clone()
        };
        if self.children.tell(child, &Stream::Logs(logs)) {
            Ok(relay)
        } else {
            Err(End::Gone)
        }
    }

    /// A chunk came from a child. What nobody waits for is dropped.
    pub fn take(&self, child: K, request: &str, chunk: Chunk) {
        let Ok(request) = RequestId::new(request) else {
            return;
        };
        let mut table = self.lock();
        let Some(open) = table.open.get_mut(&request) else {
            return;
        };
        // One that came twice, or that is none of this child's business.
        if open.child != child || chunk.sequence < open.next {
            return;
        }
        let lost = chunk.sequence > open.next;
        open.next = chunk.sequence.saturating_add(1);
        let end = match open.granted.checked_sub(chunk.text.len() as u64) {
            Some(left) => {
                open.granted = left;
                chunk.end
            }
            None => Some(End::Overrun),
        };
        match &open.sink {
            Sink::Reader(inbox) => {
                let mut waiting = inbox.lock();
                waiting.heard = true;
                waiting.lost |= lost;
                if end != Some(End::Overrun) {
                    waiting.text.push_str(&chunk.text);
                }
                waiting.end = waiting.end.or(end);
                drop(waiting);
                inbox.news.notify_one();
            }
            Sink::Relay(parents, sender) => {
                let chunk = if end == Some(End::Overrun) {
                    Chunk {
                        text: String::new(),
                        end,
                        ..chunk
                    }
                } else {
                    chunk
                };
                // The parent's credit bounds the text; a child that sends more small chunks than fit loses the rest.
                if sender.try_send((parents.clone(), chunk)).is_err() {
                    tracing::debug!(
                        ?child,
                        "a chunk of an answer was dropped: the uplink is behind"
                    );
                }
            }
        }
        if end.is_some() {
            table.open.remove(&request);
        }
        drop(table);
        if end == Some(End::Overrun) {
            tracing::warn!(
                ?child,
                "a child sent more of an answer than it was allowed to; the rest is not heard"
            );
            self.children.tell(child, &Stream::Cancel { request });
        }
    }

    /// A child cannot be heard any more: nothing more comes of what it was asked.
    pub fn gone(&self, child: K) {
        let mut table = self.lock();
        let requests: Vec<RequestId> = table
            .open
            .iter()
            .filter(|(_, open)| open.child == child)
            .map(|(request, _)| request.clone())
            .collect();
        for request in requests {
            let Some(open) = table.open.remove(&request) else {
                continue;
            };
            match open.sink {
                Sink::Reader(inbox) => inbox.end(End::Gone),
                Sink::Relay(parents, sender) => {
                    let chunk = Chunk {
                        sequence: open.next,
                        text: String::new(),
                        end: Some(End::Gone),
                    };
                    // Without room, the parent's reader waits until it leaves.
                    let _ = sender.try_send((parents, chunk));
                }
            }
        }
    }

    /// How many questions are open.
    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self, child: K, granted: u64, sink: Sink) -> Result<RequestId, Full> {
        let mut table = self.lock();
        if table.open.len() >= OPEN {
            return Err(Full);
        }
        table.last += 1;
        // Hexadecimal digits and a point are what an id may be of.
        let request = RequestId::new(format!("{}.{}", table.prefix, table.last));
        let request = request.map_err(|_| Full)?;
        let open = Open {
            child,
            next: 0,
            granted,
            sink,
        };
        table.open.insert(request.clone(), open);
        Ok(request)
    }

    fn grant(&self, child: K, request: &RequestId, bytes: u64) -> bool {
        // Before it is told, since the child may use it at once.
        match self.lock().open.get_mut(request) {
            Some(open) => open.granted += bytes,
            None => return true,
        }
        let credit = Stream::Credit {
            request: request.clone(),
            bytes,
        };
        let told = self.children.tell(child, &credit);
        if !told && let Some(open) = self.lock().open.get_mut(request) {
            open.granted = open.granted.saturating_sub(bytes);
        }
        told
    }

    fn leave(&self, child: K, request: &RequestId) {
        // One that is not there any more has ended at the child too.
        if self.lock().open.remove(request).is_some() {
            let request = request.clone();
            // A child that cannot be told loses its streams with its connection.
            self.children.tell(child, &Stream::Cancel { request });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
