//! `edgeio forget`: clusters and workers that will not come back.

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;

use super::cordon::What;
use super::{near, place, print_answers, print_done};

/// Gives up a cluster or worker that will not come back; what it had is placed elsewhere at once.
///
/// One that is connected is refused: drain it, and stop its program, first. One that comes back after all joins as a new
/// one, and stops what it still runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio forget node e580
  edgeio forget node e580 --cluster garching
  edgeio forget cluster garching")]
pub(crate) struct Options {
    /// What it is about.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    let (thing, answer) = match what {
        What::Cluster { name } => {
            let answer = client.delete(&place::cluster_path(name));
            let answer = answer.map_err(|failure| near::cluster(client, name, failure))?;
            (format!("cluster/{name}"), answer)
        }
        What::Node { name, cluster } => {
            let place = place::node(client, name, cluster.as_deref())?;
            (format!("node/{name}"), client.delete(&place.path)?)
        }
    };
    print_done(&thing, "forgotten", format)?;
    print_answers(&[answer], format)
}
