//! `edgeio get`: what is there.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use protocol::rest::{ClusterBody, EventBody, JobBody, NodeBody};

use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::options::What;
use crate::output::{self, Format};
use crate::table;

use super::job_path;

const CLUSTERS: &str = "/api/v1/clusters";

/// Shows it.
pub(super) fn run(client: &Client, what: What, format: Format) -> Result<(), Failure> {
    match what {
        What::Jobs { state } => jobs(client, state.as_deref(), format),
        What::Job { name } => job(client, &name, format),
        What::Clusters => clusters(client, format),
        What::Nodes { cluster } => nodes(client, cluster.as_deref(), format),
        What::Events { job } => events(client, job.as_deref(), format),
    }
}

fn jobs(client: &Client, state: Option<&str>, format: Format) -> Result<(), Failure> {
    let path = match state {
        Some(state) => format!("/api/v1/jobs?state={}", segment(state)),
        None => "/api/v1/jobs".to_owned(),
    };
    let rows = client.list(&path)?;
    let shown = Shown {
        kind: "job",
        name: "job_name",
        format,
    };
    shown.list(client, rows, |jobs: &[JobBody], wide| {
        table::jobs(jobs, wide)
    })
}

fn job(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let path = job_path(name);
    let answer = client.get(&path)?;
    match format {
        Format::Json | Format::Yaml => output::value(&answer, format),
        Format::Name => output::print([of_kind("job", "job_name", &answer)]),
        Format::Table | Format::Wide => {
            let job: JobBody = client.read(answer, &path)?;
            output::print(table::job(&job, format == Format::Wide))
        }
    }
}

fn clusters(client: &Client, format: Format) -> Result<(), Failure> {
    let rows = client.list(CLUSTERS)?;
    let shown = Shown {
        kind: "cluster",
        name: "cluster_name",
        format,
    };
    shown.list(client, rows, |clusters: &[ClusterBody], wide| {
        table::clusters(clusters, wide)
    })
}

/// The workers of one cluster; or those that the server has itself, as clusters do; or those of all its clusters.
fn nodes(client: &Client, cluster: Option<&str>, format: Format) -> Result<(), Failure> {
    let mut unheard = 0;
    let rows: Vec<(Option<String>, Value)> = match cluster {
        Some(cluster) => unnamed(client.list(&nodes_path(cluster))?),
        None => match client.list("/api/v1/nodes") {
            Ok(rows) => unnamed(rows),
            Err(failure) if failure.status() == Some(404) => {
                let (rows, failed) = nodes_of_all(client)?;
                unheard = failed;
                rows
            }
            Err(failure) => return Err(failure),
        },
    };
    let shown = Shown {
        kind: "node",
        name: "name",
        format,
    };
    let (names, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    shown.list(client, values, |nodes: &[NodeBody], wide| {
        let rows: Vec<_> = names.iter().cloned().zip(nodes.iter().cloned()).collect();
        table::nodes(&rows, wide)
    })?;
    match unheard {
        0 => Ok(()),
        failed => Err(Failure::Wait(format!(
            "{failed} clusters did not tell their workers"
        ))),
    }
}

fn unnamed(rows: Vec<Value>) -> Vec<(Option<String>, Value)> {
    rows.into_iter().map(|row| (None, row)).collect()
}

/// Each worker with its cluster, and how many clusters did not answer.
#[expect(
    clippy::type_complexity,
    reason = "a name for a pair that is used once says less than the pair"
)]
fn nodes_of_all(client: &Client) -> Result<(Vec<(Option<String>, Value)>, usize), Failure> {
    let mut rows = Vec::new();
    let mut failed = 0;
    for value in client.list(CLUSTERS)? {
        let cluster: ClusterBody = client.read(value, CLUSTERS)?;
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

fn nodes_path(cluster: &str) -> String {
    format!("{CLUSTERS}/{}/nodes", segment(cluster))
}

fn events(client: &Client, job: Option<&str>, format: Format) -> Result<(), Failure> {
    let path = match job {
        Some(job) => format!("{}/events", job_path(job)),
        None => "/api/v1/events".to_owned(),
    };
    let rows = client.list(&path)?;
    let shown = Shown {
        kind: "event",
        name: "id",
        format,
    };
    shown.list(client, rows, |events: &[EventBody], wide| {
        table::events(events, wide)
    })
}

/// How a list is shown.
struct Shown {
    /// What a row is.
    kind: &'static str,
    /// The field with its name.
    name: &'static str,
    format: Format,
}

impl Shown {
    fn list<T: DeserializeOwned>(
        &self,
        client: &Client,
        rows: Vec<Value>,
        table: impl FnOnce(&[T], bool) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json | Format::Yaml => {
                output::value(&json!({"items": rows, "next_cursor": null}), self.format)
            }
            Format::Name => {
                output::print(rows.iter().map(|row| of_kind(self.kind, self.name, row)))
            }
            Format::Table | Format::Wide if rows.is_empty() => {
                output::complain(&[format!("No {}s.", self.kind)]);
                Ok(())
            }
            Format::Table | Format::Wide => {
                let rows: Vec<T> = client.read(Value::Array(rows), "")?;
                output::print(table(&rows, self.format == Format::Wide))
            }
        }
    }
}

fn of_kind(kind: &str, field: &str, row: &Value) -> String {
    let name = row.get(field).and_then(Value::as_str).unwrap_or("?");
    format!("{kind}/{name}")
}
