//! Where clusters and workers are found: a cluster serves its own workers, a root those of all its clusters.

use protocol::problem::Problem;
use protocol::rest::{ClusterBody, NodeBody};

use crate::client::{Client, segment};
use crate::failure::{Failure, Refusal};
use crate::output;

use super::{CLUSTERS, near};

/// The workers that a cluster serves.
pub(super) const NODES: &str = "/api/v1/nodes";

/// The path of a cluster.
pub(super) fn cluster_path(cluster: &str) -> String {
    format!("{CLUSTERS}/{}", segment(cluster))
}

/// The path of the workers of a cluster.
pub(super) fn nodes_path(cluster: &str) -> String {
    format!("{}/nodes", cluster_path(cluster))
}

/// A worker, its path, and the cluster where the server has several.
pub(super) struct Place {
    /// Where it is asked for.
    pub(super) path: String,
    /// Its cluster's name; nothing where a cluster itself answers.
    pub(super) cluster: Option<String>,
    /// What the server says about it.
    pub(super) body: serde_json::Value,
}

/// The worker of that name or id: of this cluster; or of the server itself, as clusters serve them; or of the one of
/// its clusters that has it.
///
/// # Errors
/// When it is nowhere, or in several clusters.
pub(super) fn node(client: &Client, name: &str, cluster: Option<&str>) -> Result<Place, Failure> {
    let at = |nodes: String, cluster: Option<&str>| {
        let path = format!("{nodes}/{}", segment(name));
        match client.get(&path) {
            Ok(body) => Ok(Place {
                path,
                cluster: cluster.map(str::to_owned),
                body,
            }),
            Err(failure) => Err((nodes, failure)),
        }
    };
    let near = |(nodes, failure): (String, Failure)| near::node(client, &nodes, name, failure);
    if let Some(cluster) = cluster {
        let place = at(nodes_path(cluster), Some(cluster)).map_err(near);
        return place.map_err(|failure| near::cluster(client, cluster, failure));
    }
    match at(NODES.to_owned(), None) {
        Err((_, failure)) if serves_no_nodes(&failure) => of_all(client, name),
        other => other.map_err(near),
    }
}

/// Whether the server has no workers of its own, as a root.
pub(super) fn serves_no_nodes(failure: &Failure) -> bool {
    failure.status() == Some(404) && !failure.has_code("no_such_node")
}

fn of_all(client: &Client, name: &str) -> Result<Place, Failure> {
    let clusters: Vec<ClusterBody> = client.list_of(CLUSTERS)?;
    let mut names = Vec::new();
    let mut found = Vec::new();
    for cluster in &clusters {
        let nodes = nodes_path(&cluster.cluster_id.to_string());
        let listed: Vec<NodeBody> = match client.list_of(&nodes) {
            Ok(listed) => listed,
            Err(failure) => {
                output::notice(&format!(
                    "cluster/{} does not tell its workers: {failure}",
                    cluster.cluster_name
                ));
                continue;
            }
        };
        for node in listed {
            if node.name == name || node.node_id.to_string() == name {
                found.push((cluster, format!("{nodes}/{}", node.node_id)));
            }
            names.push(node.name);
        }
    }
    match found.as_slice() {
        [] => {
            let problem = Problem::not_found("node", name);
            let failure = Failure::Refused(Box::new(Refusal::new(problem, None)));
            Err(near::with_names(failure, "no_such_node", name, || names))
        }
        [(cluster, path)] => Ok(Place {
            body: client.get(path)?,
            path: path.clone(),
            cluster: Some(cluster.cluster_name.clone()),
        }),
        several => {
            let clusters: Vec<_> = several
                .iter()
                .map(|(cluster, _)| cluster.cluster_name.as_str())
                .collect();
            Err(Failure::Usage(format!(
                "workers of the name {name:?} are in the clusters {}; say which one with --cluster",
                clusters.join(", ")
            )))
        }
    }
}
