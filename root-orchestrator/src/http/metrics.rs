//! `GET /metrics`.

use axum::extract::State;
use axum::response::Response;
use orchestrator::http::refusal::unavailable;
use rest::ApiError;

use super::Service;
use crate::metrics::Seen;

/// `GET /metrics`.
pub(super) async fn show(State(service): State<Service>) -> Result<Response, ApiError> {
    let seen = service.handle.read(|core, _now| Seen::of(core)).await;
    service.metrics.show(&seen.map_err(unavailable)?);
    Ok(rest::render_metrics(&service.metrics.common.registry))
}
