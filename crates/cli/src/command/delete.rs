//! `edgeio delete`: jobs end.

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;
use crate::values;

use super::{for_each, job_path, near, print_answers, print_done};

/// Ends jobs and forgets them.
///
/// Their names are free at once; their applications get the time to end that their documents give them. A job that was
/// deleted shows under its id for another day.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio delete hello
  edgeio delete job/hello job/pipeline")]
pub(crate) struct Options {
    /// Names or ids of jobs, with or without job/ before them.
    #[arg(value_name = "JOB", required = true, value_parser = values::job)]
    pub(crate) jobs: Vec<String>,
}

/// Deletes all of them.
pub(super) fn run(client: &Client, jobs: &[String], format: Format) -> Result<(), Failure> {
    let (answers, result) = for_each(jobs, |job| {
        let answer = client
            .delete(&job_path(job))
            .map_err(|failure| near::job(client, job, failure))?;
        print_done(&format!("job/{job}"), "is being terminated", format)?;
        Ok(answer)
    });
    print_answers(&answers, format)?;
    result
}
