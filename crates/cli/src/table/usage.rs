//! What clusters and workers have, and how much of it is used.

use protocol::rest::ClusterBody;

use super::Seen::{self, Always, Wide};
use super::place::{Node, with_scheduling};
use super::{Column, cores, render};

/// One row a cluster.
pub(crate) fn cluster_use(clusters: &[ClusterBody], wide: bool) -> Vec<String> {
    let columns: [Column<'_, ClusterBody>; 8] = [
        Column(Always, "NAME", &|cluster| cluster.cluster_name.clone()),
        Column(Always, "STATE", &|cluster| {
            with_scheduling(&cluster.state, &cluster.scheduling)
        }),
        Column(Always, "CPU", &|cluster| percent(Some(cluster.cpu_percent))),
        Column(Always, "MEMORY", &|cluster| {
            percent(Some(cluster.memory_percent))
        }),
        Column(Always, "RESERVED CORES", &|cluster| {
            reserved_cores(cluster.free_cores, cluster.cpu_cores)
        }),
        Column(Always, "RESERVED MEMORY", &|cluster| {
            reserved_memory(cluster.memory_free_in_mb, cluster.cumulative_memory_in_mb)
        }),
        Column(Always, "NODES", &|cluster| {
            format!("{}/{}", cluster.schedulable_nodes, cluster.number_of_nodes)
        }),
        Column(Always, "JOBS", &|cluster| {
            cluster.number_of_jobs.to_string()
        }),
    ];
    render(&columns, clusters, wide)
}

/// One row a worker.
pub(crate) fn node_use(nodes: &[Node], wide: bool) -> Vec<String> {
    let several = nodes.iter().any(|(cluster, _)| cluster.is_some());
    let columns: [Column<'_, Node>; 9] = [
        Column(Always, "NAME", &|(_, node)| node.name.clone()),
        Column(Seen::always_if(several), "CLUSTER", &|(cluster, _)| {
            cluster.clone().unwrap_or_default()
        }),
        Column(Always, "STATE", &|(_, node)| {
            with_scheduling(&node.state, &node.scheduling)
        }),
        Column(Always, "CPU", &|(_, node)| percent(node.cpu_percent)),
        Column(Always, "MEMORY", &|(_, node)| percent(node.memory_percent)),
        Column(Always, "RESERVED CORES", &|(_, node)| {
            reserved_cores(node.free_cores, node.cpu_cores)
        }),
        Column(Always, "RESERVED MEMORY", &|(_, node)| {
            reserved_memory(node.memory_free_in_mb, node.memory_in_mb)
        }),
        Column(Always, "INSTANCES", &|(_, node)| node.instances.to_string()),
        Column(Wide, "ID", &|(_, node)| node.node_id.to_string()),
    ];
    render(&columns, nodes, wide)
}

fn percent(measured: Option<f64>) -> String {
    measured
        .map(|percent| format!("{percent:.0}%"))
        .unwrap_or_default()
}

/// `0.5/4`: reserved of all.
fn reserved_cores(free: f64, all: f64) -> String {
    format!("{}/{}", cores((all - free).max(0.0)), cores(all))
}

/// `100/1000 MB`: reserved of all.
fn reserved_memory(free: u64, all: u64) -> String {
    format!("{}/{all} MB", all.saturating_sub(free))
}
