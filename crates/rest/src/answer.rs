//! Answers in the form that the client asked for.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::document::Format;
use protocol::problem::Problem;
use serde::Serialize;

use crate::ApiError;

/// The form of the answer: YAML where `Accept` prefers it to JSON, else JSON. An extractor that never refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept(pub Format);

impl Accept {
    /// What these headers ask for.
    pub fn of(headers: &HeaderMap) -> Self {
        let ranges = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let (mut json, mut yaml) = (0.0_f32, 0.0_f32);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight: f32 = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1.0, |text| text.parse().unwrap_or(0.0));
            match media.as_str() {
                "application/yaml" | "application/x-yaml" | "text/yaml" => yaml = weight.max(yaml),
                "application/json" | "application/*" | "*/*" => json = weight.max(json),
                _ => {}
            }
        }
        Self(if yaml > json {
            Format::Yaml
        } else {
            Format::Json
        })
    }

    /// 200 with this body.
    pub fn ok(self, body: &impl Serialize) -> Response {
        self.answer(StatusCode::OK, body)
    }

    /// 201 with this body, and where to look it up from now on.
    pub fn created(self, location: &str, body: &impl Serialize) -> Response {
        self.located(StatusCode::CREATED, location, body)
    }

    /// 202 with this body, and where to look it up from now on.
    pub fn accepted(self, location: &str, body: &impl Serialize) -> Response {
        self.located(StatusCode::ACCEPTED, location, body)
    }

    fn located(self, status: StatusCode, location: &str, body: &impl Serialize) -> Response {
        let mut response = self.answer(status, body);
        if let Ok(location) = HeaderValue::from_str(location) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// This status with this body. A body that cannot be written is a bug and answered by 500.
    pub fn answer(self, status: StatusCode, body: &impl Serialize) -> Response {
        match self.0 {
            Format::Json => (status, axum::Json(body)).into_response(),
            Format::Yaml => match protocol::rest::to_yaml(body) {
                Ok(text) => {
                    let kind = HeaderValue::from_static("application/yaml");
                    (status, [(CONTENT_TYPE, kind)], text).into_response()
                }
                Err(error) => {
                    tracing::error!(%error, "cannot write an answer as YAML");
                    ApiError::from(Problem::internal()).into_response()
                }
            },
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Accept {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}
