//! `edgeio restart`: new copies of the same.

use protocol::rest::RestartRequest;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;
use crate::values;

use super::{job_path, near, print_answers, print_done, with_json};

/// Replaces the instances of a job by new copies of the same, a few at a time.
///
/// It goes as an update of the document would, with its max_surge and max_unavailable, and ends at the first copy that does
/// not come to run. 'edgeio wait JOB' waits for the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio restart hello
  edgeio restart pipeline --service camera")]
pub(crate) struct Options {
    /// The name or id of a job, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    job: String,
    /// Only this service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
}

/// Asks for it.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let Options { job, service } = options;
    let request = RestartRequest {
        service: service.clone(),
    };
    let path = format!("{}/restart", job_path(job));
    let answer = with_json(&request, |body| client.post(&path, body))
        .map_err(|failure| near::job(client, job, failure))?;
    print_done(&format!("job/{job}"), "restarts", format)?;
    print_answers(&[answer], format)
}
