//! `nodes/{id}/reply/{request}`: one chunk of the answer to a question, and the same over the uplink.
//!
//! # Flow
//! Who asks grants credit, in bytes of text, with the question, and more as its own reader takes what came. Who answers
//! pauses without credit. The chunk with an `end` is the last one; a `cancel` ends the answer without one.
//!
//! # Guarantees
//! Chunks are numbered from 0 without gaps, so that a doubled one (MQTT at QoS 1) and a lost one (a foreign broker) show.
//! A text is UTF-8, at most [`TEXT_LIMIT`] bytes, and ends at the end of a line where that is possible.

use serde::{Deserialize, Serialize};

use super::question::RequestId;
use super::{MessageError, Source, Text, at_most};

/// Bytes of a chunk's text, at most.
pub const TEXT_LIMIT: usize = 16 * 1024;

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Which, from 0.
    pub sequence: u64,
    /// The next of the text; may be empty.
    pub text: String,
    /// Why it is the last one.
    #[serde(default)]
    pub end: Option<End>,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everything was sent.
    Done,
    /// Who answers cannot be heard any more.
    Gone,
    /// Who is asked knows nothing of the instance.
    NoSuchInstance,
    /// Who is asked answers as many questions as it can.
    Busy,
    /// What is asked for cannot be read there.
    Failed,
    /// More was sent than was granted.
    Overrun,
    /// A word of a newer program.
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Named {
    request: RequestId,
}

/// Writes a chunk for MQTT, where the topic names the question.
pub fn encode(chunk: &Chunk) -> Vec<u8> {
    Text::new().with(chunk).bytes()
}

/// Reads it.
///
/// # Errors
/// [`MessageError`], where it is no chunk.
pub fn decode(payload: &[u8]) -> Result<Chunk, MessageError> {
    payload.open()?;
    fields(payload)
}

pub(crate) fn text(request: &RequestId, chunk: &Chunk) -> Text {
    let request = request.clone();
    Text::new().with(&Named { request }).with(chunk)
}

pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<(RequestId, Chunk), MessageError> {
    source.open()?;
    let Named { request } = source.fields()?;
    Ok((request, fields(source)?))
}

fn fields<S: Source + ?Sized>(source: &S) -> Result<Chunk, MessageError> {
    let chunk: Chunk = source.fields()?;
    at_most(chunk.text.len(), TEXT_LIMIT, "text")?;
    Ok(chunk)
}
