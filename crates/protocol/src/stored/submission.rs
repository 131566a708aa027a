//! Submissions under an `Idempotency-Key`.

use model::book::{Submission, SubmitKey};
use model::id::JobId;
use model::time::Wall;
use serde::{Deserialize, Serialize};

/// A submission, but for its key, which the record's key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSubmission {
    body: [u8; 32],
    jobs: Vec<JobId>,
    at: Wall,
}

impl From<&Submission> for StoredSubmission {
    fn from(submission: &Submission) -> Self {
        Self {
            body: submission.key.body,
            jobs: submission.jobs.clone(),
            at: submission.at,
        }
    }
}

impl StoredSubmission {
    /// The submission under `key`.
    pub fn into_submission(self, key: String) -> Submission {
        Submission {
            key: SubmitKey {
                key,
                body: self.body,
            },
            jobs: self.jobs,
            at: self.at,
        }
    }
}
