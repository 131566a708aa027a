//! Dry runs: where instances would go, decided on a copy of the state that is thrown away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::book::{Asked, JobAnswer, JobRequest};
use model::id::JobId;
use model::instance::InstanceState;
use model::slot::Role;
use model::time::Now;
use model::view::{InstanceView, JobView};
use protocol::problem::Problem;
use protocol::rest::{PlanBody, PlannedBody};
use rest::ApiError;
use tokio::time::timeout;

use super::Service;
use super::refusal::{of_job, unavailable};
use crate::{Core, Effect, Jobs};

/// How long a dry run waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// A copy is followed by so many times what it took without one.
const REST: u32 = 9;
/// Seconds after which one that waited in vain may try again.
const RETRY: u32 = 5;

/// What would become of a request: one plan for each of its documents. Nothing is stored, and nobody is told.
///
/// One at a time, since each has a copy of the whole state; and the next one waits, so that the owner task spends little
/// of its time on copies.
///
/// # Errors
/// The refusal that the request itself would get; 503 when others wait.
pub(super) async fn plan<C: Jobs>(
    service: &Service<C>,
    asked: Asked,
    ask: JobRequest,
) -> Result<Vec<PlanBody>, ApiError> {
    let turn = Arc::clone(&service.planning).acquire_owned();
    let Ok(Ok(turn)) = timeout(PATIENCE, turn).await else {
        let problem = Problem::unavailable("other dry runs are being decided; try again");
        return Err(ApiError::from(problem).after(RETRY));
    };
    let copy = |state: &C::State, now| {
        let begun = Instant::now();
        (state.clone(), now, begun.elapsed())
    };
    let (state, now, took) = service.handle.read(copy).await.map_err(unavailable)?;
    // The turn goes along, so that it lasts as long as the copy, also when the client does not wait.
    let deciding =
        tokio::task::spawn_blocking(move || (decide::<C>(state, now, &asked, ask), turn));
    let (plans, turn) = deciding.await.map_err(|error| {
        tracing::error!(%error, "a dry run ended");
        Problem::internal()
    })?;
    tokio::spawn(async move {
        tokio::time::sleep(took * REST).await;
        drop(turn);
    });
    plans
}

fn decide<C: Jobs>(
    mut state: C::State,
    now: Now,
    asked: &Asked,
    ask: JobRequest,
) -> Result<Vec<PlanBody>, ApiError> {
    let input = C::ask(C::request(0), asked.clone(), ask);
    let decision = C::turn(&mut state, now, &[input]);
    let answer = decision.actions.into_iter().find_map(answered::<C>);
    let ids: Vec<JobId> = match answer {
        Some(JobAnswer::Accepted(ids)) => ids,
        Some(JobAnswer::Applied(id)) => vec![id],
        Some(other) => return Err(of_job(&other)),
        None => return Err(Problem::internal().into()),
    };
    let views = ids
        .iter()
        .filter_map(|id| C::job(&state, now, asked, &id.to_string()));
    Ok(views.map(|view| body(&view)).collect())
}

fn answered<C: Jobs>(action: <C as Core>::Action) -> Option<JobAnswer> {
    match C::effect(action) {
        Effect::Answer(_, answer) => C::answered(&answer).cloned(),
        Effect::Outward(_) => None,
    }
}

fn body(view: &JobView) -> PlanBody {
    // A slot that is being changed has two copies: the one that will hold it tells.
    let mut slots: BTreeMap<_, &InstanceView> = BTreeMap::new();
    for row in &view.instances {
        let slot = slots.entry((&row.service, row.index)).or_insert(row);
        if slot.role != Role::Holder {
            *slot = row;
        }
    }
    let instances: Vec<_> = slots
        .values()
        .take(PlanBody::SHOWN)
        .map(|row| planned(row))
        .collect();
    PlanBody {
        dry_run: true,
        job_name: view.job.spec.name.to_string(),
        not_shown: (slots.len() - instances.len()) as u32,
        instances,
    }
}

fn planned(row: &InstanceView) -> PlannedBody {
    let rejections = match &row.state {
        InstanceState::NotDeployed { rejections, .. } if !rejections.is_empty() => {
            let counts = rejections.iter();
            Some(
                counts
                    .map(|(code, count, _)| (code.as_str().to_owned(), count))
                    .collect(),
            )
        }
        _ => None,
    };
    let reason = row.reason.as_ref();
    PlannedBody {
        service: row.service.to_string(),
        index: row.index,
        cluster: row.cluster.as_ref().map(ToString::to_string),
        cluster_id: row.cluster_id,
        worker_node: row.worker.as_ref().map(ToString::to_string),
        worker_id: row.worker_id,
        reason: reason.map(|reason| reason.message.clone()),
        reason_code: reason.map(|reason| reason.code.as_str().to_owned()),
        rejections,
    }
}
