//! Liveness, readiness, metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cluster_core::Page;
use model::id::{JobId, NodeId};
use model::job::JobState;
use rest::{Accept, ApiError};
use serde::Serialize;

use super::Service;
use super::refusal::unavailable;
use crate::controller::{Handle, Unavailable};

/// Rows copied at once.
const ROWS: usize = 1_000;
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
pub(crate) async fn metrics(State(service): State<Service>) -> Result<Response, ApiError> {
    let counted = count(&service.handle).await.map_err(unavailable)?;
    let tally = service
        .handle
        .read(|core, _now| core.tally())
        .await
        .map_err(unavailable)?;
    let nodes = nodes(&service.handle).await.map_err(unavailable)?;
    service.metrics.show(&counted, &tally, &nodes);
    Ok(rest::render_metrics(&service.metrics.registry))
}

/// Jobs by state, in slices, so that a scrape holds nobody up for long.
async fn count(handle: &Handle) -> Result<Vec<(JobState, u64)>, Unavailable> {
    let mut counts: BTreeMap<JobState, u64> =
        JobState::ALL.into_iter().map(|state| (state, 0)).collect();
    let mut after: Option<JobId> = None;
    loop {
        let page = Page { after, limit: ROWS };
        let rows = handle
            .read(move |core, now| {
                let views = core.jobs(now, &page, None);
                let rows = views.iter().map(|view| (view.job.id, view.state));
                rows.collect::<Vec<_>>()
            })
            .await?;
        for (_, state) in &rows {
            *counts.entry(*state).or_default() += 1;
        }
        match rows.last() {
            Some((id, _)) if rows.len() == ROWS => after = Some(*id),
            Some(_) | None => return Ok(counts.into_iter().collect()),
        }
    }
}

async fn nodes(handle: &Handle) -> Result<Vec<model::view::NodeView>, Unavailable> {
    let mut all = Vec::new();
    let mut after: Option<NodeId> = None;
    loop {
        let page = Page { after, limit: ROWS };
        let rows = handle.read(move |core, _now| core.nodes(&page)).await?;
        after = rows.last().map(|row| row.id);
        let full = rows.len() == ROWS;
        all.extend(rows);
        if !full {
            return Ok(all);
        }
    }
}
