//! Jobs and their histories.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use cluster_core::{Answer, Input, Page};
use model::book::Draft;
use model::id::{EventId, JobId};
use model::job::{JobSpec, JobState};
use protocol::problem::Problem;
use protocol::rest::{EventBody, ExplanationBody, JobBody, List};
use rest::{
    Accept, ApiError, Body, Cursor, NoKey, PageQuery, Path, Query, job_document, job_documents,
};
use serde::Deserialize;

use super::Service;
use super::refusal::{refused, unavailable};
use crate::clock;
use crate::controller::Handle;

/// No parameters: one that is given is refused, not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The query of the list of jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobsQuery {
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `POST /api/v1/jobs`.
pub(crate) async fn submit(
    State(service): State<Service>,
    accept: Accept,
    Query(Nothing {}): Query<Nothing>,
    _key: NoKey,
    body: Body,
) -> Result<Response, ApiError> {
    let specs = job_documents(&body, service.documents)?;
    let drafts = specs.into_iter().map(draft).collect::<Result<_, _>>()?;
    let submit = |request| Input::Submit { request, drafts };
    let ids = match service.handle.ask(submit).await.map_err(unavailable)? {
        Answer::Accepted(ids) => ids,
        other => return Err(refused(other)),
    };
    let mut jobs = bodies(&service.handle, ids).await?;
    match (jobs.pop(), jobs.is_empty()) {
        (Some(job), true) => Ok(accept.accepted(&location(&job), &job)),
        (last, _) => {
            jobs.extend(last);
            Ok(accept.accepted("/api/v1/jobs", &List::complete(jobs)))
        }
    }
}

/// `PUT /api/v1/jobs/{job}`.
pub(crate) async fn put(
    State(service): State<Service>,
    accept: Accept,
    Path(path): Path<String>,
    Query(Nothing {}): Query<Nothing>,
    body: Body,
) -> Result<Response, ApiError> {
    let draft = draft(job_document(&body, service.documents)?)?;
    let put = |request| Input::Put {
        request,
        path,
        draft,
    };
    match service.handle.ask(put).await.map_err(unavailable)? {
        Answer::Applied(id) => accepted(&service.handle, accept, id).await,
        other => Err(refused(other)),
    }
}

/// `DELETE /api/v1/jobs/{job}`.
pub(crate) async fn delete(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let delete = |request| Input::Delete { request, key };
    match service.handle.ask(delete).await.map_err(unavailable)? {
        Answer::Deleting(id) => accepted(&service.handle, accept, id).await,
        other => Err(refused(other)),
    }
}

/// `GET /api/v1/jobs`.
pub(crate) async fn list(
    State(service): State<Service>,
    accept: Accept,
    Query(query): Query<JobsQuery>,
) -> Result<Response, ApiError> {
    let state = query.state.as_deref().map(state_of).transpose()?;
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let (after, limit) = (page.after::<JobId>()?, page.limit()?);
    let page = Page {
        after,
        limit: limit + 1,
    };
    let read = move |core: &cluster_core::State, now| core.jobs(now, &page, state);
    let views = service.handle.read(read).await.map_err(unavailable)?;
    let page = Cursor::page(views.iter().collect(), limit, |view| view.job.id);
    Ok(accept.ok(&List {
        items: page.items.into_iter().map(JobBody::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// `GET /api/v1/jobs/{job}`.
pub(crate) async fn one(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, ApiError> {
    let job = find(&service.handle, key).await?;
    Ok(accept.ok(&job))
}

/// `GET /api/v1/jobs/{job}/events`, oldest first.
pub(crate) async fn events(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, ApiError> {
    let wanted = key.clone();
    let read = move |core: &cluster_core::State, now| {
        let id = core.job(now, &wanted)?.job.id;
        Some(core.events(id).map(EventBody::from).collect::<Vec<_>>())
    };
    let events = service.handle.read(read).await.map_err(unavailable)?;
    let events = events.ok_or_else(|| Problem::not_found("job", &key))?;
    Ok(accept.ok(&List::complete(events)))
}

/// `GET /api/v1/events`, oldest first.
pub(crate) async fn all_events(
    State(service): State<Service>,
    accept: Accept,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let (after, limit) = (query.after::<EventId>()?, query.limit()?);
    let read = move |core: &cluster_core::State, _now| {
        let later = |event: &&model::event::Event| after.is_none_or(|after| event.id > after);
        let mut events: Vec<_> = core.all_events().filter(later).collect();
        events.sort_unstable_by_key(|event| event.id);
        let page = events.into_iter().take(limit + 1);
        page.map(EventBody::from).collect::<Vec<_>>()
    };
    let events = service.handle.read(read).await.map_err(unavailable)?;
    Ok(accept.ok(&Cursor::page(events, limit, |event| event.id)))
}

/// `GET /api/v1/jobs/{job}/explain`.
pub(crate) async fn explain(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Response, ApiError> {
    let wanted = key.clone();
    let read = move |core: &cluster_core::State, now| {
        let id = core.job(now, &wanted)?.job.id;
        Some(core.explain(now, id))
    };
    let slots = service.handle.read(read).await.map_err(unavailable)?;
    let slots = slots.ok_or_else(|| Problem::not_found("job", &key))?;
    let items: Vec<_> = slots.iter().map(ExplanationBody::from).collect();
    Ok(accept.ok(&List::complete(items)))
}

fn draft(spec: JobSpec) -> Result<Draft, ApiError> {
    let id = clock::mint().map_err(|error| {
        tracing::error!(%error, "cannot make an id");
        Problem::internal()
    })?;
    Ok(Draft {
        id: JobId::from_bits(id),
        spec: Arc::new(spec),
    })
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

async fn find(handle: &Handle, key: String) -> Result<JobBody, ApiError> {
    let wanted = key.clone();
    let view = handle
        .read(move |core, now| core.job(now, &wanted))
        .await
        .map_err(unavailable)?;
    let view = view.ok_or_else(|| Problem::not_found("job", &key))?;
    Ok(JobBody::from(&view))
}

async fn accepted(handle: &Handle, accept: Accept, id: JobId) -> Result<Response, ApiError> {
    let job = find(handle, id.to_string()).await?;
    Ok(accept.accepted(&location(&job), &job))
}

async fn bodies(handle: &Handle, ids: Vec<JobId>) -> Result<Vec<JobBody>, ApiError> {
    let read = move |core: &cluster_core::State, now| {
        let views = ids.iter().filter_map(|id| core.job(now, &id.to_string()));
        views.collect::<Vec<_>>()
    };
    let views = handle.read(read).await.map_err(unavailable)?;
    Ok(views.iter().map(JobBody::from).collect())
}
