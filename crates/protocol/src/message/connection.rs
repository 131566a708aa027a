//! `nodes/{id}/connection`: whether a worker is connected; the last will says that it is not.

use serde::{Deserialize, Serialize};

use super::{MessageError, Source, Text};

/// The news about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// It is there.
    pub online: bool,
    /// Which one: grows with each connection of this worker, on its disk; a lower one than seen is ignored.
    pub connect: u64,
}

/// Writes the message.
pub fn encode(connection: &Connection) -> Vec<u8> {
    Text::new().with(connection).bytes()
}

/// Reads it.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Connection, MessageError> {
    payload.open()?;
    payload.fields()
}
