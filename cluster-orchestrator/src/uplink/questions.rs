//! Questions that the root asks for a user: answered with the bodies of this cluster's own REST interface.

use std::sync::Arc;

use model::id::{JobId, NodeId};
use orchestrator::access::Access;
use orchestrator::http::Service;
use orchestrator::http::asked::ForTenant;
use orchestrator::http::joining::make;
use orchestrator::http::refusal::unavailable;
use orchestrator::http::submission::{self, Outcome};
use orchestrator::traces::Came;
use protocol::document::Format;
use protocol::message::uplink::{self, Question, Submission};
use protocol::problem::Problem;
use protocol::rest::{
    ExplanationBody, JoinTokenRequest, List, NewJoinTokenBody, NodeBody, NodePatch, PlanBody,
};
use rest::{ApiError, Body, PageQuery};
use serde::Serialize;
use serde_json::Value;
use socketio::AckReply;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::http::nodes;
use crate::tier::{Cluster, Handle};

/// What is said where documents come faster than they are taken; an operator's questions must not wait behind them.
const BUSY: &str =
    "the cluster is taking other documents that its root passed on; nothing was taken, try again";
/// The code of a refusal.
const NO_TENANT: &str = "no_such_tenant";

/// Questions that are answered at the same time.
const QUESTIONS: usize = 64;
/// Of these, documents that were passed on.
const SUBMISSIONS: usize = 16;

/// The questions of one connection; what is under way ends with it, but for documents.
pub(super) struct Questions {
    service: Service<Cluster>,
    submissions: Arc<Semaphore>,
    answering: JoinSet<()>,
}

impl Questions {
    pub(super) fn new(service: Service<Cluster>) -> Self {
        Self {
            service,
            submissions: Arc::new(Semaphore::new(SUBMISSIONS)),
            answering: JoinSet::new(),
        }
    }

    /// Answers one beside the others.
    pub(super) fn take(&mut self, data: Value, ack: Option<AckReply>) {
        while self.answering.try_join_next().is_some() {}
        let Some(ack) = ack.filter(|_| self.answering.len() < QUESTIONS) else {
            return;
        };
        let (service, submissions) = (self.service.clone(), Arc::clone(&self.submissions));
        self.answering.spawn(async move {
            let reply = answer(&service, &submissions, &data).await;
            // A root that is gone asks again.
            let _ = ack.send(&reply).await;
        });
    }
}

/// The answer to one question, ready to be sent.
async fn answer(service: &Service<Cluster>, submissions: &Arc<Semaphore>, data: &Value) -> Value {
    let (handle, access) = (&service.handle, &service.access);
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
        Question::Submit(submission) => {
            let Ok(turn) = Arc::clone(submissions).try_acquire_owned() else {
                return uplink::reply(Err(Problem::unavailable(BUSY)));
            };
            let service = service.clone();
            // What was taken is told in the audit log also where the root hangs up meanwhile.
            let submitting = tokio::spawn(async move {
                let reply = submit(&service, submission).await;
                drop(turn);
                reply
            });
            let submitted = submitting.await;
            submitted.unwrap_or_else(|_panicked| uplink::reply(Err(Problem::internal())))
        }
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

/// Takes what was passed on unread: by the rules of this cluster, for whom the root let in.
async fn submit(service: &Service<Cluster>, passed_on: Submission) -> Value {
    let (by, dry_run) = (passed_on.by.clone(), passed_on.dry_run);
    let outcome = Box::pin(taken(service, passed_on)).await;
    let status = match &outcome {
        Ok(_) if dry_run => 200,
        Ok(_) => 202,
        Err(refused) => refused.problem.status,
    };
    let asked = ("create jobs", "POST /api/v1/jobs");
    service.access.asked_at_the_root(&by, asked, status);
    match outcome {
        Ok(outcome) => rendered(outcome),
        Err(error) => uplink::reply(Err(whose_tenants(*error.problem))),
    }
}

async fn taken(service: &Service<Cluster>, passed_on: Submission) -> Result<Outcome, ApiError> {
    let tenant = ForTenant::new(passed_on.tenant, passed_on.within)?;
    let body = Body {
        bytes: passed_on.document.into(),
        format: passed_on.format.into(),
    };
    let submission = submission::Submission {
        came: Came::now(None),
        tenant,
        dry_run: passed_on.dry_run,
        key: passed_on.key,
        body,
    };
    submission::submit(service, submission).await
}

/// Who asked the root may see there what is not here.
fn whose_tenants(mut problem: Problem) -> Problem {
    if problem.code == NO_TENANT {
        problem.detail += "; the tenants of a cluster are its own, and those of its root are others: ask an administrator of the cluster to make it there";
    }
    problem
}

/// As the REST interface has it; what is longer than a message comes without the rows of instances.
fn rendered(mut outcome: Outcome) -> Value {
    let whole = written(&outcome);
    if whole.to_string().len() <= uplink::LARGEST_QUESTION {
        return whole;
    }
    match &mut outcome {
        Outcome::Job(job) => job.instances.clear(),
        Outcome::Jobs(jobs) => jobs.items.iter_mut().for_each(|job| job.instances.clear()),
        Outcome::Plan(plan) => hide(plan),
        Outcome::Plans(plans) => plans.items.iter_mut().for_each(hide),
    }
    written(&outcome)
}

fn hide(plan: &mut PlanBody) {
    plan.not_shown += std::mem::take(&mut plan.instances).len() as u32;
}

fn written(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Job(job) => reply(Ok(job)),
        Outcome::Jobs(jobs) => reply(Ok(jobs)),
        Outcome::Plan(plan) => reply(Ok(plan)),
        Outcome::Plans(plans) => reply(Ok(plans)),
    }
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
