//! `edgeio migrate`: instances go to other workers.

use clap::ValueEnum;
use protocol::rest::{MigrateRequest, Strategy};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;
use crate::values;

use super::{job_path, near, print_answers, print_done, with_json};

/// Moves instances of a job to other workers.
///
/// The new copy runs, and is healthy where the document has a health check, before the old one stops. Where none of the
/// workers can run it, the old one stays. 'edgeio wait JOB' waits for the end, and says what it failed of.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio migrate hello
  edgeio migrate hello --instance hello/0 --worker e580
  edgeio migrate pipeline --cluster garching --strategy stop_first")]
pub(crate) struct Options {
    /// The name or id of a job, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    job: String,
    /// Which instance, as SERVICE/INDEX or by its id; all of them where it is not given.
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// To this cluster, by name or id; where it is not given, its own cluster is tried first.
    #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
    cluster: Option<String>,
    /// To this worker, by name or id.
    #[arg(long, value_name = "WORKER", value_parser = values::node)]
    worker: Option<String>,
    /// Which copy begins; as the document says where it is not given.
    #[arg(long, value_name = "STRATEGY", value_enum)]
    strategy: Option<Order>,
}

/// Which copy begins.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The new one runs before the old one stops.
    StartFirst,
    /// The old one stops before the new one starts.
    StopFirst,
}

impl From<Order> for Strategy {
    fn from(order: Order) -> Self {
        match order {
            Order::StartFirst => Self::StartFirst,
            Order::StopFirst => Self::StopFirst,
        }
    }
}

/// Asks for it.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let job = &options.job;
    let request = MigrateRequest {
        instance: options.instance.clone(),
        cluster: options.cluster.clone(),
        worker_node: options.worker.clone(),
        strategy: options.strategy.map(Into::into),
    };
    let path = format!("{}/migrate", job_path(job));
    let answer = with_json(&request, |body| client.post(&path, body))
        .map_err(|failure| near::job(client, job, failure))?;
    print_done(&format!("job/{job}"), "migrates", format)?;
    print_answers(&[answer], format)
}
