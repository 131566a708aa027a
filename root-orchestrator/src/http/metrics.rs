//! `GET /metrics`.

use axum::extract::State;
use axum::response::Response;
use orchestrator::http::refusal::unavailable;
use rest::ApiError;

use super::Service;
use crate::metrics::Seen;

/// `GET /metrics`.
pub(super) async fn show(State(service): State<Service>) -> Result<Response, ApiError> {
    let handle = service.handle.clone();
    let read = move |core: &root_core::State, _| Seen::of(core, &handle);
    let seen = service.handle.read(read).await.map_err(unavailable)?;
    let _turn = service.metrics.common.exclusively();
    service.metrics.show(&seen);
    Ok(rest::render_metrics(&service.metrics.common.registry))
}
