//! The task that owns the socket after the namespace was joined.
//!
//! Invariant: reading and sending never wait for each other. Reading stops only while an event is held that the
//! consumer has no room for; sending stops only while the socket takes no more.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::client::{AckReply, CloseReason, Command, Event, Outbox};
use crate::packet::{self, Body, Packet};

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that are handed to the socket before it is flushed.
const BATCH: usize = 64 * 1024;
/// Acknowledgements waited for before those whose callers have left are swept out.
const FIRST_SWEEP: usize = 64;

/// The session's ends of the channels.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) outbox: mpsc::Receiver<Command>,
    /// Where answers to the server's events are put.
    pub(crate) replies: Outbox,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) closing: Arc<Notify>,
}

/// One joined namespace on one byte stream.
#[derive(Debug)]
pub(crate) struct Session<S> {
    socket: WebSocketStream<S>,
    namespace: String,
    /// `pingInterval + pingTimeout`.
    silence: Duration,
    wires: Wires,
    acks: Acks,
    /// When silence becomes a loss; not in force while `held` keeps us from listening.
    deadline: Instant,
    /// An event that the consumer has no room for.
    held: Option<Event>,
    /// Whether the socket has something to flush.
    dirty: bool,
    /// Pings that come while the socket is stuck are answered once, so that they cannot pile up.
    pong_due: bool,
}

/// Why the session woke.
enum Wake {
    Received(Option<Result<Message, WsError>>),
    Flushed(Result<(), WsError>),
    Send(Command),
    Delivered,
    End(CloseReason),
}

impl<S> Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(
        socket: WebSocketStream<S>,
        namespace: String,
        silence: Duration,
        wires: Wires,
    ) -> Self {
        Self {
            socket,
            namespace,
            silence,
            wires,
            acks: Acks::default(),
            deadline: Instant::now() + silence,
            held: None,
            dirty: false,
            pong_due: false,
        }
    }

    /// Serves until the end, says goodbye, and says why.
    pub(crate) async fn run(mut self, ended: oneshot::Sender<CloseReason>) {
        let reason = loop {
            if let Err(reason) = self.turn().await {
                break reason;
            }
        };
        tracing::debug!(%reason, "connection ended");
        // From here on senders are told, and nobody waits for an acknowledgement in vain.
        self.wires.outbox.close();
        self.acks = Acks::default();
        // A peer that does not take our goodbye will find out from its socket.
        let _ = tokio::time::timeout(FAREWELL, self.say_goodbye(&reason)).await;
        let Self {
            socket,
            wires,
            held,
            ..
        } = self;
        drop(socket);
        drop(wires.outbox);
        // The receiver is gone when `Events` was dropped: then nobody asks.
        let _ = ended.send(reason);
        if let Some(event) = held {
            let _ = wires.events.send(event).await;
        }
    }

    /// Waits for the next thing to do and does it.
    async fn turn(&mut self) -> Result<(), CloseReason> {
        if self.pong_due && !self.dirty {
            self.pong_due = false;
            self.write(packet::PONG.to_owned())?;
        }
        let listening = self.held.is_none();
        // Every branch is cancel-safe: polling the socket keeps its state in the socket, and receiving, reserving and
        // waiting take nothing before they are ready.
        let wake = tokio::select! {
            wake = drive(&mut self.socket, self.dirty, listening) => wake,
            Some(command) = self.wires.outbox.recv(), if !self.dirty => Wake::Send(command),
            permit = self.wires.events.reserve(), if !listening => match (permit, self.held.take()) {
                (Ok(permit), Some(event)) => {
                    permit.send(event);
                    Wake::Delivered
                }
                (Ok(_), None) => Wake::Delivered,
                (Err(_), _) => Wake::End(CloseReason::Local),
            },
            () = self.wires.events.closed(), if listening => Wake::End(CloseReason::Local),
            () = self.wires.closing.notified() => Wake::End(CloseReason::Local),
            () = tokio::time::sleep_until(self.deadline), if listening => {
                Wake::End(CloseReason::PingTimeout(self.silence))
            }
        };
        match wake {
            Wake::Received(message) => self.receive(message),
            Wake::Flushed(result) => {
                self.dirty = false;
                result.map_err(lost)
            }
            Wake::Send(command) => self.send_batch(command),
            Wake::Delivered => {
                // We did not listen meanwhile, so the silence was ours.
                self.deadline = Instant::now() + self.silence;
                Ok(())
            }
            Wake::End(reason) => Err(reason),
        }
    }

    fn receive(&mut self, message: Option<Result<Message, WsError>>) -> Result<(), CloseReason> {
        let message = message
            .unwrap_or(Err(WsError::ConnectionClosed))
            .map_err(lost)?;
        // Whatever it is, the server lives.
        self.deadline = Instant::now() + self.silence;
        match message {
            Message::Text(frame) => {
                let packet = packet::parse(&frame)
                    .map_err(|malformed| CloseReason::Protocol(malformed.to_string()))?;
                self.handle(packet)
            }
            Message::Binary(_) => Err(CloseReason::Protocol("a binary message".to_owned())),
            Message::Close(_) => Err(CloseReason::Lost(
                "the server closed the WebSocket".to_owned(),
            )),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        }
    }

    fn handle(&mut self, packet: Packet) -> Result<(), CloseReason> {
        let body = match packet {
            Packet::Ping => {
                self.pong_due = true;
                return Ok(());
            }
            Packet::Idle => return Ok(()),
            Packet::Close => return Err(CloseReason::ServerDisconnected),
            Packet::Open(_) => {
                return Err(CloseReason::Protocol("a second open packet".to_owned()));
            }
            Packet::Message { namespace, .. } if namespace != self.namespace => {
                tracing::debug!(namespace, "packet for a namespace that was not joined");
                return Ok(());
            }
            Packet::Message { body, .. } => body,
        };
        match body {
            Body::Event { name, data, ack } => {
                let outbox = &self.wires.replies;
                let ack = ack.map(|id| AckReply {
                    id,
                    outbox: outbox.clone(),
                });
                self.deliver(Event::Message { name, data, ack })
            }
            Body::Ack { id, data } => {
                self.acks.answer(id, data);
                Ok(())
            }
            Body::Disconnected => Err(CloseReason::ServerDisconnected),
            Body::Connected | Body::Refused { .. } => Err(CloseReason::Protocol(
                "a second answer to CONNECT".to_owned(),
            )),
        }
    }

    fn deliver(&mut self, event: Event) -> Result<(), CloseReason> {
        match self.wires.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(event)) => {
                self.held = Some(event);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CloseReason::Local),
        }
    }

    /// Hands over what is queued, so that many small messages share one system call.
    fn send_batch(&mut self, first: Command) -> Result<(), CloseReason> {
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(Command { frame, ack }) = next {
            bytes += frame.len();
            if let Some(ack) = ack {
                self.acks.expect(ack.id, ack.answer);
            }
            self.write(frame)?;
            next = if bytes < BATCH {
                self.wires.outbox.try_recv().ok()
            } else {
                None
            };
        }
        Ok(())
    }

    fn write(&mut self, frame: String) -> Result<(), CloseReason> {
        self.dirty = true;
        self.socket
            .start_send_unpin(Message::text(frame))
            .map_err(lost)
    }

    async fn say_goodbye(&mut self, reason: &CloseReason) -> Result<(), WsError> {
        match reason {
            CloseReason::Local => {
                while let Some(command) = self.wires.outbox.recv().await {
                    self.socket.feed(Message::text(command.frame)).await?;
                }
                let prefix = &self.wires.replies.prefix;
                let goodbye = packet::disconnect_frame(prefix);
                self.socket.send(Message::text(goodbye)).await?;
                self.socket.close(None).await
            }
            CloseReason::ServerDisconnected | CloseReason::Protocol(_) => {
                self.socket.close(None).await
            }
            CloseReason::Lost(_) => self.socket.flush().await,
            CloseReason::PingTimeout(_) => Ok(()),
        }
    }
}

/// Flushes and reads, as far as each is wanted; pending for ever if neither is.
async fn drive<S>(socket: &mut WebSocketStream<S>, dirty: bool, listening: bool) -> Wake
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context| {
        if dirty && let Poll::Ready(result) = socket.poll_flush_unpin(context) {
            return Poll::Ready(Wake::Flushed(result));
        }
        if listening {
            return socket.poll_next_unpin(context).map(Wake::Received);
        }
        Poll::Pending
    })
    .await
}

fn lost(error: WsError) -> CloseReason {
    match error {
        WsError::Io(error) => CloseReason::Lost(error.to_string()),
        WsError::ConnectionClosed | WsError::AlreadyClosed => {
            CloseReason::Lost("the server closed the connection".to_owned())
        }
        WsError::Capacity(error) => CloseReason::Protocol(error.to_string()),
        other => CloseReason::Lost(other.to_string()),
    }
}

/// The acknowledgements that callers wait for.
///
/// A caller that gives up leaves its entry behind; sweeping whenever the table has doubled keeps it within twice the
/// number of callers that still wait.
#[derive(Debug)]
struct Acks {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    sweep_at: usize,
}

impl Default for Acks {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Acks {
    fn expect(&mut self, id: u64, answer: oneshot::Sender<Value>) {
        if self.waiting.len() >= self.sweep_at {
            self.waiting.retain(|_, answer| !answer.is_closed());
            self.sweep_at = FIRST_SWEEP.max(self.waiting.len() * 2);
        }
        self.waiting.insert(id, answer);
    }

    fn answer(&mut self, id: u64, data: Value) {
        let taken = self.waiting.remove(&id).map(|answer| answer.send(data));
        if !matches!(taken, Some(Ok(()))) {
            tracing::debug!(id, "acknowledgement that nobody waits for");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_acknowledgements_do_not_pile_up() {
        let mut acks = Acks::default();
        let (answer, kept) = oneshot::channel();
        acks.expect(0, answer);
        for id in 1..10_000 {
            acks.expect(id, oneshot::channel().0);
            assert!(acks.waiting.len() <= FIRST_SWEEP + 1);
        }
        acks.answer(0, Value::Bool(true));
        assert_eq!(kept.blocking_recv(), Ok(Value::Bool(true)));
    }
}
