//! One connected worker: publishes on its beat, acknowledges commands, and notes what it sees.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::BytesMut;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::packet;

/// What all workers of a run saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages acknowledged.
    pub(crate) acknowledged: u64,
    /// From sending a message to its PUBACK.
    pub(crate) answers: Vec<Duration>,
    /// From handing a command over to its arrival.
    pub(crate) commands: Vec<Duration>,
    /// Connections that ended without being asked to.
    pub(crate) lost: u64,
}

/// What the workers of a run share.
pub(crate) struct Shared {
    pub(crate) tally: RefCell<Tally>,
    /// The beginning of all stamps.
    pub(crate) epoch: Instant,
    pub(crate) every: Duration,
    pub(crate) payload: Vec<u8>,
    /// No more messages.
    pub(crate) quiet: CancellationToken,
    /// The end.
    pub(crate) end: CancellationToken,
}

/// Plain text, or TLS.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A worker whose subscription stands.
pub(crate) struct Worker {
    stream: Stream,
    topic: String,
    input: BytesMut,
    last_id: u16,
    sent_at: Option<Instant>,
}

impl Worker {
    /// Connects, over TLS where there is some, and subscribes.
    pub(crate) async fn connect(
        address: SocketAddr,
        number: u32,
        tls: Option<Arc<ClientConfig>>,
    ) -> anyhow::Result<Self> {
        let id = packet::node(number).to_string();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = identity::secured(stream, tls, identity::Server::Broker).await?;
        let mut bytes = packet::connect(&id, true);
        bytes.extend(packet::subscribe(&format!("nodes/{id}/control"), 1));
        stream.write_all(&bytes).await?;
        let mut granted = [0; 9];
        let answer = timeout(Duration::from_secs(20), stream.read_exact(&mut granted)).await;
        answer
            .context("no answer to CONNECT")?
            .context("a worker was not let in")?;
        if granted != [0x20, 2, 0, 0, 0x90, 3, 0, 1, 1] {
            bail!("a worker was refused: {granted:?}");
        }
        Ok(Self {
            stream,
            topic: format!("nodes/{id}/information"),
            input: BytesMut::new(),
            last_id: 0,
            sent_at: None,
        })
    }

    /// Works until the end is told. The first message goes out after `offset`, then one on each beat.
    pub(crate) async fn work(mut self, shared: Rc<Shared>, offset: Duration) {
        let mut beats = interval_at(Instant::now() + offset, shared.every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let went = tokio::select! {
                // Cancel-safe: a read either took bytes into the buffer or nothing.
                () = shared.end.cancelled() => {
                    let _ = self.stream.write_all(&[0xe0, 0]).await;
                    return;
                }
                read = self.stream.read_buf(&mut self.input) => match read {
                    Ok(1..) => self.read(&shared).await,
                    Ok(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => Err(error),
                },
                _ = beats.tick(), if !shared.quiet.is_cancelled() => self.publish(&shared).await,
            };
            if went.is_err() {
                shared.tally.borrow_mut().lost += 1;
                return;
            }
        }
    }

    async fn publish(&mut self, shared: &Shared) -> std::io::Result<()> {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let bytes = packet::publish(&self.topic, self.last_id, &shared.payload);
        shared.tally.borrow_mut().sent += 1;
        self.sent_at = Some(Instant::now());
        self.stream.write_all(&bytes).await
    }

    async fn read(&mut self, shared: &Shared) -> std::io::Result<()> {
        while let Some((first, body)) = packet::take(&mut self.input) {
            match first >> 4 {
                3 => {
                    let Some((id, payload)) = packet::published(first, body) else {
                        continue;
                    };
                    if let Ok(stamp) = payload.as_ref().try_into().map(u64::from_be_bytes) {
                        let took = shared
                            .epoch
                            .elapsed()
                            .saturating_sub(Duration::from_nanos(stamp));
                        shared.tally.borrow_mut().commands.push(took);
                    }
                    if let Some(id) = id {
                        self.stream.write_all(&packet::ack(id)).await?;
                    }
                }
                4 => {
                    let mut tally = shared.tally.borrow_mut();
                    tally.acknowledged += 1;
                    if let Some(since) = self.sent_at.take() {
                        tally.answers.push(since.elapsed());
                    }
                }
                _ => {}
            }
        }
        if self.input.is_empty() {
            // Thousands of idle buffers would be the larger part of this process.
            self.input = BytesMut::new();
        }
        Ok(())
    }
}
