//! `edgeio_http_request_seconds`, and the text form of a registry.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, HistogramOpts, HistogramVec, Registry, TextEncoder};
use protocol::problem::Problem;

use crate::ApiError;

/// Seconds: from what a read of memory takes to the longest body.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// The request metrics of one service. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    seconds: HistogramVec,
}

impl Metrics {
    /// Adds `edgeio_http_request_seconds{route,status}` to a registry.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "edgeio_http_request_seconds",
            "Time from a request's header to the header of its answer, in seconds",
        )
        .buckets(BUCKETS.to_vec());
        let seconds = HistogramVec::new(options, &["route", "status"])?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { seconds })
    }
}

/// Measures a request under its route's pattern, so that names of jobs make no new series.
pub(crate) async fn track(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let started = Instant::now();
    let response = next.run(request).await;
    metrics
        .seconds
        .with_label_values(&[route.as_str(), response.status().as_str()])
        .observe(started.elapsed().as_secs_f64());
    response
}

/// The answer of `/metrics`: everything in the registry, in Prometheus' text format.
pub fn render(registry: &Registry) -> Response {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    match encoder.encode(&registry.gather(), &mut text) {
        Ok(()) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            (StatusCode::OK, [(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            ApiError::from(Problem::internal()).into_response()
        }
    }
}
