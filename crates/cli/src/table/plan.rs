//! What a document would do, were it applied.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Seen::{Always, Wide};
use super::{Column, render};

/// The answer to a request with `?dry_run=true`.
#[derive(Debug, Deserialize)]
pub(crate) struct Plan {
    /// Where each instance would go.
    instances: Vec<Planned>,
    /// Instances that are not listed.
    #[serde(default)]
    not_shown: u64,
}

/// Where one instance would go.
#[derive(Debug, Deserialize)]
struct Planned {
    service: String,
    index: u32,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    worker_node: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    reason_code: Option<String>,
    #[serde(default)]
    rejections: Option<BTreeMap<String, u32>>,
}

/// What it would do to a job.
pub(crate) fn plan(job: &str, plan: &Plan, wide: bool) -> Vec<String> {
    let columns: [Column<'_, Planned>; 6] = [
        Column(Always, "INSTANCE", &|planned| {
            format!("{}/{}", planned.service, planned.index)
        }),
        Column(Always, "CLUSTER", &|planned| {
            planned.cluster.clone().unwrap_or_default()
        }),
        Column(Always, "WORKER", &|planned| {
            planned.worker_node.clone().unwrap_or_default()
        }),
        Column(Wide, "CODE", &|planned| {
            planned.reason_code.clone().unwrap_or_default()
        }),
        Column(Wide, "REJECTED", &|planned| {
            let rejections = planned.rejections.iter().flatten();
            let counts = rejections.map(|(code, count)| format!("{count} {code}"));
            counts.collect::<Vec<_>>().join(", ")
        }),
        Column(Always, "REASON", &|planned| {
            planned.reason.clone().unwrap_or_default()
        }),
    ];
    let placed = |planned: &&Planned| planned.cluster.is_some() || planned.worker_node.is_some();
    let listed = plan.instances.len() as u64;
    let of = plan.instances.iter().filter(placed).count();
    let mut lines = vec![format!(
        "job/{job} would be applied: {of} of {listed} instances find a place (dry run, nothing is changed)"
    )];
    if listed > 0 {
        lines.extend(render(&columns, &plan.instances, wide));
    }
    if plan.not_shown > 0 {
        lines.push(format!("{} more instances are not listed.", plan.not_shown));
    }
    lines
}
