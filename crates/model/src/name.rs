//! Names of jobs, services, clusters and workers.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name: 1 to 63 characters of `A-Z a-z 0-9 _ . -`, first and last alphanumeric. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name: use 1 to 63 characters of A-Z a-z 0-9 _ . - with a letter or digit first and last"
)]
pub struct NameError {
    text: String,
}

impl Name {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// When the text has other characters, the wrong length or ends.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let fits = (1..=63).contains(&text.len())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            && ends_well(text.chars().next())
            && ends_well(text.chars().next_back());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError {
                text: text.chars().take(80).collect(),
            })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first user.
pub fn first_user() -> Name {
    Name("admin".into())
}

/// A value before every name, for the start of ranges; it is no name itself.
pub fn least() -> Name {
    Name("".into())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_follow_the_contract() {
        for good in [
            "a",
            "image_detection",
            "e580",
            "a.b-c_d",
            "A9",
            &"x".repeat(63),
        ] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../../etc/x",
            "a/b",
            "-a",
            "a-",
            "ä",
            "a b",
            "a\n",
            &"x".repeat(64),
            "😀",
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
