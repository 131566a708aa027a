//! What callers hold: [`Client`] to send with, [`Events`] to receive from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::packet;

/// The sending half of a connection; clones share it.
///
/// Dropping clients does not end the connection: [`Events`] owns it.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) outbox: Outbox,
    pub(crate) closing: Arc<Notify>,
    pub(crate) next_ack: Arc<AtomicU32>,
}

/// The way of a finished frame to the session, bounded in number and in size.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) prefix: Arc<str>,
    pub(crate) max_message: usize,
}

/// One frame to send, and who waits for its acknowledgement.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) frame: String,
    pub(crate) ack: Option<PendingAck>,
}

/// An acknowledgement that is waited for.
#[derive(Debug)]
pub(crate) struct PendingAck {
    pub(crate) id: u64,
    pub(crate) answer: oneshot::Sender<Value>,
}

/// Why a message was not taken for sending.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The connection has ended.
    #[error("the connection is closed")]
    Closed,
    /// The value has no JSON form, for example a map whose keys are no strings.
    #[error("cannot write the message as JSON")]
    Encode(#[source] serde_json::Error),
    /// The message exceeds `Options::max_message`; the connection is not affected.
    #[error("a message of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Size of the frame.
        bytes: usize,
        /// `Options::max_message`.
        limit: usize,
    },
}

/// Why there is no acknowledgement.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// The connection ended first; whether the server has seen the message is unknown.
    #[error("the connection was closed before the acknowledgement")]
    Closed,
    /// The time was up; whether the server has seen the message is unknown.
    #[error("no acknowledgement within {0:?}")]
    Timeout(Duration),
    /// The message was never sent.
    #[error("cannot send the message")]
    NotSent(#[source] EmitError),
}

impl Client {
    /// Sends `data` as the only argument of `event`; waits while the outgoing queue is full.
    ///
    /// `Ok` means queued, in order with everything else, not delivered.
    pub async fn emit(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<(), EmitError> {
        let body = encode(&(event, data))?;
        let frame = packet::event_frame(&self.outbox.prefix, None, &body);
        self.outbox.send(Command { frame, ack: None }).await
    }

    /// Sends `data` as the only argument of `event` and waits for the server's answer.
    ///
    /// `timeout` includes the time in the queue. An answer of one argument is that argument, of none is null, of
    /// several is an array.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<Value, AckError> {
        let (command, answered) = self.asking(event, data).map_err(AckError::NotSent)?;
        let exchange = async {
            match self.outbox.send(command).await {
                Ok(()) => answered.await.map_err(|_| AckError::Closed),
                Err(EmitError::Closed) => Err(AckError::Closed),
                Err(error @ (EmitError::Encode(_) | EmitError::TooLarge { .. })) => {
                    Err(AckError::NotSent(error))
                }
            }
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(AckError::Timeout(timeout)))
    }

    /// Sends `data` as the only argument of `event`, in order with everything else; waits while the outgoing queue is full.
    ///
    /// Whoever has much to say keeps what is under way small by the answers.
    pub async fn emit_tracked(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Answer, EmitError> {
        let (command, answered) = self.asking(event, data)?;
        self.outbox.send(command).await?;
        Ok(Answer(answered))
    }

    /// An event whose answer is waited for.
    fn asking(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<(Command, oneshot::Receiver<Value>), EmitError> {
        let body = encode(&(event, data))?;
        let id = u64::from(self.next_ack.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        let command = Command {
            frame: packet::event_frame(&self.outbox.prefix, Some(id), &body),
            ack: Some(PendingAck { id, answer }),
        };
        Ok((command, answered))
    }

    /// Ends the connection: what is queued is still sent, within two seconds, then the server is told.
    ///
    /// Returns at once; [`Event::Closed`] tells when it is done. A second call does nothing.
    pub fn close(&self) {
        self.closing.notify_one();
    }
}

/// What the server will say to one event.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Value>);

impl Answer {
    /// Waits for it, as [`Client::emit_with_ack`] has it, or for the end of the connection.
    pub async fn wait(self) -> Result<Value, AckError> {
        self.0.await.map_err(|_| AckError::Closed)
    }
}

impl Outbox {
    async fn send(&self, command: Command) -> Result<(), EmitError> {
        let bytes = command.frame.len();
        if bytes > self.max_message {
            let limit = self.max_message;
            return Err(EmitError::TooLarge { bytes, limit });
        }
        self.commands
            .send(command)
            .await
            .map_err(|_| EmitError::Closed)
    }
}

fn encode(value: &impl Serialize) -> Result<String, EmitError> {
    serde_json::to_string(value).map_err(EmitError::Encode)
}

/// The receiving half of a connection, and its owner: dropping it closes the connection.
#[derive(Debug)]
pub struct Events {
    pub(crate) queue: mpsc::Receiver<Event>,
    /// Taken when the end has been told.
    pub(crate) reason: Option<oneshot::Receiver<CloseReason>>,
}

impl Events {
    /// The next event, in the server's order; [`Event::Closed`] is the last one, and `None` follows it for ever.
    ///
    /// Cancel-safe: a dropped call loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.queue.recv().await {
            return Some(event);
        }
        let reason = self.reason.as_mut()?.await;
        self.reason = None;
        // The session says why it ends on every path; only a runtime that is shut down takes it away unasked.
        let reason =
            reason.unwrap_or_else(|_| CloseReason::Lost("the runtime was shut down".to_owned()));
        Some(Event::Closed { reason })
    }
}

/// What came from the server.
#[derive(Debug)]
pub enum Event {
    /// An event of the namespace.
    Message {
        /// The event's name.
        name: String,
        /// Its argument; null for none, an array for several.
        data: Value,
        /// Present when the server waits for an answer.
        ack: Option<AckReply>,
    },
    /// The connection has ended.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// [`Client::close`] was called.
    #[error("closed by this side")]
    Local,
    /// The server ended the namespace or the connection on purpose.
    #[error("disconnected by the server")]
    ServerDisconnected,
    /// The socket broke or was closed; the text says how.
    #[error("connection lost: {0}")]
    Lost(String),
    /// Nothing came from the server for `pingInterval + pingTimeout`, which is given.
    #[error("nothing heard from the server for {0:?}")]
    PingTimeout(Duration),
    /// The server said something that is not the protocol; the text says what.
    #[error("protocol violation: {0}")]
    Protocol(String),
}

/// The one answer that the server waits for; dropping it means not answering.
pub struct AckReply {
    pub(crate) id: u64,
    pub(crate) outbox: Outbox,
}

impl AckReply {
    /// Answers with `value` as the only argument; waits while the outgoing queue is full.
    pub async fn send(self, value: &(impl Serialize + ?Sized)) -> Result<(), EmitError> {
        let body = encode(&(value,))?;
        let frame = packet::ack_frame(&self.outbox.prefix, self.id, &body);
        self.outbox.send(Command { frame, ack: None }).await
    }
}

impl fmt::Debug for AckReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AckReply")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
