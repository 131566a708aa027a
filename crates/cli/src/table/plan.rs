//! What a document would do, were it applied.

use protocol::rest::{PlanBody, PlannedBody};

use super::Seen::{Always, Wide};
use super::{Column, render};

/// What it would do to a job.
pub(crate) fn plan(job: &str, plan: &PlanBody, wide: bool) -> Vec<String> {
    let columns: [Column<'_, PlannedBody>; 6] = [
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
    let placed =
        |planned: &&PlannedBody| planned.cluster.is_some() || planned.worker_node.is_some();
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
