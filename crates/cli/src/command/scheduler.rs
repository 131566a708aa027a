//! `edgeio scheduler`: who chooses places, and another one in its place.

use clap::Subcommand;
use protocol::rest::{SchedulerBody, SchedulerStatus};
use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;

use super::{print_answers, with_json};

const SCHEDULER: &str = "/api/v1/scheduler";

/// Shows or exchanges who chooses places: the clusters of a root, or, with the URL of a cluster, its workers.
///
/// What is placed stays where it is; what waits is tried anew with the new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio scheduler get
  edgeio scheduler set location
  edgeio scheduler set http://127.0.0.1:10004 --deadline 500ms --fallback none
  edgeio --url http://127.0.0.1:10001 scheduler set first-fit")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be done with a scheduler.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows who chooses, and why a scheduler elsewhere is left alone for now, if it is.
    Get,
    /// Lets another one choose from now on.
    Set {
        /// A built-in algorithm, first-fit or location, or the URL of a scheduler elsewhere.
        #[arg(value_name = "NAME")]
        scheduler: String,
        /// How long a scheduler elsewhere has for an answer, 1ms to 60s; 2s if it is left out.
        #[arg(long, value_name = "TIME")]
        deadline: Option<String>,
        /// Which algorithm chooses where that one does not, or none, so that what arrives waits; first-fit if it is left out.
        #[arg(long, value_name = "NAME")]
        fallback: Option<String>,
    },
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    let answer = match what {
        What::Get => client.get(SCHEDULER)?,
        What::Set {
            scheduler,
            deadline,
            fallback,
        } => {
            let wanted = SchedulerBody {
                scheduler: scheduler.clone(),
                deadline: deadline.clone(),
                fallback: fallback.clone(),
            };
            with_json(&wanted, |body| client.put(SCHEDULER, body))?
        }
    };
    show(client, answer, format)
}

fn show(client: &Client, answer: Value, format: Format) -> Result<(), Failure> {
    if format.is_raw() {
        return print_answers(&[answer], format);
    }
    let status: SchedulerStatus = client.read(answer, SCHEDULER)?;
    match format {
        Format::Name => output::print([format!("scheduler/{}", status.in_force.scheduler)]),
        Format::Table | Format::Wide | Format::Json | Format::Yaml => {
            output::print(table::scheduler(&status))
        }
    }
}
