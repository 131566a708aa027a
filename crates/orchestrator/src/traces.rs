//! Traces for OpenTelemetry: how each instance came to run, from the request to `RUNNING`, through all tiers.
//!
//! # Flow
//! 1. A handler that changed jobs says so ([`Requests::note`]), with the `traceparent` of the request, if it had one.
//! 2. The events that the tiers tell each other (decision 0017) are put together to [`deployments`]: each state that an instance was in
//!    is a step, which ends when its tier says so, by its clock.
//! 3. Once a second what ended becomes spans: one of the request, below it one of each deployment, below that its steps, each with the
//!    tier that ended it as its service. They are posted to the collector.
//!
//! # Guarantees
//! - An orchestrator tells the traces of the jobs that it accepted itself, so each is told once.
//! - Nothing waits for a collector: what it does not take is counted and dropped, and so is what comes too fast.
//! - What a collector is told has no environment, no secrets, and no address of who asked.

#[cfg(feature = "otlp")]
mod deployments;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod spans;

use std::path::PathBuf;

use daemon::Tasks;
use model::id::JobId;
use model::time::Wall;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::mpsc;
#[cfg(not(feature = "otlp"))]
use tokio_util::sync::CancellationToken;

use crate::metrics::registered;
use crate::{Handle, Jobs, Metrics, clock};

#[cfg(feature = "otlp")]
pub use export::Collector;

/// Requests that were noted and not looked at yet, at most.
const NOTED: usize = 1_024;

/// Where traces go; `#[command(flatten)]` it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TraceOptions {
    /// The collector of OpenTelemetry that is told how instances come to run: its OTLP over HTTP in JSON, as http://127.0.0.1:4318.
    /// Nobody, if it is not given.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Whom to believe to be the collector at https://…: the certificate of its authority, a file in PEM.
    #[arg(long, value_name = "FILE")]
    pub otlp_ca: Option<PathBuf>,
}

/// There is none in this program.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub enum Collector {}

#[cfg(not(feature = "otlp"))]
impl TraceOptions {
    /// None.
    ///
    /// # Errors
    /// When one is named.
    pub fn collector(&self, _tier: &str, _insecure: bool) -> Result<Option<Collector>, String> {
        if self.otlp.is_none() {
            return Ok(None);
        }
        Err("--otlp: this program was built without OpenTelemetry; take one that is shipped, or build it with --features otlp".to_owned())
    }
}

#[cfg(not(feature = "otlp"))]
impl Collector {
    #[expect(clippy::unused_async, reason = "as with the feature")]
    async fn tell<C: Jobs>(self, _: Handle<C>, _: Noted, _: CancellationToken) {
        match self {}
    }
}

/// Lets a task tell the collector, if there is one, and gives where handlers note what they did.
pub fn tell<C: Jobs>(
    collector: Option<Collector>,
    handle: &Handle<C>,
    metrics: &Metrics,
    tasks: &mut Tasks,
) -> Requests {
    let Some(collector) = collector else {
        return Requests::default();
    };
    let (sender, requests) = mpsc::channel(NOTED);
    let counted = metrics.spans.clone();
    let noted = Noted { requests, counted };
    let telling = collector.tell(handle.clone(), noted, tasks.token().clone());
    tasks.spawn("traces", telling);
    Requests(Some(sender))
}

/// How a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// When its handling began.
    pub(crate) at: Wall,
    /// Its header `traceparent`, as it was sent.
    pub(crate) parent: Option<String>,
}

impl Came {
    /// Now, with that header.
    pub fn now(parent: Option<&str>) -> Self {
        Self {
            at: clock::now().wall,
            parent: parent.map(str::to_owned),
        }
    }
}

/// A request that changed jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requested {
    /// What was asked for, as `submit`.
    pub(crate) what: &'static str,
    pub(crate) came: Came,
    /// When it was answered.
    pub(crate) done: Wall,
    /// Which jobs.
    pub(crate) jobs: Vec<JobId>,
}

/// Where handlers note what they did. Clones are the same; the default notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Requests(Option<mpsc::Sender<Requested>>);

/// What was noted, for whoever tells it.
#[derive(Debug)]
struct Noted {
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody is told"))]
    requests: mpsc::Receiver<Requested>,
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody is told"))]
    counted: Spans,
}

impl Requests {
    /// A request changed these jobs. It does not wait.
    pub(crate) fn note(&self, what: &'static str, came: &Came, jobs: &[JobId]) {
        let Some(requests) = &self.0 else { return };
        // Where too many come, they go without a trace of their own.
        let _ = requests.try_send(Requested {
            what,
            came: came.clone(),
            done: clock::now().wall,
            jobs: jobs.to_vec(),
        });
    }
}

/// What became of spans. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Spans(
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody is told"))] IntCounterVec,
);

impl Spans {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Spans of traces: told to the collector, refused or not heard by it, and dropped since too many came";
        let spans = IntCounterVec::new(Opts::new("edgeio_spans_total", help), &["became"])?;
        let spans = registered(registry, spans)?;
        for became in ["told", "failed", "dropped"] {
            spans.with_label_values(&[became]);
        }
        Ok(Self(spans))
    }

    #[cfg(feature = "otlp")]
    fn count(&self, became: &str, number: usize) {
        let spans = self.0.with_label_values(&[became]);
        spans.inc_by(number as u64);
    }
}
