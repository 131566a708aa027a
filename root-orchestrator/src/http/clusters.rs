//! Clusters, and through their uplinks their workers.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use model::id::ClusterId;
use model::node::Scheduling;
use model::view::ClusterView;
use orchestrator::http::joining::not_changed;
use orchestrator::http::refusal::unavailable;
use protocol::message::uplink::Question;
use protocol::problem::Problem;
use protocol::rest::{ClusterBody, JoinTokenRequest, List, NodePatch};
use rest::guard::Caller;
use rest::{Accept, ApiError, Body, Cursor, PageQuery, Path, Query};
use root_core::{Answer, Input, Page};
use serde_json::{Map, Value, json};

use super::Service;
use super::refusal::{refused, unanswered};

/// `GET /api/v1/clusters`.
pub(super) async fn list(
    State(service): State<Service>,
    accept: Accept,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let (after, limit) = (query.after::<ClusterId>()?, query.limit()?);
    let page = Page {
        after,
        limit: limit + 1,
    };
    let read = move |core: &root_core::State, _now| core.clusters(&page);
    let views = service.handle.read(read).await.map_err(unavailable)?;
    let page = Cursor::page(views.iter().collect(), limit, |view| view.id);
    Ok(accept.ok(&List {
        items: page.items.into_iter().map(ClusterBody::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// `GET /api/v1/clusters/{cluster}`.
pub(super) async fn one(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let view = find(&service, key).await?;
    Ok(accept.ok(&ClusterBody::from(&view)))
}

/// `POST /api/v1/clusters/{cluster}/cordon`.
pub(super) async fn cordon(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    patch(service, accept, key, Scheduling::Cordoned).await
}

/// `POST /api/v1/clusters/{cluster}/drain`.
pub(super) async fn drain(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    patch(service, accept, key, Scheduling::Draining).await
}

/// `DELETE /api/v1/clusters/{cluster}`.
pub(super) async fn forget(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let known = find(&service, key).await?;
    let key = known.id.to_string();
    let input = |request| Input::Forget { request, key };
    match service.handle.ask(input).await.map_err(unavailable)? {
        Answer::Forgotten(_) => Ok(accept.ok(&ClusterBody::from(&known))),
        other => Err(refused(&other)),
    }
}

/// `POST /api/v1/clusters/{cluster}/uncordon`.
pub(super) async fn uncordon(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    patch(service, accept, key, Scheduling::Open).await
}

/// `POST /api/v1/clusters/{cluster}/revoke`.
pub(super) async fn revoke(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let view = find(&service, key).await?;
    let revoked = service.access.revoke(view.id.bits()).await;
    revoked.map_err(not_changed)?;
    patch(service, accept, view.id.to_string(), Scheduling::Cordoned).await
}

/// `POST /api/v1/clusters/{cluster}/join-tokens`.
pub(super) async fn join_token(
    State(service): State<Service>,
    caller: Caller,
    accept: Accept,
    Path(key): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = JoinTokenRequest::parse(&body.bytes, body.format);
    let body = wanted.map_err(Problem::bad_document)?.body();
    let by = caller
        .user
        .map_or_else(String::new, |user| user.to_string());
    let cluster = find(&service, key).await?.id;
    let question = Question::CreateJoinToken { body, by };
    let answer = service.links.question(cluster, &question).await;
    Ok(accept.answer(StatusCode::CREATED, &answer.map_err(unanswered)?))
}

/// `GET /api/v1/clusters/{cluster}/nodes`.
pub(super) async fn nodes(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit()?;
    let question = Question::Nodes {
        limit: Some(limit as u32),
        cursor: query.cursor,
    };
    ask(&service, accept, key, question).await
}

/// `GET /api/v1/clusters/{cluster}/nodes/{node}`.
pub(super) async fn node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    ask(&service, accept, key, Question::Node { node }).await
}

/// `PATCH /api/v1/clusters/{cluster}/nodes/{node}`.
pub(super) async fn change_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let patch = NodePatch::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let body = written(&patch);
    ask(&service, accept, key, Question::PatchNode { node, body }).await
}

/// `POST /api/v1/clusters/{cluster}/nodes/{node}/cordon`.
pub(super) async fn cordon_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let body = json!({"scheduling": Scheduling::Cordoned.as_str()});
    ask(&service, accept, key, Question::PatchNode { node, body }).await
}

/// `POST /api/v1/clusters/{cluster}/nodes/{node}/drain`.
pub(super) async fn drain_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let body = json!({"scheduling": Scheduling::Draining.as_str()});
    ask(&service, accept, key, Question::PatchNode { node, body }).await
}

/// `DELETE /api/v1/clusters/{cluster}/nodes/{node}`.
pub(super) async fn forget_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    ask(&service, accept, key, Question::ForgetNode { node }).await
}

/// `POST /api/v1/clusters/{cluster}/nodes/{node}/quarantine`.
pub(super) async fn quarantine_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let body = json!({"scheduling": Scheduling::Quarantined.as_str()});
    ask(&service, accept, key, Question::PatchNode { node, body }).await
}

/// `POST /api/v1/clusters/{cluster}/nodes/{node}/uncordon`.
pub(super) async fn uncordon_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let body = json!({"scheduling": Scheduling::Open.as_str()});
    ask(&service, accept, key, Question::PatchNode { node, body }).await
}

/// `POST /api/v1/clusters/{cluster}/nodes/{node}/revoke`.
pub(super) async fn revoke_node(
    State(service): State<Service>,
    accept: Accept,
    Path((key, node)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    ask(&service, accept, key, Question::RevokeNode { node }).await
}

/// The cluster of that id or name.
///
/// # Errors
/// 404 where there is none.
pub(super) async fn find(service: &Service, key: String) -> Result<ClusterView, ApiError> {
    let wanted = key.clone();
    let view = service
        .handle
        .read(move |core, _now| core.cluster(&wanted))
        .await
        .map_err(unavailable)?;
    view.ok_or_else(|| Problem::not_found("cluster", &key).into())
}

async fn patch(
    service: Service,
    accept: Accept,
    key: String,
    scheduling: Scheduling,
) -> Result<Response, ApiError> {
    let input = |request| Input::Patch {
        request,
        key,
        scheduling,
    };
    match service.handle.ask(input).await.map_err(unavailable)? {
        Answer::Patched(id) => {
            let view = find(&service, id.to_string()).await?;
            Ok(accept.ok(&ClusterBody::from(&view)))
        }
        other => Err(refused(&other)),
    }
}

/// The cluster's own answer, as it is.
async fn ask(
    service: &Service,
    accept: Accept,
    key: String,
    question: Question,
) -> Result<Response, ApiError> {
    let cluster = find(service, key).await?.id;
    let answer = service.links.question(cluster, &question).await;
    Ok(accept.ok(&answer.map_err(unanswered)?))
}

/// As a body of `PATCH`.
fn written(patch: &NodePatch) -> Value {
    let mut body = Map::new();
    if !patch.labels.is_empty() {
        body.insert("labels".to_owned(), json!(patch.labels));
    }
    if let Some(interval) = patch.report_interval {
        let text = protocol::time::format_duration(interval);
        body.insert("report_interval".to_owned(), text.into());
    }
    Value::Object(body)
}
