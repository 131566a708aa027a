//! The first words of a worker that wants to be relayed to its cluster's endpoint.
//!
//! # Flow
//! Whoever relays reads who is asked for, and nothing after it is read by it: by TLS in the first words of the handshake
//! ([`identity::hello`]), and in plain text in the CONNECT, whose user name ends with `@` and the id of the cluster. All bytes,
//! those included, go on to that cluster's endpoint as they came ([`super::Handle::attach`]). That one ends the TLS, judges the
//! login, seats the worker, and holds it to its topics and its keep-alive.
//!
//! # Guarantees
//! A stranger can make us keep one CONNECT, or one first word of TLS, for as long as the caller waits. What is neither is closed
//! without an answer, as the endpoint does.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use identity::hello::{Asked, HANDSHAKE, Hello};
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
    /// How it speaks.
    pub speaks: Speaks,
    /// What it said first, and what it did not wait to send.
    pub bytes: BytesMut,
}

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// MQTT in plain text.
    Mqtt,
    /// TLS towards the cluster.
    Tls,
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password is among the bytes and stays out of every log.
        f.debug_struct("Greeting")
            .field("cluster", &self.cluster)
            .field("speaks", &self.speaks)
            .finish_non_exhaustive()
    }
}

/// Why a peer is not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another MQTT: CONNACK code 1.
    #[error("the peer speaks another version of MQTT")]
    Version,
    /// It speaks plain text, and may not: CONNACK code 5.
    #[error("the peer speaks plain text from another machine")]
    Plain,
    /// It does not say whose worker it is: CONNACK code 5, or alert 112 (`unrecognized_name`, RFC 6066).
    #[error("the peer does not say which cluster it belongs to")]
    NoRoute,
    /// The cluster cannot be reached now: CONNACK code 3, or alert 80 (`internal_error`, RFC 8446), after which a worker goes on
    /// trying.
    #[error("the cluster cannot be reached through this root now")]
    Unavailable,
    /// It said something else, or nothing.
    #[error("the peer sent neither a CONNECT nor the first words of TLS")]
    Silent,
}

impl Refusal {
    /// The bytes that tell a peer that speaks like that.
    fn answer(self, speaks: Speaks) -> Option<Vec<u8>> {
        let code = match (speaks, self) {
            (_, Self::Silent) | (Speaks::Tls, Self::Version | Self::Plain) => return None,
            (Speaks::Tls, Self::NoRoute) => return Some(alert(112)),
            (Speaks::Tls, Self::Unavailable) => return Some(alert(80)),
            (Speaks::Mqtt, Self::Version) => ConnectAckReason::UnacceptableProtocolVersion,
            (Speaks::Mqtt, Self::NoRoute | Self::Plain) => ConnectAckReason::NotAuthorized,
            (Speaks::Mqtt, Self::Unavailable) => ConnectAckReason::ServiceUnavailable,
        };
        Some(vec![0x20, 2, 0, u8::from(code)])
    }
}

/// A record of TLS that ends a handshake: a fatal alert.
fn alert(description: u8) -> Vec<u8> {
    vec![0x15, 3, 3, 0, 2, 2, description]
}

/// The user name of a worker that is relayed.
pub fn username(username: &str, cluster: ClusterId) -> String {
    format!("{username}{SEPARATOR}{cluster}")
}

/// Reads a peer's first words.
///
/// # Errors
/// A refusal, which [`refuse`] tells the peer, and how that one speaks.
pub async fn greet<S: AsyncRead + Unpin>(
    stream: &mut S,
    within: Duration,
) -> Result<Greeting, (Refusal, Speaks)> {
    let mut bytes = BytesMut::new();
    let mut speaks = Speaks::Mqtt;
    let read = async {
        read(stream, &mut bytes).await?;
        if bytes.first() == Some(&HANDSHAKE) {
            speaks = Speaks::Tls;
            by_tls(stream, &mut bytes).await
        } else {
            in_plain(stream, &mut bytes).await
        }
    };
    let read = tokio::time::timeout(within, read).await;
    match read.unwrap_or(Err(Refusal::Silent)) {
        Ok(cluster) => Ok(Greeting {
            cluster,
            speaks,
            bytes,
        }),
        Err(refusal) => Err((refusal, speaks)),
    }
}

async fn in_plain<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut BytesMut,
) -> Result<ClusterId, Refusal> {
    loop {
        if bytes.first().is_some_and(|first| *first != CONNECT) {
            return Err(Refusal::Silent);
        }
        if let Some(packet) = frame::whole(bytes, CONNECT_LIMIT).map_err(said)? {
            frame::check(packet).map_err(said)?;
            return route(packet);
        }
        read(stream, bytes).await?;
    }
}

async fn by_tls<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut BytesMut,
) -> Result<ClusterId, Refusal> {
    let (mut hello, mut seen) = (Hello::default(), 0);
    loop {
        let new = bytes.get(seen..).unwrap_or_default();
        match hello.read(new).map_err(|_| Refusal::Silent)? {
            Some(Asked::Cluster(cluster)) => return Ok(cluster),
            Some(Asked::Other) => return Err(Refusal::NoRoute),
            None => seen = bytes.len(),
        }
        read(stream, bytes).await?;
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut BytesMut) -> Result<(), Refusal> {
    bytes.reserve(READ);
    match stream.read_buf(bytes).await {
        Ok(0) | Err(_) => Err(Refusal::Silent),
        Ok(_) => Ok(()),
    }
}

/// Answers a peer that is not relayed, as far as what it speaks has an answer, and closes the connection.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    refusal: Refusal,
    speaks: Speaks,
) {
    let Some(answer) = refusal.answer(speaks) else {
        return;
    };
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
