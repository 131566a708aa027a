//! Request bodies: bounded in size and time, of a known form.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use model::job::JobSpec;
use protocol::document::{self, Format, Options};
use protocol::problem::Problem;

use crate::ApiError;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// How long a client may take to send its body.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request's body and how it is written. As an extractor it must be the last argument of a handler.
///
/// Refusals: 408 after 30 s, 413 above [`MAX_BODY`], 415 for types and encodings that are not read.
#[derive(Debug, Clone)]
pub struct Body {
    /// As sent.
    pub bytes: Bytes,
    /// YAML or JSON.
    pub format: Format,
}

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, _state: &S) -> Result<Self, ApiError> {
        let format = format(request.headers())?;
        DefaultBodyLimit::max(MAX_BODY).apply(&mut request);
        let reading = Bytes::from_request(request, &());
        let bytes = tokio::time::timeout(TIMEOUT, reading)
            .await
            .map_err(|_late| {
                Problem::new(
                    408,
                    "request_timeout",
                    "the body did not arrive within 30 seconds; send it again",
                )
            })?
            .map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MAX_BODY),
                _ => Problem::bad_request("the body broke off; send it again"),
            })?;
        Ok(Self { bytes, format })
    }
}

fn format(headers: &HeaderMap) -> Result<Format, ApiError> {
    // A header that is given twice is one list (RFC 9110, section 5.3), and none is ignored.
    let text = |name: &HeaderName| {
        let values = headers.get_all(name).iter();
        let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        texts.reduce(|all, one| format!("{all}, {one}").into())
    };
    if let Some(encoding) = text(&CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
        return Err(Problem::unsupported_media_type(&encoding).into());
    }
    let given = text(&CONTENT_TYPE);
    Format::of_content_type(given.as_deref())
        .ok_or_else(|| Problem::unsupported_media_type(&given.unwrap_or_default()).into())
}

/// Reads a body of 1 to 100 documents.
///
/// # Errors
/// 400 with all faults.
pub fn job_documents(body: &Body, options: Options) -> Result<Vec<JobSpec>, ApiError> {
    document::parse(&body.bytes, body.format, options)
        .map_err(|faults| Problem::bad_document(faults).into())
}

/// Reads a body that must be one document.
///
/// # Errors
/// 400 with all faults, or when there are several documents.
pub fn job_document(body: &Body, options: Options) -> Result<JobSpec, ApiError> {
    let mut jobs = job_documents(body, options)?;
    match (jobs.pop(), jobs.is_empty()) {
        (Some(job), true) => Ok(job),
        (_, _) => Err(Problem::bad_request(
            "this path takes one document; POST /api/v1/jobs takes several",
        )
        .into()),
    }
}
