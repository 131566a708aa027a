//! `nodes/{id}/connection`: whether a worker is connected; the last will says that it is not.

use model::node::Leaving;
use serde::{Deserialize, Serialize};

use super::{MessageError, Source, Text};
use crate::skew::Spoken;

/// The news about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// It is there.
    pub online: bool,
    /// Which one: grows with each connection of this worker, on its disk; a lower one than seen is ignored.
    pub connect: u64,
    /// Of one that ends in an orderly way: what comes then. A last will says nothing of it.
    pub leaving: Option<Leaving>,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    online: bool,
    connect: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Spoken<Leaving>>,
}

/// Writes the message.
pub fn encode(connection: &Connection) -> Vec<u8> {
    let fields = Fields {
        online: connection.online,
        connect: connection.connect,
        leaving: connection.leaving.map(Spoken::Known),
    };
    Text::new().with(&fields).bytes()
}

/// Reads it; a word of a newer program for why it leaves promises nothing.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Connection, MessageError> {
    payload.open()?;
    let fields: Fields = payload.fields()?;
    Ok(Connection {
        online: fields.online,
        connect: fields.connect,
        leaving: match fields.leaving {
            Some(Spoken::Known(leaving)) => Some(leaving),
            Some(Spoken::Newer(_)) | None => None,
        },
    })
}
