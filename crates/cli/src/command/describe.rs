//! `edgeio describe`: all about one thing.

use clap::Subcommand;
use protocol::rest::{ClusterBody, EventBody, JobBody, NodeBody};
use serde_json::{Value, json};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table::{self, Explained};
use crate::values;

use super::events::Names;
use super::place::{cluster_path, nodes_path};
use super::shown::Shown;
use super::{JOBS, explain, job_path, near, place};

/// How many of the last events are shown.
const EVENTS: usize = 10;

/// Shows all about one job, cluster or worker.
///
/// A job is shown with its instances, why they are where they are, and its last events; a cluster with its workers; a
/// worker with its instances.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio describe job hello
  edgeio describe cluster garching
  edgeio describe node e580
  edgeio describe node e580 --cluster garching -o json")]
pub(crate) struct Options {
    /// What to show.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows a job with its instances, why they are where they are, and its last events.
    Job {
        /// Its name or id, with or without job/ before it.
        #[arg(value_name = "JOB", value_parser = values::job)]
        name: String,
    },
    /// Shows a cluster with its workers.
    Cluster {
        /// Its name or id, with or without cluster/ before it.
        #[arg(value_name = "CLUSTER", value_parser = values::cluster)]
        name: String,
    },
    /// Shows a worker with its instances.
    Node {
        /// Its name or id, with or without node/ before it.
        #[arg(value_name = "NODE", value_parser = values::node)]
        name: String,
        /// Its cluster, by name or id; needed where workers of several clusters have that name.
        #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
        cluster: Option<String>,
    },
}

/// Shows it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::Job { name } => job(client, name, format),
        What::Cluster { name } => cluster(client, name, format),
        What::Node { name, cluster } => node(client, name, cluster.as_deref(), format),
    }
}

fn job(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let answer = client
        .get(&job_path(name))
        .map_err(|failure| near::job(client, name, failure))?;
    if format == Format::Name {
        return output::print([Shown::jobs(format).named(&answer)]);
    }
    let explanation = client.get(&explain::path(name))?;
    let events = client.list(&format!("{}/events", job_path(name)))?;
    if format.is_raw() {
        let all = json!({"job": answer, "explanation": explanation, "events": events});
        return output::value(&all, format);
    }
    let job: JobBody = client.read(answer, JOBS)?;
    let explained: Explained = client.read(explanation, JOBS)?;
    let events: Vec<EventBody> = client.read(Value::Array(events), JOBS)?;
    let wide = format == Format::Wide;
    let mut lines = table::job(&job, wide);
    lines.extend([String::new(), "Why:".to_owned()]);
    let why = table::explanation(&explained);
    lines.extend(why.iter().map(|line| match line.as_str() {
        "" => String::new(),
        line => format!("  {line}"),
    }));
    lines.extend([String::new(), "Last events:".to_owned()]);
    let last = events.get(events.len().saturating_sub(EVENTS)..);
    lines.extend(table::events(
        last.unwrap_or_default(),
        &Names::of(&job),
        wide,
    ));
    output::print(lines)
}

fn cluster(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let answer = client
        .get(&cluster_path(name))
        .map_err(|failure| near::cluster(client, name, failure))?;
    if format == Format::Name {
        return output::print([Shown::clusters(format).named(&answer)]);
    }
    // A cluster that is away cannot tell its workers; what the root knows is worth showing all the same.
    let nodes = match client.list(&nodes_path(name)) {
        Ok(nodes) => Some(nodes),
        Err(failure) => {
            output::complain(&failure.lines());
            None
        }
    };
    if format.is_raw() {
        return output::value(&json!({"cluster": answer, "nodes": nodes}), format);
    }
    let cluster: ClusterBody = client.read(answer, "")?;
    let nodes: Option<Vec<NodeBody>> = client.read(json!(nodes), "")?;
    let mut lines = table::cluster(&cluster);
    if let Some(nodes) = nodes {
        lines.push(String::new());
        let nodes: Vec<table::Node> = nodes.into_iter().map(|node| (None, node)).collect();
        if nodes.is_empty() {
            lines.push("No workers.".to_owned());
        } else {
            lines.extend(table::nodes(&nodes, format == Format::Wide));
        }
    }
    output::print(lines)
}

fn node(client: &Client, name: &str, cluster: Option<&str>, format: Format) -> Result<(), Failure> {
    let place = place::node(client, name, cluster)?;
    if format == Format::Name {
        return output::print([Shown::nodes(format).named(&place.body)]);
    }
    let node: NodeBody = client.read(place.body.clone(), &place.path)?;
    let mut rows = Vec::new();
    for value in client.list(JOBS)? {
        let job: JobBody = client.read(value, JOBS)?;
        let here = job
            .instances
            .into_iter()
            .filter(|instance| instance.worker_id == Some(node.node_id));
        rows.extend(here.map(|instance| (job.job_name.clone(), instance)));
    }
    if format.is_raw() {
        let instances: Vec<_> = rows
            .iter()
            .map(|(job, instance)| json!({"job_name": job, "instance": instance}))
            .collect();
        let all = json!({"node": place.body, "cluster": place.cluster, "instances": instances});
        return output::value(&all, format);
    }
    let lines = table::node(
        &node,
        place.cluster.as_deref(),
        &rows,
        format == Format::Wide,
    );
    output::print(lines)
}
