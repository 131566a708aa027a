//! A worker's MQTT connection that goes through the root: its bytes, as events of the uplink.
//!
//! # Flow
//! The root opens a connection for each worker that it lets in; the bytes go both ways as they come, and whichever side
//! ends tells the other one. Numbers of connections mean nothing beyond one connection of the uplink: they all end with it.
//!
//! # Credit
//! Each side may have [`WINDOW`] under way on each connection: a frame costs its bytes and [`FRAME`]. What the other side
//! has passed on it gives back as credit. So what waits for a worker or cluster that takes nothing is bounded, and is not
//! in the way of other connections.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{MessageError, Source, Text};
use crate::skew::Spoken;

/// Bytes of one frame at most.
pub const CHUNK: usize = 4 * 1024;
/// What a frame costs beyond its bytes, so that many small ones are bounded too.
pub const FRAME: usize = 64;
/// What may be under way on one connection, each way.
pub const WINDOW: usize = 32 * 1024;

/// One event of [`super::RELAY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which connection, as the root counts them.
    pub connection: u64,
    /// What of it.
    pub event: Event,
}

/// What happens to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Down: a worker wants to be connected.
    Open {
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// Bytes of MQTT.
    Data(Vec<u8>),
    /// So much more may come.
    Credit(usize),
    /// It has ended.
    Close,
}

/// What a frame of so many bytes costs.
pub const fn cost(bytes: usize) -> usize {
    bytes + FRAME
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Open,
    Data,
    Credit,
    Close,
}

#[derive(Serialize, Deserialize)]
struct Head {
    connection: u64,
    event: Spoken<Kind>,
}

#[derive(Serialize, Deserialize)]
struct Opened {
    peer: SocketAddr,
}

#[derive(Serialize, Deserialize)]
struct Carried {
    data: String,
}

#[derive(Serialize, Deserialize)]
struct Granted {
    bytes: u64,
}

impl Frame {
    /// Writes it.
    pub fn encode(&self) -> Value {
        let head = |event: Kind| {
            Text::new().with(&Head {
                connection: self.connection,
                event: event.into(),
            })
        };
        let text = match &self.event {
            Event::Open { peer } => head(Kind::Open).with(&Opened { peer: *peer }),
            Event::Data(bytes) => head(Kind::Data).with(&Carried {
                data: STANDARD.encode(bytes),
            }),
            Event::Credit(bytes) => head(Kind::Credit).with(&Granted {
                bytes: *bytes as u64,
            }),
            Event::Close => head(Kind::Close),
        };
        text.value()
    }

    /// Reads it; `None`: an event of a newer program, which is counted.
    ///
    /// # Errors
    /// [`MessageError`], where it is no frame.
    pub fn decode(value: &Value) -> Result<Option<Self>, MessageError> {
        value.open()?;
        let Head { connection, event } = value.fields()?;
        let Spoken::Known(kind) = event else {
            return Ok(None);
        };
        let event = match kind {
            Kind::Open => {
                let Opened { peer } = value.fields()?;
                Event::Open { peer }
            }
            Kind::Data => {
                let Carried { data } = value.fields()?;
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| MessageError::field("data", "is no base64"))?;
                if !(1..=CHUNK).contains(&bytes.len()) {
                    return Err(MessageError::field("data", "is not of 1 to 4096 bytes"));
                }
                Event::Data(bytes)
            }
            Kind::Credit => {
                let Granted { bytes } = value.fields()?;
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                if bytes > WINDOW {
                    return Err(MessageError::field("bytes", "is more than the window"));
                }
                Event::Credit(bytes)
            }
            Kind::Close => Event::Close,
        };
        Ok(Some(Self { connection, event }))
    }
}
