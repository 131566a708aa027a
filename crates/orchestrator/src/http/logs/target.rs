//! Which instances are read, and whom to ask.

use std::collections::BTreeMap;

use model::book::Asked;
use model::id::{InstanceId, JobId};
use model::job::JobState;
use model::name::Name;
use model::view::InstanceView;
use protocol::problem::Problem;
use rest::ApiError;

use super::{Holders, Logs, shown};
use crate::Jobs;
use crate::http::refusal::unavailable;

/// Which instances of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// One copy.
    Instance(InstanceId),
    /// The copies of one place.
    Slot(Name, u32),
}

impl Which {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let Some(text) = text else {
            return Ok(Self::All);
        };
        if let Ok(instance) = text.parse() {
            return Ok(Self::Instance(instance));
        }
        let slot = text.split_once('/').and_then(|(service, index)| {
            Some(Self::Slot(Name::new(service).ok()?, index.parse().ok()?))
        });
        slot.ok_or_else(|| {
            let detail = format!(
                "instance is an id (ins_…) or service/index, such as web/0, and not {:?}",
                shown(text)
            );
            Problem::bad_request(detail).into()
        })
    }

    fn is(&self, row: &InstanceView) -> bool {
        match self {
            Self::All => true,
            Self::Instance(instance) => row.instance == Some(*instance),
            Self::Slot(service, index) => row.service == *service && row.index == *index,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Instance(instance) => instance.to_string(),
            Self::Slot(service, index) => format!("{service}/{index}"),
        }
    }
}

/// An instance to read.
#[derive(Debug, Clone)]
pub(super) struct Target<K> {
    pub(super) instance: InstanceId,
    /// `service/index`.
    pub(super) label: String,
    /// Whom to ask, one after another until one knows it.
    pub(super) holders: Vec<K>,
    /// The first of them, in a sentence.
    pub(super) holder_name: String,
    /// It is in a row; otherwise it is gone.
    pub(super) is_there: bool,
}

/// What there is to read of a job now.
pub(super) struct Sight<K> {
    pub(super) job: JobId,
    pub(super) targets: Vec<Target<K>>,
    /// Nothing more will come of the job.
    pub(super) is_over: bool,
    /// A row, or an instance that was there, is what is asked for.
    is_known: bool,
}

/// The instances that are asked for.
///
/// # Errors
/// 404 for an unknown job or instance.
pub(super) async fn find<C: Jobs, H: Holders>(
    logs: &Logs<C, H>,
    asked: &Asked,
    key: &str,
    which: &Which,
) -> Result<(JobId, Vec<Target<H::Child>>), ApiError> {
    let sight = look(logs, asked, key, which).await?;
    let Some(sight) = sight else {
        return Err(Problem::not_found("job", key).into());
    };
    if !sight.is_known && *which != Which::All {
        return Err(Problem::not_found("instance", &which.text()).into());
    }
    Ok((sight.job, sight.targets))
}

/// As [`find`]; `None` without such a job.
pub(super) async fn look<C: Jobs, H: Holders>(
    logs: &Logs<C, H>,
    asked: &Asked,
    key: &str,
    which: &Which,
) -> Result<Option<Sight<H::Child>>, ApiError> {
    let (sight, wanted) = (asked.clone(), key.to_owned());
    let read = move |state: &C::State, now| {
        let view = C::job(state, now, &sight, &wanted)?;
        let events = C::history(state).of(view.job.id);
        // In the order of their first event.
        let mut past: Vec<InstanceId> = Vec::new();
        for instance in events.filter_map(|event| event.instance) {
            if !past.contains(&instance) {
                past.push(instance);
            }
        }
        Some((view, past))
    };
    let Some((view, mut past)) = logs.handle.read(read).await.map_err(unavailable)? else {
        // Nobody knows whose it was.
        let all = asked.within.is_root();
        return Ok(all.then(|| forgotten(&logs.holders, key, which)).flatten());
    };
    for instance in logs.holders.past(view.job.id) {
        if !past.contains(&instance) {
            past.push(instance);
        }
    }
    let rows = || view.instances.iter().filter(|row| which.is(row));
    let mut targets: BTreeMap<InstanceId, Target<H::Child>> = BTreeMap::new();
    let mut order = Vec::new();
    for row in rows() {
        let Some((instance, holder)) = row.instance.zip(logs.holders.of(row)) else {
            continue;
        };
        order.push(instance);
        targets.insert(instance, of_row(row, instance, holder));
    }
    // Of a job that is there, former copies are read when they are asked for by their id.
    let is_gone = view.instances.is_empty();
    for instance in past {
        let is_asked_for = match which {
            Which::All => is_gone,
            Which::Instance(one) => *one == instance,
            Which::Slot(..) => {
                is_gone && logs.holders.label(instance).as_deref() == Some(&which.text())
            }
        };
        if is_asked_for && !targets.contains_key(&instance) {
            order.push(instance);
            targets.insert(instance, of_past(&logs.holders, instance));
        }
    }
    Ok(Some(Sight {
        job: view.job.id,
        is_known: !targets.is_empty() || rows().next().is_some(),
        targets: order
            .into_iter()
            .filter_map(|instance| targets.remove(&instance))
            .collect(),
        is_over: view.state == JobState::Terminated,
    }))
}

/// A job that is not known any more, but for what it wrote.
fn forgotten<H: Holders>(holders: &H, key: &str, which: &Which) -> Option<Sight<H::Child>> {
    let job: JobId = key.parse().ok()?;
    let past = holders.past(job);
    let is_asked_for = |instance: &InstanceId| match which {
        Which::All => true,
        Which::Instance(one) => one == instance,
        Which::Slot(..) => holders.label(*instance).as_deref() == Some(&which.text()),
    };
    let asked_for = past.iter().copied().filter(is_asked_for);
    let targets: Vec<_> = asked_for
        .map(|instance| of_past(holders, instance))
        .collect();
    (!past.is_empty()).then_some(Sight {
        job,
        is_known: !targets.is_empty(),
        targets,
        is_over: true,
    })
}

fn of_row<K>(row: &InstanceView, instance: InstanceId, holder: K) -> Target<K> {
    let worker = row.worker.as_ref().map(|worker| format!("worker {worker}"));
    let cluster = || {
        row.cluster
            .as_ref()
            .map(|cluster| format!("cluster {cluster}"))
    };
    Target {
        instance,
        label: format!("{}/{}", row.service, row.index),
        holders: vec![holder],
        holder_name: worker
            .or_else(cluster)
            .unwrap_or_else(|| "its worker".to_owned()),
        is_there: true,
    }
}

fn of_past<H: Holders>(holders: &H, instance: InstanceId) -> Target<H::Child> {
    let former = holders.former(instance);
    Target {
        instance,
        label: holders
            .label(instance)
            .unwrap_or_else(|| instance.to_string()),
        holder_name: former
            .first()
            .map_or_else(|| "its worker".to_owned(), |first| holders.name(*first)),
        holders: former,
        is_there: false,
    }
}
