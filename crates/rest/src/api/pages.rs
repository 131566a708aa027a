//! The pages by which a service describes itself: they come with a tag, so that asking again is cheap.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::input::{Input, Taken};
use super::{Api, op};
use crate::guard::Need;

const HTML: &str = include_str!("docs.html");
const SCRIPT: &str = include_str!("docs.js");
const STYLE: &str = include_str!("docs.css");

/// All that the page needs comes from here, nothing stands inline, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Any JSON object: the shape of a description.
#[derive(JsonSchema)]
#[schemars(transparent, inline)]
struct Object(#[expect(dead_code, reason = "only its schema is asked for")] Map<String, Value>);

/// The OpenAPI document as it is sent.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(document: &Value) -> Self {
        Self(Bytes::from(document.to_string()))
    }
}

impl<T> Input for Extension<T> {
    fn describe(_taken: &mut Taken) {}
}

/// `If-None-Match`, as text; empty where there is none.
struct Seen(String);

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let tags = parts.headers.get(IF_NONE_MATCH);
        let tags = tags.and_then(|tags| tags.to_str().ok()).unwrap_or_default();
        Ok(Self(tags.to_owned()))
    }
}

impl Input for Seen {
    fn describe(taken: &mut Taken) {
        taken.header(
            "If-None-Match",
            "The `ETag` of what the client has: nothing is sent again that did not change.",
            json!({"type": "string"}),
        );
    }
}

/// Adds the pages to a service.
pub(super) fn add<S: Clone + Send + Sync + 'static>(api: Api<S>) -> Api<S> {
    let described = |summary, about| {
        let tagged = op(summary)
            .needs(Need::Nothing)
            .empty(304, "It is still what the client has");
        tagged
            .header(200, "ETag", "What to send as `If-None-Match`")
            .about(about)
    };
    let file = |summary, media, what| described(summary, "").text(media, what);
    api.get(
        "/openapi.json",
        |Extension(document): Extension<Document>, seen: Seen| async move {
            page(document.0, "application/json", &seen)
        },
        described(
            "Get the description",
            "OpenAPI 3.1: every path that is served here.",
        )
        .answers::<Object>(200, "The document"),
    )
    .get(
        "/api/v1/schema/job",
        |seen: Seen| async move {
            let schema = protocol::document::schema::JOB;
            page(Bytes::from_static(schema.as_bytes()), SCHEMA_TYPE, &seen)
        },
        described(
            "Get the schema of documents",
            "JSON Schema 2020-12 of the documents that `POST /api/v1/jobs` takes.",
        )
        .json::<Object>(SCHEMA_TYPE, "The schema"),
    )
    .get(
        "/docs",
        |seen: Seen| async move { text(HTML, "text/html; charset=utf-8", &seen) },
        file(
            "Show the docs page",
            "text/html",
            "A page that shows all this, and tries it",
        ),
    )
    .get(
        "/docs/page.js",
        |seen: Seen| async move { text(SCRIPT, "text/javascript; charset=utf-8", &seen) },
        file(
            "Get the script of the docs page",
            "text/javascript",
            "Its script",
        ),
    )
    .get(
        "/docs/page.css",
        |seen: Seen| async move { text(STYLE, "text/css; charset=utf-8", &seen) },
        file("Get the style of the docs page", "text/css", "Its style"),
    )
}

const SCHEMA_TYPE: &str = "application/schema+json";

fn text(body: &'static str, media_type: &'static str, seen: &Seen) -> Response {
    page(Bytes::from_static(body.as_bytes()), media_type, seen)
}

/// 200 with the page, or 304 where the client has it already.
fn page(body: Bytes, media_type: &'static str, seen: &Seen) -> Response {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = seen
        .0
        .split(',')
        .map(str::trim)
        .any(|each| each == "*" || each.strip_prefix("W/").unwrap_or(each) == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    for (name, value) in [
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
