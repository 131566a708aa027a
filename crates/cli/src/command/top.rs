//! `edgeio top`: what there is, and how much of it is used.

use std::time::Duration;

use clap::Subcommand;
use protocol::rest::ClusterBody;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;
use crate::values;

use super::place::serves_no_nodes;
use super::shown::Shown;
use super::{CLUSTERS, get};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Shows what clusters and workers have, and how much of it is used.
///
/// What is used was measured; what is reserved is what documents ask for, which is what placement counts with. Clusters
/// are shown unless workers are asked for; a cluster, which has no clusters, shows its workers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio top
  edgeio top nodes
  edgeio top nodes --cluster garching --watch")]
pub(crate) struct Options {
    /// What to show.
    #[command(subcommand)]
    what: Option<What>,
    /// Shows it again every two seconds.
    #[arg(short, long, global = true)]
    watch: bool,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
enum What {
    /// Shows all clusters.
    Clusters,
    /// Shows the workers of a cluster, or of all.
    Nodes {
        /// Only of this cluster, by name or id.
        #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
        cluster: Option<String>,
    },
}

/// Shows it.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    repeated(options.watch, || match &options.what {
        Some(What::Clusters) => clusters(client, format),
        Some(What::Nodes { cluster }) => nodes(client, cluster.as_deref(), format),
        None => match clusters(client, format) {
            Err(failure) if serves_no_nodes(&failure) => nodes(client, None, format),
            shown => shown,
        },
    })
}

fn clusters(client: &Client, format: Format) -> Result<(), Failure> {
    let rows = client.list(CLUSTERS)?;
    Shown::clusters(format).list(client, rows, |clusters: &[ClusterBody], wide| {
        table::cluster_use(clusters, wide)
    })
}

fn nodes(client: &Client, cluster: Option<&str>, format: Format) -> Result<(), Failure> {
    get::nodes(client, cluster, format, table::node_use)
}

/// Shows it once; or again and again, each time on a new page, until nobody reads any more.
pub(super) fn repeated(
    watch: bool,
    mut show: impl FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !watch {
        return show();
    }
    let mut answered = false;
    while !output::reader_is_gone() {
        output::new_page()?;
        match show() {
            Ok(()) => answered = true,
            Err(failure) if answered && failure.passes() => output::complain(&failure.lines()),
            Err(failure) => return Err(failure),
        }
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}
