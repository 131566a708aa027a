//! Refusals of the core as problems.

use std::fmt::Debug;

use model::book::{JobAnswer, Refusal};
use model::name::Name;
use model::node::Liveness;
use protocol::problem::Problem;
use rest::ApiError;

use crate::Unavailable;
use crate::access::NotTaken;

/// 503, or 500 for what cannot be decided at all.
pub fn unavailable(reason: Unavailable) -> ApiError {
    match reason {
        Unavailable::Now => Problem::unavailable(reason.to_string()).into(),
        Unavailable::Fault => Problem::internal().into(),
    }
}

/// 503: others go on with another copy of the store.
pub fn superseded() -> ApiError {
    Problem::new(503, "superseded", crate::SUPERSEDED).into()
}

/// 409: who is heard, or expected since this orchestrator has just started, is not forgotten.
pub fn alive(kind: &str, name: &Name, liveness: Liveness, program: &str) -> Problem {
    let detail = match liveness {
        Liveness::Reconnecting => format!(
            "{kind} {name} may be about to connect (RECONNECTING); it can be forgotten once it counts as LOST"
        ),
        Liveness::Alive | Liveness::Suspect | Liveness::Lost => {
            format!(
                "{kind} {name} is connected ({liveness}); drain it, and stop its {program}, first"
            )
        }
    };
    Problem::conflict("alive", detail)
}

/// 500: the answer is not one to this request, which is a bug.
pub fn unexpected(answer: &impl Debug) -> ApiError {
    tracing::error!(?answer, "the answer is not one to this request");
    Problem::internal().into()
}

/// What an answer to a request about jobs that is not the expected one means.
pub fn of_job(answer: &JobAnswer) -> ApiError {
    match answer {
        JobAnswer::Refused(refusal) => refused(refusal).into(),
        JobAnswer::Fenced => superseded(),
        JobAnswer::Accepted(_)
        | JobAnswer::Applied(_)
        | JobAnswer::Replacing(_)
        | JobAnswer::Deleting(_) => unexpected(answer),
    }
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::NameInUse { name, .. } => Problem::name_in_use(name.as_str()),
        Refusal::NotFound(key) => Problem::not_found("job", key),
        Refusal::OwnedElsewhere { job, owner } => Problem::owned_elsewhere(job, owner),
        Refusal::PathMismatch { .. } => {
            Problem::unprocessable("name_mismatch", refusal.to_string())
        }
        Refusal::Deleted(_) => Problem::conflict("terminating", refusal.to_string()),
        Refusal::KeyReused(_) => {
            Problem::unprocessable("idempotency_mismatch", refusal.to_string())
        }
        Refusal::OperationRunning { .. } => {
            Problem::conflict("operation_running", refusal.to_string())
        }
        Refusal::NoSuchInstance { .. } => {
            Problem::conflict("no_such_instance", refusal.to_string())
        }
        Refusal::Quota(_) => Problem::conflict("quota_exceeded", refusal.to_string()),
        Refusal::NothingPlaced(_) => Problem::conflict("nothing_placed", refusal.to_string()),
        Refusal::Pinned { .. } => Problem::conflict("pinned", refusal.to_string()),
        Refusal::NoSuchTarget { .. } => Problem::conflict("no_such_target", refusal.to_string()),
        Refusal::ServiceNeeded { .. } | Refusal::NoSuchService { .. } => {
            Problem::bad_request(refusal.to_string())
        }
    }
}

/// A job that is not taken, as a problem.
pub(crate) fn not_taken(refused: &NotTaken) -> ApiError {
    let detail = refused.to_string();
    match refused {
        NotTaken::NoTenant(_) => Problem::new(404, "no_such_tenant", detail),
        NotTaken::Inactive(_) => Problem::forbidden(detail),
        NotTaken::Policy { .. } => Problem::new(403, "forbidden_by_policy", detail),
        NotTaken::NoSecret { .. } => Problem::unprocessable("no_such_secret", detail),
        NotTaken::Kind { .. } => Problem::unprocessable("wrong_kind_of_secret", detail),
        NotTaken::TooLarge { .. } => Problem::unprocessable("too_large", detail),
    }
    .into()
}
