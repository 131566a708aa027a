//! The owner of the state: everybody else holds a [`Handle`].
//!
//! # Flow
//! The queue is drained in batches. Questions of a batch are answered first, from what is committed. Then its inputs are
//! decided one after another on the state, their writes are committed together, and only then the actions are
//! performed, answers to requests among them.
//!
//! # When a commit fails
//! Nobody has seen the state that was decided. It is rebuilt from the store (`recovery`), every waiter gets
//! [`Unavailable`], and a new term begins. As long as that cannot be stored, questions are answered from what the store
//! has, and nothing else is.
//!
//! # When a decision panics
//! The same, but for the requests of the batch: each is decided again by itself (`poison`), and only the one that panics
//! again is refused, with 500. Nothing of it was stored, so a restart does not meet it again.

mod handle;
mod poison;
mod recovery;
mod start;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use daemon::crashpoint;
use daemon::notify::Notifier;
use model::time::Now;
use protocol::stored::RecordError;
use store::Writer;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use handle::{Handle, Unavailable};
pub use start::{StartError, open};

use crate::feed::Publisher;
use crate::metrics::Metrics;
use crate::{Core, Decision, Effect, Outlets, SUPERSEDED, clock, record};
use poison::{Panicked, Panics};

/// Messages that wait before their senders do.
const QUEUE: usize = 1_024;
/// Messages that are decided together at most.
const BATCH: usize = 1_000;
/// Between two turns at most where no deadline is known.
const IDLE: Duration = Duration::from_secs(1);
/// Between two turns that nobody asked for, at least: a deadline that stays in the past must not cost a core.
const PACE: Duration = Duration::from_millis(2);

/// A question about the committed state; it sends its own answer.
type Query<C> = Box<dyn FnOnce(&<C as Core>::State, Now) + Send>;

/// Who waits for the answer to a request.
type Waiter<C> = oneshot::Sender<Result<<C as Core>::Answer, Unavailable>>;

/// What the queue holds.
enum Message<C: Core> {
    Input(C::Input),
    Request(C::RequestId, C::Input, Waiter<C>),
    Query(Query<C>),
}

/// The owner task.
pub struct Controller<C: Core> {
    core: C,
    state: C::State,
    writer: Writer,
    queue: mpsc::Receiver<Message<C>>,
    waiters: HashMap<C::RequestId, Waiter<C>>,
    panics: Panics,
    metrics: Metrics,
    events: Publisher,
    /// Whoever restarts this program when its state is not looked after any more.
    notifier: Notifier,
    /// Whether changes can be stored, as everybody sees it.
    storing: Arc<AtomicBool>,
    /// Whether a later run of this store is known, as everybody sees it.
    fenced: Arc<AtomicBool>,
}

impl<C: Core> std::fmt::Debug for Controller<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A state may hold what users run.
        f.debug_struct("Controller")
            .field("core", &self.core)
            .field("waiters", &self.waiters.len())
            .finish_non_exhaustive()
    }
}

impl<C: Core> Controller<C> {
    /// The state, before the owner task begins.
    pub const fn state(&self) -> &C::State {
        &self.state
    }

    /// Tells a service manager that the owner task goes on.
    #[must_use]
    pub fn watched_by(mut self, notifier: Notifier) -> Self {
        self.notifier = notifier;
        self
    }

    /// Decides until the token is cancelled, and then what still waits.
    pub async fn run<O: Outlets<C>>(mut self, mut outlets: O, shutdown: CancellationToken) {
        outlets.loaded(&self.state);
        let mut batch = Vec::with_capacity(64);
        loop {
            self.notifier.alive();
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
        let deadline = C::next_deadline(&self.state).map(|deadline| deadline.since(now));
        let alive = self.notifier.alive_within();
        let due = deadline.into_iter().chain(alive).min();
        due.unwrap_or(IDLE).max(PACE)
    }

    async fn serve<O: Outlets<C>>(
        &mut self,
        batch: &mut Vec<Message<C>>,
        outlets: &mut O,
        shutdown: &CancellationToken,
    ) {
        let now = clock::now();
        let mut inputs = Vec::with_capacity(batch.len());
        let mut requests = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Query(query) => poison::answer::<C>(query, &self.state, now),
                Message::Input(input) => inputs.push(input),
                Message::Request(id, input, waiter) => {
                    self.waiters.insert(id, waiter);
                    requests.push((id, inputs.len()));
                    inputs.push(input);
                }
            }
        }
        for input in &inputs {
            outlets.note(input);
        }
        match self.turn(&inputs, outlets).await {
            Ok(()) => {}
            Err(error @ NotStored::Panicked(_)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    inputs = inputs.len(),
                    requests = requests.len(),
                    "a decision panicked: this is a fault of the program; the state is rebuilt"
                );
                let asked = self.asked(inputs, requests);
                self.one_by_one(asked, outlets, shutdown).await;
            }
            Err(error) => {
                self.metrics.not_committed();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a turn was not stored; the state is rebuilt"
                );
                self.recover(outlets, shutdown).await;
            }
        }
    }

    /// Decides, commits, acts.
    async fn turn<O: Outlets<C>>(
        &mut self,
        inputs: &[C::Input],
        outlets: &mut O,
    ) -> Result<(), NotStored> {
        let (begun, fenced) = (Instant::now(), C::is_fenced(&self.state));
        // A turn that nobody asked for: what is due by time.
        let is_sweep = inputs.is_empty();
        let decision = decide::<C>(&mut self.state, inputs)?;
        self.metrics.placed::<C>(&decision.writes, begun.elapsed());
        let ops = record::ops::<C>(&decision.writes)?;
        if decision.writes.iter().all(C::can_wait) {
            if !ops.is_empty() {
                self.writer.put_off(ops).await?;
            }
        } else if !ops.is_empty() {
            crashpoint!("turn.before_commit");
            crashpoint!("sweep.before_commit", if is_sweep);
            let begun = Instant::now();
            self.writer.commit(ops).await?;
            self.metrics.committed(begun.elapsed());
            crashpoint!("turn.after_commit");
            crashpoint!("sweep.after_commit", if is_sweep);
        }
        if C::is_fenced(&self.state) && !fenced {
            tracing::error!(tier = C::TIER, "{SUPERSEDED}");
        }
        let fenced = C::is_fenced(&self.state);
        self.fenced.store(fenced, Ordering::Relaxed);
        self.events
            .publish(decision.writes.iter().filter_map(C::event));
        outlets.committed(&self.state, &decision.writes);
        if decision.actions.is_empty() {
            return Ok(());
        }
        crashpoint!("turn.published");
        self.perform(decision.actions, outlets);
        crashpoint!("turn.acted");
        Ok(())
    }

    /// Performs actions in their order.
    fn perform<O: Outlets<C>>(&mut self, actions: Vec<C::Action>, outlets: &mut O) {
        for (before, action) in actions.into_iter().enumerate() {
            crashpoint!("turn.between_actions", if before > 0);
            match C::effect(action) {
                Effect::Answer(request, answer) => {
                    if let Some(waiter) = self.waiters.remove(&request) {
                        crashpoint!("turn.before_answer");
                        // Whoever asked may have gone away.
                        let _ = waiter.send(Ok(answer));
                        crashpoint!("turn.after_answer");
                    }
                }
                Effect::Outward(action) => outlets.perform(action),
            }
        }
    }
}

/// Why a turn did not become durable.
#[derive(Debug, thiserror::Error)]
enum NotStored {
    #[error("the store refused the commit")]
    Store(#[from] store::StoreError),
    #[error("the writes have no record")]
    Record(#[from] RecordError),
    #[error("it was not decided")]
    Panicked(#[from] Panicked),
}

/// Decides; after a panic the state is worth nothing any more.
fn decide<C: Core>(state: &mut C::State, inputs: &[C::Input]) -> Result<Decision<C>, Panicked> {
    poison::caught(|| C::turn(state, clock::now(), inputs))
}
