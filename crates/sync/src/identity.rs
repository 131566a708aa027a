//! Incarnations, terms and digests.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

macro_rules! hex128 {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                match u128::from_str_radix(&text, 16) {
                    Ok(bits) if text.len() == 32 => Ok(Self(bits)),
                    _ => Err(format!("{text:?} is not 32 hexadecimal digits")),
                }
            }
        }
    };
}

/// The identity of a store: random, made when it is created or restored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Incarnation(pub u128);
hex128!(Incarnation);

/// The digest of a set: the wrapping sum of its items' marks, so that it is kept incrementally.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub u128);
hex128!(Digest);

impl Digest {
    /// With one more item.
    #[must_use]
    pub const fn plus(self, mark: Self) -> Self {
        Self(self.0.wrapping_add(mark.0))
    }

    /// With one item less.
    #[must_use]
    pub const fn minus(self, mark: Self) -> Self {
        Self(self.0.wrapping_sub(mark.0))
    }
}

/// The mark of an item: the first 16 bytes of SHA-256 over its parts joined by `|`.
pub fn mark(parts: &[&dyn fmt::Display]) -> Digest {
    let mut text = String::with_capacity(96);
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            text.push('|');
        }
        // Writing into a String cannot fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{part}"));
    }
    let hash = Sha256::digest(text.as_bytes());
    let mut first = [0u8; 16];
    first
        .iter_mut()
        .zip(hash.iter())
        .for_each(|(to, from)| *to = *from);
    Digest(u128::from_be_bytes(first))
}

/// One run of an orchestrator on its store: a number that grows, a random nonce, and the nonces of the runs before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Term {
    /// Greater for each start.
    pub number: u64,
    /// Random for each start.
    pub nonce: u64,
    /// Nonces of up to 16 earlier runs, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<u64>,
}

/// One run of a store, as others remember it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Of the store.
    pub incarnation: Incarnation,
    /// Number of its term.
    pub number: u64,
    /// Nonce of its term.
    pub nonce: u64,
}

impl Run {
    /// The run of that term.
    pub const fn of(incarnation: Incarnation, term: &Term) -> Self {
        Self {
            incarnation,
            number: term.number,
            nonce: term.nonce,
        }
    }

    /// Whether the run of `term` on that store does not descend from this one, though it is the same store's: one of
    /// the two is of an older copy.
    pub fn overtakes(&self, incarnation: Incarnation, term: &Term) -> bool {
        self.incarnation == incarnation && term.is_overtaken_by(self.number, self.nonce)
    }
}

/// How a term that was met relates to the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermOrder {
    /// The same run.
    Same,
    /// A later run of the same store.
    Later,
    /// An earlier run of the same store: its sender is superseded.
    Superseded,
    /// Neither descends from the other: two copies of one store.
    Diverged,
}

impl Term {
    /// How many earlier nonces are carried.
    pub const HISTORY: usize = 16;

    /// The term of the next start, with a new random nonce.
    #[must_use]
    pub fn next(&self, nonce: u64) -> Self {
        let mut history = self.history.clone();
        if self.number > 0 {
            history.push(self.nonce);
        }
        let surplus = history.len().saturating_sub(Self::HISTORY);
        history.drain(..surplus);
        Self {
            number: self.number.saturating_add(1),
            nonce,
            history,
        }
    }

    /// Whether the run of this number and nonce, of the same store, is none that this run descends from: somebody went
    /// on with another copy of the store, or this run's store is an older copy.
    ///
    /// One that was too long ago to be remembered is taken for a forerunner.
    pub fn is_overtaken_by(&self, number: u64, nonce: u64) -> bool {
        let oldest = self.number.saturating_sub(self.history.len() as u64);
        nonce != self.nonce && number >= oldest && !self.history.contains(&nonce)
    }

    /// Compares the term `met` in a message with this one, the latest known.
    pub fn order(&self, met: &Self) -> TermOrder {
        if met.nonce == self.nonce {
            TermOrder::Same
        } else if self.number == 0 || met.history.contains(&self.nonce) {
            TermOrder::Later
        } else if self.history.contains(&met.nonce) {
            TermOrder::Superseded
        } else {
            TermOrder::Diverged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_one_store_are_ordered_and_copies_diverge() {
        let first = Term::default().next(11);
        let second = first.next(12);
        assert_eq!(first.order(&second), TermOrder::Later);
        assert_eq!(second.order(&first), TermOrder::Superseded);
        assert_eq!(second.order(&second), TermOrder::Same);
        // A copy of the store, started elsewhere.
        let copy = first.next(13);
        assert_eq!(second.order(&copy), TermOrder::Diverged);
        assert_eq!(Term::default().order(&copy), TermOrder::Later);
    }

    #[test]
    fn a_run_knows_those_that_it_does_not_descend_from() {
        let first = Term::default().next(11);
        let second = first.next(12);
        let copy = first.next(13).next(14);
        for (run, other, overtaken) in [
            (&second, &first, false),
            (&second, &second, false),
            (&first, &second, true),
            (&second, &copy, true),
            (&copy, &second, true),
        ] {
            let is = run.is_overtaken_by(other.number, other.nonce);
            assert_eq!(is, overtaken, "{run:?} by {other:?}");
        }
        // Too long ago to be named.
        let late = (1..=40).fold(Term::default(), |term, nonce| term.next(nonce));
        assert!(!late.is_overtaken_by(12, 12));
        assert!(late.is_overtaken_by(39, 12));
    }

    #[test]
    fn only_the_last_sixteen_runs_are_carried() {
        let late = (1..=40).fold(Term::default(), |term, nonce| term.next(nonce));
        assert_eq!(late.history, (24..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_digest_is_a_sum_in_any_order() {
        let (a, b) = (mark(&[&"a", &1]), mark(&[&"b", &2]));
        assert_eq!(Digest::default().plus(a).plus(b).minus(a), b);
        assert_ne!(mark(&[&"ab", &"c"]), mark(&[&"a", &"bc"]));
    }
}
