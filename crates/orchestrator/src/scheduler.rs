//! Asking a scheduler elsewhere where something is to run.
//!
//! # Flow
//! A core's question goes to the URL of the scheduler as one POST of a [`PlaceRequest`], over a connection of its own, and the
//! [`PlaceAnswer`] back to the core as an [`Answer`]; or the same by a queue ([`crate::queue`]). The core bounds how many are
//! under way.
//!
//! # Guarantees
//! - Each question has an answer within its deadline, whatever the scheduler does: the last one is [`Answer::Silence`].
//! - An answer of more than [`ANSWER`] bytes is not read.
//! - Plain text goes to this machine, or with `--insecure`; TLS believes the authority in the file of `--scheduler-ca`.

mod metrics;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Request, StatusCode};
use daemon::dial::{Dialled, Remote as Place};
use daemon::value::duration;
use identity::{Trust, TrustError};
use model::slot::Slot;
use protocol::rest::{PlaceAnswer, PlaceCandidate, PlaceRequest, SchedulerBody};
use rustls::ClientConfig;
use schedulers::{Algorithm, Answer, Offer, Policy, PolicyError, Question, Remote};

use crate::exchange::{ExchangeError, exchange};
use crate::queue::{Redis, RedisOptions};
use crate::{Handle, Metrics, Placing, with_sources};
pub(crate) use metrics::Asked;

/// Bytes of an answer that are read.
const ANSWER: usize = 64 * 1024;
/// Characters of a scheduler's own words that are shown.
const SHOWN: usize = 200;

const SCHEDULER: Dialled = Dialled {
    option: "the scheduler",
    schemes: &["http"],
    secure: &["https"],
    path: true,
    example: "http://127.0.0.1:10005",
};

/// Who chooses places; `#[command(flatten)]` it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct SchedulerOptions {
    /// Who chooses places: first-fit, location, or a scheduler elsewhere, by its URL or as queue:NAME by its queue in --redis, which may
    /// be followed by deadline=TIME (2s) and fallback=NAME or none (first-fit), as in "http://127.0.0.1:10005 deadline=500ms". What was
    /// set last if it is not given.
    #[arg(long, value_name = "NAME")]
    pub scheduler: Option<Policy>,
    /// Whom to believe to be a scheduler at https://…: the certificate of its authority, a file in PEM.
    #[arg(long, value_name = "FILE")]
    pub scheduler_ca: Option<PathBuf>,
    /// After a failure of the scheduler, how long until it is asked about the same again.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub scheduler_pause: Duration,
    /// Where queues are.
    #[command(flatten)]
    pub redis: RedisOptions,
}

impl SchedulerOptions {
    /// By what schedulers elsewhere are reached; as [`Client::new`] otherwise.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn client(&self, insecure: bool, testing: bool) -> Result<Client, String> {
        if self.scheduler_pause < Duration::from_millis(100) {
            return Err("--scheduler-pause must be at least 100ms".to_owned());
        }
        let redis = self.redis.redis(insecure)?;
        let client = Client::new(self.scheduler_ca.as_deref(), redis, insecure, testing);
        let client = client.map_err(|error| {
            let why = with_sources(&error);
            format!("--scheduler-ca cannot be used: {why}")
        })?;
        if let Some(policy) = &self.scheduler {
            let checked = client.check(policy);
            checked.map_err(|fault| format!("--scheduler: {fault}"))?;
        }
        Ok(client)
    }
}

/// Asks for a core, and tells it what comes of it.
#[derive(Debug, Clone)]
pub struct Advisor<C: Placing> {
    pub(crate) client: Client,
    pub(crate) handle: Handle<C>,
    asked: Asked,
}

impl<C: Placing> Advisor<C> {
    /// Who asks by that, tells this, and counts there.
    pub fn new(client: Client, handle: Handle<C>, metrics: &Metrics) -> Self {
        Self {
            client,
            handle,
            asked: metrics.asked.clone(),
        }
    }

    /// Does not wait. The core lets few be under way.
    pub fn ask(&self, slot: Slot, question: Box<Question>) {
        let Self {
            client,
            handle,
            asked,
        } = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let advice = client.ask(&question).await;
            asked.count(&advice, begun.elapsed());
            if !matches!(advice, Answer::Choose(_)) {
                let scheduler = &question.remote.url;
                tracing::warn!(%slot, scheduler, ?advice, "the scheduler chose nobody");
            }
            // A program that has ended asks again at its next start.
            let _ = handle.tell(C::advised(slot, question.number, advice)).await;
        });
    }
}

/// The policy that a user asks for.
///
/// # Errors
/// What is wrong with it.
pub fn policy(body: &SchedulerBody) -> Result<Policy, PolicyError> {
    let setting = |name: &str, value: &Option<String>| {
        value
            .as_ref()
            .map_or_else(String::new, |value| format!(" {name}={value}"))
    };
    let scheduler = &body.scheduler;
    let (deadline, fallback) = (
        setting("deadline", &body.deadline),
        setting("fallback", &body.fallback),
    );
    format!("{scheduler}{deadline}{fallback}").parse()
}

/// A policy as users see it, with all that is in force.
pub fn body(policy: &Policy) -> SchedulerBody {
    let scheduler = policy.name().to_owned();
    match policy {
        Policy::BuiltIn(_) => SchedulerBody {
            scheduler,
            deadline: None,
            fallback: None,
        },
        Policy::Remote(remote) => SchedulerBody {
            scheduler,
            deadline: Some(format!("{}ms", remote.deadline.as_millis())),
            fallback: Some(remote.fallback.map_or("none", Algorithm::as_str).to_owned()),
        },
    }
}

/// By what schedulers elsewhere are reached.
#[derive(Debug, Clone)]
pub struct Client {
    tls: Option<Arc<ClientConfig>>,
    redis: Option<Redis>,
    insecure: bool,
    testing: bool,
}

impl Client {
    /// One that believes the authority in that file, if there is one, and finds queues in that Redis. `testing`: algorithms for
    /// tests may be asked for.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn new(
        ca: Option<&Path>,
        redis: Option<Redis>,
        insecure: bool,
        testing: bool,
    ) -> Result<Self, TrustError> {
        let tls = ca.map(|file| Trust::file(file)?.client(None)).transpose()?;
        Ok(Self {
            tls,
            redis,
            insecure,
            testing,
        })
    }

    /// Whether a scheduler may be asked.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check(&self, policy: &Policy) -> Result<(), String> {
        if policy.is_for_tests() && !self.testing {
            return Err(format!("the scheduler {policy} is for tests alone"));
        }
        match policy {
            Policy::BuiltIn(_) => Ok(()),
            Policy::Remote(remote) if remote.queue().is_some() => self.queues(remote).map(drop),
            Policy::Remote(remote) => self.place(remote).map(drop),
        }
    }

    fn queues(&self, remote: &Remote) -> Result<&Redis, String> {
        let queue = &remote.url;
        self.redis.as_ref().ok_or_else(|| {
            format!(
                "the scheduler {queue} is asked through Redis; say where that is with --redis URL"
            )
        })
    }

    fn place(&self, remote: &Remote) -> Result<Place, String> {
        let place = SCHEDULER.read(&remote.url, self.insecure);
        let place = place.map_err(|error| error.to_string())?;
        if place.secure && self.tls.is_none() {
            return Err(format!(
                "the scheduler {} is to be reached by TLS; say whom to believe with --scheduler-ca FILE",
                remote.url
            ));
        }
        Ok(place)
    }

    /// Asks, and waits for the answer until the deadline.
    pub async fn ask(&self, question: &Question) -> Answer {
        let remote = &question.remote;
        if let Some(queue) = remote.queue() {
            let answer = self.by_queue(queue, question).await;
            return answer.unwrap_or_else(|silence| silence);
        }
        let asked = tokio::time::timeout(remote.deadline, self.answer(question));
        if let Ok(answer) = asked.await {
            return answer.unwrap_or_else(|silence| silence);
        }
        let millis = remote.deadline.as_millis();
        Answer::Silence(format!("no answer came within {millis} ms"))
    }

    async fn by_queue(&self, queue: &str, question: &Question) -> Result<Answer, Answer> {
        let redis = self.queues(&question.remote).map_err(Answer::Silence)?;
        let deadline = question.remote.deadline;
        let answer = redis.ask(queue, &body_of(question)?, deadline).await?;
        Ok(read(StatusCode::OK, &answer))
    }

    async fn answer(&self, question: &Question) -> Result<Answer, Answer> {
        let place = self.place(&question.remote).map_err(Answer::Silence)?;
        let exchanged = exchange(&place, self.tls.clone(), request(question)?, ANSWER).await;
        let (status, body) = exchanged.map_err(|error| match error {
            ExchangeError::Unread => unusable("it cannot be read to its end"),
            error => Answer::Silence(error.to_string()),
        })?;
        Ok(read(status, &body))
    }
}

fn unusable(what: &str) -> Answer {
    Answer::Unusable(format!("its answer cannot be used: {what}"))
}

fn request(question: &Question) -> Result<Request<Body>, Answer> {
    let (_, rest) = question.remote.url.split_once("://").unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let body = body_of(question)?;
    Request::post(format!("/{path}"))
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(|error| unusable(&error.to_string()))
}

fn body_of(question: &Question) -> Result<Vec<u8>, Answer> {
    let body = serde_json::to_vec(&place_request(question));
    body.map_err(|error| unusable(&error.to_string()))
}

fn read(status: StatusCode, body: &[u8]) -> Answer {
    let text = || {
        let text = String::from_utf8_lossy(body);
        text.trim().chars().take(SHOWN).collect::<String>()
    };
    if status.is_server_error() {
        return Answer::Silence(format!("it answered {status}: {}", text()));
    }
    if status != StatusCode::OK {
        return Answer::Unusable(format!("it answered {status}: {}", text()));
    }
    match serde_json::from_slice::<PlaceAnswer>(body) {
        Ok(PlaceAnswer {
            choose: Some(choice),
            ..
        }) => Answer::Choose(choice),
        Ok(PlaceAnswer {
            choose: None,
            reason,
        }) => {
            let reason = reason.unwrap_or_else(|| "it does not say why".to_owned());
            Answer::Nobody(reason.chars().take(SHOWN).collect())
        }
        Err(error) => unusable(&format!("{error}; it says {:?}", text())),
    }
}

fn place_request(question: &Question) -> PlaceRequest {
    let (workload, rules) = (&question.spec.workload, &question.spec.placement);
    let asked = workload.resources;
    PlaceRequest {
        version: 1,
        job_name: question.job.to_string(),
        service: question.service.to_string(),
        replica: question.index,
        image_runtime: workload.runtime.to_string(),
        image: workload.image.clone(),
        cpu_cores: asked.cpu.cores(),
        memory_in_mb: asked.memory.mb(),
        disk_in_mb: asked.disk.mb(),
        location: rules.location.clone(),
        labels: rules.labels.clone(),
        candidates: question.offers.iter().map(candidate).collect(),
    }
}

fn candidate(offer: &Offer) -> PlaceCandidate {
    let total = offer.workers.map(|workers| workers.room);
    PlaceCandidate {
        id: offer.id.clone(),
        name: offer.name.clone(),
        location: offer.location.clone(),
        architecture: offer.architecture.clone(),
        labels: offer.labels.clone(),
        free_cores: offer.room.cpu.cores(),
        memory_free_in_mb: offer.room.memory.mb(),
        disk_free_in_mb: offer.room.disk.mb(),
        replicas: offer.replicas,
        workers: offer.workers.map(|workers| workers.count),
        total_free_cores: total.map(|room| room.cpu.cores()),
        total_memory_free_in_mb: total.map(|room| room.memory.mb()),
        total_disk_free_in_mb: total.map(|room| room.disk.mb()),
    }
}

#[cfg(test)]
mod tests;
