//! Refusals of the cluster's own requests as problems.

use cluster_core::Answer;
use model::book::JobAnswer;
use orchestrator::http::refusal::{alive, superseded, unexpected};
use protocol::problem::Problem;
use rest::ApiError;

/// What an answer that is not the expected one means.
pub(super) fn refused(answer: &Answer) -> ApiError {
    match answer {
        Answer::NoSuchNode(key) => Problem::not_found("node", key).into(),
        Answer::NodeNameInUse(name) => Problem::name_in_use(name.as_str()).into(),
        Answer::NodeIsThere(name, liveness) => {
            alive("worker", name, *liveness, "node-engine").into()
        }
        Answer::Job(JobAnswer::Fenced) => superseded(),
        Answer::Job(_)
        | Answer::Patched(_)
        | Answer::Scheduled
        | Answer::Released(_)
        | Answer::Registered(_)
        | Answer::Forgotten(_) => unexpected(answer),
    }
}
