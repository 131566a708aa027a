//! Workers. The root asks for the same through the uplink.

use axum::extract::State;
use axum::response::Response;
use cluster_core::{Answer, Input, NodePatch, Page};
use model::id::NodeId;
use model::node::Scheduling;
use orchestrator::access::Access;
use orchestrator::http::joining::not_changed;
use orchestrator::http::refusal::unavailable;
use protocol::problem::Problem;
use protocol::rest::{List, NodeBody};
use rest::{Accept, ApiError, Body, Cursor, PageQuery, Path, Query};

use super::Service;
use super::refusal::refused;
use crate::tier::Handle;

/// `GET /api/v1/nodes`.
pub(crate) async fn list(
    State(service): State<Service>,
    accept: Accept,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let nodes = page(&service.handle, query.after()?, query.limit()?).await?;
    Ok(accept.ok(&nodes))
}

/// `GET /api/v1/nodes/{node}`.
pub(crate) async fn one(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&find(&service.handle, key).await?))
}

/// `PATCH /api/v1/nodes/{node}`.
pub(crate) async fn change(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = protocol::rest::NodePatch::parse(&body.bytes, body.format)
        .map_err(Problem::bad_document)?;
    Ok(accept.ok(&patch(&service.handle, key, wanted).await?))
}

/// `POST /api/v1/nodes/{node}/cordon`.
pub(crate) async fn cordon(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&schedule(&service.handle, key, Scheduling::Cordoned).await?))
}

/// `POST /api/v1/nodes/{node}/drain`.
pub(crate) async fn drain(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&schedule(&service.handle, key, Scheduling::Draining).await?))
}

/// `POST /api/v1/nodes/{node}/quarantine`.
pub(crate) async fn quarantine(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&schedule(&service.handle, key, Scheduling::Quarantined).await?))
}

/// `POST /api/v1/nodes/{node}/uncordon`.
pub(crate) async fn uncordon(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&schedule(&service.handle, key, Scheduling::Open).await?))
}

/// `POST /api/v1/nodes/{node}/revoke`.
pub(crate) async fn revoke(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&cast_out(&service.handle, &service.access, key).await?))
}

/// `DELETE /api/v1/nodes/{node}`.
pub(crate) async fn forget(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&give_up(&service.handle, key).await?))
}

/// A page of workers by id.
pub(crate) async fn page(
    handle: &Handle,
    after: Option<NodeId>,
    limit: usize,
) -> Result<List<NodeBody>, ApiError> {
    let page = Page {
        after,
        limit: limit + 1,
    };
    let views = handle
        .read(move |core, _now| core.nodes(&page))
        .await
        .map_err(unavailable)?;
    let nodes = views.iter().map(NodeBody::from).collect();
    Ok(Cursor::page(nodes, limit, |node: &NodeBody| node.node_id))
}

/// One worker by id or name.
pub(crate) async fn find(handle: &Handle, key: String) -> Result<NodeBody, ApiError> {
    let wanted = key.clone();
    let view = handle
        .read(move |core, _now| core.node(&wanted))
        .await
        .map_err(unavailable)?;
    let view = view.ok_or_else(|| Problem::not_found("node", &key))?;
    Ok(NodeBody::from(&view))
}

/// Changes labels and report interval.
pub(crate) async fn patch(
    handle: &Handle,
    key: String,
    wanted: protocol::rest::NodePatch,
) -> Result<NodeBody, ApiError> {
    let patch = NodePatch {
        scheduling: None,
        report_interval: wanted.report_interval.map(Some),
        labels: wanted.labels,
    };
    apply(handle, key, patch).await
}

/// Forgets a worker that is not heard; the answer is what was known of it.
pub(crate) async fn give_up(handle: &Handle, key: String) -> Result<NodeBody, ApiError> {
    let known = find(handle, key).await?;
    let key = known.node_id.to_string();
    let input = |request| Input::Forget { request, key };
    match handle.ask(input).await.map_err(unavailable)? {
        Answer::Forgotten(_) => Ok(known),
        other => Err(refused(&other)),
    }
}

/// Makes a worker's certificate void, and gives it nothing new.
pub(crate) async fn cast_out(
    handle: &Handle,
    access: &Access,
    key: String,
) -> Result<NodeBody, ApiError> {
    let known = find(handle, key).await?;
    let id = known.node_id;
    access.revoke(id.bits()).await.map_err(not_changed)?;
    if known.scheduling == Scheduling::Quarantined.as_str() {
        return Ok(known);
    }
    schedule(handle, id.to_string(), Scheduling::Cordoned).await
}

/// Cordons, drains, quarantines or uncordons.
pub(crate) async fn schedule(
    handle: &Handle,
    key: String,
    scheduling: Scheduling,
) -> Result<NodeBody, ApiError> {
    let patch = NodePatch {
        scheduling: Some(scheduling),
        ..NodePatch::default()
    };
    apply(handle, key, patch).await
}

/// The scheduling of that word.
pub(crate) fn scheduling(word: &str) -> Option<Scheduling> {
    let all = [
        Scheduling::Open,
        Scheduling::Cordoned,
        Scheduling::Draining,
        Scheduling::Quarantined,
    ];
    all.into_iter()
        .find(|scheduling| scheduling.as_str() == word)
}

async fn apply(handle: &Handle, key: String, patch: NodePatch) -> Result<NodeBody, ApiError> {
    let change = |request| Input::Patch {
        request,
        key,
        patch,
    };
    match handle.ask(change).await.map_err(unavailable)? {
        Answer::Patched(node) => find(handle, node.to_string()).await,
        other => Err(refused(&other)),
    }
}
