//! Refusals of the root's own requests as problems.

use model::book::JobAnswer;
use orchestrator::http::refusal::{alive, superseded, unexpected};
use protocol::problem::Problem;
use rest::ApiError;
use root_core::Answer;

use crate::uplink::Unanswered;

/// What an answer that is not the expected one means.
pub(crate) fn refused(answer: &Answer) -> ApiError {
    match answer {
        Answer::NoSuchCluster(key) => Problem::not_found("cluster", key).into(),
        Answer::ClusterNameInUse(name) => Problem::name_in_use(name.as_str()).into(),
        Answer::ClusterIsThere(name, liveness) => {
            alive("cluster", name, *liveness, "cluster-orchestrator").into()
        }
        Answer::Job(JobAnswer::Fenced) => superseded(),
        Answer::Job(_)
        | Answer::Patched(_)
        | Answer::Scheduled
        | Answer::Released(_)
        | Answer::Registered(_)
        | Answer::Forgotten(_)
        | Answer::ClusterOvertaken(_) => unexpected(answer),
    }
}

/// Why a cluster's answer is not there.
pub(crate) fn unanswered(reason: Unanswered) -> ApiError {
    match reason {
        Unanswered::Refused(problem) => ApiError::from(*problem),
        Unanswered::NotConnected | Unanswered::Silent(_) | Unanswered::Broken => {
            Problem::new(503, "cluster_unreachable", reason.to_string()).into()
        }
        Unanswered::TooLong { .. } => Problem::new(413, "too_large", reason.to_string()).into(),
        Unanswered::Unreadable => Problem::new(502, "bad_answer", reason.to_string()).into(),
    }
}
