//! `edgeio revoke`: machines that are stolen or lost.

use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::output::Format;

use super::cordon::What;
use super::{near, place, print_answers, print_done};

/// Makes the certificate of a cluster or worker void: it is cut off at once, and never let in again without a new token.
///
/// What it runs it runs on, for nobody reaches it any more; its work is placed elsewhere once it counts as LOST. One that never
/// joined by a token has no certificate; it is cut off all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio revoke node e580
  edgeio revoke node e580 --cluster garching
  edgeio revoke cluster garching")]
pub(crate) struct Options {
    /// What it is about.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    let post = |path: String| {
        let body = Body {
            media_type: "application/json",
            bytes: b"",
        };
        client.post(&format!("{path}/revoke"), body)
    };
    let (thing, answer) = match what {
        What::Cluster { name } => {
            let answer = post(place::cluster_path(name));
            let answer = answer.map_err(|failure| near::cluster(client, name, failure))?;
            (format!("cluster/{name}"), answer)
        }
        What::Node { name, cluster } => {
            let place = place::node(client, name, cluster.as_deref())?;
            (format!("node/{name}"), post(place.path)?)
        }
    };
    print_done(&thing, "revoked", format)?;
    print_answers(&[answer], format)
}
