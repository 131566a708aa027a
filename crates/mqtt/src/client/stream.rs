//! The byte stream below a connection, which knows when it last brought something.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use identity::Server;
use rumqttc::NetworkOptions;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// An address that does not answer is waited for so long before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(100);

/// When the last byte came.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    begun: Instant,
    /// Milliseconds since then.
    last: Arc<AtomicU64>,
}

impl Heard {
    /// Now.
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            last: Arc::default(),
        }
    }

    pub(super) fn now(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// Dials `host:port`, whose name may have several addresses, and speaks TLS where that is asked for.
///
/// # Errors
/// Why it cannot be reached, or is not believed.
pub(super) async fn dial(
    place: String,
    options: NetworkOptions,
    heard: Heard,
    (tls, server): (Option<Arc<ClientConfig>>, Server),
) -> io::Result<Either<Noted, Box<TlsStream<Noted>>>> {
    let stream = Noted::dial(place, options, heard).await?;
    identity::secured(stream, tls, server).await
}

/// A stream that notes when a byte comes.
#[derive(Debug)]
pub(super) struct Noted {
    stream: TcpStream,
    heard: Heard,
}

impl Noted {
    /// Dials `host:port`, whose name may have several addresses.
    ///
    /// # Errors
    /// Why the last of them cannot be reached.
    async fn dial(place: String, options: NetworkOptions, heard: Heard) -> io::Result<Self> {
        let mut addresses = lookup_host(place).await?;
        let mut dialled = JoinSet::new();
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        let mut next = addresses.next();
        loop {
            if let Some(address) = next.take() {
                let options = options.clone();
                dialled.spawn(async move {
                    rumqttc::default_socket_connect(address.to_string(), options).await
                });
            }
            let answer = tokio::time::timeout(STAGGER, dialled.join_next()).await;
            match answer {
                Ok(Some(Ok(Ok(stream)))) => {
                    heard.now();
                    return Ok(Self { stream, heard });
                }
                Ok(Some(Ok(Err(error)))) => failed = error,
                Ok(Some(Err(error))) => failed = io::Error::other(error),
                Ok(None) => return Err(failed),
                Err(_) => {}
            }
            next = addresses.next();
        }
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.heard.now();
        }
        read
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn each_byte_is_noted_and_an_absent_peer_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let heard = Heard::new();
        let stream = Noted::dial(place.clone(), NetworkOptions::new(), heard.clone());
        let (stream, accepted) = tokio::join!(stream, listener.accept());
        let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
        let before = heard.last();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream
            .write_all(b"what we say proves nothing")
            .await
            .unwrap();
        assert_eq!(heard.last(), before);
        peer.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        assert!(heard.last() > before);

        drop((listener, stream, peer));
        let absent = Noted::dial(place, NetworkOptions::new(), heard).await;
        assert_eq!(absent.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
