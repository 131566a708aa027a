//! Workers' connections through the root, as the two ends of one uplink see them.
//!
//! # Flow
//! The root begins a [`Tunnel`] for a worker that it lets in, the cluster accepts it, and each side carries its bytes
//! between the uplink's frames and a stream of its own: the worker's socket there, a pipe into the MQTT endpoint here.
//! What comes on the uplink is handed to [`Tunnels::take`], which never waits; what is to go out waits in one short queue
//! for whoever owns the socket.
//!
//! # Guarantees
//! - Nothing here knows a worker, a message or a session: what a tunnel has is a few bytes that are under way.
//! - What waits is bounded, for each tunnel by its window (see [`protocol::message::uplink::relay`]) and on the way out by
//!   [`QUEUE`]. A stream that is not read stops its own tunnel, and no other.
//! - All tunnels end with the queue's receiver, that is with the connection of the uplink.
//! - Bytes that came before an end are passed on before it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::ready;
use std::time::Duration;

use protocol::message::uplink::relay::{CHUNK, Event, FRAME, Frame, WINDOW, cost};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{Semaphore, mpsc};

/// Frames of all tunnels that wait for the socket.
pub const QUEUE: usize = 64;
/// Frames that the socket may have on the way, until the other side says that they arrived: on a slow line the uplink's
/// own messages, and its pings, stand behind so many at most.
pub const UNDER_WAY: usize = 16;
/// Tunnels of one uplink: as many as an MQTT endpoint has connections.
pub const OPEN: usize = 20_000;
/// How long a peer may take to read what was said last.
const GOODBYE: Duration = Duration::from_secs(1);
/// Credit goes back when so much of it is used, so that it costs few frames.
const GRANT: usize = WINDOW / 2;

/// The tunnels of one connection of an uplink. Clones share them.
#[derive(Debug, Clone)]
pub struct Tunnels {
    table: Arc<Mutex<Table>>,
    out: mpsc::Sender<Frame>,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Way>,
    /// The number of the newest that was begun here.
    last: u64,
}

/// What comes for one tunnel.
#[derive(Debug)]
struct Way {
    /// Holds a window of the smallest frames; closed when the other side ends.
    data: mpsc::Sender<Vec<u8>>,
    /// What may still be sent.
    credit: Arc<Semaphore>,
    /// What may still come.
    room: Arc<Semaphore>,
}

/// No more tunnels may be open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{OPEN} workers are relayed at this moment, which is as many as can be")]
pub struct Full;

/// The uplink has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the uplink has ended")]
pub struct Gone;

/// Why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The stream on this side did.
    Here,
    /// The other side said so.
    There,
    /// The uplink did.
    Uplink,
}

impl Tunnels {
    /// None open. The receiver brings what is to be sent, in its order; when it is dropped, all of them end.
    pub fn new() -> (Self, mpsc::Receiver<Frame>) {
        let (out, queue) = mpsc::channel(QUEUE);
        let table = Arc::default();
        (Self { table, out }, queue)
    }

    /// Begins a tunnel for a worker.
    ///
    /// # Errors
    /// [`Full`].
    pub fn begin(&self) -> Result<Tunnel, Full> {
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        self.open(&mut table, number)
    }

    /// Accepts the tunnel that the other side began under this number.
    ///
    /// # Errors
    /// [`Full`].
    pub fn accept(&self, number: u64) -> Result<Tunnel, Full> {
        self.open(&mut self.lock(), number)
    }

    fn open(&self, table: &mut Table, number: u64) -> Result<Tunnel, Full> {
        if table.open.len() >= OPEN {
            return Err(Full);
        }
        let (data, came) = mpsc::channel(WINDOW / FRAME);
        let (credit, room) = (Semaphore::new(WINDOW), Semaphore::new(WINDOW));
        let (credit, room) = (Arc::new(credit), Arc::new(room));
        let way = Way {
            data,
            credit: Arc::clone(&credit),
            room: Arc::clone(&room),
        };
        table.open.insert(number, way);
        Ok(Tunnel {
            number,
            tunnels: self.clone(),
            came,
            credit,
            room,
            owed: 0,
        })
    }

    /// Takes a frame of an open tunnel; never waits. What is of no open tunnel is of one that just ended here.
    ///
    /// A side that sends more than it was allowed to loses that tunnel.
    pub fn take(&self, frame: Frame) {
        let mut table = self.lock();
        let Some(way) = table.open.get(&frame.connection) else {
            return;
        };
        let goes_on = match frame.event {
            Event::Data(bytes) => {
                let fits = way.room.try_acquire_many(permits(cost(bytes.len())));
                fits.map(tokio::sync::SemaphorePermit::forget).is_ok()
                    && way.data.try_send(bytes).is_ok()
            }
            Event::Credit(bytes) => {
                let fits = way.credit.available_permits().saturating_add(bytes) <= WINDOW;
                if fits {
                    way.credit.add_permits(bytes);
                }
                fits
            }
            Event::Close => false,
            // Whoever accepts tunnels looks for these first.
            Event::Open { .. } => true,
        };
        if !goes_on {
            table.open.remove(&frame.connection);
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it was open on both sides until now.
    fn remove(&self, number: u64) -> bool {
        self.lock().open.remove(&number).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One side of one tunnel.
#[derive(Debug)]
pub struct Tunnel {
    number: u64,
    tunnels: Tunnels,
    came: mpsc::Receiver<Vec<u8>>,
    credit: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// What was passed on and not given back yet.
    owed: usize,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.tunnels.remove(self.number) {
            // It was neither carried to its end nor closed; where the queue is full, the other side's deadlines see to it.
            let _ = self.tunnels.out.try_send(Frame {
                connection: self.number,
                event: Event::Close,
            });
        }
    }
}

impl Tunnel {
    /// Tells the other side of the worker, and what it said first.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn introduce(&self, peer: SocketAddr, first: &[u8]) -> Result<(), Gone> {
        self.send(Event::Open { peer }).await?;
        for bytes in first.chunks(CHUNK) {
            let price = permits(cost(bytes.len()));
            let paid = self.credit.acquire_many(price).await;
            paid.map_err(|_closed| Gone)?.forget();
            self.send(Event::Data(bytes.to_vec())).await?;
        }
        Ok(())
    }

    /// The next bytes of the other side; `None` when it has ended it, or with the uplink. Safe to cancel.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        tokio::select! {
            biased;
            came = self.came.recv() => came,
            () = self.tunnels.out.closed() => None,
        }
    }

    /// These bytes of the other side were passed on: it may send as much again.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn passed_on(&mut self, bytes: usize) -> Result<(), Gone> {
        self.owed += cost(bytes);
        if self.owed < GRANT {
            return Ok(());
        }
        let owed = std::mem::take(&mut self.owed);
        // Before it is told, since the other side may use it at once.
        self.room.add_permits(owed);
        self.send(Event::Credit(owed)).await
    }

    /// Carries bytes both ways until one of the ends has ended, and sees that the other one does.
    pub async fn carry<S: AsyncRead + AsyncWrite>(mut self, stream: S) -> End {
        let (mut from, mut to) = tokio::io::split(stream);
        let uplink = self.tunnels.out.clone();
        let outward = Outward {
            number: self.number,
            credit: Arc::clone(&self.credit),
            out: self.tunnels.out.clone(),
        };
        let end = tokio::select! {
            biased;
            () = uplink.closed() => End::Uplink,
            end = inward(&mut self, &mut to) => end,
            end = outward.run(&mut from) => end,
        };
        let farewell = async {
            to.shutdown().await?;
            // Closing at once with unread bytes would reset the connection, and the peer might miss what was said last.
            while end == End::There && !read_some(&mut from).await?.is_empty() {}
            Ok::<_, io::Error>(())
        };
        // A peer that does not read it has lost it.
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
        self.close().await;
        end
    }

    /// Ends it on both sides.
    pub async fn close(self) {
        if self.tunnels.remove(self.number) {
            // Without an uplink it has ended there as well.
            let _ = self.send(Event::Close).await;
        }
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        let frame = Frame {
            connection: self.number,
            event,
        };
        self.tunnels.out.send(frame).await.map_err(|_| Gone)
    }
}

/// From the uplink to the stream.
async fn inward(tunnel: &mut Tunnel, to: &mut (impl AsyncWrite + Unpin)) -> End {
    while let Some(bytes) = tunnel.came.recv().await {
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return End::Here;
        }
        if tunnel.passed_on(bytes.len()).await.is_err() {
            return End::Uplink;
        }
    }
    End::There
}

/// From the stream to the uplink.
struct Outward {
    number: u64,
    credit: Arc<Semaphore>,
    out: mpsc::Sender<Frame>,
}

impl Outward {
    async fn run(&self, from: &mut (impl AsyncRead + Unpin)) -> End {
        loop {
            // Credit first: what has none stays in the stream, and slows its sender down.
            let Ok(whole) = self.credit.acquire_many(permits(cost(CHUNK))).await else {
                return End::Uplink;
            };
            let bytes = match read_some(from).await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) | Err(_) => return End::Here,
            };
            whole.forget();
            self.credit.add_permits(CHUNK - bytes.len());
            let frame = Frame {
                connection: self.number,
                event: Event::Data(bytes),
            };
            if self.out.send(frame).await.is_err() {
                return End::Uplink;
            }
        }
    }
}

/// Reads what is there. The bytes land on the stack first, so that an idle stream owns no buffer.
async fn read_some(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::<u8>::uninit(); CHUNK];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
        Ok(buffer.filled().to_vec()).into()
    })
    .await
}

/// A window fits 32 bits.
const fn permits(cost: usize) -> u32 {
    cost as u32
}

#[cfg(test)]
mod tests;
