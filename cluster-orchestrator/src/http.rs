//! The REST interface of a cluster (contract, REST): what is not common to both orchestrators.

mod explain;
mod metrics;
pub(crate) mod nodes;
mod refusal;
#[cfg(test)]
#[path = "../../tests/support/rights.rs"]
mod rights;
#[cfg(test)]
mod tests;

use axum::Router;
use model::access::Verb;
use orchestrator::access::Access;
use orchestrator::http::logs::Logs;
use orchestrator::scheduler::Advisor;
use protocol::rest::{ExplanationBody, List, NodeBody, NodePatch};
use rest::guard::{Guarded, Realm};
use rest::{Api, op};

use crate::metrics::Metrics;
use crate::places::Places;
use crate::tier::{Cluster, Handle};

/// What the cluster's own handlers use.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) handle: Handle,
    pub(crate) metrics: Metrics,
    pub(crate) access: Access,
}

/// All routes with their descriptions; what every service has is added by `rest::finish`.
pub(crate) fn router(
    common: orchestrator::http::Service<Cluster>,
    service: Service,
    beside: (Logs<Cluster, Places>, Advisor<Cluster>),
    guard: Guarded,
) -> Router {
    api(common, service, beside).serve((), guard)
}

fn api(
    common: orchestrator::http::Service<Cluster>,
    service: Service,
    (logs, advisor): (Logs<Cluster, Places>, Advisor<Cluster>),
) -> Api<()> {
    let about = "A cluster of edgeIO: its own jobs and its workers. A body is YAML or JSON, an answer JSON or, with \
        `Accept: application/yaml`, YAML. Every refusal is a problem (RFC 9457). A list is read page by page.";
    let own = nodes_api().merge(other_api());
    Api::new("edgeIO cluster", about)
        .merge(orchestrator::http::api(common))
        .merge(orchestrator::http::logs::api(logs))
        .merge(orchestrator::http::scheduler::api(advisor))
        .merge(orchestrator::http::beside(&service.access))
        .merge(own.with_state(service))
}

fn nodes_api() -> Api<Service> {
    let op = |summary| op(summary).tag("nodes").problems(&[503]);
    let node = "/api/v1/nodes/{node}";
    Api::new("Nodes", "")
        .parameter("node", "A worker's id or name.")
        .get(
            "/api/v1/nodes",
            nodes::list,
            op("List nodes")
                .may(Verb::Read, Realm::Nodes)
                .answers::<List<NodeBody>>(200, "One page of workers."),
        )
        .get(
            node,
            nodes::one,
            op("Get a node")
                .may(Verb::Read, Realm::Nodes)
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
        .patch(
            node,
            nodes::change,
            op("Change a node")
                .may(Verb::Change, Realm::Nodes)
                .takes::<NodePatch>()
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
        .merge(scheduling_api())
}

/// Whether a worker gets work, and whether it belongs here at all.
fn scheduling_api() -> Api<Service> {
    let op = |summary| op(summary).tag("nodes").problems(&[503]);
    let node = "/api/v1/nodes/{node}";
    Api::new("", "")
        .post(
            &format!("{node}/cordon"),
            nodes::cordon,
            op("Cordon a node").may(Verb::Cordon, Realm::Nodes)
                .about("It keeps what it has and gets nothing new.")
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
        .post(
            &format!("{node}/drain"),
            nodes::drain,
            op("Drain a node").may(Verb::Cordon, Realm::Nodes)
                .about(
                    "It gets nothing new, and what it has goes elsewhere, where and as soon as there is room; \
                     what is pinned to it stays.",
                )
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
        .delete(
            node,
            nodes::forget,
            op("Forget a node").may(Verb::Delete, Realm::Nodes)
                .about(
                    "What it had is placed elsewhere at once, and its credential is void. One that is heard is refused \
                     (`alive`). One that returns after all registers as a new one, and stops what it still runs.",
                )
                .answers::<NodeBody>(200, "The worker, as it was known.")
                .problems(&[404, 409]),
        )
        .post(
            &format!("{node}/quarantine"),
            nodes::quarantine,
            op("Quarantine a node").may(Verb::Cordon, Realm::Nodes)
                .about(
                    "For a machine that is not trusted any more: it may report, and gets nothing new. What it has goes elsewhere, \
                     where and as soon as there is room; what is pinned to it stays. It counts for nothing but its own instances. \
                     `uncordon` ends it.",
                )
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
        .post(
            &format!("{node}/uncordon"),
            nodes::uncordon,
            op("Uncordon a node").may(Verb::Cordon, Realm::Nodes)
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
        .post(
            &format!("{node}/revoke"),
            nodes::revoke,
            op("Revoke a node").may(Verb::Delete, Realm::Nodes)
                .about(
                    "Its certificate means nothing from now on, and its connection ends: for a machine that is stolen or lost. \
                     It gets nothing new, and what it had is placed elsewhere once it counts as LOST.",
                )
                .answers::<NodeBody>(200, "The worker.")
                .problems(&[404]),
        )
}

fn other_api() -> Api<Service> {
    Api::new("Other", "")
        .get(
            "/api/v1/jobs/{job}/explain",
            explain::job,
            op("Explain a job").may(Verb::Read, Realm::Jobs)
                .tag("jobs")
                .about("Why each instance is where it is, or is nowhere, as far as this cluster decides it.")
                .answers::<List<ExplanationBody>>(200, "The explanation, complete.")
                .problems(&[404, 503]),
        )
        .get(
            "/metrics",
            metrics::show,
            op("Get metrics").may(Verb::Read, Realm::System).text("text/plain", "Prometheus' text format.").problems(&[500, 503]),
        )
}
