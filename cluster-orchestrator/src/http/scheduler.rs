//! Who chooses the workers of this cluster, and another one in its place.

use axum::extract::State;
use axum::response::Response;
use cluster_core::{Answer, Input};
use orchestrator::http::refusal::unavailable;
use orchestrator::scheduler::{body, policy};
use protocol::problem::Problem;
use protocol::rest::SchedulerBody;
use rest::{Accept, ApiError, Body};

use super::Service;
use super::refusal::refused;

/// `GET /api/v1/scheduler`.
pub(super) async fn show(
    State(service): State<Service>,
    accept: Accept,
) -> Result<Response, ApiError> {
    let read = service.handle.read(|core, _| body(core.policy())).await;
    Ok(accept.ok(&read.map_err(unavailable)?))
}

/// `PUT /api/v1/scheduler`.
pub(super) async fn exchange(
    State(service): State<Service>,
    accept: Accept,
    wanted: Body,
) -> Result<Response, ApiError> {
    let wanted =
        SchedulerBody::parse(&wanted.bytes, wanted.format).map_err(Problem::bad_document)?;
    let policy = policy(&wanted).map_err(|error| Problem::bad_request(error.to_string()))?;
    let checked = service.scheduler.check(&policy);
    checked.map_err(Problem::bad_request)?;
    let name = policy.to_string();
    let input = |request| Input::Schedule {
        request: Some(request),
        policy,
    };
    match service.handle.ask(input).await.map_err(unavailable)? {
        Answer::Scheduled => {
            tracing::info!(scheduler = name, "another scheduler chooses from now on");
            show(State(service), accept).await
        }
        other => Err(refused(&other)),
    }
}
