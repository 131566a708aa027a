//! Why each instance is where it is, or is nowhere: this root's part, and that of each cluster that has a part of it.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use model::book::Asked;
use model::id::{ClusterId, JobId};
use orchestrator::http::asked::Asking;
use orchestrator::http::refusal::unavailable;
use protocol::message::uplink::Question;
use protocol::problem::Problem;
use protocol::rest::{ClusterPartBody, ExplainedBody, ExplanationBody};
use rest::{Accept, ApiError, Path};
use serde_json::Value;
use tokio::task::JoinSet;

use super::Service;
use crate::uplink::Links;

/// `GET /api/v1/jobs/{job}/explain`.
pub(super) async fn job(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
) -> Result<Response, ApiError> {
    let (asked, wanted) = (asking.tenant.asked(), key.clone());
    let read = move |core: &root_core::State, _now| own_part(core, &asked, &wanted);
    let own = service.handle.read(read).await.map_err(unavailable)?;
    let (mut explained, involved) = own.ok_or_else(|| Problem::not_found("job", &key))?;
    explained.clusters = parts(&service.links, explained.job_id, involved).await;
    Ok(accept.ok(&explained))
}

fn own_part(
    core: &root_core::State,
    asked: &Asked,
    key: &str,
) -> Option<(ExplainedBody, BTreeSet<(String, ClusterId)>)> {
    let view = core.job(asked, key)?;
    let rows = view.instances.iter();
    let involved = rows
        .filter_map(|row| Some((row.cluster.as_ref()?.to_string(), row.cluster_id?)))
        .collect();
    let slots = core.explain(view.job.id);
    let explained = ExplainedBody {
        job_id: view.job.id,
        job_name: view.job.spec.name.to_string(),
        items: slots.iter().map(ExplanationBody::from).collect(),
        clusters: Vec::new(),
        next_cursor: None,
    };
    Some((explained, involved))
}

/// Asked at the same time, so that a silent one costs its patience once.
async fn parts(
    links: &Links,
    job: JobId,
    involved: BTreeSet<(String, ClusterId)>,
) -> Vec<ClusterPartBody> {
    let mut asking = JoinSet::new();
    for (cluster, id) in involved {
        let links = links.clone();
        let job = job.to_string();
        asking.spawn(async move {
            let answer = links.question(id, &Question::Explain { job }).await;
            let items = answer.map(|mut answer| answer.get_mut("items").map(Value::take));
            let (items, problem) = match items {
                Ok(items) => (items, None),
                Err(reason) => (None, Some(reason.to_string())),
            };
            ClusterPartBody {
                cluster,
                items,
                problem,
            }
        });
    }
    let mut parts = asking.join_all().await;
    parts.sort_by(|one, other| one.cluster.cmp(&other.cluster));
    parts
}
