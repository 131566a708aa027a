//! The REST interface of a root (contract, REST): parse, one call on the handle, render.

mod clusters;
mod explain;
mod health;
mod jobs;
mod refusal;

use axum::Router;
use axum::routing::{get, post};
use protocol::document::Options;
use serde::Deserialize;

use crate::controller::Handle;
use crate::metrics::Metrics;
use crate::uplink::Links;

/// What handlers use.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) handle: Handle,
    pub(crate) links: Links,
    pub(crate) metrics: Metrics,
    /// What documents may say beyond the contract.
    pub(crate) documents: Options,
}

/// No parameters: one that is given is refused, not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// All routes; what every service has is added by `rest::finish`.
pub(crate) fn router(service: Service) -> Router {
    let cluster = "/api/v1/clusters/{cluster}";
    let node = "/api/v1/clusters/{cluster}/nodes/{node}";
    Router::new()
        .route("/api/v1/jobs", get(jobs::list).post(jobs::submit))
        .route(
            "/api/v1/jobs/{job}",
            get(jobs::one).put(jobs::put).delete(jobs::delete),
        )
        .route("/api/v1/jobs/{job}/events", get(jobs::events))
        .route("/api/v1/jobs/{job}/explain", get(explain::job))
        .route("/api/v1/events", get(jobs::all_events))
        .route("/api/v1/clusters", get(clusters::list))
        .route(cluster, get(clusters::one))
        .route(&format!("{cluster}/cordon"), post(clusters::cordon))
        .route(&format!("{cluster}/uncordon"), post(clusters::uncordon))
        .route(&format!("{cluster}/nodes"), get(clusters::nodes))
        .route(node, get(clusters::node).patch(clusters::change_node))
        .route(&format!("{node}/cordon"), post(clusters::cordon_node))
        .route(&format!("{node}/uncordon"), post(clusters::uncordon_node))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(service)
}
