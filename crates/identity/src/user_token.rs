//! What a user's program proves itself with.

use std::fmt;
use std::str::FromStr;

use model::id::TokenId;
use sha2::{Digest as _, Sha256};

use crate::token::Secret;

/// What every user's token begins with: programs that look for secrets where none should be know them by it.
const FORM: &str = "eio_pat_";
/// Characters of an id without its kind.
const ID: usize = 26;
/// Characters of a secret.
const SECRET: usize = 43;
/// Characters of the sum.
const SUM: usize = 8;

/// A token of a user, or an invitation: `eio_pat_<id>_<secret>_<sum>`. The sum tells a text that was copied badly from one that
/// is not known; it is no secret's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToken {
    /// Which token it is.
    pub id: TokenId,
    /// What only its holder knows.
    pub secret: Secret,
}

/// The text is no token, or was not copied whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token is not one of edgeIO's, or was not copied from end to end; it begins with {FORM}"
)]
pub struct UserTokenError;

impl UserToken {
    /// The whole token, the secret with it.
    pub fn reveal(&self) -> String {
        let body = self.body();
        let sum = sum(&body);
        format!("{body}_{sum}")
    }

    fn body(&self) -> String {
        let id = self.id.to_string();
        let id = id.trim_start_matches(TokenId::KIND).trim_start_matches('_');
        format!("{FORM}{id}_{}", self.secret.reveal())
    }
}

fn sum(body: &str) -> String {
    let digest = Sha256::digest(body);
    let mut sum = String::with_capacity(SUM);
    for byte in digest.iter().take(SUM / 2) {
        for half in [byte >> 4, byte & 15] {
            sum.extend(char::from_digit(u32::from(half), 16));
        }
    }
    sum
}

impl FromStr for UserToken {
    type Err = UserTokenError;

    fn from_str(text: &str) -> Result<Self, UserTokenError> {
        let read = || {
            let text = text.trim();
            let rest = text.strip_prefix(FORM)?;
            // The secret may have underscores of its own.
            let (id, rest) = rest.split_at_checked(ID)?;
            let (secret, rest) = rest.strip_prefix('_')?.split_at_checked(SECRET)?;
            let given = rest.strip_prefix('_')?;
            let token = Self {
                id: format!("{}_{id}", TokenId::KIND).parse().ok()?,
                secret: Secret::read(secret)?,
            };
            (sum(&token.body()) == given).then_some(token)
        };
        read().ok_or(UserTokenError)
    }
}

impl fmt::Display for UserToken {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> UserToken {
        UserToken {
            id: TokenId::from_bits(0x0123_4567_89ab_cdef),
            secret: Secret::make().unwrap(),
        }
    }

    #[test]
    fn a_token_survives_its_text_and_hides_its_secret() {
        for _ in 0..100 {
            let token = token();
            let text = token.reveal();
            assert_eq!(text.parse(), Ok(token.clone()));
            assert_eq!(format!("{text}\n").parse(), Ok(token.clone()));
            assert_eq!(text.len(), FORM.len() + ID + SECRET + SUM + 2);
            let shown = format!("{token} {token:?}");
            assert!(!shown.contains(&token.secret.reveal()), "{shown}");
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_is_refused() {
        let text = token().reveal();
        for cut in 0..text.len() {
            assert_eq!(text[..cut].parse::<UserToken>(), Err(UserTokenError));
            let mut changed = text.clone().into_bytes();
            changed[cut] = if changed[cut] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<UserToken>(), Err(UserTokenError), "{cut}");
        }
        assert_eq!(format!("{text}0").parse::<UserToken>(), Err(UserTokenError));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(eio_pat_)?[0-9A-Za-z_äß-]{0,120}") {
            let _ = text.parse::<UserToken>();
        }
    }
}
