//! Why instances are where they are, in sentences.

use protocol::rest::{ExplanationBody, RejectionBody};
use serde::Deserialize;

/// The answer of a root, or of a cluster, which has no clusters.
#[derive(Debug, Deserialize)]
pub(crate) struct Explained {
    /// What the server decided itself.
    items: Vec<ExplanationBody>,
    /// What each involved cluster decided.
    #[serde(default)]
    clusters: Vec<ClusterPart>,
}

/// A cluster's part.
#[derive(Debug, Deserialize)]
struct ClusterPart {
    cluster: String,
    /// Nothing where it did not answer.
    #[serde(default)]
    items: Option<Vec<ExplanationBody>>,
    /// Why it did not.
    #[serde(default)]
    problem: Option<String>,
}

/// Slots of a service about which the same is to be said, one after the other.
struct Group<'a> {
    first: &'a ExplanationBody,
    last: u32,
}

/// The lines of it.
pub(crate) fn explanation(explained: &Explained) -> Vec<String> {
    let Explained { items, clusters } = explained;
    if items.is_empty() {
        return vec!["The job has no instances.".to_owned()];
    }
    let mut lines = Vec::new();
    for group in groups(items) {
        lines.push(group.title());
        lines.extend(group.reasons("  "));
    }
    for part in clusters {
        lines.push(String::new());
        lines.push(format!("In cluster {}:", part.cluster));
        if let Some(items) = &part.items {
            for group in groups(items) {
                lines.push(format!("  {}", group.title()));
                lines.extend(group.reasons("    "));
            }
        } else {
            let why = part.problem.as_deref().unwrap_or("it did not answer");
            lines.push(format!("  nothing is known: {why}"));
        }
    }
    lines
}

fn groups(items: &[ExplanationBody]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for item in items {
        match groups.last_mut() {
            Some(group) if group.goes_on_with(item) => group.last = item.index,
            Some(_) | None => groups.push(Group {
                first: item,
                last: item.index,
            }),
        }
    }
    groups
}

impl Group<'_> {
    fn goes_on_with(&self, item: &ExplanationBody) -> bool {
        let like = |body: &ExplanationBody| ExplanationBody {
            index: 0,
            ..body.clone()
        };
        self.last.checked_add(1) == Some(item.index) && like(self.first) == like(item)
    }

    /// `web/0 is RUNNING at worker-1 of cluster-1`
    fn title(&self) -> String {
        let ExplanationBody {
            service,
            index,
            state,
            cluster,
            worker_node,
            ..
        } = self.first;
        let (slots, are) = if *index == self.last {
            (format!("{service}/{index}"), "is")
        } else {
            (
                format!("{service}/{index} to {service}/{}", self.last),
                "are",
            )
        };
        let place = match (worker_node, cluster) {
            (Some(worker), Some(cluster)) => format!(" at worker {worker} of cluster {cluster}"),
            (Some(worker), None) => format!(" at worker {worker}"),
            (None, Some(cluster)) => format!(" in cluster {cluster}"),
            (None, None) => String::new(),
        };
        format!("{slots} {are} {state}{place}")
    }

    fn reasons(&self, indent: &str) -> Vec<String> {
        let mut lines = vec![format!("{indent}{}", self.first.message)];
        for (code, rejection) in &self.first.rejections {
            lines.push(format!("{indent}Rejected: {}", rejected(code, rejection)));
            if let Some(remedy) = remedy(code) {
                lines.push(format!("{indent}  Try: {remedy}"));
            }
        }
        lines
    }
}

/// `3 insufficient_memory (worker-1, worker-2, and 1 more)`
fn rejected(code: &str, rejection: &RejectionBody) -> String {
    let RejectionBody { count, examples } = rejection;
    if examples.is_empty() {
        return format!("{count} {code}");
    }
    let more = match usize::try_from(*count)
        .unwrap_or(usize::MAX)
        .saturating_sub(examples.len())
    {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{count} {code} ({}{more})", examples.join(", "))
}

/// What a user can do about a reason.
fn remedy(code: &str) -> Option<&'static str> {
    let remedy = match code {
        "insufficient_memory" => {
            "ask for less with requirements.memory, make room ('edgeio top nodes'), or add a worker"
        }
        "insufficient_cpu" => {
            "ask for less with requirements.cpu, make room ('edgeio top nodes'), or add a worker"
        }
        "insufficient_disk" => "ask for less with requirements.disk, or add a worker with more",
        "no_cluster" => "start a cluster-orchestrator that joins this root",
        "no_worker" => "start a node-engine that joins the cluster",
        "no_such_cluster" | "location_mismatch" => {
            "name a cluster of 'edgeio get clusters', or leave the place out of the document"
        }
        "no_such_worker" | "not_pinned" => {
            "name a worker of 'edgeio get nodes', or leave worker_node out of the document"
        }
        "label_mismatch" => "'edgeio get nodes -o wide' shows the labels that there are",
        "architecture_mismatch" => "'edgeio get nodes' shows the architectures that there are",
        "runtime_missing" => {
            "'edgeio get nodes' shows the runtimes that there are; a worker finds its runtimes when it starts"
        }
        "runtime_degraded" => {
            "a worker's container engine does not answer: start it again there; 'edgeio describe node' shows which"
        }
        "scheduler_fault" => {
            "this is a fault of the scheduler, not of the document; the orchestrator's log says more"
        }
        "port_taken" => "take another host port, or leave it out to get a free one",
        "cordoned" => "'edgeio uncordon' opens it again",
        "unreachable" | "worker_lost" | "cluster_lost" => "'edgeio get nodes' shows who is heard",
        _ => return None,
    };
    Some(remedy)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_the_same_is_said_once_and_with_a_remedy() {
        let waits = |index| {
            json!({"service": "web", "index": index, "state": "NOT_DEPLOYED", "message": "no cluster can host it now",
                "rejections": {"insufficient_memory": {"count": 7, "examples": ["c1", "c2"]}, "later": {"count": 1}}})
        };
        let runs = json!({"service": "web", "index": 3, "state": "RUNNING", "cluster": "c1", "worker_node": "w1",
            "message": "it runs"});
        let explained: Explained = serde_json::from_value(json!({
            "job_name": "x", "items": [waits(0), waits(1), waits(2), runs],
            "clusters": [{"cluster": "c1", "items": [runs]}, {"cluster": "c2", "items": null, "problem": "it is away"}],
        }))
        .unwrap();
        expect![[r"
            web/0 to web/2 are NOT_DEPLOYED
              no cluster can host it now
              Rejected: 7 insufficient_memory (c1, c2, and 5 more)
                Try: ask for less with requirements.memory, make room ('edgeio top nodes'), or add a worker
              Rejected: 1 later
            web/3 is RUNNING at worker w1 of cluster c1
              it runs

            In cluster c1:
              web/3 is RUNNING at worker w1 of cluster c1
                it runs

            In cluster c2:
              nothing is known: it is away"]]
        .assert_eq(&explanation(&explained).join("\n"));
    }
}
