//! One cluster, one worker, one scheduler.

use protocol::rest::{ClusterBody, InstanceBody, NodeBody, SchedulerStatus};
use protocol::time::format_wall;

use super::Seen::{Always, Wide};
use super::job::why;
use super::place::with_scheduling;
use super::{Column, age, free_cores, free_memory, now, render};

/// A cluster, without its workers.
pub(crate) fn cluster(cluster: &ClusterBody) -> Vec<String> {
    let location = &cluster.location;
    let degrees = match (location.latitude, location.longitude) {
        (Some(latitude), Some(longitude)) => format!(" ({latitude}, {longitude})"),
        _ => String::new(),
    };
    fields(&[
        ("Name", cluster.cluster_name.clone()),
        ("Id", cluster.cluster_id.to_string()),
        (
            "State",
            with_scheduling(&cluster.state, &cluster.scheduling),
        ),
        ("Location", format!("{}{degrees}", location.text)),
        ("Address", cluster.http.clone().unwrap_or_default()),
        ("Scheduler", cluster.scheduler.clone()),
        ("Runtimes", cluster.technology.join(", ")),
        (
            "Workers",
            format!(
                "{}, {} of them take work",
                cluster.number_of_nodes, cluster.schedulable_nodes
            ),
        ),
        ("Jobs", cluster.number_of_jobs.to_string()),
        (
            "Free",
            format!(
                "{} cores, {}",
                free_cores(cluster.free_cores, cluster.cpu_cores),
                free_memory(cluster.memory_free_in_mb, cluster.cumulative_memory_in_mb)
            ),
        ),
        (
            "In use",
            format!(
                "{:.0}% of the cores, {:.0}% of the memory",
                cluster.cpu_percent, cluster.memory_percent
            ),
        ),
        ("Heard", heard(cluster.last_seen)),
    ])
}

/// Who chooses places.
pub(crate) fn scheduler(status: &SchedulerStatus) -> Vec<String> {
    let known = &status.in_force;
    let rows = [
        ("Scheduler", Some(known.scheduler.clone())),
        ("Deadline", known.deadline.clone()),
        ("Fallback", known.fallback.clone()),
        ("Away", status.away.clone()),
    ];
    let told = rows.into_iter();
    let told = told.filter_map(|(title, text)| Some((title, text?)));
    fields(&told.collect::<Vec<_>>())
}

/// A worker with its instances, each with the name of its job.
pub(crate) fn node(
    node: &NodeBody,
    cluster: Option<&str>,
    instances: &[(String, InstanceBody)],
    wide: bool,
) -> Vec<String> {
    let labels = node.labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let percent = |measured: Option<f64>| match measured {
        Some(percent) => format!("{percent:.0}%"),
        None => "an unknown part".to_owned(),
    };
    let mut lines = fields(&[
        ("Name", node.name.clone()),
        ("Id", node.node_id.to_string()),
        ("Cluster", cluster.unwrap_or_default().to_owned()),
        ("State", with_scheduling(&node.state, &node.scheduling)),
        ("Machine", node.architecture.clone()),
        ("Runtimes", runtimes(node).join(", ")),
        ("Labels", labels.join(", ")),
        ("Extras", node.accelerators.join(", ")),
        (
            "Free",
            format!(
                "{} cores, {}",
                free_cores(node.free_cores, node.cpu_cores),
                free_memory(node.memory_free_in_mb, node.memory_in_mb)
            ),
        ),
        (
            "In use",
            format!(
                "{} of the cores, {} of the memory",
                percent(node.cpu_percent),
                percent(node.memory_percent)
            ),
        ),
        ("Heard", heard(node.last_seen)),
        ("Cloned", cloned(node)),
    ]);
    lines.push(String::new());
    if instances.is_empty() {
        lines.push("No instances.".to_owned());
        return lines;
    }
    let now = now();
    let columns: [Column<'_, (String, InstanceBody)>; 7] = [
        Column(Always, "JOB", &|(job, _)| job.clone()),
        Column(Always, "INSTANCE", &|(_, instance)| {
            format!("{}/{}", instance.service, instance.index)
        }),
        Column(Always, "STATE", &|(_, instance)| instance.state.clone()),
        Column(Always, "RESTARTS", &|(_, instance)| {
            instance.restarts.to_string()
        }),
        Column(Always, "SINCE", &|(_, instance)| age(instance.since.0, now)),
        Column(Wide, "ID", &|(_, instance)| {
            let id = instance.instance_id.map(|id| id.to_string());
            id.unwrap_or_default()
        }),
        Column(Always, "REASON", &|(_, instance)| why(instance)),
    ];
    lines.extend(render(&columns, instances, wide));
    lines
}

/// What it can run, and which of it does not answer.
pub(super) fn runtimes(node: &NodeBody) -> Vec<String> {
    let silent = |word: &String| node.runtimes_degraded.contains(word);
    let shown = node.runtimes.iter().map(|word| {
        if silent(word) {
            format!("{word} (does not answer)")
        } else {
            word.clone()
        }
    });
    shown.collect()
}

/// `Name:      value`, without those that have nothing to say.
fn fields(fields: &[(&str, String)]) -> Vec<String> {
    fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{:<10} {value}", format!("{name}:")))
        .collect()
}

/// What to do where two machines use one identity.
fn cloned(node: &NodeBody) -> String {
    node.cloned_at.map_or_else(String::new, |at| {
        format!(
            "another machine used its identity {} ago; revoke it, and join both again",
            age(at.0, now())
        )
    })
}

fn heard(at: Option<model::time::Wall>) -> String {
    match at {
        Some(at) => format!("{} ({} ago)", format_wall(at), age(at.0, now())),
        None => String::new(),
    }
}
