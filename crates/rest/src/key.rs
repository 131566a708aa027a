//! `Idempotency-Key`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use protocol::problem::Problem;

use crate::ApiError;

/// `Idempotency-Key`, where there is one: 1 to 255 visible ASCII characters. Another one is refused by 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut given = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = given.next() else {
            return Ok(Self(None));
        };
        let visible =
            (1..=255).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
        match key.to_str() {
            Ok(key) if visible && given.next().is_none() => Ok(Self(Some(key.to_owned()))),
            _ => Err(Problem::bad_request(
                "an Idempotency-Key has 1 to 255 visible ASCII characters, and a request has one at most; send another",
            )
            .into()),
        }
    }
}
