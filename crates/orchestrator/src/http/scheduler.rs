//! Who chooses places here, and another one in its place.

use axum::extract::State;
use axum::response::Response;
use model::access::Verb;
use protocol::problem::Problem;
use protocol::rest::{SchedulerBody, SchedulerStatus};
use rest::guard::Realm;
use rest::{Accept, Api, ApiError, Body, op};

use super::refusal::{of_job, unavailable, unexpected};
use crate::Placing;
use crate::scheduler::{Advisor, body, policy};

/// The routes. A program merges its own.
pub fn api<C: Placing>(advisor: Advisor<C>) -> Api<()> {
    routes().with_state(advisor)
}

/// The same before anything is served.
pub fn routes<C: Placing>() -> Api<Advisor<C>> {
    Api::new("", "")
        .get(
            "/api/v1/scheduler",
            show::<C>,
            op("Show the scheduler")
                .may(Verb::Read, Realm::System)
                .about("Who chooses the workers of this cluster; of a root, the clusters.")
                .tag("operations")
                .answers::<SchedulerStatus>(200, "The scheduler.")
                .problems(&[503]),
        )
        .put(
            "/api/v1/scheduler",
            exchange::<C>,
            op("Exchange the scheduler")
                .may(Verb::Change, Realm::System)
                .about(
                    "A built-in algorithm, or the URL of a scheduler elsewhere, which is asked by a POST of a `PlaceRequest` for \
                     each replica, or `queue:NAME` of one that takes them from a queue in `--redis`. What is placed stays; what waits is tried anew. It holds until the next one, and through restarts \
                     without `--scheduler`.",
                )
                .tag("operations")
                .takes::<SchedulerBody>()
                .answers::<SchedulerStatus>(200, "The scheduler.")
                .problems(&[400, 503]),
        )
}

/// `GET /api/v1/scheduler`.
async fn show<C: Placing>(
    State(advisor): State<Advisor<C>>,
    accept: Accept,
) -> Result<Response, ApiError> {
    let read = |core: &C::State, _| SchedulerStatus {
        in_force: body(C::policy(core)),
        away: C::resting(core).map(str::to_owned),
    };
    let status = advisor.handle.read(read).await.map_err(unavailable)?;
    Ok(accept.ok(&status))
}

/// `PUT /api/v1/scheduler`.
async fn exchange<C: Placing>(
    State(advisor): State<Advisor<C>>,
    accept: Accept,
    wanted: Body,
) -> Result<Response, ApiError> {
    let wanted =
        SchedulerBody::parse(&wanted.bytes, wanted.format).map_err(Problem::bad_document)?;
    let policy = policy(&wanted).map_err(|error| Problem::bad_request(error.to_string()))?;
    let checked = advisor.client.check(&policy);
    checked.map_err(Problem::bad_request)?;
    let name = policy.to_string();
    let input = |request| C::exchange(Some(request), policy);
    let answer = advisor.handle.ask(input).await.map_err(unavailable)?;
    if C::is_exchanged(&answer) {
        tracing::info!(scheduler = name, "another scheduler chooses from now on");
        return show(State(advisor), accept).await;
    }
    Err(C::answered(&answer).map_or_else(|| unexpected(&answer), of_job))
}
