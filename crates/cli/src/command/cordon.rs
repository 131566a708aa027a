//! `edgeio cordon`, `edgeio drain`, `edgeio quarantine` and `edgeio uncordon`: whether new work may come, and what is there may
//! stay.

use clap::Subcommand;

use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::output::Format;
use crate::values;

use super::{near, place, print_answers, print_done};

/// Says whether new work may come to a cluster or worker, and whether what runs there stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio cordon cluster garching
  edgeio cordon node e580
  edgeio drain node e580
  edgeio uncordon node e580 --cluster garching")]
pub(crate) struct Options {
    /// What it is about.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be closed for new work.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Does it with a cluster, with all its workers.
    Cluster {
        /// Its name or id, with or without cluster/ before it.
        #[arg(value_name = "CLUSTER", value_parser = values::cluster)]
        name: String,
    },
    /// Does it with one worker.
    Node {
        /// Its name or id, with or without node/ before it.
        #[arg(value_name = "NODE", value_parser = values::node)]
        name: String,
        /// Its cluster, by name or id; needed where workers of several clusters have that name.
        #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
        cluster: Option<String>,
    },
}

/// Puts a worker whose machine is not trusted any more into quarantine: it may report, and gets no work. What it has goes
/// elsewhere as soon as there is room; what is pinned to it stays. `edgeio uncordon node NODE` ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio quarantine e580
  edgeio quarantine node/e580 --cluster garching
  edgeio uncordon node e580")]
pub(crate) struct Quarantine {
    /// The worker's name or id, with or without node/ before it.
    #[arg(value_name = "NODE", value_parser = values::node)]
    pub(crate) name: String,
    /// Its cluster, by name or id; needed where workers of several clusters have that name.
    #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
    pub(crate) cluster: Option<String>,
}

/// Puts it there.
pub(super) fn quarantine(
    client: &Client,
    options: &Quarantine,
    format: Format,
) -> Result<(), Failure> {
    let what = What::Node {
        name: options.name.clone(),
        cluster: options.cluster.clone(),
    };
    run(client, Wish::Quarantine, &what, format)
}

/// Which of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// No new work.
    Cordon,
    /// No new work, and what is there goes elsewhere.
    Drain,
    /// The same of a worker that is not trusted.
    Quarantine,
    /// New work again.
    Uncordon,
}

/// Does it.
pub(super) fn run(client: &Client, wish: Wish, what: &What, format: Format) -> Result<(), Failure> {
    let (verb, done) = match wish {
        Wish::Cordon => ("cordon", "cordoned"),
        Wish::Drain => ("drain", "drains"),
        Wish::Quarantine => ("quarantine", "is in quarantine"),
        Wish::Uncordon => ("uncordon", "uncordoned"),
    };
    let post = |path: String| {
        let body = Body {
            media_type: "application/json",
            bytes: b"",
        };
        client.post(&format!("{path}/{verb}"), body)
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
    print_done(&thing, done, format)?;
    print_answers(&[answer], format)
}
