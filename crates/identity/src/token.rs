//! What lets a machine join.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::id::JoinTokenId;
use sha2::{Digest as _, Sha256};

use crate::pin::Pin;

/// Bytes of a token's text at most.
const LIMIT: usize = 2_048;
/// Addresses in a token at most.
const PLACES: usize = 8;
/// What every token begins with; another number is another form.
const FORM: &str = "eio1";

/// The right to join, for a while and so many times: `eio1.<for>.<where>.<pin>.<id>.<secret>`.
///
/// `<for>` is `cluster` or `worker`; `<where>` are the addresses to dial, `host:port` parted by commas, in base64url;
/// `<pin>` is the [`Pin`] of the authority there, so that the secret goes to nobody else; the id tells which token it is, and is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What may be joined with it.
    pub joining: Joining,
    /// Where to dial, the likeliest first: `host:port`.
    pub places: Vec<String>,
    /// Who must answer there.
    pub pin: Pin,
    /// Which token it is.
    pub id: JoinTokenId,
    /// What only its holder knows.
    pub secret: Secret,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Joining {
    /// A cluster joins a root.
    Cluster,
    /// A worker joins a cluster.
    Worker,
}

/// 256 random bits. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error("a join token begins with {FORM}. and is made by `edgeio token create`")]
    Form,
    /// A part is missing, cut off, or one too many.
    #[error(
        "the join token is not whole: its {part} cannot be read; copy it again from end to end"
    )]
    Part {
        /// Which part, in words.
        part: &'static str,
    },
}

impl Joining {
    fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Worker => "worker",
        }
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn make() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// What is kept of it by those who made it: SHA-256, which is enough for 256 random bits.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// The secret as it goes over the wire, in base64url.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads what [`Secret::reveal`] wrote; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl JoinToken {
    /// The whole token, the secret with it.
    pub fn reveal(&self) -> String {
        let places = URL_SAFE_NO_PAD.encode(self.places.join(","));
        let Self { pin, id, .. } = self;
        let (joining, secret) = (self.joining.word(), self.secret.reveal());
        format!("{FORM}.{joining}.{places}.{pin}.{id}.{secret}")
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let part = |part| TokenError::Part { part };
        let text = text.trim();
        let rest = text
            .strip_prefix(FORM)
            .and_then(|rest| rest.strip_prefix('.'))
            .ok_or(TokenError::Form)?;
        if text.len() > LIMIT {
            return Err(part("length"));
        }
        let mut parts = rest.split('.');
        let mut next = |name| parts.next().ok_or_else(|| part(name));
        let joining = match next("purpose")? {
            "cluster" => Joining::Cluster,
            "worker" => Joining::Worker,
            _ => return Err(part("purpose")),
        };
        let places = places(next("address")?).ok_or_else(|| part("address"))?;
        let pin = next("authority")?.parse().map_err(|_| part("authority"))?;
        let id = next("id")?.parse().map_err(|_| part("id"))?;
        let secret = Secret::read(next("secret")?).ok_or_else(|| part("secret"))?;
        if parts.next().is_some() {
            return Err(part("end"));
        }
        Ok(Self {
            joining,
            places,
            pin,
            id,
            secret,
        })
    }
}

fn places(part: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    let places: Vec<_> = text.split(',').map(str::to_owned).collect();
    let usable = |place: &String| {
        let end = place.rsplit_once(':');
        let port = end.and_then(|(_, port)| port.parse::<u16>().ok());
        let host = end.map_or("", |(host, _)| host);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        port.is_some_and(|port| port != 0) && !host.is_empty() && host.chars().all(plain)
    };
    (places.len() <= PLACES && places.iter().all(usable)).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            joining: Joining::Worker,
            places: vec![
                "192.0.2.7:10001".to_owned(),
                "[2001:db8::1]:10001".to_owned(),
            ],
            pin: "A".repeat(43).parse().unwrap(),
            id: JoinTokenId::from_bits(1),
            secret: Secret([7; 32]),
        }
    }

    #[test]
    fn a_token_survives_its_text_and_white_space_around_it() {
        let token = token();
        let text = token.reveal();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(&token.secret.reveal()));
    }

    #[test]
    fn what_is_cut_off_swapped_or_too_much_is_refused_and_the_part_is_named() {
        let text = token().reveal();
        for cut in 0..text.len() {
            assert!(text[..cut].parse::<JoinToken>().is_err(), "{cut}");
        }
        let cases = [
            (text.replacen("eio1", "EIO1", 1), TokenError::Form),
            (text.replacen("eio1", "eio2", 1), TokenError::Form),
            (
                text.replacen("worker", "Worker", 1),
                TokenError::Part { part: "purpose" },
            ),
            (
                text.replacen("worker", "root", 1),
                TokenError::Part { part: "purpose" },
            ),
            (format!("{text}.x"), TokenError::Part { part: "end" }),
            (format!("{text}x"), TokenError::Part { part: "secret" }),
            (
                text.replacen('.', "..", 1),
                TokenError::Part { part: "purpose" },
            ),
            (
                format!("{text}{}", "x".repeat(LIMIT)),
                TokenError::Part { part: "length" },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<JoinToken>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn an_address_that_nobody_can_dial_is_refused() {
        for bad in [
            "",
            "host",
            "host:",
            "host:0",
            "host:70000",
            ":1",
            "a b:1",
            "http://a:1",
            "a@b:1",
            "a:1,",
        ] {
            let token = JoinToken {
                places: vec![bad.to_owned()],
                ..token()
            };
            assert_eq!(
                token.reveal().parse::<JoinToken>(),
                Err(TokenError::Part { part: "address" }),
                "{bad}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(eio1\\.)?(worker|cluster)?[.A-Za-z0-9_-]{0,300}") {
            let _ = text.parse::<JoinToken>();
        }
    }
}
