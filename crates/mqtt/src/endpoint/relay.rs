//! The first words of a worker that wants to be relayed to its cluster's endpoint.
//!
//! # Flow
//! Whoever relays reads the CONNECT, and nothing after it is read by it: the user name ends with `@` and the id of the
//! cluster, and all bytes, the CONNECT included, go on to that cluster's endpoint as they came ([`super::Handle::attach`]).
//! That one judges the login, seats the worker, and holds it to its topics and its keep-alive.
//!
//! # Guarantees
//! A stranger can make us keep one CONNECT, for as long as the caller waits. What is no CONNECT of MQTT 3.1.1 is closed
//! without an answer, as the endpoint does.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use model::id::ClusterId;
use rmqtt_codec::v3::{Codec, ConnectAckReason, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::Decoder;

use super::frame::{self, Malformed};
use super::handshake::{CONNECT, CONNECT_LIMIT};

/// Stands before the cluster's id in a user name.
pub(super) const SEPARATOR: char = '@';
/// Bytes that are read at once.
const READ: usize = 1_024;
/// A refused peer has this long to read its CONNACK and to close.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where a peer wants to go, and all that it said.
#[derive(Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The bytes of its CONNECT, and of what it did not wait to send.
    pub bytes: BytesMut,
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password is among the bytes and stays out of every log.
        f.debug_struct("Greeting")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Why a peer is not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another MQTT: CONNACK code 1.
    #[error("the peer speaks another version of MQTT")]
    Version,
    /// It does not say whose worker it is: CONNACK code 5.
    #[error("the peer's user name does not end with @ and the id of its cluster")]
    NoRoute,
    /// The cluster cannot be reached now: CONNACK code 3, after which a worker goes on trying.
    #[error("the cluster cannot be reached through this root now")]
    Unavailable,
    /// It said something else, or nothing.
    #[error("the peer sent no CONNECT")]
    Silent,
}

/// The user name of a worker that is relayed.
pub fn username(username: &str, cluster: ClusterId) -> String {
    format!("{username}{SEPARATOR}{cluster}")
}

/// Reads a peer's first words.
///
/// # Errors
/// [`Refusal`], which [`refuse`] tells the peer.
pub async fn greet<S: AsyncRead + Unpin>(
    stream: &mut S,
    within: Duration,
) -> Result<Greeting, Refusal> {
    let mut bytes = BytesMut::new();
    let read = async {
        loop {
            if bytes.first().is_some_and(|first| *first != CONNECT) {
                return Err(Refusal::Silent);
            }
            if let Some(packet) = frame::whole(&bytes, CONNECT_LIMIT).map_err(said)? {
                frame::check(packet).map_err(said)?;
                return route(packet);
            }
            bytes.reserve(READ);
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return Err(Refusal::Silent),
                Ok(_) => {}
            }
        }
    };
    let cluster = tokio::time::timeout(within, read)
        .await
        .unwrap_or(Err(Refusal::Silent))?;
    Ok(Greeting { cluster, bytes })
}

/// Answers a peer that is not relayed, as far as MQTT has an answer, and closes the connection.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, refusal: Refusal) {
    let code = match refusal {
        Refusal::Version => ConnectAckReason::UnacceptableProtocolVersion,
        Refusal::NoRoute => ConnectAckReason::NotAuthorized,
        Refusal::Unavailable => ConnectAckReason::ServiceUnavailable,
        Refusal::Silent => return,
    };
    let answer = [0x20, 2, 0, u8::from(code)];
    let goodbye = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // Closing at once with unread bytes would reset the connection, and the peer might never see the answer.
        let mut rest = [0; 256];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Past that nobody is there any more.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

fn route(packet: &[u8]) -> Result<ClusterId, Refusal> {
    let mut packet = BytesMut::from(packet);
    let Ok(Some((Packet::Connect(connect), _))) = Codec::default().decode(&mut packet) else {
        return Err(Refusal::Silent);
    };
    let name = connect.username.as_deref().unwrap_or_default();
    let (_, cluster) = name.split_once(SEPARATOR).ok_or(Refusal::NoRoute)?;
    cluster.parse().map_err(|_| Refusal::NoRoute)
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn said(malformed: Malformed) -> Refusal {
    match malformed {
        Malformed::Version => Refusal::Version,
        Malformed::First(_)
        | Malformed::Length
        | Malformed::TooLarge(_)
        | Malformed::Fields
        | Malformed::Password
        | Malformed::Text
        | Malformed::Requested
        | Malformed::Codec(_) => Refusal::Silent,
    }
}
