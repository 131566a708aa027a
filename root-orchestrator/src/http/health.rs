//! Liveness, readiness, metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use rest::{Accept, ApiError};
use serde::Serialize;

use super::Service;
use super::refusal::unavailable;
use crate::controller::Unavailable;
use crate::metrics::Counts;

/// A controller that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    /// What is missing.
    missing: Vec<&'static str>,
}

/// `GET /healthz`: the process serves.
pub(crate) async fn live(accept: Accept) -> Response {
    accept.ok(&Health {
        status: "ok",
        missing: Vec::new(),
    })
}

/// `GET /readyz`: requests can be taken.
pub(crate) async fn ready(State(service): State<Service>, accept: Accept) -> Response {
    let asked = service.handle.read(|core, _now| core.is_fenced());
    let missing = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(false)) => None,
        Ok(Ok(true)) => Some("a later run of this store decides"),
        Ok(Err(Unavailable)) => Some("the store"),
        Err(_late) => Some("the controller does not answer"),
    };
    let (status, word) = match missing {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let health = Health {
        status: word,
        missing: missing.into_iter().collect(),
    };
    accept.answer(status, &health)
}

/// `GET /metrics`.
pub(super) async fn metrics(State(service): State<Service>) -> Result<Response, ApiError> {
    let counts = service
        .handle
        .read(|core, _now| Counts::of(core))
        .await
        .map_err(unavailable)?;
    service.metrics.show(&counts);
    Ok(rest::render_metrics(&service.metrics.registry))
}
