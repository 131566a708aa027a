//! The REST interface of a root (contract, REST): what is not common to both orchestrators.

mod clusters;
mod explain;
mod metrics;
mod refusal;
#[cfg(test)]
#[path = "../../tests/support/rights.rs"]
mod rights;
pub(crate) mod standby;
pub(crate) mod straight;
#[cfg(test)]
mod tests;

use axum::Router;
use model::access::Verb;
use orchestrator::access::Access;
use orchestrator::http::EXAMPLE;
use orchestrator::http::logs::Logs;
use orchestrator::scheduler::Advisor;
use protocol::document::schema::JobDocument;
use protocol::rest::{
    ClusterBody, ExplainedBody, JobBody, JoinTokenRequest, List, NewJoinTokenBody, NodeBody,
    NodePatch, PlanBody,
};
use rest::guard::{Guarded, Realm};
use rest::{Api, op};

use crate::holders::Clusters;
use crate::metrics::Metrics;
use crate::tier::{Handle, Root};
use crate::uplink::Links;

/// What the root's own handlers use.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) handle: Handle,
    pub(crate) links: Links,
    pub(crate) metrics: Metrics,
    pub(crate) access: Access,
}

/// All routes with their descriptions; what every service has is added by `rest::finish`.
pub(crate) fn router(
    common: orchestrator::http::Service<Root>,
    service: Service,
    beside: (Logs<Root, Clusters>, Advisor<Root>),
    guard: Guarded,
) -> Router {
    api(common, service, beside).serve((), guard)
}

fn api(
    common: orchestrator::http::Service<Root>,
    service: Service,
    (logs, advisor): (Logs<Root, Clusters>, Advisor<Root>),
) -> Api<()> {
    let about = "The root of edgeIO: jobs over all clusters. A body is YAML or JSON, an answer JSON or, with \
        `Accept: application/yaml`, YAML. Every refusal is a problem (RFC 9457). A list is read page by page.";
    let own = clusters_api().merge(nodes_api()).merge(other_api());
    Api::new("edgeIO root", about)
        .merge(orchestrator::http::api(common))
        .merge(orchestrator::http::logs::api(logs))
        .merge(orchestrator::http::scheduler::api(advisor))
        .merge(orchestrator::http::beside(&service.access))
        .merge(own.with_state(service))
}

fn clusters_api() -> Api<Service> {
    let op = |summary| op(summary).tag("clusters").problems(&[503]);
    let cluster = "/api/v1/clusters/{cluster}";
    Api::new("Clusters", "")
        .parameter("cluster", "A cluster's id or name.")
        .get(
            "/api/v1/clusters",
            clusters::list,
            op("List clusters").may(Verb::Read, Realm::Clusters).answers::<List<ClusterBody>>(200, "One page of clusters."),
        )
        .get(
            cluster,
            clusters::one,
            op("Get a cluster").may(Verb::Read, Realm::Clusters)
                .answers::<ClusterBody>(200, "The cluster.")
                .problems(&[404]),
        )
        .post(
            &format!("{cluster}/cordon"),
            clusters::cordon,
            op("Cordon a cluster").may(Verb::Cordon, Realm::Clusters)
                .about("It keeps what it has and gets nothing new.")
                .answers::<ClusterBody>(200, "The cluster.")
                .problems(&[404]),
        )
        .post(
            &format!("{cluster}/drain"),
            clusters::drain,
            op("Drain a cluster").may(Verb::Cordon, Realm::Clusters)
                .about(
                    "It gets nothing new, and what the root gave it goes to other clusters, where and as soon as there \
                     is room; what is pinned to it, and jobs of its own, stay.",
                )
                .answers::<ClusterBody>(200, "The cluster.")
                .problems(&[404]),
        )
        .delete(
            cluster,
            clusters::forget,
            op("Forget a cluster").may(Verb::Delete, Realm::Clusters)
                .about(
                    "What it had is assigned elsewhere at once, whatever a job says of partitions. One that is heard is \
                     refused (`alive`). One that returns after all joins as a new one, and stops what it had of the \
                     root; jobs of its own stay.",
                )
                .answers::<ClusterBody>(200, "The cluster, as it was known.")
                .problems(&[404, 409]),
        )
        .post(
            &format!("{cluster}/uncordon"),
            clusters::uncordon,
            op("Uncordon a cluster").may(Verb::Cordon, Realm::Clusters)
                .answers::<ClusterBody>(200, "The cluster.")
                .problems(&[404]),
        )
        .post(
            &format!("{cluster}/revoke"),
            clusters::revoke,
            op("Revoke a cluster").may(Verb::Delete, Realm::Clusters)
                .about(
                    "Its certificate means nothing from now on, and its connection ends. What it runs it runs on; after                      `lost_after` what may move is assigned elsewhere. It comes back with a new join token, as a new cluster.",
                )
                .answers::<ClusterBody>(200, "The cluster.")
                .problems(&[404]),
        )
        .post(
            &format!("{cluster}/join-tokens"),
            clusters::join_token,
            op("Create a join token of a cluster")
                .tag("joining")
                .may(Verb::Create, Realm::JoinTokens)
                .about("Made by the cluster, for its workers. The token is in the answer and nowhere else.")
                .may_take::<JoinTokenRequest>()
                .example("{\"uses\": 1, \"ttl\": \"1h\"}")
                .answers::<NewJoinTokenBody>(201, "The token.")
                .problems(&[404, 409, 502]),
        )
}

/// What is asked of the cluster itself, as long as it is connected.
fn nodes_api() -> Api<Service> {
    let op = |summary| op(summary).tag("nodes").problems(&[404, 502, 503]);
    let node = "/api/v1/clusters/{cluster}/nodes/{node}";
    Api::new("Nodes", "")
        .parameter("node", "A worker's id or name.")
        .get(
            "/api/v1/clusters/{cluster}/nodes",
            clusters::nodes,
            op("List nodes of a cluster").may(Verb::Read, Realm::Nodes).answers::<List<NodeBody>>(200, "One page of workers."),
        )
        .get(
            node,
            clusters::node,
            op("Get a node").may(Verb::Read, Realm::Nodes).answers::<NodeBody>(200, "The worker."),
        )
        .patch(
            node,
            clusters::change_node,
            op("Change a node").may(Verb::Change, Realm::Nodes)
                .takes::<NodePatch>()
                .answers::<NodeBody>(200, "The worker."),
        )
        .post(
            &format!("{node}/cordon"),
            clusters::cordon_node,
            op("Cordon a node").may(Verb::Cordon, Realm::Nodes)
                .about("It keeps what it has and gets nothing new.")
                .answers::<NodeBody>(200, "The worker."),
        )
        .post(
            &format!("{node}/drain"),
            clusters::drain_node,
            op("Drain a node").may(Verb::Cordon, Realm::Nodes)
                .about(
                    "It gets nothing new, and what it has goes elsewhere, where and as soon as there is room; \
                     what is pinned to it stays.",
                )
                .answers::<NodeBody>(200, "The worker."),
        )
        .delete(
            node,
            clusters::forget_node,
            op("Forget a node").may(Verb::Delete, Realm::Nodes)
                .about(
                    "What it had is placed elsewhere at once, and its credential is void. One that is heard is refused \
                     (`alive`). One that returns after all registers as a new one, and stops what it still runs.",
                )
                .answers::<NodeBody>(200, "The worker, as it was known.")
                .problems(&[409]),
        )
        .post(
            &format!("{node}/quarantine"),
            clusters::quarantine_node,
            op("Quarantine a node").may(Verb::Cordon, Realm::Nodes)
                .about(
                    "For a machine that is not trusted any more: it may report, and gets nothing new. What it has goes elsewhere, \
                     where and as soon as there is room; what is pinned to it stays. `uncordon` ends it.",
                )
                .answers::<NodeBody>(200, "The worker."),
        )
        .post(
            &format!("{node}/uncordon"),
            clusters::uncordon_node,
            op("Uncordon a node").may(Verb::Cordon, Realm::Nodes).answers::<NodeBody>(200, "The worker."),
        )
        .post(
            &format!("{node}/revoke"),
            clusters::revoke_node,
            op("Revoke a node").may(Verb::Delete, Realm::Nodes)
                .about(
                    "Its certificate means nothing from now on, and its connection ends: for a machine that is stolen or lost. \
                     It gets nothing new, and what it had is placed elsewhere once it counts as LOST.",
                )
                .answers::<NodeBody>(200, "The worker."),
        )
}

fn other_api() -> Api<Service> {
    Api::new("Other", "")
        .post(
            "/api/v1/clusters/{cluster}/jobs",
            straight::submit,
            op("Submit jobs to a cluster").may(Verb::Create, Realm::Jobs)
                .tag("jobs")
                .about(
                    "What `POST /api/v1/jobs` does at the cluster itself: the root passes the documents on unread. The jobs are the                      cluster's own, of its own tenants, and go on without the root, which does not list them. An answer that is                      longer than a message to the root comes without `instances`.",
                )
                .takes::<JobDocument>()
                .example(EXAMPLE)
                .answers::<JobBody>(202, "The job, as the cluster has it")
                .answers::<List<JobBody>>(202, "the jobs, where there were several documents")
                .header(202, "Location", "Where the job, or the list of jobs, is at the cluster, where that can be reached")
                .answers::<PlanBody>(200, "With `dry_run`: where its instances would go")
                .answers::<List<PlanBody>>(200, "the same of several documents")
                .empty(307, "With `Prefer: redirect`: to the cluster, where it is connected and can be reached")
                .header(307, "Location", "The same request at the cluster")
                .header(307, "Preference-Applied", "`redirect`")
                .problems(&[403, 404, 409, 422, 502, 503]),
        )
        .get(
            "/api/v1/jobs/{job}/explain",
            explain::job,
            op("Explain a job").may(Verb::Read, Realm::Jobs)
                .tag("jobs")
                .about("Why each instance is where it is, or is nowhere: what the root decided, and each cluster.")
                .answers::<ExplainedBody>(200, "The explanation.")
                .problems(&[404, 503]),
        )
        .get(
            "/metrics",
            metrics::show,
            op("Get metrics").may(Verb::Read, Realm::System).text("text/plain", "Prometheus' text format.").problems(&[500, 503]),
        )
}
