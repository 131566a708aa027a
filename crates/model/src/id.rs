//! Typed ids: `<kind>_<ULID>`, unique everywhere (protocol, section 1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind} id; one looks like {kind}_01HV6Z3K8Q2M4N5P6R7S8T9VWX")]
pub struct IdError {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($name:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// The text before the underscore.
            pub const KIND: &'static str = $kind;

            /// An id of these 128 bits; the shells mint them (48 bits of milliseconds, 80 random bits).
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// An id whose time part is `at` and whose rest are the low 80 bits of `seed`: how a core makes one.
            pub const fn derived(at: crate::time::Wall, seed: u128) -> Self {
                Self(((at.0 as u128 & 0xffff_ffff_ffff) << 80) | (seed & ((1 << 80) - 1)))
            }

            /// The 128 bits, for compact keys on disk.
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// The last eight characters: enough to tell copies apart in names that people read.
            pub fn short(self) -> String {
                let text = Ulid(self.0).to_string().to_lowercase();
                text.chars().skip(18).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, "_{}"), Ulid(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($kind, "_"))
                    .filter(|ulid| ulid.len() == 26)
                    // 26 letters hold 130 bits; what is beyond 128 would be cut off, and be another id.
                    .filter(|ulid| ulid.as_bytes().first() <= Some(&b'7'))
                    .and_then(|ulid| Ulid::from_string(ulid).ok())
                    .map(|ulid| Self(ulid.0))
                    .ok_or_else(|| IdError {
                        kind: $kind,
                        text: text.to_owned(),
                    })
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

id!(JobId, "job", "A submitted job.");
id!(
    InstanceId,
    "ins",
    "One copy placed for a slot; made when it is placed and never used again."
);
id!(
    NodeId,
    "node",
    "A worker; made once and kept in its data directory for ever."
);
id!(ClusterId, "cl", "A cluster, as its root knows it.");
id!(
    JoinTokenId,
    "join",
    "A join token; no secret, unlike the rest of it."
);
id!(
    EventId,
    "evt",
    "An event of a job's history; greater ids are later ones of the same issuer."
);

id!(
    TokenId,
    "tok",
    "A token of a user, or an invitation; public, its secret is not."
);

id!(
    SecretVersion,
    "sec",
    "One value of a secret; public, the value is not."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = NodeId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
        assert_eq!(id.to_string().len(), 31);
        assert_eq!(id.short().len(), 8);
    }

    #[test]
    fn another_kind_or_garbage_is_refused_with_an_example() {
        let job = JobId::from_bits(7).to_string();
        assert!(
            job.parse::<NodeId>()
                .unwrap_err()
                .to_string()
                .contains("node_01")
        );
        for text in [
            "",
            "node_",
            "node_0",
            "node_8ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "node_80000000000000000000000009",
            "node_!!!!!!!!!!!!!!!!!!!!!!!!!!",
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }
}
