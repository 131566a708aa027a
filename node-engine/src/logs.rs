//! What applications wrote, on its way to users: an answer in chunks to each question of the cluster.
//!
//! # Flow
//! The link gives each question about a stream to [`Streams`]. Each stream is a task: it asks the runtimes for a
//! [`LogReader`], and sends chunks to the link as far as it has credit. The controller tells what it knows of the
//! instances that are read ([`standing`]), so that following one ends when nothing more can come.
//!
//! # Guarantees
//! - At most [`STREAMS`] at a time, each with at most two chunks in memory, and one queue of one chunk to the link. A reader
//!   without credit stops its own stream and nothing else.
//! - Streams belong to a connection and end with it.
//! - What applications write is data: it never comes into the engine's own log.

pub(crate) mod kept;
pub(crate) mod standing;
mod stream;
pub(crate) mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model::time::Wall;
use model::workload::RuntimeKind;
use protocol::message::question::{CREDIT_LIMIT, Logs, RequestId, Stream};
use protocol::message::reply::{Chunk, End, TEXT_LIMIT};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::runtime::Runtime;
use crate::runtime::{docker, native};
use standing::Standings;

pub use standing::{Known, Standing};

/// Streams at a time.
pub(crate) const STREAMS: usize = 64;
/// Questions that are refused at a time; more are not even answered.
const REFUSALS: usize = 16;
/// A slow connection gets smaller chunks, down to this.
const LEAST_TEXT: usize = 1_024;

/// Which part of an output is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Go on with what will be written.
    pub follow: bool,
    /// Of what there is, only the last lines; `None`: all of it.
    pub tail: Option<u64>,
    /// Of what there is, only what was written then or later.
    pub since: Option<Wall>,
}

/// What a reader brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// So many bytes were lost, since they were written faster than read.
    Skipped(u64),
    /// Nothing more comes.
    End,
    /// What there is cannot be read.
    Failed,
}

/// Reads the output of one instance.
#[derive(Debug)]
pub enum LogReader {
    /// Of the native runtime.
    Native(native::LogReader),
    /// Of a container engine.
    Docker(Box<docker::LogReader>),
    /// Of a runtime without output.
    Empty,
}

impl LogReader {
    /// The next piece, at most about 64 KiB; waits for it. Safe to cancel.
    pub async fn next(&mut self) -> Piece {
        match self {
            Self::Native(reader) => reader.next().await,
            Self::Docker(reader) => Box::pin(reader.next()).await,
            Self::Empty => Piece::End,
        }
    }
}

/// The runtimes that there are now.
pub(crate) type Runtimes = BTreeMap<RuntimeKind, Arc<Runtime>>;

/// Where streams find what they read.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) runtimes: watch::Receiver<Runtimes>,
    pub(crate) standings: Standings,
}

/// A chunk on its way to the link.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) request: RequestId,
    pub(crate) chunk: Chunk,
}

/// How large chunks may be on this connection. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Arc<AtomicUsize>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(TEXT_LIMIT)))
    }
}

impl Pace {
    /// Bytes of text of a chunk, at most.
    pub(crate) fn text(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The connection was slow with a chunk: the next ones are half as large, so that what follows waits half as long.
    pub(crate) fn slower(&self) {
        self.0
            .store((self.text() / 2).max(LEAST_TEXT), Ordering::Relaxed);
    }

    /// It was fast.
    pub(crate) fn faster(&self) {
        self.0
            .store((self.text() * 2).min(TEXT_LIMIT), Ordering::Relaxed);
    }
}

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct Streams {
    sources: Sources,
    replies: mpsc::Sender<Outbound>,
    pace: Pace,
    tasks: JoinSet<()>,
    open: HashMap<RequestId, Open>,
}

#[derive(Debug)]
struct Open {
    credit: Arc<Semaphore>,
    task: AbortHandle,
}

impl Streams {
    /// None yet; chunks go to `replies`.
    pub(crate) fn new(sources: Sources, replies: mpsc::Sender<Outbound>, pace: Pace) -> Self {
        Self {
            sources,
            replies,
            pace,
            tasks: JoinSet::new(),
            open: HashMap::new(),
        }
    }

    /// Does what is said about a stream. Never waits.
    pub(crate) fn take(&mut self, question: Stream) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|_, open| !open.task.is_finished());
        match question {
            Stream::Logs(logs) => self.begin(logs),
            Stream::Credit { request, bytes } => {
                if let Some(open) = self.open.get(&request) {
                    let room =
                        (CREDIT_LIMIT as usize).saturating_sub(open.credit.available_permits());
                    open.credit.add_permits((bytes as usize).min(room));
                }
            }
            Stream::Cancel { request } => {
                if let Some(open) = self.open.remove(&request) {
                    open.task.abort();
                }
            }
        }
    }

    fn begin(&mut self, logs: Logs) {
        // A question that came twice (QoS 1) is one question.
        if self.open.contains_key(&logs.request) {
            return;
        }
        if self.open.len() >= STREAMS {
            if self.tasks.len() < STREAMS + REFUSALS {
                let (replies, request) = (self.replies.clone(), logs.request);
                self.tasks.spawn(async move {
                    let chunk = Chunk {
                        sequence: 0,
                        text: String::new(),
                        end: Some(End::Busy),
                    };
                    // The connection's end is the stream's.
                    let _ = replies.send(Outbound { request, chunk }).await;
                });
            }
            return;
        }
        let credit = Arc::new(Semaphore::new(logs.credit.min(CREDIT_LIMIT) as usize));
        let request = logs.request.clone();
        let task = stream::Task {
            logs,
            sources: self.sources.clone(),
            replies: self.replies.clone(),
            pace: self.pace.clone(),
            credit: Arc::clone(&credit),
        };
        let task = self.tasks.spawn(task.run());
        self.open.insert(request, Open { credit, task });
    }
}

#[cfg(test)]
mod tests;
