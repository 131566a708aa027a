//! `nodes/{id}/request`: a cluster asks a worker something. An empty payload is a liveness probe, and no question.
//!
//! # Flow
//! [`Ask`] is answered by an ordinary report. [`Stream`] opens, feeds and ends an answer in chunks: see
//! [`super::reply`]. The root asks a cluster the same over the uplink. [`Fallback`] and what is confirmed of
//! [`super::events`] is told, not asked.

use model::id::InstanceId;
use model::telling::Stamp;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::events::WireStamp;
use super::fallback::Fallback;
use super::{MessageError, Source, Text};
use crate::skew::Spoken;
use crate::topic;

/// Bytes of text that one question may grant, at most.
pub const CREDIT_LIMIT: u64 = 1 << 20;

/// What a parent asks a child for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A whole report.
    WholeReport,
    /// The desired set that it holds of another store.
    Adopt,
}

/// Everything that comes as a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Answered by an ordinary report.
    Ask(Ask),
    /// About an answer in chunks.
    Stream(Stream),
    /// No question: where the other way to the cluster is.
    Fallback(Fallback),
    /// No question: the parent has this event of those that it is told, and all before it.
    Confirmed(Stamp),
    /// Of a newer program; it is counted, and nobody answers it.
    Newer,
}

/// What is said about one answer in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// Opens it.
    Logs(Logs),
    /// Lets more of it be sent.
    Credit {
        /// Which.
        request: RequestId,
        /// So many bytes of text more.
        bytes: u64,
    },
    /// Nobody reads it any more.
    Cancel {
        /// Which.
        request: RequestId,
    },
}

/// What an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Under which id the chunks come.
    pub request: RequestId,
    /// Whose.
    pub instance: InstanceId,
    /// Whether to go on with what it will write.
    pub follow: bool,
    /// Of what there is, only so many of the last lines; `None`: all that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// Of what there is, only what was written at that time or later, by the worker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wall")]
    pub since: Option<Wall>,
    /// Bytes of text that may be sent, until more are granted.
    pub credit: u64,
}

/// The id of a question whose answer comes in chunks, made by who asks: 1 to 64 letters, digits, `-`, `_` or `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

/// A text that is no [`RequestId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a request is 1 to 64 letters, digits, -, _ or .")]
pub struct RequestIdError;

impl RequestId {
    /// Takes a text.
    ///
    /// # Errors
    /// [`RequestIdError`].
    pub fn new(text: impl Into<String>) -> Result<Self, RequestIdError> {
        let text = text.into();
        if topic::is_request(&text) {
            Ok(Self(text))
        } else {
            Err(RequestIdError)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RequestId {
    type Error = RequestIdError;

    fn try_from(text: String) -> Result<Self, RequestIdError> {
        Self::new(text)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    ask: Spoken<Kind>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    WholeReport,
    Adopt,
    Logs,
    Credit,
    Cancel,
    Fallback,
    Confirmed,
}

#[derive(Serialize, Deserialize)]
struct Told {
    fallback: Fallback,
}

#[derive(Serialize, Deserialize)]
struct Grant {
    request: RequestId,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Named {
    request: RequestId,
}

/// Writes the message.
pub fn encode(ask: Ask) -> Vec<u8> {
    text(ask).bytes()
}

/// Writes what is said about an answer in chunks.
pub fn encode_stream(stream: &Stream) -> Vec<u8> {
    stream_text(stream).bytes()
}

/// Writes where the other way to the cluster is.
pub fn encode_fallback(fallback: &Fallback) -> Vec<u8> {
    let told = Told {
        fallback: fallback.clone(),
    };
    head(Kind::Fallback).with(&told).bytes()
}

/// Writes that the parent has this event, and all before it.
pub fn encode_confirmed(stamp: Stamp) -> Vec<u8> {
    confirmed_text(stamp).bytes()
}

/// Reads it; `None`: a liveness probe.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Option<Question>, MessageError> {
    if payload.is_empty() {
        return Ok(None);
    }
    read_any(payload).map(Some)
}

pub(crate) fn text(ask: Ask) -> Text {
    let ask = match ask {
        Ask::WholeReport => Kind::WholeReport,
        Ask::Adopt => Kind::Adopt,
    };
    head(ask)
}

pub(crate) fn confirmed_text(stamp: Stamp) -> Text {
    head(Kind::Confirmed).with(&WireStamp::from(stamp))
}

fn head(ask: Kind) -> Text {
    Text::new().with(&Head { ask: ask.into() })
}

pub(crate) fn stream_text(stream: &Stream) -> Text {
    match stream {
        Stream::Logs(logs) => head(Kind::Logs).with(logs),
        Stream::Credit { request, bytes } => head(Kind::Credit).with(&Grant {
            request: request.clone(),
            bytes: *bytes,
        }),
        Stream::Cancel { request } => head(Kind::Cancel).with(&Named {
            request: request.clone(),
        }),
    }
}

pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<Ask, MessageError> {
    match read_any(source)? {
        Question::Ask(ask) => Ok(ask),
        Question::Stream(_) | Question::Fallback(_) | Question::Confirmed(_) => {
            Err(MessageError::field("ask", "has an event of its own"))
        }
        Question::Newer => Err(MessageError::field("ask", "is of a newer program")),
    }
}

pub(crate) fn read_stream<S: Source + ?Sized>(source: &S) -> Result<Stream, MessageError> {
    match read_any(source)? {
        Question::Stream(stream) => Ok(stream),
        Question::Ask(_) | Question::Fallback(_) | Question::Confirmed(_) => {
            Err(MessageError::field("ask", "is not answered in chunks"))
        }
        Question::Newer => Err(MessageError::field("ask", "is of a newer program")),
    }
}

pub(crate) fn read_confirmed<S: Source + ?Sized>(source: &S) -> Result<Stamp, MessageError> {
    match read_any(source)? {
        Question::Confirmed(stamp) => Ok(stamp),
        Question::Ask(_) | Question::Stream(_) | Question::Fallback(_) | Question::Newer => {
            Err(MessageError::field("ask", "confirms no event"))
        }
    }
}

fn read_any<S: Source + ?Sized>(source: &S) -> Result<Question, MessageError> {
    source.open()?;
    let head: Head = source.fields()?;
    let Spoken::Known(kind) = head.ask else {
        return Ok(Question::Newer);
    };
    Ok(match kind {
        Kind::WholeReport => Question::Ask(Ask::WholeReport),
        Kind::Adopt => Question::Ask(Ask::Adopt),
        Kind::Logs => {
            let logs: Logs = source.fields()?;
            granted(logs.credit)?;
            Question::Stream(Stream::Logs(logs))
        }
        Kind::Credit => {
            let Grant { request, bytes } = source.fields()?;
            granted(bytes)?;
            Question::Stream(Stream::Credit { request, bytes })
        }
        Kind::Cancel => {
            let Named { request } = source.fields()?;
            Question::Stream(Stream::Cancel { request })
        }
        Kind::Fallback => {
            let Told { fallback } = source.fields()?;
            fallback.check()?;
            Question::Fallback(fallback)
        }
        Kind::Confirmed => Question::Confirmed(source.fields::<WireStamp>()?.into()),
    })
}

fn granted(bytes: u64) -> Result<(), MessageError> {
    if bytes <= CREDIT_LIMIT {
        Ok(())
    } else {
        Err(MessageError::field("credit", "is more than 1 MiB at once"))
    }
}

/// A time as milliseconds since 1970.
mod wall {
    use model::time::Wall;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(
        wall: &Option<Wall>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        wall.map(|wall| wall.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Wall>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Wall))
    }
}
