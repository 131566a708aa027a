//! Documents that become jobs: read, checked, and taken all or none, however they came.

use std::sync::Arc;

use model::book::{Asked, Draft, JobAnswer, JobRequest, SubmitKey};
use model::id::JobId;
use model::job::JobSpec;
use protocol::document::{self, Documents, Format, Options};
use protocol::problem::Problem;
use protocol::rest::{JobBody, List, PlanBody};
use rest::schemars::JsonSchema;
use rest::{ApiError, Body};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Service;
use super::asked::ForTenant;
use super::jobs::ask;
use super::plan::plan;
use super::refusal::{not_taken, of_job, unavailable};
use crate::traces::Came;
use crate::{Handle, Jobs, clock};

/// The query of what takes documents.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[serde(deny_unknown_fields)]
pub struct ApplyQuery {
    /// Changes nothing, and answers where the instances would go.
    dry_run: Option<bool>,
}

impl ApplyQuery {
    /// Whether it is so.
    pub fn is_dry(&self) -> bool {
        self.dry_run.unwrap_or_default()
    }
}

/// What somebody sends to have it run.
#[derive(Debug)]
pub struct Submission {
    /// When, and from where.
    pub came: Came,
    /// For which tenant, unless the documents say so.
    pub tenant: ForTenant,
    /// Changes nothing, and answers where the instances would go.
    pub dry_run: bool,
    /// By which it is known again.
    pub key: Option<String>,
    /// One document or several.
    pub body: Body,
}

/// What became of it. The answer to one document is no list.
#[derive(Debug)]
pub enum Outcome {
    /// A job.
    Job(Box<JobBody>),
    /// One for each document.
    Jobs(List<JobBody>),
    /// Where it would run.
    Plan(PlanBody),
    /// Where each of them would.
    Plans(List<PlanBody>),
}

/// Takes all documents or none.
///
/// # Errors
/// What is wrong with the documents, whom they are not allowed to, and what the core refuses.
pub async fn submit<C: Jobs>(
    service: &Service<C>,
    submission: Submission,
) -> Result<Outcome, ApiError> {
    let Submission {
        came,
        tenant,
        dry_run,
        key,
        body,
    } = submission;
    let Documents {
        jobs,
        tenant: named,
    } = documents(&body, service.documents)?;
    let asked = tenant.documents(named)?;
    let prepared = jobs.into_iter().map(|job| prepare(service, &asked, job));
    let drafts = prepared.map(|job| draft(job?)).collect::<Result<_, _>>()?;
    let key = key.map(|key| submit_key(key, &body));
    let submit = JobRequest::Submit { drafts, key };
    if dry_run {
        let mut plans = plan(service, asked, submit).await?;
        return Ok(match only(&mut plans) {
            Some(plan) => Outcome::Plan(plan),
            None => Outcome::Plans(List::complete(plans)),
        });
    }
    let ids = match ask(&service.handle, &asked, submit).await? {
        JobAnswer::Accepted(ids) => ids,
        other => return Err(of_job(&other)),
    };
    service.requests.note("submit", &came, &ids);
    let mut jobs = bodies(&service.handle, asked, ids).await?;
    Ok(match only(&mut jobs) {
        Some(job) => Outcome::Job(Box::new(job)),
        None => Outcome::Jobs(List::complete(jobs)),
    })
}

/// What a body holds.
///
/// # Errors
/// 400 with all faults.
pub(super) fn documents(body: &Body, options: Options) -> Result<Documents, ApiError> {
    document::read(&body.bytes, body.format, options)
        .map_err(|faults| Problem::bad_document(faults).into())
}

/// A job as a core may take it.
///
/// # Errors
/// When its tenant is not there or not active, when the policy forbids it, or it names secrets that are not there.
pub(super) fn prepare<C: Jobs>(
    service: &Service<C>,
    asked: &Asked,
    job: JobSpec,
) -> Result<JobSpec, ApiError> {
    let prepared = service.access.prepare(&asked.tenant, job);
    prepared.map_err(|refused| not_taken(&refused))
}

pub(super) fn draft(spec: JobSpec) -> Result<Draft, ApiError> {
    let id = clock::mint().map_err(|error| {
        tracing::error!(%error, "cannot make an id");
        Problem::internal()
    })?;
    Ok(Draft {
        id: JobId::from_bits(id),
        spec: Arc::new(spec),
    })
}

/// Takes the row out where there is one alone.
fn only<T>(rows: &mut Vec<T>) -> Option<T> {
    (rows.len() == 1).then(|| rows.pop()).flatten()
}

/// A submission is known by its body; how that is written is a part of what it says.
fn submit_key(key: String, body: &Body) -> SubmitKey {
    let format: &[u8] = match body.format {
        Format::Json => b"json",
        Format::Yaml => b"yaml",
    };
    let digest = Sha256::new().chain_update(format).chain_update(&body.bytes);
    SubmitKey {
        key,
        body: digest.finalize().into(),
    }
}

async fn bodies<C: Jobs>(
    handle: &Handle<C>,
    asked: Asked,
    ids: Vec<JobId>,
) -> Result<Vec<JobBody>, ApiError> {
    let read = move |core: &C::State, now| {
        let views = ids
            .iter()
            .filter_map(|id| C::job(core, now, &asked, &id.to_string()));
        views.collect::<Vec<_>>()
    };
    let views = handle.read(read).await.map_err(unavailable)?;
    Ok(views.iter().map(JobBody::from).collect())
}
