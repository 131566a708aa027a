//! Words that may be of a newer program.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, IntoDeserializer, Visitor};
use serde::{Serialize, Serializer};

use super::count_word;

/// The longest word that is read.
const LONGEST: usize = 64;

/// A word that this program knows, or the one that a newer program said.
///
/// Whoever reads it decides what an unknown one means for its entry. The word itself is kept, since digests cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken<T> {
    /// Known.
    Known(T),
    /// Of a newer program.
    Newer(String),
}

impl<T: Default> Default for Spoken<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

impl<T> From<T> for Spoken<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Serialize> Serialize for Spoken<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => value.serialize(serializer),
            Self::Newer(word) => serializer.serialize_str(word),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Spoken<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Word(PhantomData))
    }
}

struct Word<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for Word<T> {
    type Value = Spoken<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Spoken<T>, E> {
        let known: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        if let Ok(value) = T::deserialize(known) {
            return Ok(Spoken::Known(value));
        }
        let is_word = (1..=LONGEST).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_word {
            return Err(E::custom("a word has 1 to 64 letters, digits and _"));
        }
        count_word(text);
        Ok(Spoken::Newer(text.to_owned()))
    }
}
