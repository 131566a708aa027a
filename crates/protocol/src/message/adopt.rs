//! `nodes/{id}/reply/adopt`, and the uplink's `adopt`: a child sends the desired set that it holds of another store, so that its parent can take it over.

use ::sync::{Digest, Held, mark};
use model::desired::Desired;

use super::desired::WireSet;
use super::held::WireHeld;
use super::parts::{Number, Piece, Whole, deal};
use super::{MessageError, Source, Text, size};

/// The request id of its MQTT topic, `nodes/{id}/reply/adopt`.
pub const REQUEST: &str = "adopt";

/// A former desired set.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// What is held: its digest tells which set.
    pub held: Held,
    /// All of it.
    pub desired: Vec<Desired>,
}

impl Whole for Adoption {
    fn mark(&self) -> Digest {
        let incarnation = self.held.incarnation.unwrap_or_default();
        mark(&[&incarnation, &self.held.revision, &self.held.desired_digest])
    }

    fn absorb(&mut self, next: Self) {
        self.desired.extend(next.desired);
    }
}

/// Writes it, in as many messages as it takes.
pub fn encode(held: &Held, desired: &[Desired]) -> Vec<Vec<u8>> {
    texts(held, desired).into_iter().map(Text::bytes).collect()
}

/// Reads one message of it.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Piece<Adoption>, MessageError> {
    read(payload)
}

pub(crate) fn texts(held: &Held, desired: &[Desired]) -> Vec<Text> {
    let parts = deal(desired.iter().collect(), |one| size(&WireSet::pack([*one])));
    let count = parts.len();
    parts
        .into_iter()
        .enumerate()
        .map(|(part, desired)| {
            Text::new()
                .with(&WireHeld::from(held))
                .with(&Number::new(part, count))
                .with(&WireSet::pack(desired))
        })
        .collect()
}

pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<Piece<Adoption>, MessageError> {
    source.open()?;
    let held = source.fields::<WireHeld>()?.into();
    let number: Number = source.fields()?;
    let desired = source.fields::<WireSet>()?.unpack()?;
    number.piece(Adoption { held, desired })
}
