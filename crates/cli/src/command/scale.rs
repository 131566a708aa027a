//! `edgeio scale`: more or fewer replicas.

use protocol::rest::ScaleRequest;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;
use crate::values;

use super::{job_path, near, print_answers, print_done, with_json};

/// Changes how many replicas a job has.
///
/// The document stays as it was applied: applying it again brings its own number back. With 0 nothing runs, and the job
/// is still there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio scale hello --replicas 3
  edgeio scale pipeline --service camera --replicas 2
  edgeio scale hello --replicas 0")]
pub(crate) struct Options {
    /// The name or id of a job, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    job: String,
    /// How many there are to be.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    replicas: u32,
    /// Of which service; needed where the job has several.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
}

/// Scales it.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let Options {
        job,
        replicas,
        service,
    } = options;
    let request = ScaleRequest {
        replicas: *replicas,
        service: service.clone(),
    };
    let path = format!("{}/scale", job_path(job));
    let answer = with_json(&request, |body| client.post(&path, body))
        .map_err(|failure| near::job(client, job, failure))?;
    print_done(
        &format!("job/{job}"),
        &format!("scaled to {replicas}"),
        format,
    )?;
    print_answers(&[answer], format)
}
