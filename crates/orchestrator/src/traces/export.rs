//! What happens is gathered, and told to the collector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, Response, Uri};
use daemon::dial::{Dialled, Remote as Place};
use model::event::Tier;
use model::id::JobId;
use model::time::Instant;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::deployments::{Deployment, Deployments};
use super::spans::{self, Named, Told};
use super::{Noted, Requested, TraceOptions};
use crate::clock::{self, NoRandom};
use crate::exchange::{exchange, reach};
use crate::feed::{Coming, Feed};
use crate::{Handle, Jobs};

const COLLECTOR: Dialled = Dialled {
    option: "--otlp",
    schemes: &["http"],
    secure: &["https"],
    path: true,
    example: "http://127.0.0.1:4318",
};

/// Between two looks at what ended.
const LOOK: Duration = Duration::from_secs(1);
/// How long a collector has for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what is left may take when the program ends.
const LAST: Duration = Duration::from_secs(3);
/// Bytes of its answer that are read.
const ANSWER: usize = 64 * 1024;
/// Spans in one message.
const MESSAGE: usize = 512;
/// Messages that wait for the collector; more are dropped.
const WAITING: usize = 32;
/// Where collectors take traces, if the URL has no path of its own (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// Who is told of traces: one exporter for each service, since what an orchestrator tells of those below is theirs.
#[derive(Debug)]
pub struct Collector([SpanExporter; 3]);

impl TraceOptions {
    /// Who is told by a program of that tier, if it is named. `insecure`: in plain text on another machine, too.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn collector(&self, tier: &str, insecure: bool) -> Result<Option<Collector>, String> {
        let Some(url) = &self.otlp else {
            return Ok(None);
        };
        let ca = ("--otlp-ca", self.otlp_ca.as_deref());
        let (place, tls) = reach(&COLLECTOR, url, ca, insecure)?;
        let post = Post { place, tls };
        let exporter = |service: &str| {
            let exporter = exporter(&at(url), service, post.clone());
            exporter.map_err(|error| format!("--otlp {url} cannot be used: {error}"))
        };
        Ok(Some(Collector([
            exporter(&format!("{tier}-orchestrator"))?,
            exporter("cluster-orchestrator")?,
            exporter("node-engine")?,
        ])))
    }
}

/// Where traces are posted.
fn at(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    match rest.split_once('/').unwrap_or((rest, "")) {
        (host, "") => format!("{scheme}://{host}{PATH}"),
        (host, path) => format!("{scheme}://{host}/{path}"),
    }
}

fn exporter(url: &str, service: &str, post: Post) -> Result<SpanExporter, ExporterBuildError> {
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(url)
        .with_timeout(PATIENCE)
        .with_http_client(post)
        .build()?;
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", service.to_owned()),
        KeyValue::new("service.namespace", "edgeio"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ]);
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

impl Collector {
    /// Tells it what happens until the token is cancelled, and then what happened until then.
    pub(super) async fn tell<C: Jobs>(
        self,
        handle: Handle<C>,
        noted: Noted,
        shutdown: CancellationToken,
    ) {
        let (messages, waiting) = mpsc::channel(WAITING);
        let counted = noted.counted.clone();
        let gathering = Gathering {
            handle,
            noted,
            deployments: Deployments::default(),
            spans: spans::Spans::default(),
            messages,
        };
        let last = async {
            shutdown.cancelled().await;
            sleep(LAST).await;
        };
        let sending = async {
            tokio::select! {
                () = send(self.0, waiting, counted) => {}
                // Nobody waits for a collector that does not answer.
                () = last => {}
            }
        };
        tokio::join!(gathering.run(shutdown.clone()), sending);
    }
}

/// Spans of one service.
type Message = (usize, Vec<SpanData>);

async fn send(
    exporters: [SpanExporter; 3],
    mut waiting: mpsc::Receiver<Message>,
    counted: super::Spans,
) {
    let mut is_heard = true;
    while let Some((service, spans)) = waiting.recv().await {
        let number = spans.len();
        let Some(exporter) = exporters.get(service) else {
            continue;
        };
        // Beside its own, since it would also try again.
        let told = timeout(PATIENCE * 2, exporter.export(spans)).await;
        let refused = match told {
            Ok(told) => told.err().map(|error| error.to_string()),
            Err(_) => Some("no answer came".to_owned()),
        };
        let became = if refused.is_none() { "told" } else { "failed" };
        counted.count(became, number);
        match &refused {
            Some(error) if is_heard => {
                tracing::warn!(
                    error,
                    "the collector takes no traces; they are dropped until it does"
                );
            }
            None if !is_heard => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        is_heard = refused.is_none();
    }
}

/// Who puts traces together.
struct Gathering<C: Jobs> {
    handle: Handle<C>,
    noted: Noted,
    deployments: Deployments,
    spans: spans::Spans,
    messages: mpsc::Sender<Message>,
}

impl<C: Jobs> Gathering<C> {
    async fn run(mut self, shutdown: CancellationToken) {
        let mut feed = self.handle.feed().clone();
        let mut position = feed.end();
        // What ended since the last look, and before it.
        let (mut since, mut before) = (Vec::new(), Vec::new());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_look = tokio::select! {
                is_there = feed.changed() => { if !is_there { break } false }
                _ = look.tick() => true,
                () = shutdown.cancelled() => break,
            };
            let now = clock::now().steady;
            feed.mark();
            since.extend(self.hear(now, &feed, &mut position));
            if is_look {
                since.extend(self.deployments.quiet(now));
                // One look later, so that its request was noted in any case.
                let due = std::mem::replace(&mut before, std::mem::take(&mut since));
                self.tell(due).await;
            }
        }
        before.append(&mut since);
        self.tell(before).await;
    }

    /// Takes all events behind a position, and gives what ended by them.
    fn hear(&mut self, now: Instant, feed: &Feed, position: &mut u64) -> Vec<Deployment> {
        let mut ended = Vec::new();
        loop {
            match feed.read(*position) {
                Coming::Lost => {
                    // What is under way has gaps now.
                    self.deployments.forget();
                    *position = feed.end();
                }
                Coming::Events(_, next) if next == *position => return ended,
                Coming::Events(events, next) => {
                    let heard = events.iter().map(|event| self.deployments.hear(now, event));
                    ended.extend(heard.flatten());
                    *position = next;
                }
            }
        }
    }

    /// What ended, with the requests that were noted until now.
    async fn tell(&mut self, ended: Vec<Deployment>) {
        let mut requests = Vec::new();
        while let Ok(requested) = self.noted.requests.try_recv() {
            requests.push(requested);
        }
        if ended.is_empty() && requests.is_empty() {
            return;
        }
        let jobs: BTreeSet<JobId> = ended.iter().map(|deployment| deployment.job).collect();
        let read = self.handle.read(move |core, _now| {
            let named = |job: &JobId| {
                let own = C::own(core, *job)?;
                let (name, tenant) = (own.spec.name.to_string(), own.tenant.to_string());
                Some((*job, Named { name, tenant }))
            };
            jobs.iter().filter_map(named).collect::<BTreeMap<_, _>>()
        });
        // An orchestrator that ends answers nobody.
        let Ok(named) = read.await else { return };
        let told = self.spans_of(&requests, &ended, |job| named.get(&job));
        match told {
            Ok(told) => self.pass_on(told),
            Err(error) => tracing::error!(%error, "traces cannot be named"),
        }
    }

    fn spans_of<'n>(
        &mut self,
        requests: &[Requested],
        ended: &[Deployment],
        named: impl Fn(JobId) -> Option<&'n Named>,
    ) -> Result<Vec<Told>, NoRandom> {
        let now = clock::now().steady;
        let mut told = Vec::new();
        for requested in requests {
            told.extend(self.spans.request(now, requested)?);
        }
        for deployment in ended {
            // Of jobs of its parent, and of those that are forgotten, nothing is told here.
            if let Some(named) = named(deployment.job) {
                told.extend(self.spans.deployment(now, deployment, named)?);
            }
        }
        Ok(told)
    }

    fn pass_on(&self, told: Vec<Told>) {
        let mut by_service: [Vec<SpanData>; 3] = Default::default();
        for (tier, span) in told {
            let [own, cluster, worker] = &mut by_service;
            match tier {
                None | Some(Tier::Root) => own.push(span),
                Some(Tier::Cluster) => cluster.push(span),
                Some(Tier::Worker) => worker.push(span),
            }
        }
        for (service, mut spans) in by_service.into_iter().enumerate() {
            while !spans.is_empty() {
                let rest = spans.split_off(spans.len().min(MESSAGE));
                let number = spans.len();
                if self.messages.try_send((service, spans)).is_err() {
                    self.noted.counted.count("dropped", number);
                }
                spans = rest;
            }
        }
    }
}

/// By what the exporter posts.
#[derive(Debug, Clone)]
struct Post {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
}

#[async_trait::async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, body) = request.into_parts();
        if let Some(authority) = head.uri.authority() {
            head.headers
                .insert(HOST, HeaderValue::from_str(authority.as_str())?);
        }
        let path = head.uri.path_and_query().map_or(PATH, PathAndQuery::as_str);
        head.uri = path.parse::<Uri>()?;
        let request = Request::from_parts(head, Body::from(body));
        let exchanged = exchange(&self.place, self.tls.clone(), request, ANSWER).await;
        let (status, body) = exchanged?;
        Ok(Response::builder().status(status).body(body)?)
    }
}
