//! `nodes/{id}/sync`: a child acknowledges what it holds, after each (re)connect and each write.

use ::sync::Held;

use super::held::WireHeld;
use super::{Beat, MessageError, Source, Text};

/// Writes the message.
pub fn encode(held: &Held, beat: &Beat) -> Vec<u8> {
    Text::new().with(&WireHeld::from(held)).with(beat).bytes()
}

/// Reads it.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<(Held, Beat), MessageError> {
    read(payload)
}

pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<(Held, Beat), MessageError> {
    source.open()?;
    Ok((source.fields::<WireHeld>()?.into(), source.fields()?))
}
