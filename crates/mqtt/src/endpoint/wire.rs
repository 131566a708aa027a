//! MQTT packets on a byte stream, both ways at once in one task, with bounded buffers.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rmqtt_codec::v3::{Codec, Packet};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tokio_util::codec::{Decoder, Encoder};

use super::frame::{self, Malformed};

/// Bytes taken from the stream at once. They land on the stack first, so that an idle connection owns no read buffer.
const READ_SIZE: usize = 4096;

/// While more bytes than this wait to be written, nothing is read or decoded: a peer that only talks is slowed down.
const CONGESTED: usize = 64 * 1024;

/// While more bytes than this wait to be written, no queued message is added to them.
const FULL_ENOUGH: usize = 8 * 1024;

/// One connection: the stream, the bytes read but not yet decoded, and those encoded but not yet written.
pub(super) struct Wire<S> {
    stream: S,
    codec: Codec,
    max_packet: u32,
    input: BytesMut,
    output: BytesMut,
    /// When the last byte was written, or when the waiting bytes began to wait.
    progress: Instant,
    /// Whether the stream may still hold written bytes back, as a TLS stream does.
    unflushed: bool,
}

/// What one turn of the wire brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Bytes came in.
    Read,
    /// Bytes went out.
    Wrote,
    /// The peer closed its side.
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire that takes packets of up to `max_packet` bytes.
    pub(super) fn new(stream: S, max_packet: u32) -> Self {
        Self {
            stream,
            codec: Codec::default(),
            max_packet,
            input: BytesMut::new(),
            output: BytesMut::new(),
            progress: Instant::now(),
            unflushed: false,
        }
    }

    /// The first byte that was read and not yet decoded.
    pub(super) fn peek(&self) -> Option<u8> {
        self.input.first().copied()
    }

    /// Changes the largest packet that is taken.
    pub(super) fn limit(&mut self, max_packet: u32) {
        self.max_packet = max_packet;
    }

    /// The next whole packet, if one was read and the output is not congested.
    pub(super) fn packet(&mut self) -> Result<Option<Packet>, Malformed> {
        if self.output.len() > CONGESTED {
            return Ok(None);
        }
        let Some(packet) = frame::whole(&self.input, self.max_packet)? else {
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            return Ok(None);
        };
        frame::check(packet)?;
        let length = packet.len();
        let mut packet = self.input.split_to(length);
        match self.codec.decode(&mut packet) {
            Ok(Some((packet, _))) => Ok(Some(packet)),
            Ok(None) => Err(Malformed::Length),
            Err(error) => Err(Malformed::Codec(error)),
        }
    }

    /// Adds a packet to the bytes to be written. Packets that cannot be encoded are a fault of this crate and are left out.
    pub(super) fn put(&mut self, packet: Packet) {
        if self.output.is_empty() {
            self.progress = Instant::now();
        }
        if let Err(error) = self.codec.encode(packet, &mut self.output) {
            tracing::error!(%error, "a packet of our own cannot be encoded");
        }
    }

    /// Whether there is room for another queued message.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() <= FULL_ENOUGH
    }

    /// Since when bytes wait to be written without progress.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        (!self.output.is_empty()).then_some(self.progress)
    }

    /// Waits until bytes were read or written. Safe to cancel: nothing is held outside the wire.
    pub(super) async fn turn(&mut self) -> io::Result<Turn> {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        let wrote = self.poll_write(cx)?;
        if self.output.len() <= CONGESTED
            && let Poll::Ready(read) = self.poll_read(cx)
        {
            return Poll::Ready(read);
        }
        if wrote {
            Poll::Ready(Ok(Turn::Wrote))
        } else {
            Poll::Pending
        }
    }

    /// Writes what the stream takes; says whether it took anything.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output)? {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.output.advance(count);
                    self.progress = Instant::now();
                    self.unflushed = true;
                    wrote = true;
                }
            }
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
            self.output = BytesMut::new();
        }
        Ok(wrote)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.input.extend_from_slice(buffer.filled());
        let turn = if buffer.filled().is_empty() {
            Turn::Ended
        } else {
            Turn::Read
        };
        Poll::Ready(Ok(turn))
    }

    /// Writes what waits, says that no more follows, and reads until the peer closes too.
    ///
    /// Closing at once with unread bytes would reset the connection, and the peer might never see a CONNACK.
    pub(super) async fn say_goodbye(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            if self.turn().await? == Turn::Ended {
                return Ok(());
            }
            self.input = BytesMut::new();
        }
        self.stream.shutdown().await?;
        while self.turn().await? != Turn::Ended {
            self.input = BytesMut::new();
        }
        Ok(())
    }
}
