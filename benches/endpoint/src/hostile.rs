//! Who stands beside the workers: connections that never finish their CONNECT, and a reader that never reads.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::packet;

/// How often hostile connections were ended by the broker.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Half-open ones.
    pub(crate) half_open: Cell<u64>,
    /// Readers that do not read.
    pub(crate) readers: Cell<u64>,
}

/// Over this time the half-open connections come, so that a broker which gives each the same time does not close them at once.
pub(crate) const COMING: Duration = Duration::from_secs(10);

/// Keeps so many half-open connections, every other one with half a CONNECT; one that is closed comes again.
pub(crate) fn half_open(
    address: SocketAddr,
    count: u32,
    ended: &Rc<Ended>,
    end: &CancellationToken,
) {
    for number in 0..count {
        let (ended, end) = (Rc::clone(ended), end.clone());
        tokio::task::spawn_local(async move {
            let again = async {
                sleep(COMING * number / count).await;
                loop {
                    if let Ok(stream) = TcpStream::connect(address).await {
                        linger(stream, number % 2 == 0).await;
                        ended.half_open.set(ended.half_open.get() + 1);
                    } else {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            };
            tokio::select! {
                () = again => {}
                () = end.cancelled() => {}
            }
        });
    }
}

async fn linger(mut stream: TcpStream, begun: bool) {
    if begun {
        let bytes = packet::connect("half", true);
        let _ = stream
            .write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())
            .await;
    }
    let mut byte = [0];
    let _ = stream.read(&mut byte).await;
}

/// Keeps a reader that subscribes to everything and never reads; one that is dropped comes again.
pub(crate) fn never_reads(address: SocketAddr, ended: &Rc<Ended>, end: &CancellationToken) {
    let (ended, end) = (Rc::clone(ended), end.clone());
    tokio::task::spawn_local(async move {
        let again = async {
            loop {
                if subscribe_and_sit(address).await.is_ok() {
                    ended.readers.set(ended.readers.get() + 1);
                } else {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        };
        tokio::select! {
            () = again => {}
            () = end.cancelled() => {}
        }
    });
}

/// Returns when the connection is closed. That is noticed by pings, since nothing is read.
async fn subscribe_and_sit(address: SocketAddr) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    stream
        .write_all(&packet::connect("never-reads", false))
        .await?;
    stream.write_all(&packet::subscribe("nodes/#", 0)).await?;
    loop {
        sleep(Duration::from_millis(500)).await;
        if stream.write_all(&[0xc0, 0]).await.is_err() {
            return Ok(());
        }
    }
}
