//! Upward messages that may be larger than a packet: cut into numbered parts, put together again.

use ::sync::Digest;
use serde::{Deserialize, Serialize};

use super::{MessageError, size};

/// Bytes of items in one part; its head and a little more go into the packet beside them.
const PART: usize = 160 * 1024;
/// Parts of one message at most.
pub const PARTS: u32 = 256;

/// What a message in parts is made of.
pub trait Whole {
    /// The same for all parts of one message, and different for another message.
    fn mark(&self) -> Digest;
    /// Takes the items of the next part of the same message.
    fn absorb(&mut self, next: Self);
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece<T> {
    /// Which, from 0.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// What it holds.
    pub content: T,
}

/// The fields of a part's number; a message that left them out is whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Number {
    #[serde(default, skip_serializing_if = "super::is_default")]
    part: u32,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    parts: u32,
}

const fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_one(parts: &u32) -> bool {
    *parts == 1
}

impl Number {
    pub(crate) const fn new(part: usize, parts: usize) -> Self {
        Self {
            part: part as u32,
            parts: parts as u32,
        }
    }

    pub(crate) fn piece<T>(&self, content: T) -> Result<Piece<T>, MessageError> {
        if self.part >= self.parts || self.parts > PARTS {
            return Err(MessageError::field("part", "is none of its parts"));
        }
        Ok(Piece {
            part: self.part,
            parts: self.parts,
            content,
        })
    }
}

/// Deals items over parts by their size as JSON; at least one part, in order.
pub(crate) fn deal<T>(items: Vec<T>, weigh: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    let mut current = Vec::new();
    let mut full = 0;
    for item in items {
        let weight = weigh(&item);
        if full > 0 && full + weight > PART {
            parts.push(std::mem::take(&mut current));
            full = 0;
        }
        full += weight;
        current.push(item);
    }
    parts.push(current);
    parts
}

/// [`deal`] by what the items take themselves.
pub(crate) fn deal_json<T: Serialize>(items: Vec<T>) -> Vec<Vec<T>> {
    deal(items, size)
}

/// Puts the parts of one child's messages together: one of these for each connection and kind of message.
///
/// Parts come in order, so what is out of order belongs to a message that was given up, and is dropped.
#[derive(Debug, Clone)]
pub struct Assembler<T> {
    begun: Option<(Piece<T>, Digest)>,
}

impl<T> Default for Assembler<T> {
    fn default() -> Self {
        Self { begun: None }
    }
}

impl<T: Whole> Assembler<T> {
    /// Takes a part; the whole message once the last one is there.
    pub fn take(&mut self, piece: Piece<T>) -> Option<T> {
        let mark = piece.content.mark();
        let mut begun = match self.begun.take() {
            _ if piece.part == 0 => piece,
            Some((mut begun, known))
                if known == mark && begun.parts == piece.parts && begun.part + 1 == piece.part =>
            {
                begun.content.absorb(piece.content);
                begun.part = piece.part;
                begun
            }
            Some(_) | None => return None,
        };
        if begun.part + 1 >= begun.parts {
            return Some(begun.content);
        }
        begun.parts = begun.parts.min(PARTS);
        self.begun = Some((begun, mark));
        None
    }
}
