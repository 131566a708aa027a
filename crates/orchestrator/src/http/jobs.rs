//! Jobs.

use std::borrow::Cow;

use axum::extract::State;
use axum::response::Response;
use model::access::TenantPath;
use model::book::{Asked, JobAnswer, JobRequest};
use model::id::JobId;
use model::job::{JobSpec, JobState};
use model::name::Name;
use protocol::document::Documents;
use protocol::problem::Problem;
use protocol::rest::{JobBody, List, MigrateRequest, RestartRequest, ScaleRequest};
use rest::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use rest::{Accept, ApiError, Body, Cursor, IdempotencyKey, PageQuery, Path};
use serde::Deserialize;

use super::Service;
use super::asked::{Asking, mismatch};
use super::plan::plan;
use super::refusal::{of_job, unavailable, unexpected};
use super::submission::{self, ApplyQuery, Outcome, Submission, documents, draft, prepare};
use crate::traces::Came;
use crate::{Handle, Jobs};

/// The query of the list of jobs.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    /// Only jobs in this state.
    #[schemars(with = "Option<StateWord>")]
    state: Option<String>,
    /// How many rows, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One of the words of [`JobState`].
struct StateWord;

impl JsonSchema for StateWord {
    fn schema_name() -> Cow<'static, str> {
        "JobState".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": JobState::ALL.map(JobState::as_str)})
    }
}

/// `POST /api/v1/jobs`.
pub(super) async fn submit<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Asking {
        tenant,
        query,
        came,
    }: Asking<ApplyQuery>,
    IdempotencyKey(key): IdempotencyKey,
    body: Body,
) -> Result<Response, ApiError> {
    let submission = Submission {
        came,
        tenant,
        dry_run: query.is_dry(),
        key,
        body,
    };
    Ok(match submission::submit(&service, submission).await? {
        Outcome::Job(job) => accept.accepted(&location(&job), &job),
        Outcome::Jobs(jobs) => accept.accepted("/api/v1/jobs", &jobs),
        Outcome::Plan(plan) => accept.ok(&plan),
        Outcome::Plans(plans) => accept.ok(&plans),
    })
}

/// `PUT /api/v1/jobs/{job}`.
pub(super) async fn put<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(path): Path<String>,
    Asking {
        tenant,
        query,
        came,
    }: Asking<ApplyQuery>,
    body: Body,
) -> Result<Response, ApiError> {
    let Documents {
        jobs,
        tenant: named,
    } = documents(&body, service.documents)?;
    let asked = tenant.documents(named.clone())?;
    let draft = draft(prepare(&service, &asked, only(jobs)?)?)?;
    if let Some(named) = named {
        belongs(&service.handle, &asked, &path, &named).await?;
    }
    let put = JobRequest::Put { path, draft };
    if query.is_dry() {
        let plans = plan(&service, asked, put).await?;
        let plan = plans.first().ok_or_else(Problem::internal)?;
        return Ok(accept.ok(plan));
    }
    change(&service, accept, (came, asked), put).await
}

/// `POST /api/v1/jobs/{job}/scale`.
pub(super) async fn scale<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = ScaleRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let service_name = wanted.service.as_deref().map(Name::new).transpose();
    let scale = JobRequest::Scale {
        key,
        service: service_name.map_err(|error| Problem::bad_request(error.to_string()))?,
        replicas: wanted.replicas,
    };
    change(
        &service,
        accept,
        (asking.came, asking.tenant.asked()),
        scale,
    )
    .await
}

/// `POST /api/v1/jobs/{job}/migrate`.
pub(super) async fn migrate<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = MigrateRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let migrate = JobRequest::Migrate {
        key,
        instance: wanted.instance,
        cluster: wanted.cluster,
        worker: wanted.worker_node,
        strategy: wanted.strategy.map(Into::into),
    };
    change(
        &service,
        accept,
        (asking.came, asking.tenant.asked()),
        migrate,
    )
    .await
}

/// `POST /api/v1/jobs/{job}/restart`.
pub(super) async fn restart<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = RestartRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let service_name = wanted.service.as_deref().map(Name::new).transpose();
    let restart = JobRequest::Restart {
        key,
        service: service_name.map_err(|error| Problem::bad_request(error.to_string()))?,
    };
    change(
        &service,
        accept,
        (asking.came, asking.tenant.asked()),
        restart,
    )
    .await
}

/// `DELETE /api/v1/jobs/{job}`.
pub(super) async fn delete<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
) -> Result<Response, ApiError> {
    let asked = asking.tenant.asked();
    match ask(&service.handle, &asked, JobRequest::Delete { key }).await? {
        JobAnswer::Deleting(id) => accepted(&service.handle, accept, asked, id).await,
        other => Err(of_job(&other)),
    }
}

/// `GET /api/v1/jobs`.
pub(super) async fn list<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Asking { tenant, query, .. }: Asking<JobsQuery>,
) -> Result<Response, ApiError> {
    let state = query.state.as_deref().map(state_of).transpose()?;
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let (after, limit) = (page.after::<JobId>()?, page.limit()?);
    let within = tenant.listed();
    let read = move |core: &C::State, now| C::jobs(core, now, &within, after, limit + 1, state);
    let views = service.handle.read(read).await.map_err(unavailable)?;
    let page = Cursor::page(views.iter().collect(), limit, |view| view.job.id);
    Ok(accept.ok(&List {
        items: page.items.into_iter().map(JobBody::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// `GET /api/v1/jobs/{job}`.
pub(super) async fn one<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
) -> Result<Response, ApiError> {
    let job = find(&service.handle, asking.tenant.asked(), key).await?;
    Ok(accept.ok(&job))
}

pub(super) async fn ask<C: Jobs>(
    handle: &Handle<C>,
    asked: &Asked,
    ask: JobRequest,
) -> Result<JobAnswer, ApiError> {
    let asked = asked.clone();
    let answer = handle.ask(|request| C::ask(request, asked, ask)).await;
    let answer = answer.map_err(unavailable)?;
    C::answered(&answer)
        .cloned()
        .ok_or_else(|| unexpected(&answer))
}

fn state_of(word: &str) -> Result<JobState, ApiError> {
    JobState::parse(word).ok_or_else(|| {
        let words: Vec<_> = JobState::ALL.into_iter().map(JobState::as_str).collect();
        Problem::bad_request(format!("state must be one of {}", words.join(", "))).into()
    })
}

fn location(job: &JobBody) -> String {
    format!("/api/v1/jobs/{}", job.job_id)
}

fn only(mut jobs: Vec<JobSpec>) -> Result<JobSpec, ApiError> {
    match (jobs.pop(), jobs.is_empty()) {
        (Some(job), true) => Ok(job),
        (_, _) => Err(Problem::bad_request(
            "this path takes one document; POST /api/v1/jobs takes several",
        )
        .into()),
    }
}

/// A job that is there stays with its tenant, which never changes.
async fn belongs<C: Jobs>(
    handle: &Handle<C>,
    asked: &Asked,
    path: &str,
    named: &TenantPath,
) -> Result<(), ApiError> {
    let (asked, path) = (asked.clone(), path.to_owned());
    let read = move |core: &C::State, now| C::job(core, now, &asked, &path);
    let view = handle.read(read).await.map_err(unavailable)?;
    match view.filter(|view| view.job.tenant != *named) {
        Some(view) => Err(mismatch(format!(
            "the document names tenant {named}, and job {} belongs to tenant {}; a job stays with its tenant",
            view.job.id, view.job.tenant
        ))),
        None => Ok(()),
    }
}

async fn find<C: Jobs>(handle: &Handle<C>, asked: Asked, key: String) -> Result<JobBody, ApiError> {
    let wanted = key.clone();
    let read = move |core: &C::State, now| C::job(core, now, &asked, &wanted);
    let view = handle.read(read).await.map_err(unavailable)?;
    let view = view.ok_or_else(|| Problem::not_found("job", &key))?;
    Ok(JobBody::from(&view))
}

/// A change of a job that there is, or may be.
async fn change<C: Jobs>(
    service: &Service<C>,
    accept: Accept,
    (came, asked): (Came, Asked),
    request: JobRequest,
) -> Result<Response, ApiError> {
    let what = what(&request);
    match ask(&service.handle, &asked, request).await? {
        JobAnswer::Applied(id) | JobAnswer::Replacing(id) => {
            service.requests.note(what, &came, &[id]);
            accepted(&service.handle, accept, asked, id).await
        }
        other => Err(of_job(&other)),
    }
}

/// What a request asks for, as its trace says.
const fn what(request: &JobRequest) -> &'static str {
    match request {
        JobRequest::Submit { .. } => "submit",
        JobRequest::Put { .. } => "apply",
        JobRequest::Scale { .. } => "scale",
        JobRequest::Migrate { .. } => "migrate",
        JobRequest::Restart { .. } => "restart",
        JobRequest::Delete { .. } => "delete",
    }
}

async fn accepted<C: Jobs>(
    handle: &Handle<C>,
    accept: Accept,
    asked: Asked,
    id: JobId,
) -> Result<Response, ApiError> {
    let job = find(handle, asked, id.to_string()).await?;
    Ok(accept.accepted(&location(&job), &job))
}
