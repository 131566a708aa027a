//! How everybody else reaches the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_core::{Answer, Input, RequestId, State};
use model::time::Now;
use tokio::sync::{mpsc, oneshot};

use super::Message;

/// How long a request waits for a place in the queue: longer would only feed the overload.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state cannot be reached now: overload, a store that fails, or the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the orchestrator cannot take the request now; try again")]
pub(crate) struct Unavailable;

/// The owner task's queue. Clones feed the same one.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    queue: mpsc::Sender<Message>,
    requests: Arc<AtomicU64>,
}

impl Handle {
    pub(super) fn new(queue: mpsc::Sender<Message>) -> Self {
        Self {
            queue,
            requests: Arc::default(),
        }
    }

    /// Tells the state something; waits while the queue is full, which slows the senders of messages down.
    pub(crate) async fn tell(&self, input: Input) -> Result<(), Unavailable> {
        self.queue
            .send(Message::Input(input))
            .await
            .map_err(|_gone| Unavailable)
    }

    /// Asks for a change; the answer comes after its commit.
    pub(crate) async fn ask(
        &self,
        input: impl FnOnce(RequestId) -> Input,
    ) -> Result<Answer, Unavailable> {
        let id = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (waiter, answer) = oneshot::channel();
        self.send(Message::Request(id, input(id), waiter)).await?;
        answer.await.map_err(|_gone| Unavailable)
    }

    /// Reads what is committed. `question` runs on the owner task: it copies what is wanted and does nothing else.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (sender, answer) = oneshot::channel();
        let query = Box::new(move |state: &State, now: Now| {
            // Whoever asked may have gone away.
            let _ = sender.send(question(state, now));
        });
        self.send(Message::Query(query)).await?;
        answer.await.map_err(|_gone| Unavailable)
    }

    async fn send(&self, message: Message) -> Result<(), Unavailable> {
        self.queue
            .send_timeout(message, PATIENCE)
            .await
            .map_err(|_full_or_gone| Unavailable)
    }
}
