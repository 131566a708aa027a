//! The REST interface that both orchestrators serve (contract, REST): parse, one call on the handle, render.

pub mod access;
pub mod asked;
mod backup;
mod brake;
mod events;
mod follow;
mod health;
mod jobs;
pub mod joining;
pub mod logs;
mod plan;
pub mod refusal;
pub mod scheduler;
pub mod secrets;
pub mod submission;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::access::Verb;
use protocol::document::Options;
use protocol::document::schema::JobDocument;
use protocol::rest::{
    BrakeBody, EventBody, HealthBody, JobBody, List, MigrateRequest, PlanBody, RestartRequest,
    ScaleRequest,
};
use rest::guard::{Need, Realm};
use rest::{Api, op};
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::traces::Requests;
use crate::{Handle, Jobs};

pub use backup::Backups;

/// A document to begin with.
pub const EXAMPLE: &str = r#"{"api_version": "v0.1", "job_name": "hello", "image_runtime": "native", "command": ["/bin/sleep", "1000"]}"#;

/// What the shared handlers use.
#[derive(Debug, Clone)]
pub struct Service<C: Jobs> {
    /// The state.
    pub handle: Handle<C>,
    /// What documents may say beyond the contract.
    pub documents: Options,
    /// What can be backed up.
    pub backups: Backups,
    /// Whose jobs are taken, and the secrets that they name.
    pub access: Access,
    /// Where changes of jobs are noted for their traces.
    pub(crate) requests: Requests,
    /// One dry run at a time.
    planning: Arc<Semaphore>,
}

impl<C: Jobs> Service<C> {
    /// On that state.
    pub fn new(handle: Handle<C>, documents: Options, backups: Backups, access: Access) -> Self {
        Self {
            handle,
            documents,
            backups,
            access,
            requests: Requests::default(),
            planning: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same, which notes changes of jobs there.
    #[must_use]
    pub fn noting(self, requests: Requests) -> Self {
        Self { requests, ..self }
    }
}

/// Jobs, their histories, backups, and health. A program merges its own routes.
pub fn api<C: Jobs>(service: Service<C>) -> Api<()> {
    routes().with_state(service)
}

/// Users and tenants, joining, and secrets: what the owner beside the core decides about. A program merges its own routes.
pub fn beside(access: &Access) -> Api<()> {
    access::api(access.clone())
        .merge(joining::api(access.clone()))
        .merge(secrets::api(access.clone()))
}

/// The same before anything is served: what there is, and what it needs.
pub fn routes<C: Jobs>() -> Api<Service<C>> {
    Api::new("", "")
        .parameter("job", "A job's id or name.")
        .merge(jobs::<C>())
        .merge(operations::<C>())
        .merge(histories::<C>())
        .merge(backup::api::<C>())
        .get(
            "/api/v1/brake",
            brake::show::<C>,
            op("Show the brake").may(Verb::Read, Realm::System)
                .about("When most of the workers (of a root: clusters) vanish at once, replacements pause for one grace, then go on one a second.")
                .tag("operations")
                .answers::<BrakeBody>(200, "Whether it is engaged")
                .problems(&[503]),
        )
        .delete(
            "/api/v1/brake",
            brake::release::<C>,
            op("Release the brake").may(Verb::Change, Realm::System)
                .about("For those who are really gone: their work is placed elsewhere at once.")
                .tag("operations")
                .answers::<BrakeBody>(200, "As it is now")
                .problems(&[503]),
        )
        .get(
            "/healthz",
            health::live,
            op("Ask whether it serves").needs(Need::Nothing).answers::<HealthBody>(200, "It serves"),
        )
        .get(
            "/readyz",
            health::ready::<C>,
            op("Ask whether it takes requests").needs(Need::Nothing)
                .answers::<HealthBody>(200, "It does")
                .answers::<HealthBody>(503, "It does not now"),
        )
}

fn jobs<C: Jobs>() -> Api<Service<C>> {
    let job = "/api/v1/jobs/{job}";
    Api::new("", "")
        .get(
            "/api/v1/jobs",
            jobs::list::<C>,
            op("List jobs")
                .may(Verb::Read, Realm::Jobs)
                .about("By id. Deleted jobs are left out unless their state is asked for.")
                .tag("jobs")
                .answers::<List<JobBody>>(200, "A page")
                .problems(&[503]),
        )
        .post(
            "/api/v1/jobs",
            jobs::submit::<C>,
            op("Submit jobs")
                .may(Verb::Create, Realm::Jobs)
                .about("Up to 100 documents, all or none.")
                .tag("jobs")
                .takes::<JobDocument>()
                .example(EXAMPLE)
                .answers::<JobBody>(202, "The job")
                .answers::<List<JobBody>>(202, "the jobs, where there were several documents")
                .header(202, "Location", "Where the job, or the list of jobs, is")
                .answers::<PlanBody>(200, "With `dry_run`: where its instances would go")
                .answers::<List<PlanBody>>(200, "the same of several documents")
                .problems(&[409, 422, 503]),
        )
        .get(
            job,
            jobs::one::<C>,
            op("Get a job")
                .may(Verb::Read, Realm::Jobs)
                .tag("jobs")
                .answers::<JobBody>(200, "The job")
                .problems(&[404, 503]),
        )
        .put(
            job,
            jobs::put::<C>,
            op("Apply a document")
                .may(Verb::Change, Realm::Jobs)
                .about(
                    "Creates the job, or changes it to the document: only what differs is touched.",
                )
                .tag("jobs")
                .takes::<JobDocument>()
                .example(EXAMPLE)
                .answers::<JobBody>(202, "The job")
                .header(202, "Location", "Where it is")
                .answers::<PlanBody>(200, "With `dry_run`: where its instances would be")
                .problems(&[404, 409, 422, 503]),
        )
        .delete(
            job,
            jobs::delete::<C>,
            op("Delete a job")
                .may(Verb::Delete, Realm::Jobs)
                .about("Its name is free at once; by its id it can be seen for a while.")
                .tag("jobs")
                .answers::<JobBody>(202, "The job, which ends")
                .header(202, "Location", "Where it is")
                .problems(&[404, 409, 503]),
        )
}

/// What is done to a job that is there.
fn operations<C: Jobs>() -> Api<Service<C>> {
    Api::new("", "")
        .post(
            "/api/v1/jobs/{job}/scale",
            jobs::scale::<C>,
            op("Scale a job").may(Verb::Change, Realm::Jobs)
                .about("0 stops a service without deleting it.")
                .tag("jobs")
                .takes::<ScaleRequest>()
                .example("{\"replicas\": 3}")
                .answers::<JobBody>(202, "The job")
                .header(202, "Location", "Where it is")
                .problems(&[404, 409, 503]),
        )
        .post(
            "/api/v1/jobs/{job}/migrate",
            jobs::migrate::<C>,
            op("Migrate a job").may(Verb::Change, Realm::Jobs)
                .about(
                    "Other workers for one instance or all, as many at a time as `update.max_surge` says. The first that cannot \
                     run elsewhere ends it; its present copy runs on.",
                )
                .tag("jobs")
                .takes::<MigrateRequest>()
                .example("{\"strategy\": \"start_first\"}")
                .answers::<JobBody>(202, "The job")
                .header(202, "Location", "Where it is")
                .problems(&[404, 409, 503]),
        )
        .post(
            "/api/v1/jobs/{job}/restart",
            jobs::restart::<C>,
            op("Restart a job").may(Verb::Change, Realm::Jobs)
                .about("New copies of the same, as many at a time as `update` says.")
                .tag("jobs")
                .takes::<RestartRequest>()
                .example("{}")
                .answers::<JobBody>(202, "The job")
                .header(202, "Location", "Where it is")
                .problems(&[404, 409, 503]),
        )
}

fn histories<C: Jobs>() -> Api<Service<C>> {
    let follow = "With `follow`, or where `Accept` names `text/event-stream`, the answer goes on with what comes. A \
        client that missed something is told by an event `reset`, and then gets what there is.";
    let stream = "`id:` is the event's id, `data:` the event on one line";
    Api::new("", "")
        .get(
            "/api/v1/jobs/{job}/events",
            events::of_job::<C>,
            op("List events of a job")
                .may(Verb::Read, Realm::Jobs)
                .about(follow)
                .tag("events")
                .answers::<List<EventBody>>(200, "A page, oldest first")
                .text("text/event-stream", stream)
                .problems(&[404, 503]),
        )
        .get(
            "/api/v1/events",
            events::all::<C>,
            op("List events")
                .may(Verb::Read, Realm::Jobs)
                .about(follow)
                .tag("events")
                .answers::<List<EventBody>>(200, "A page, oldest first")
                .text("text/event-stream", stream)
                .problems(&[503]),
        )
}
