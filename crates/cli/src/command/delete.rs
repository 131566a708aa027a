//! `edgeio delete`: jobs end.

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;

use super::{for_each, job_path, print_answers, print_done};

/// Deletes all of them.
pub(super) fn run(client: &Client, jobs: &[String], format: Format) -> Result<(), Failure> {
    let (answers, result) = for_each(jobs, |job| {
        let answer = client.delete(&job_path(job))?;
        print_done(job, "is being terminated", format)?;
        Ok(answer)
    });
    print_answers(&answers, format)?;
    result
}
