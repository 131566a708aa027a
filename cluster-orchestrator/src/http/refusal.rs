//! Refusals of the core as problems.

use cluster_core::Answer;
use model::book::Refusal;
use protocol::problem::Problem;
use rest::ApiError;

use crate::controller::Unavailable;

/// 503.
pub(crate) fn unavailable(reason: Unavailable) -> ApiError {
    Problem::unavailable(reason.to_string()).into()
}

/// What an answer that is not the expected one means.
pub(crate) fn refused(answer: Answer) -> ApiError {
    let problem = match answer {
        Answer::Refused(refusal) => job(&refusal),
        Answer::NoSuchNode(key) => Problem::not_found("node", &key),
        Answer::NodeNameInUse(name) => Problem::name_in_use(name.as_str()),
        Answer::Fenced => Problem::unavailable(
            "this orchestrator is superseded by a later run of its store and changes nothing; ask that one",
        ),
        Answer::Accepted(_)
        | Answer::Applied(_)
        | Answer::Deleting(_)
        | Answer::Patched(_)
        | Answer::Registered(_) => {
            tracing::error!(?answer, "the answer is not one to this request");
            Problem::internal()
        }
    };
    problem.into()
}

fn job(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::NameInUse { name, .. } => Problem::name_in_use(name.as_str()),
        Refusal::NotFound(key) => Problem::not_found("job", key),
        Refusal::OwnedElsewhere { job, owner } => Problem::owned_elsewhere(job, owner),
        Refusal::PathMismatch { .. } => {
            Problem::unprocessable("name_mismatch", refusal.to_string())
        }
        Refusal::Deleted(_) => Problem::conflict("terminating", refusal.to_string()),
    }
}
