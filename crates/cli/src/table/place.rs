//! Clusters and workers.

use model::time::Wall;
use protocol::rest::{ClusterBody, NodeBody};

use super::Seen::{self, Always, Wide};
use super::describe::runtimes;
use super::{Column, age, free_cores, free_memory, now, render};

/// One row a cluster.
pub(crate) fn clusters(clusters: &[ClusterBody], wide: bool) -> Vec<String> {
    let now = now();
    let columns: [Column<'_, ClusterBody>; 11] = [
        Column(Always, "NAME", &|cluster| cluster.cluster_name.clone()),
        Column(Always, "STATE", &|cluster| {
            with_scheduling(&cluster.state, &cluster.scheduling)
        }),
        Column(Always, "NODES", &|cluster| {
            cluster.number_of_nodes.to_string()
        }),
        Column(Always, "FREE CORES", &|cluster| {
            free_cores(cluster.free_cores, cluster.cpu_cores)
        }),
        Column(Always, "FREE MEMORY", &|cluster| {
            free_memory(cluster.memory_free_in_mb, cluster.cumulative_memory_in_mb)
        }),
        Column(Always, "JOBS", &|cluster| {
            cluster.number_of_jobs.to_string()
        }),
        Column(Always, "SCHEDULER", &|cluster| cluster.scheduler.clone()),
        Column(Wide, "LOCATION", &|cluster| cluster.location.text.clone()),
        Column(Wide, "RUNTIMES", &|cluster| cluster.technology.join(",")),
        Column(Wide, "SEEN", &|cluster| seen(cluster.last_seen, now)),
        Column(Wide, "ID", &|cluster| cluster.cluster_id.to_string()),
    ];
    render(&columns, clusters, wide)
}

/// A worker, with its cluster where several are shown.
pub(crate) type Node = (Option<String>, NodeBody);

/// One row a worker.
pub(crate) fn nodes(nodes: &[Node], wide: bool) -> Vec<String> {
    let now = now();
    let several = nodes.iter().any(|(cluster, _)| cluster.is_some());
    let columns: [Column<'_, Node>; 12] = [
        Column(Always, "NAME", &|(_, node)| node.name.clone()),
        Column(Seen::always_if(several), "CLUSTER", &|(cluster, _)| {
            cluster.clone().unwrap_or_default()
        }),
        Column(Always, "STATE", &|(_, node)| node.state.clone()),
        Column(Always, "SCHEDULING", &|(_, node)| node.scheduling.clone()),
        Column(Always, "ARCH", &|(_, node)| node.architecture.clone()),
        Column(Always, "FREE CORES", &|(_, node)| {
            free_cores(node.free_cores, node.cpu_cores)
        }),
        Column(Always, "FREE MEMORY", &|(_, node)| {
            free_memory(node.memory_free_in_mb, node.memory_in_mb)
        }),
        Column(Always, "INSTANCES", &|(_, node)| node.instances.to_string()),
        Column(Always, "RUNTIMES", &|(_, node)| runtimes(node).join(",")),
        Column(Wide, "LABELS", &|(_, node)| {
            let labels = node.labels.iter();
            let labels: Vec<_> = labels
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            labels.join(",")
        }),
        Column(Wide, "SEEN", &|(_, node)| seen(node.last_seen, now)),
        Column(Wide, "ID", &|(_, node)| node.node_id.to_string()),
    ];
    render(&columns, nodes, wide)
}

fn seen(at: Option<Wall>, now: i64) -> String {
    at.map(|at| age(at.0, now)).unwrap_or_default()
}

/// The state, and whether it takes work where it does not.
pub(super) fn with_scheduling(state: &str, scheduling: &str) -> String {
    if scheduling == "OPEN" {
        state.to_owned()
    } else {
        format!("{state},{scheduling}")
    }
}
