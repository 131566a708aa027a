//! How everybody else reaches the state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::time::Now;
use store::Store;
use tokio::sync::{mpsc, oneshot};

use super::Message;
use crate::Core;
use crate::feed::Feed;

/// How long a request waits for a place in the queue: longer would only feed the overload.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the state gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It cannot be reached now: overload, a store that fails, or the end of the program.
    #[error("the orchestrator cannot take the request now; try again")]
    Now,
    /// Deciding this very request fails: a fault of the program, which nothing was changed by.
    #[error("the orchestrator fails on this request; its log says more")]
    Fault,
}

/// The owner task's queue. Clones feed the same one.
#[derive(Debug, Clone)]
pub struct Handle<C: Core> {
    queue: mpsc::Sender<Message<C>>,
    requests: Arc<AtomicU64>,
    feed: Feed,
    /// A handle keeps no store open.
    store: Weak<dyn Store>,
    storing: Arc<AtomicBool>,
    fenced: Arc<AtomicBool>,
}

impl<C: Core> Handle<C> {
    pub(super) fn new(
        queue: mpsc::Sender<Message<C>>,
        feed: Feed,
        store: &Arc<dyn Store>,
        (storing, fenced): (Arc<AtomicBool>, Arc<AtomicBool>),
    ) -> Self {
        Self {
            queue,
            requests: Arc::default(),
            feed,
            store: Arc::downgrade(store),
            storing,
            fenced,
        }
    }

    /// Whether changes can be stored, as far as is known: not since a commit failed, until one succeeds, nor while the store says so.
    pub(crate) fn is_storing(&self) -> bool {
        let store = self.store.upgrade();
        self.storing.load(Ordering::Relaxed) && store.is_some_and(|store| store.is_sure())
    }

    /// Whether a later run of this store is known, as of the last commit.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// What happens, as it is committed.
    pub(crate) const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Tells the state something; waits while the queue is full, which slows the senders of messages down.
    ///
    /// # Errors
    /// When the owner task has ended.
    pub async fn tell(&self, input: C::Input) -> Result<(), Unavailable> {
        self.queue
            .send(Message::Input(input))
            .await
            .map_err(|_gone| Unavailable::Now)
    }

    /// Asks for a change; the answer comes after its commit.
    ///
    /// # Errors
    /// When it cannot be taken within 5 s, is not stored, or cannot be decided.
    pub async fn ask(
        &self,
        input: impl FnOnce(C::RequestId) -> C::Input,
    ) -> Result<C::Answer, Unavailable> {
        let id = C::request(self.requests.fetch_add(1, Ordering::Relaxed));
        let (waiter, answer) = oneshot::channel();
        self.send(Message::Request(id, input(id), waiter)).await?;
        answer.await.unwrap_or(Err(Unavailable::Now))
    }

    /// Reads what is committed. `question` runs on the owner task: it copies what is wanted and does nothing else.
    ///
    /// # Errors
    /// When it cannot be taken within 5 s.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&C::State, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (sender, answer) = oneshot::channel();
        let query = Box::new(move |state: &C::State, now: Now| {
            // Whoever asked may have gone away.
            let _ = sender.send(question(state, now));
        });
        self.send(Message::Query(query)).await?;
        answer.await.map_err(|_gone| Unavailable::Now)
    }

    async fn send(&self, message: Message<C>) -> Result<(), Unavailable> {
        self.queue
            .send_timeout(message, PATIENCE)
            .await
            .map_err(|_full_or_gone| Unavailable::Now)
    }
}
