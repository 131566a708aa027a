//! The root of an edgeIO system: the shell around the pure decisions of `root-core`.
//!
//! # Who does what
//! - `controller` owns the state; `record` and the store keep it.
//! - `uplink` lets clusters in and hears them, `outlets` speaks to them.
//! - `http` is the REST interface.
//!
//! [`run`] starts all of it and ends when its token is cancelled, so that the daemon and `edgeio up` are the same.

mod clock;
mod config;
mod controller;
mod http;
mod metrics;
mod outlets;
mod record;
mod uplink;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::listen::{BindError, bind};
use daemon::{Outcome, Tasks, exit};
use serde::Serialize;
use store::{Embedded, Memory, Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::outlets::Outlets;
use crate::uplink::{Desk, Links};

pub use clock::NoRandom;
pub use config::{Config, StoreKind};
pub use controller::StartError;
pub use record::RecordError;

/// From the shutdown to the end of everything.
const GRACE: Duration = Duration::from_secs(8);

/// Why a root-orchestrator did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// An option means nothing.
    #[error("{0}")]
    Config(String),
    /// An address cannot be used.
    #[error("cannot serve")]
    Bind(#[from] BindError),
    /// The listener or a thread failed.
    #[error("cannot {operation}")]
    Io {
        /// What.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The state cannot be loaded.
    #[error("cannot begin")]
    Start(#[from] StartError),
    /// Two metrics of one name: a bug.
    #[error("cannot set the metrics up")]
    Metrics(#[from] prometheus::Error),
    /// A part ended that should not have.
    #[error("a part of the program ended")]
    Ended(#[from] Outcome),
}

impl RootError {
    /// The program's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::CONFIG,
            Self::Bind(error) => error.exit_code(),
            Self::DataDir { .. } | Self::Store(_) | Self::Start(_) => exit::STORE_UNUSABLE,
            Self::Io { .. } | Self::Metrics(_) | Self::Ended(_) => exit::FAILURE,
        }
    }
}

/// What is told once everything serves: the contract's ready line.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// `ready`.
    pub event: &'static str,
    /// Where REST and the uplinks are served, with the port really bound.
    pub http: String,
    /// Where the state is kept.
    pub data_dir: PathBuf,
}

/// Runs a root until the token is cancelled. `ready` is called once it serves.
///
/// # Errors
/// When it cannot start, or a part of it fails. Everything of it has ended by then.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RootError> {
    // What is wrong with the options must not leave a data directory behind.
    let place = Place::take(&config)?;
    let store = open_store(&config)?;
    begin(config, place, store, shutdown, ready).await
}

/// As [`run`], on a store of the caller's; `--store` and `--data-dir` are not looked at.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    config: Config,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RootError> {
    let place = Place::take(&config)?;
    begin(config, place, store, shutdown, ready).await
}

/// What the options ask for, checked, with the address taken.
struct Place {
    core: root_core::Config,
    listener: TcpListener,
    address: SocketAddr,
}

impl Place {
    fn take(config: &Config) -> Result<Self, RootError> {
        let core = config.core()?;
        let listener = bind(config.http, config.insecure)?;
        let address = listener.local_addr().map_err(|source| RootError::Io {
            operation: "tell the address that is listened on",
            source,
        })?;
        Ok(Self {
            core,
            listener,
            address,
        })
    }
}

async fn begin(
    config: Config,
    place: Place,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RootError> {
    let Place {
        core,
        listener,
        address,
    } = place;
    let metrics = Metrics::new()?;
    let (controller, handle) = controller::open(store, core, metrics.clone()).await?;
    let mut tasks = Tasks::new(shutdown.child_token());
    let token = tasks.token().clone();
    // Connections are tasks of their own: they end with this future, however it ends.
    let _ending = token.clone().drop_guard();
    let links = Links::default();
    let outlets = Outlets {
        links: links.clone(),
    };
    tasks.spawn("controller", controller.run(outlets, token.clone()));
    let service = http::Service {
        handle: handle.clone(),
        links: links.clone(),
        metrics: metrics.clone(),
        documents: protocol::document::Options {
            allow_noop: config.allow_noop,
            ..protocol::document::Options::default()
        },
    };
    let router = rest::finish(http::router(service), metrics.http.clone());
    let desk = Desk {
        handle,
        links,
        metrics,
        report_interval: config.report_interval,
        shutdown: token.clone(),
    };
    let (router, io) = uplink::serve(router, desk);
    tasks.spawn("http", rest::serve(listener, router, token.clone()));
    ready(Ready {
        event: "ready",
        http: format!("http://{address}"),
        data_dir: config.data_dir,
    });
    token.cancelled().await;
    // Sockets of clusters would otherwise outlive the service.
    io.close().await;
    Ok(tasks.finish(GRACE).await.into_result()?)
}

fn open_store(config: &Config) -> Result<Arc<dyn Store>, RootError> {
    if config.store == StoreKind::Memory {
        return Ok(Arc::new(Memory::new()));
    }
    let dir = &config.data_dir;
    make_private(dir).map_err(|source| RootError::DataDir {
        path: dir.clone(),
        source,
    })?;
    let store = Embedded::open(&dir.join("root.redb"), store::Options::default())?;
    Ok(Arc::new(store))
}

/// Makes a directory that only its owner may read: the store holds what users run.
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}
