//! Every refusal: a problem, as `application/problem+json`.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::problem::{MEDIA_TYPE, Problem};

/// A refused request. 429 and 503 carry `Retry-After`, 401 says how to prove oneself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What is told to the client.
    pub problem: Box<Problem>,
    /// Seconds after which it may try again; [`ApiError::RETRY_AFTER`] where nothing else is known.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// Seconds in `Retry-After`, where nothing else is known.
    pub const RETRY_AFTER: u32 = 1;

    /// Whether a refusal of this status carries `Retry-After`.
    pub const fn waits(status: u16) -> bool {
        matches!(status, 429 | 503)
    }

    /// With another time to wait, in seconds.
    #[must_use]
    pub fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let wait = Self::waits(problem.status);
        Self {
            problem: Box::new(problem),
            retry_after: wait.then_some(Self::RETRY_AFTER),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
