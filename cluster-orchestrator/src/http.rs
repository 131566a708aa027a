//! The REST interface of a cluster (contract, REST): parse, one call on the handle, render.

mod health;
mod jobs;
pub(crate) mod nodes;
pub(crate) mod refusal;

use axum::Router;
use axum::routing::{get, post};
use protocol::document::Options;

use crate::controller::Handle;
use crate::metrics::Metrics;

/// What handlers use.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) handle: Handle,
    pub(crate) metrics: Metrics,
    /// What documents may say beyond the contract.
    pub(crate) documents: Options,
}

/// All routes; what every service has is added by `rest::finish`.
pub(crate) fn router(service: Service) -> Router {
    Router::new()
        .route("/api/v1/jobs", get(jobs::list).post(jobs::submit))
        .route(
            "/api/v1/jobs/{job}",
            get(jobs::one).put(jobs::put).delete(jobs::delete),
        )
        .route("/api/v1/jobs/{job}/events", get(jobs::events))
        .route("/api/v1/jobs/{job}/explain", get(jobs::explain))
        .route("/api/v1/events", get(jobs::all_events))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/nodes/{node}", get(nodes::one).patch(nodes::change))
        .route("/api/v1/nodes/{node}/cordon", post(nodes::cordon))
        .route("/api/v1/nodes/{node}/uncordon", post(nodes::uncordon))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(service)
}
