//! The owner of the state: everybody else holds a [`Handle`].
//!
//! # Flow
//! The queue is drained in batches. Questions of a batch are answered first, from what is committed. Then its inputs are
//! decided one after another on the state, their writes are committed together, and only then the actions are
//! performed, answers to requests among them.
//!
//! # When a commit fails
//! Nobody has seen the state that was decided. It is rebuilt from the store (`recovery`), every waiter gets
//! [`Unavailable`], and a new term begins.

mod handle;
mod recovery;
mod start;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use cluster_core::{Answer, Input, RequestId, State, Write, turn};
use model::id::{ClusterId, NodeId};
use store::Writer;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use handle::{Handle, Unavailable};
pub use start::StartError;
pub(crate) use start::open;

use crate::clock;
use crate::metrics::Metrics;
use crate::outlets::Outlets;
use crate::record;

/// Messages that wait before their senders do.
const QUEUE: usize = 1_024;
/// Messages that are decided together at most.
const BATCH: usize = 1_000;

/// A question about the committed state; it sends its own answer.
type Query = Box<dyn FnOnce(&State, model::time::Now) + Send>;

/// What the queue holds.
enum Message {
    Input(Input),
    Request(RequestId, Input, oneshot::Sender<Answer>),
    Query(Query),
}

/// The owner task.
pub(crate) struct Controller {
    state: State,
    writer: Writer,
    queue: mpsc::Receiver<Message>,
    waiters: HashMap<RequestId, oneshot::Sender<Answer>>,
    links: Links,
    metrics: Metrics,
}

/// Which links are open, whatever becomes of the state: a rebuilt one is told.
#[derive(Debug, Default)]
struct Links {
    sessions: BTreeMap<NodeId, u64>,
    root: Option<ClusterId>,
}

impl Links {
    fn note(&mut self, input: &Input) {
        match input {
            Input::Connected { node, session } => {
                self.sessions.insert(*node, *session);
            }
            Input::Closed { node, session, .. } => {
                if self.sessions.get(node) == Some(session) {
                    self.sessions.remove(node);
                }
            }
            Input::RootConnected(cluster) => self.root = Some(*cluster),
            Input::RootClosed => self.root = None,
            Input::Started { .. }
            | Input::Submit { .. }
            | Input::Put { .. }
            | Input::Delete { .. }
            | Input::Patch { .. }
            | Input::Schedule(_)
            | Input::Register { .. }
            | Input::Held { .. }
            | Input::Reported { .. }
            | Input::Adopt { .. }
            | Input::Assigned(_)
            | Input::RootAsksWhole
            | Input::RootAsksAdopt
            | Input::Reconcile => {}
        }
    }

    /// What a state that knows of no link is told.
    fn inputs(&self) -> Vec<Input> {
        let sessions = self
            .sessions
            .iter()
            .map(|(node, session)| Input::Connected {
                node: *node,
                session: *session,
            });
        sessions
            .chain(self.root.map(Input::RootConnected))
            .collect()
    }
}

impl Controller {
    /// The id that the root gave, if there was one.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.state.cluster()
    }

    /// Decides until the token is cancelled, and then what still waits.
    pub(crate) async fn run(mut self, mut outlets: Outlets, shutdown: CancellationToken) {
        outlets.set_credentials(&self.state);
        let mut batch = Vec::with_capacity(64);
        loop {
            let wait = self.until_deadline();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // Cancel-safe: it takes messages only when it is ready.
                taken = self.queue.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
            self.serve(&mut batch, &mut outlets, &shutdown).await;
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.serve(&mut batch, &mut outlets, &shutdown).await;
        }
        self.writer.close().await;
    }

    fn until_deadline(&self) -> Duration {
        let now = clock::now().steady;
        self.state
            .next_deadline()
            .map_or(Duration::from_secs(1), |deadline| deadline.since(now))
    }

    async fn serve(
        &mut self,
        batch: &mut Vec<Message>,
        outlets: &mut Outlets,
        shutdown: &CancellationToken,
    ) {
        let now = clock::now();
        let mut inputs = Vec::with_capacity(batch.len());
        for message in batch.drain(..) {
            match message {
                Message::Query(query) => query(&self.state, now),
                Message::Input(input) => inputs.push(input),
                Message::Request(id, input, waiter) => {
                    self.waiters.insert(id, waiter);
                    inputs.push(input);
                }
            }
        }
        for input in &inputs {
            self.links.note(input);
        }
        if let Err(error) = self.turn(inputs, outlets).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a turn was not stored; the state is rebuilt"
            );
            self.recover(outlets, shutdown).await;
        }
    }

    /// Decides, commits, acts.
    async fn turn(&mut self, inputs: Vec<Input>, outlets: &mut Outlets) -> Result<(), NotStored> {
        let begun = Instant::now();
        let decision = turn(&mut self.state, clock::now(), inputs);
        self.metrics.placed(&decision.writes, begun.elapsed());
        let ops = record::ops(&decision.writes)?;
        if !ops.is_empty() {
            let begun = Instant::now();
            self.writer.commit(ops).await?;
            self.metrics.committed(begun.elapsed());
        }
        self.metrics.happened(&self.state, &decision.writes);
        for write in &decision.writes {
            if let Write::Node { node, record } = write {
                outlets.set_credential(*node, record.credential);
            }
        }
        outlets.perform(decision.actions, &mut self.waiters);
        Ok(())
    }
}

/// Why a turn did not become durable.
#[derive(Debug, thiserror::Error)]
enum NotStored {
    #[error("the store refused the commit")]
    Store(#[from] store::StoreError),
    #[error("the writes have no record")]
    Record(#[from] record::RecordError),
}
