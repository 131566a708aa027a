//! Deployments and requests as spans.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use model::event::Tier;
use model::id::JobId;
use model::time::{Instant, Wall};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::Requested;
use super::deployments::{Deployment, Part, Step};
use crate::clock::{self, NoRandom};

/// Milliseconds for which deployments of a job belong to a request.
const BELONGS: u64 = 600_000;
/// Jobs whose requests are known at most.
const JOBS: usize = 10_000;

/// What is told of a job, beside its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) tenant: String,
}

/// A span, with the tier that is its service; `None`: the orchestrator itself.
pub(super) type Told = (Option<Tier>, SpanData);

/// A span's place in a trace.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    trace: TraceId,
    span: SpanId,
    /// Nobody wants to see it.
    hidden: bool,
}

/// The last request of a job.
#[derive(Debug, Clone)]
struct Last {
    heard: Instant,
    place: Place,
    from: Wall,
}

/// What spans are made by.
#[derive(Debug)]
pub(super) struct Spans {
    scope: InstrumentationScope,
    requests: BTreeMap<JobId, Last>,
}

impl Default for Spans {
    fn default() -> Self {
        let scope = InstrumentationScope::builder("edgeio");
        Self {
            scope: scope.with_version(env!("CARGO_PKG_VERSION")).build(),
            requests: BTreeMap::new(),
        }
    }
}

impl Spans {
    /// The span of a request, to which what its jobs deploy belongs; none where its sender says that nobody wants to see it.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn request(
        &mut self,
        now: Instant,
        requested: &Requested,
    ) -> Result<Option<Told>, NoRandom> {
        let parent = parent(requested.came.parent.as_deref());
        let place = Place {
            trace: match &parent {
                Some(parent) => parent.trace_id(),
                None => TraceId::from_bytes(clock::random()?),
            },
            span: SpanId::from_bytes(clock::random()?),
            hidden: parent.as_ref().is_some_and(|parent| !parent.is_sampled()),
        };
        let from = requested.came.at;
        for &job in &requested.jobs {
            let (heard, place) = (now, place.clone());
            self.requests.insert(job, Last { heard, place, from });
        }
        self.forget(now);
        let jobs: Vec<_> = requested.jobs.iter().map(JobId::to_string).collect();
        let mut span = self.span(&place, requested.what.into(), from, requested.done);
        span.span_kind = SpanKind::Server;
        if let Some(parent) = parent {
            span.parent_span_id = parent.span_id();
            span.parent_span_is_remote = true;
        }
        span.attributes = vec![KeyValue::new("edgeio.jobs", jobs.join(","))];
        Ok((!place.hidden).then_some((None, span)))
    }

    /// The spans of a deployment: itself, and its steps.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn deployment(
        &self,
        now: Instant,
        deployment: &Deployment,
        named: &Named,
    ) -> Result<Vec<Told>, NoRandom> {
        let part = deployment.part();
        let request = self.requests.get(&deployment.job);
        let request = request.filter(|last| part == Part::First && now.0 < last.heard.0 + BELONGS);
        if request.is_some_and(|request| request.place.hidden) {
            return Ok(Vec::new());
        }
        let place = Place {
            trace: match request {
                Some(request) => request.place.trace,
                None => TraceId::from_bytes(clock::random()?),
            },
            span: SpanId::from_bytes(clock::random()?),
            hidden: false,
        };
        let (Some(first), Some(last)) = (deployment.steps.first(), deployment.steps.last()) else {
            return Ok(Vec::new());
        };
        // It began when the request came, if that is known.
        let began = request.map_or(first.from, |request| request.from.min(first.from));
        let name = match part {
            Part::First => "deploy",
            Part::Later => "go on",
            Part::Again => "recover",
        };
        let mut whole = self.span(&place, name.into(), began, last.to);
        whole.parent_span_id = request.map_or(SpanId::INVALID, |request| request.place.span);
        whole.status = status(last);
        whole.attributes = vec![
            KeyValue::new("edgeio.job.id", deployment.job.to_string()),
            KeyValue::new("edgeio.job.name", named.name.clone()),
            KeyValue::new("edgeio.tenant", named.tenant.clone()),
            KeyValue::new("edgeio.instance.id", deployment.instance.to_string()),
            KeyValue::new("edgeio.generation", deployment.generation.to_string()),
            KeyValue::new("edgeio.state", last.became),
        ];
        let mut told = vec![(None, whole)];
        for (index, step) in deployment.steps.iter().enumerate() {
            let from = if index == 0 { began } else { step.from };
            let own = Place {
                span: SpanId::from_bytes(clock::random()?),
                ..place.clone()
            };
            let mut span = self.span(&own, name_of(step.state).into(), from, step.to);
            span.parent_span_id = place.span;
            span.status = status(step);
            span.attributes = vec![
                KeyValue::new("edgeio.state", step.state),
                KeyValue::new("edgeio.became", step.became),
                KeyValue::new("edgeio.cause", step.cause.clone()),
                KeyValue::new("edgeio.message", step.message.clone()),
            ];
            told.push((Some(step.tier), span));
        }
        Ok(told)
    }

    fn span(&self, place: &Place, name: Cow<'static, str>, from: Wall, to: Wall) -> SpanData {
        let sampled = TraceFlags::SAMPLED;
        let state = TraceState::default();
        SpanData {
            span_context: SpanContext::new(place.trace, place.span, sampled, false, state),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: moment(from),
            end_time: moment(Wall(to.0.max(from.0))),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// What no deployment belongs to any more, and what is too much.
    fn forget(&mut self, now: Instant) {
        // Looking at all of them is not for each request.
        if self.requests.len() <= JOBS {
            return;
        }
        self.requests
            .retain(|_, last| now.0 < last.heard.0 + BELONGS);
        while self.requests.len() > JOBS {
            self.requests.pop_first();
        }
    }
}

/// What a step is, by the state in which it is spent.
fn name_of(state: &'static str) -> &'static str {
    match state {
        "" | "REQUESTED" => "choose a cluster",
        "SCHEDULED_CLUSTER" => "choose a worker",
        "SCHEDULED_NODE" => "start",
        "NOT_DEPLOYED" => "wait for room",
        "FAILED" => "wait for the next attempt",
        "UNKNOWN" => "wait for its return",
        other => other,
    }
}

fn status(step: &Step) -> Status {
    match step.became {
        "FAILED" | "NOT_DEPLOYED" | "UNKNOWN" => Status::error(step.message.clone()),
        "RUNNING" => Status::Ok,
        _ => Status::Unset,
    }
}

fn moment(wall: Wall) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(wall.0).unwrap_or_default())
}

/// Where a `traceparent` (W3C Trace Context) points; `None` where it is none.
fn parent(header: Option<&str>) -> Option<SpanContext> {
    let header = HashMap::from([("traceparent".to_owned(), header?.to_owned())]);
    let context = TraceContextPropagator::new().extract(&header);
    let parent = context.span().span_context().clone();
    parent.is_valid().then_some(parent)
}
