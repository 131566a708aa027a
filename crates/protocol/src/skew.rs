//! What a newer program says that this one does not know: ignored or read as its nearest meaning, and counted.
//!
//! Neighbours in a fleet are of different versions while it is updated. Documents refuse what is unknown, since a user
//! asked for it; workloads are refused by their hash; stores of a newer schema are not opened. Everything else that a
//! neighbour says in addition must not make the rest of its message unreadable.
//!
//! # Guarantees
//! - A field that no message of this version has at that place is ignored and counted, whatever it holds.
//! - A word of a state, role, reason, transport or policy that this version does not have changes the meaning of its own
//!   entry only, and is counted.
//! - Counting costs no pass of its own: it shares the one that reads the version, and looks at the first few items of a
//!   list, since one sender's items have the same fields. Counts therefore say that there is something, not how much.

mod fields;
mod words;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[cfg(test)]
pub(crate) use fields::{FIELDS, is_leaf};
pub use words::Spoken;

/// Items of a list that are looked at.
const ITEMS: usize = 4;
/// Levels of a message that are looked at; deeper ones are ignored whole.
const DEPTH: usize = 8;
/// Characters of a name that are kept.
const NAME: usize = 64;

#[cfg(not(test))]
static COUNTS: Counts = Counts::new();

// Tests run side by side: each has counts of its own, which are those of its thread.
#[cfg(test)]
thread_local! {
    static OWN: Counts = const { Counts::new() };
}

/// What was counted.
struct Counts {
    fields: AtomicU64,
    words: AtomicU64,
    last: Mutex<Option<String>>,
}

impl Counts {
    const fn new() -> Self {
        Self {
            fields: AtomicU64::new(0),
            words: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }
}

#[cfg(not(test))]
fn with<T>(read: impl FnOnce(&Counts) -> T) -> T {
    read(&COUNTS)
}

#[cfg(test)]
fn with<T>(read: impl FnOnce(&Counts) -> T) -> T {
    OWN.with(read)
}

/// Unknown fields that were seen in messages of neighbours since this process began (`edgeio_unknown_fields_total`).
pub fn unknown_fields() -> u64 {
    with(|counts| counts.fields.load(Ordering::Relaxed))
}

/// Unknown words that were read as their nearest meaning since this process began (`edgeio_unknown_words_total`).
pub fn unknown_words() -> u64 {
    with(|counts| counts.words.load(Ordering::Relaxed))
}

/// The last such field (`states.report.mood`) or word, for a log line; one line of at most 64 characters.
pub fn last_unknown() -> Option<String> {
    with(|counts| {
        let last = counts.last.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    })
}

/// Counts a word that is not known.
pub(crate) fn count_word(word: &str) {
    with(|counts| counts.words.fetch_add(1, Ordering::Relaxed));
    remember(word);
}

fn remember(name: &str) {
    let short = name.chars().flat_map(char::escape_debug).take(NAME);
    with(|counts| {
        let mut last = counts.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(short.collect());
    });
}

/// What a first look at a message says.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Its version.
    pub(crate) version: Option<u64>,
    /// Fields that this program does not know.
    unknown: u64,
    /// The first of them.
    first: Option<String>,
}

impl Look {
    /// Looks at a message, which is an object with a version.
    ///
    /// # Errors
    /// When it is no object, has no version or two, or is no JSON.
    pub(crate) fn at<'de, D: Deserializer<'de>>(message: D) -> Result<Self, D::Error> {
        let mut look = Self::default();
        message.deserialize_map(Walk {
            look: &mut look,
            parent: "",
            depth: 0,
        })?;
        if look.version.is_none() {
            return Err(D::Error::missing_field("version"));
        }
        Ok(look)
    }

    /// How many fields are not known.
    #[cfg(test)]
    pub(crate) const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Adds what was found to the counts.
    pub(crate) fn count(&self) {
        if self.unknown > 0 {
            with(|counts| counts.fields.fetch_add(self.unknown, Ordering::Relaxed));
            remember(self.first.as_deref().unwrap_or_default());
        }
    }
}

/// Walks over a value that stands in the field `parent`.
struct Walk<'l> {
    look: &'l mut Look,
    parent: &'static str,
    depth: usize,
}

impl Walk<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: Key, map: &mut A) -> Result<(), A::Error> {
        match key {
            Key::Version if self.depth == 0 => {
                let version = map.next_value();
                let version =
                    version.map_err(|error| A::Error::custom(format_args!("version: {error}")))?;
                if self.look.version.replace(version).is_some() {
                    return Err(A::Error::duplicate_field("version"));
                }
                Ok(())
            }
            Key::Known(field) if self.depth < DEPTH => map.next_value_seed(Walk {
                look: &mut *self.look,
                parent: field,
                depth: self.depth + 1,
            }),
            Key::Known(_) | Key::Version => map.next_value::<IgnoredAny>().map(|_| ()),
            Key::Unknown(name) => {
                self.look.unknown += 1;
                let parent = self.parent;
                let dot = if parent.is_empty() { "" } else { "." };
                self.look
                    .first
                    .get_or_insert_with(|| format!("{parent}{dot}{name}"));
                map.next_value::<IgnoredAny>().map(|_| ())
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        if fields::is_leaf(self.parent) {
            value.deserialize_ignored_any(IgnoredAny).map(|_| ())
        } else {
            value.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message: an object with a version")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(ReadKey(self.parent))? {
            self.field(key, &mut map)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for _ in 0..ITEMS {
            let item = Walk {
                look: &mut *self.look,
                ..self
            };
            if list.next_element_seed(item)?.is_none() {
                return Ok(());
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// What a key is at its place.
enum Key {
    Version,
    Known(&'static str),
    Unknown(String),
}

/// Reads a key of an object that stands in this field.
struct ReadKey(&'static str);

impl<'de> DeserializeSeed<'de> for ReadKey {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Key, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match fields::known(self.0, key) {
            Some("version") if self.0.is_empty() => Key::Version,
            Some(field) => Key::Known(field),
            None => Key::Unknown(key.chars().take(NAME).collect()),
        })
    }
}

#[cfg(test)]
mod tests;
