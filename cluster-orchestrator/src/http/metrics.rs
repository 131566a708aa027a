//! `GET /metrics`.

use axum::extract::State;
use axum::response::Response;
use cluster_core::Page;
use model::access::TenantPath;
use model::id::{JobId, NodeId};
use model::view::NodeView;
use orchestrator::http::refusal::unavailable;
use orchestrator::{Counts, Standing, Unavailable};
use rest::ApiError;

use super::Service;
use crate::metrics::Seen;
use crate::tier::{Cluster, Handle};

/// Rows copied at once.
const ROWS: usize = 1_000;

/// `GET /metrics`.
pub(super) async fn show(State(service): State<Service>) -> Result<Response, ApiError> {
    let jobs = count(&service.handle).await.map_err(unavailable)?;
    let handle = service.handle.clone();
    let read =
        move |core: &cluster_core::State, _| (core.tally(), Standing::of::<Cluster>(core, &handle));
    let (tally, standing) = service.handle.read(read).await.map_err(unavailable)?;
    let nodes = nodes(&service.handle).await.map_err(unavailable)?;
    let _turn = service.metrics.common.exclusively();
    service.metrics.show(Seen {
        jobs,
        tally,
        standing,
        nodes,
    });
    Ok(rest::render_metrics(&service.metrics.common.registry))
}

/// Jobs by state, in slices, so that a scrape holds nobody up for long.
async fn count(handle: &Handle) -> Result<Counts, Unavailable> {
    let mut counts = Counts::new();
    let mut after: Option<JobId> = None;
    loop {
        let page = Page { after, limit: ROWS };
        let rows = handle
            .read(move |core, now| {
                let views = core.jobs(now, &TenantPath::root(), &page, None);
                let rows = views.iter().map(|view| (view.job.id, view.state));
                rows.collect::<Vec<_>>()
            })
            .await?;
        for (_, state) in &rows {
            *counts.entry(state.as_str()).or_default() += 1;
        }
        match rows.last() {
            Some((id, _)) if rows.len() == ROWS => after = Some(*id),
            Some(_) | None => return Ok(counts),
        }
    }
}

async fn nodes(handle: &Handle) -> Result<Vec<NodeView>, Unavailable> {
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
