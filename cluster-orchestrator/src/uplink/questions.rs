//! Questions that the root asks for a user: answered with the bodies of this cluster's own REST interface.

use model::id::{JobId, NodeId};
use orchestrator::access::Access;
use orchestrator::http::joining::make;
use orchestrator::http::refusal::unavailable;
use protocol::document::Format;
use protocol::message::uplink::{self, Question};
use protocol::problem::Problem;
use protocol::rest::{
    ExplanationBody, JoinTokenRequest, List, NewJoinTokenBody, NodeBody, NodePatch,
};
use rest::{ApiError, PageQuery};
use serde::Serialize;
use serde_json::Value;

use crate::http::nodes;
use crate::tier::Handle;

/// The answer to one question, ready to be sent.
pub(super) async fn answer(handle: &Handle, access: &Access, data: &Value) -> Value {
    let question = match Question::decode(data) {
        Ok(question) => question,
        Err(error) => {
            let detail = format!("the cluster cannot answer this: {error}");
            return uplink::reply(Err(Problem::bad_request(detail)));
        }
    };
    match question {
        Question::Nodes { limit, cursor } => {
            let query = PageQuery {
                limit: limit.map(|limit| limit as usize),
                cursor,
            };
            reply(page(handle, &query).await)
        }
        Question::Node { node } => reply(nodes::find(handle, node).await),
        Question::PatchNode { node, body } => reply(patch(handle, node, &body).await),
        Question::ForgetNode { node } => reply(nodes::give_up(handle, node).await),
        Question::RevokeNode { node } => reply(nodes::cast_out(handle, access, node).await),
        Question::CreateJoinToken { body, by } => reply(join_token(access, &body, &by).await),
        Question::Explain { job } => reply(explain(handle, &job).await),
    }
}

async fn page(handle: &Handle, query: &PageQuery) -> Result<List<NodeBody>, ApiError> {
    nodes::page(handle, query.after::<NodeId>()?, query.limit()?).await
}

/// A body as `PATCH` takes it, or `{"scheduling": "CORDONED" | "DRAINING" | "OPEN"}`, which has paths of its own for users.
async fn patch(handle: &Handle, node: String, body: &Value) -> Result<NodeBody, ApiError> {
    let word = body.get("scheduling").and_then(Value::as_str);
    if let Some(scheduling) = word.and_then(nodes::scheduling) {
        return nodes::schedule(handle, node, scheduling).await;
    }
    let text = body.to_string();
    let patch = NodePatch::parse(text.as_bytes(), Format::Json).map_err(Problem::bad_document)?;
    nodes::patch(handle, node, patch).await
}

async fn join_token(access: &Access, body: &Value, by: &str) -> Result<NewJoinTokenBody, ApiError> {
    let text = body.to_string();
    let wanted = JoinTokenRequest::parse(text.as_bytes(), Format::Json);
    let wanted = wanted.map_err(Problem::bad_document)?;
    make(access, &format!("{by} at the root"), wanted).await
}

async fn explain(handle: &Handle, job: &str) -> Result<List<ExplanationBody>, ApiError> {
    let id: JobId = job.parse().map_err(|_| Problem::not_found("job", job))?;
    let slots = handle
        .read(move |state, now| state.explain(now, id))
        .await
        .map_err(unavailable)?;
    Ok(List::complete(
        slots.iter().map(ExplanationBody::from).collect(),
    ))
}

fn reply(answer: Result<impl Serialize, ApiError>) -> Value {
    let reply = match answer.map(serde_json::to_value) {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            tracing::error!(%error, "an answer cannot be written");
            Err(Problem::internal())
        }
        Err(error) => Err(*error.problem),
    };
    uplink::reply(reply)
}
