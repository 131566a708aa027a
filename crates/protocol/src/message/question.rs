//! `nodes/{id}/request`: a cluster asks a worker something. An empty payload is a liveness probe, and no question.

use serde::{Deserialize, Serialize};

use super::{MessageError, Source, Text};

/// What a parent asks a child for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A whole report.
    WholeReport,
    /// The desired set that it holds of another store.
    Adopt,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    ask: Ask,
}

/// Writes the message.
pub fn encode(ask: Ask) -> Vec<u8> {
    text(ask).bytes()
}

/// Reads it; `None`: a liveness probe.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Option<Ask>, MessageError> {
    if payload.is_empty() {
        return Ok(None);
    }
    read(payload).map(Some)
}

pub(crate) fn text(ask: Ask) -> Text {
    Text::new().with(&Fields { ask })
}

pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<Ask, MessageError> {
    source.open()?;
    source.fields::<Fields>().map(|fields| fields.ask)
}
