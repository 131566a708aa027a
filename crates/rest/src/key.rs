//! `Idempotency-Key`: honoured or refused, never ignored.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use protocol::problem::Problem;

use crate::ApiError;

/// Refuses a request with an `Idempotency-Key`: 501, since a key that is not kept must not be taken for one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

impl<S: Sync> FromRequestParts<S> for NoKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if !parts.headers.contains_key("idempotency-key") {
            return Ok(Self);
        }
        let detail = "Idempotency-Key is not supported yet; job names are unique, so a repeated POST is answered by 409";
        Err(Problem::new(501, "not_implemented", detail).into())
    }
}
