//! `edgeio explain`: why instances are where they are.

use protocol::rest::JobBody;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table::{self, Explained};
use crate::values;

use super::{job_path, near};

/// Says why each instance of a job is where it is, or is nowhere.
///
/// A root answers for both levels: why it chose the cluster, and why the cluster chose the worker. Candidates that were
/// rejected are counted by reason, with some of their names and with what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio explain hello
  edgeio explain job/pipeline -o json")]
pub(crate) struct Options {
    /// The name or id of a job, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    pub(crate) job: String,
}

/// Says it.
pub(super) fn run(client: &Client, job: &str, format: Format) -> Result<(), Failure> {
    let path = path(job);
    let answer = client
        .get(&path)
        .map_err(|failure| near::job(client, job, failure))?;
    match format {
        Format::Json | Format::Yaml => output::value(&answer, format),
        Format::Name => output::print([format!("job/{job}")]),
        Format::Table | Format::Wide => {
            let explained: Explained = client.read(answer, &path)?;
            // What is explained is worth showing also where the job itself is not told.
            let job: Option<JobBody> = client
                .get(&job_path(job))
                .and_then(|answer| client.read(answer, &path))
                .ok();
            let mut lines: Vec<String> = job.iter().filter_map(table::operation).collect();
            lines.extend(table::explanation(&explained));
            output::print(lines)
        }
    }
}

/// Where it is asked for.
pub(super) fn path(job: &str) -> String {
    format!("{}/explain", job_path(job))
}
