//! `edgeio get`: what is there.

use clap::Subcommand;
use serde_json::Value;

use protocol::rest::{ClusterBody, JobBody, NodeBody};

use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;
use crate::values;

use super::place::{NODES, nodes_path, serves_no_nodes};
use super::shown::Shown;
use super::{CLUSTERS, JOBS, events, job_path, near, top};

/// Shows what is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio get jobs
  edgeio get jobs --state NOT_DEPLOYED -o wide
  edgeio get job hello -o yaml
  edgeio get nodes --cluster garching
  edgeio get jobs --watch")]
pub(crate) struct Options {
    /// What to show.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows all jobs.
    Jobs {
        /// Only jobs in this state.
        #[arg(long, value_name = "STATE", value_parser = values::state)]
        state: Option<String>,
        /// Shows it again every two seconds.
        #[arg(short, long)]
        watch: bool,
    },
    /// Shows one job with its instances.
    Job {
        /// Its name or id, with or without job/ before it.
        #[arg(value_name = "JOB", value_parser = values::job)]
        name: String,
        /// Shows it again every two seconds.
        #[arg(short, long)]
        watch: bool,
    },
    /// Shows all clusters.
    Clusters {
        /// Shows it again every two seconds.
        #[arg(short, long)]
        watch: bool,
    },
    /// Shows the workers of a cluster, or of all.
    Nodes {
        /// Only of this cluster, by name or id.
        #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
        cluster: Option<String>,
        /// Shows it again every two seconds.
        #[arg(short, long)]
        watch: bool,
    },
    /// Shows what happened, the oldest first; `edgeio events --watch` goes on with it.
    Events {
        /// Only what happened to this job, by name or id.
        #[arg(long, value_name = "JOB", value_parser = values::job)]
        job: Option<String>,
    },
}

/// Shows it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::Jobs { state, watch } => {
            top::repeated(*watch, || jobs(client, state.as_deref(), format))
        }
        What::Job { name, watch } => top::repeated(*watch, || job(client, name, format)),
        What::Clusters { watch } => top::repeated(*watch, || clusters(client, format)),
        What::Nodes { cluster, watch } => top::repeated(*watch, || {
            nodes(client, cluster.as_deref(), format, table::nodes)
        }),
        What::Events { job } => events::list(client, job.as_deref(), format),
    }
}

fn jobs(client: &Client, state: Option<&str>, format: Format) -> Result<(), Failure> {
    let path = match state {
        Some(state) => format!("{JOBS}?state={}", segment(state)),
        None => JOBS.to_owned(),
    };
    let rows = client.list(&path)?;
    Shown::jobs(format).list(client, rows, |jobs: &[JobBody], wide| {
        table::jobs(jobs, wide)
    })
}

fn job(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let answer = client
        .get(&job_path(name))
        .map_err(|failure| near::job(client, name, failure))?;
    Shown::jobs(format).one(client, answer, table::job)
}

fn clusters(client: &Client, format: Format) -> Result<(), Failure> {
    let rows = client.list(CLUSTERS)?;
    Shown::clusters(format).list(client, rows, |clusters: &[ClusterBody], wide| {
        table::clusters(clusters, wide)
    })
}

/// The workers of one cluster; or those that the server has itself, as clusters do; or those of all its clusters.
pub(super) fn nodes(
    client: &Client,
    cluster: Option<&str>,
    format: Format,
    columns: impl FnOnce(&[table::Node], bool) -> Vec<String>,
) -> Result<(), Failure> {
    let mut unheard = 0;
    let rows: Vec<Row> = match cluster {
        Some(cluster) => {
            let rows = client.list(&nodes_path(cluster));
            unnamed(rows.map_err(|failure| near::cluster(client, cluster, failure))?)
        }
        None => match client.list(NODES) {
            Ok(rows) => unnamed(rows),
            Err(failure) if serves_no_nodes(&failure) => {
                let (rows, failed) = nodes_of_all(client)?;
                unheard = failed;
                rows
            }
            Err(failure) => return Err(failure),
        },
    };
    let (names, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    Shown::nodes(format).list(client, values, |nodes: &[NodeBody], wide| {
        let rows: Vec<_> = names.iter().cloned().zip(nodes.iter().cloned()).collect();
        columns(&rows, wide)
    })?;
    match unheard {
        0 => Ok(()),
        failed => Err(Failure::Wait(format!(
            "{failed} clusters did not tell their workers"
        ))),
    }
}

/// A worker, with its cluster where several are shown.
type Row = (Option<String>, Value);

fn unnamed(rows: Vec<Value>) -> Vec<Row> {
    rows.into_iter().map(|row| (None, row)).collect()
}

/// Each worker with its cluster, and how many clusters did not answer.
fn nodes_of_all(client: &Client) -> Result<(Vec<Row>, usize), Failure> {
    let mut rows = Vec::new();
    let mut failed = 0;
    let clusters: Vec<ClusterBody> = client.list_of(CLUSTERS)?;
    for cluster in clusters {
        match client.list(&nodes_path(&cluster.cluster_id.to_string())) {
            Ok(nodes) => rows.extend(
                nodes
                    .into_iter()
                    .map(|node| (Some(cluster.cluster_name.clone()), node)),
            ),
            Err(failure) => {
                output::complain(&failure.lines());
                failed += 1;
            }
        }
    }
    Ok((rows, failed))
}
