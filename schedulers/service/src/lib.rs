//! A scheduler as an HTTP service: every algorithm that the orchestrators have themselves, for those who ask elsewhere
//! (`--scheduler http://…`), and a model for schedulers of one's own.
//!
//! # Flow
//! An orchestrator posts a [`PlaceRequest`] with the candidates that will do, to `/` or to `/NAME` of an algorithm, and is told
//! which of them. Nothing is kept between two questions, so any number of these programs may run, and die.

mod http;

use std::net::SocketAddr;

use daemon::listen::bind;
use daemon::notify::Notifier;
use daemon::telemetry::LogOptions;
use daemon::value::listen_address;
use identity::door::{Door, Plain};
use orchestrator::RunError;
use orchestrator::keys;
use schedulers::Algorithm;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use http::router;

/// Chooses places for an orchestrator that asks over HTTP.
///
/// Give its address to a cluster or a root: cluster-orchestrator --scheduler http://127.0.0.1:10005, or /location behind it for
/// another algorithm than its own.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "edgeio-scheduler", version)]
pub struct Config {
    /// Where questions are answered; port 0 takes a free one. The usual port for a root is 10004.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10005", value_parser = listen_address)]
    pub http: SocketAddr,
    /// Which algorithm answers at /: first-fit or location. Each answers at its name as well.
    #[arg(long, value_name = "NAME", default_value = "first-fit")]
    pub scheduler: Algorithm,
    /// Allows other machines to ask, in plain text.
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

    const HEALTH: &'static str = "/healthz";

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

/// Answers questions until the token is cancelled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RunError> {
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
    let router = router(config.scheduler)?;
    ready(Ready {
        event: "ready",
        http: keys::url(address, true),
    });
    let served = rest::serve((listener, Door::plain(plain)), router, shutdown).await;
    served.map_err(|source| RunError::Io {
        operation: "serve HTTP",
        source,
    })
}
