//! A scheduler as a service: every algorithm that the orchestrators have themselves, for those who ask elsewhere
//! (`--scheduler http://…` or `--scheduler queue:NAME`), and a model for schedulers of one's own.
//!
//! # Flow
//! An orchestrator posts a [`PlaceRequest`] with the candidates that will do, to `/` or to `/NAME` of an algorithm, and is told
//! which of them; or it puts that into a queue in Redis ([`orchestrator::queue`]), whose questions this program takes with
//! `--redis`. Nothing is kept between two questions, so any number of these programs may run, and die.

mod http;

use std::net::SocketAddr;

use daemon::listen::bind;
use daemon::notify::Notifier;
use daemon::telemetry::LogOptions;
use daemon::value::listen_address;
use identity::door::{Door, Plain};
use orchestrator::queue::RedisOptions;
use orchestrator::{RunError, keys};
use schedulers::{Algorithm, PolicyError};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use http::{Service, router};

use http::by_queue;

/// Chooses places for orchestrators that ask over HTTP, or by a queue in Redis.
///
/// Give its address to a cluster or a root: cluster-orchestrator --scheduler http://127.0.0.1:10005, or /location behind it for
/// another algorithm than its own. With --redis it takes the questions of --scheduler queue:edgeio as well; start as many as you like.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "edgeio-scheduler", version)]
pub struct Config {
    /// Where questions are answered; port 0 takes a free one. The usual port for a root is 10004.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10005", value_parser = listen_address)]
    pub http: SocketAddr,
    /// Which algorithm answers at / and in the queue: first-fit or location. Each answers at its name as well.
    #[arg(long, value_name = "NAME", default_value = "first-fit")]
    pub scheduler: Algorithm,
    /// Where the queue is.
    #[command(flatten)]
    pub redis: RedisOptions,
    /// Which queue in --redis; orchestrators name it behind queue:.
    #[arg(long, value_name = "NAME", default_value = "edgeio", value_parser = queue)]
    pub queue: String,
    /// Allows other machines to ask in plain text, and a Redis elsewhere in plain text.
    #[arg(long)]
    pub insecure: bool,
    /// What is logged.
    #[command(flatten)]
    pub log: LogOptions,
}

/// What starters are told once questions are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// `ready`.
    pub event: &'static str,
    /// Where questions are answered.
    pub http: String,
}

impl orchestrator::Options for Config {
    type Ready = Ready;

    fn http(&self) -> SocketAddr {
        self.http
    }

    fn log(&self) -> &LogOptions {
        &self.log
    }

    fn watched_by(self, _notifier: Notifier) -> Self {
        self
    }
}

fn queue(name: &str) -> Result<String, PolicyError> {
    let is = schedulers::is_queue(name).then(|| name.to_owned());
    is.ok_or_else(|| PolicyError::Queue(name.to_owned()))
}

/// Answers questions until the token is cancelled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RunError> {
    let redis = config
        .redis
        .redis(config.insecure)
        .map_err(|fault| RunError::config(&[fault]))?;
    let listener = bind(config.http)?;
    let address = listener.local_addr().map_err(|source| RunError::Io {
        operation: "tell the address that is listened on",
        source,
    })?;
    let plain = if config.insecure {
        Plain::Everybody
    } else {
        Plain::ThisMachine
    };
    let algorithm = config.scheduler;
    let (told, reached) = watch::channel(redis.is_none());
    let router = router(Service { algorithm, reached })?;
    ready(Ready {
        event: "ready",
        http: keys::url(address, true),
    });
    let taking = async {
        let Some(redis) = &redis else { return Ok(()) };
        let reached = |reached| {
            told.send_replace(reached);
        };
        let answer = |question: &[u8]| by_queue(algorithm, question);
        redis.serve(&config.queue, &shutdown, reached, answer).await
    };
    let serving = rest::serve((listener, Door::plain(plain)), router, shutdown.clone());
    let (taken, served) = tokio::join!(taking, serving);
    served.map_err(|source| RunError::Io {
        operation: "serve HTTP",
        source,
    })?;
    taken.map_err(|source| RunError::Io {
        operation: "take questions from the queue",
        source,
    })
}
