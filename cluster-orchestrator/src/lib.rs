//! One cluster of an edgeIO system: the shell around the pure decisions of `cluster-core`.
//!
//! # Who does what
//! - `controller` owns the state; `record` and the store keep it.
//! - `workers` registers workers, `broker` hears them over MQTT, `outlets` speaks to them.
//! - `uplink` is the link to the root.
//! - `http` is the REST interface.
//!
//! [`run`] starts all of it and ends when its token is cancelled, so that the daemon and `edgeio up` are the same.

mod broker;
mod clock;
mod config;
mod controller;
mod http;
mod metrics;
mod outlets;
mod record;
mod uplink;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::listen::{BindError, bind};
use daemon::{Outcome, Tasks, exit};
use model::id::ClusterId;
use mqtt::endpoint;
use mqtt::link::{self, Link};
use serde::Serialize;
use store::{Embedded, Memory, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::{Inlet, Kind};
use crate::config::BrokerAddress;
use crate::controller::{Controller, Handle};
use crate::metrics::Metrics;
use crate::outlets::{Credentials, Outlets};
use crate::workers::Desk;

pub use clock::NoRandom;
pub use config::{Config, StoreKind};
pub use controller::StartError;
pub use record::RecordError;

/// Messages of workers that wait for the controller.
const INBOUND: usize = 1_024;
/// From the shutdown to the end of everything.
const GRACE: Duration = Duration::from_secs(8);

/// Why a cluster-orchestrator did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
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

impl ClusterError {
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
    /// Where REST is served, with the port really bound.
    pub http: String,
    /// Where workers reach MQTT.
    pub mqtt: String,
    /// Where the state is kept.
    pub data_dir: PathBuf,
    /// The id that the root gave; null until the root was met.
    pub cluster_id: Option<ClusterId>,
}

/// Runs a cluster until the token is cancelled. `ready` is called once it serves.
///
/// # Errors
/// When it cannot start, or a part of it fails. Everything of it has ended by then.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), ClusterError> {
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
) -> Result<(), ClusterError> {
    let place = Place::take(&config)?;
    begin(config, place, store, shutdown, ready).await
}

/// What the options ask for, checked, with the addresses taken.
struct Place {
    core: cluster_core::Config,
    http: TcpListener,
    mqtt: Mqtt,
}

/// Where workers are heard.
enum Mqtt {
    /// At the own endpoint.
    Own(TcpListener),
    /// At a broker of somebody else.
    External(BrokerAddress),
}

impl Place {
    fn take(config: &Config) -> Result<Self, ClusterError> {
        let core = config.core()?;
        config.check_root()?;
        let external = config.broker_address()?;
        let http = bind(config.http, config.insecure)?;
        let mqtt = match external {
            Some(address) => Mqtt::External(address),
            None => Mqtt::Own(bind(config.mqtt, config.insecure)?),
        };
        Ok(Self { core, http, mqtt })
    }
}

async fn begin(
    config: Config,
    place: Place,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), ClusterError> {
    let Place { core, http, mqtt } = place;
    let metrics = Metrics::new()?;
    let (controller, handle) =
        controller::open(store, core, config.scheduler, metrics.clone()).await?;
    let site = Site {
        config,
        handle,
        metrics,
        tasks: Tasks::new(shutdown.child_token()),
    };
    site.serve(controller, http, mqtt, ready).await
}

/// What is being put together.
struct Site {
    config: Config,
    handle: Handle,
    metrics: Metrics,
    tasks: Tasks,
}

impl Site {
    async fn serve(
        mut self,
        controller: Controller,
        http: TcpListener,
        mqtt: Mqtt,
        ready: impl FnOnce(Ready) + Send,
    ) -> Result<(), ClusterError> {
        let http_address = local(&http)?;
        let credentials = Credentials::default();
        let broker = self.broker(mqtt, credentials.clone())?;
        let uplink = self.uplink(http_address);
        let outlets = Outlets {
            link: broker.link.clone(),
            credentials,
            uplink,
        };
        let cluster_id = controller.cluster();
        let token = self.tasks.token().clone();
        self.tasks
            .spawn("controller", controller.run(outlets, token.clone()));
        let io = self.http(http, &broker);
        ready(Ready {
            event: "ready",
            http: format!("http://{http_address}"),
            mqtt: broker.url,
            data_dir: self.config.data_dir.clone(),
            cluster_id,
        });
        token.cancelled().await;
        // Sockets of workers would otherwise outlive the service.
        io.close().await;
        let outcome = self.tasks.finish(GRACE).await;
        broker.link.stopped().await;
        Ok(outcome.into_result()?)
    }

    /// The own endpoint, or the link to an external broker.
    fn broker(&mut self, mqtt: Mqtt, credentials: Credentials) -> Result<Broker, ClusterError> {
        let token = self.tasks.token().clone();
        let (sender, inbound) = mpsc::channel(INBOUND);
        let (kind, broker) = match mqtt {
            Mqtt::External(BrokerAddress { host, port }) => {
                let id = format!("edgeio-cluster-{port}-{}", std::process::id());
                let options = mqtt::client::Options::new(host.clone(), port, id);
                let url = format!("mqtt://{host}:{port}");
                let link = Link::External(link::external(options, sender, token.clone()));
                let host = Some(host);
                (
                    Kind::External,
                    Broker {
                        link,
                        url,
                        host,
                        port,
                    },
                )
            }
            Mqtt::Own(listener) => {
                let address = local(&listener)?;
                let authenticate = broker::authenticate(credentials, self.config.insecure);
                let options = endpoint::Options::default();
                let handle =
                    endpoint::serve(listener, options, authenticate, sender, token.clone())
                        .map_err(|source| ClusterError::Io {
                            operation: "serve MQTT",
                            source,
                        })?;
                let broker = Broker {
                    link: Link::Own(handle),
                    url: format!("mqtt://{address}"),
                    host: self.config.advertise.clone(),
                    port: address.port(),
                };
                (Kind::Own, broker)
            }
        };
        let inlet = Inlet::new(kind, self.handle.clone(), self.metrics.clone());
        self.tasks.spawn("mqtt", inlet.run(inbound, token));
        Ok(broker)
    }

    fn uplink(&mut self, http: SocketAddr) -> Option<uplink::Upward> {
        let options = uplink::Options {
            root: self.config.root.clone()?,
            name: self.config.cluster_name().ok()?,
            location: self.config.location.clone(),
            http: format!("http://{http}"),
            join_token: self.config.join_token.clone(),
            reconnect_max: self.config.reconnect_max,
        };
        let (task, upward) = uplink::new(options, self.handle.clone(), self.metrics.clone());
        let token = self.tasks.token().clone();
        self.tasks.spawn("uplink", task.run(token));
        Some(upward)
    }

    fn http(&mut self, listener: TcpListener, broker: &Broker) -> socketioxide::SocketIo {
        let service = http::Service {
            handle: self.handle.clone(),
            metrics: self.metrics.clone(),
            documents: protocol::document::Options {
                allow_noop: self.config.allow_noop,
                ..protocol::document::Options::default()
            },
        };
        let desk = Desk {
            handle: self.handle.clone(),
            host: broker.host.clone(),
            port: broker.port,
            keep_alive: self.config.keep_alive,
            report_interval: self.config.report_interval,
        };
        let router = rest::finish(http::router(service), self.metrics.http.clone());
        let (router, io) = workers::serve(router, desk);
        let token = self.tasks.token().clone();
        self.tasks
            .spawn("http", rest::serve(listener, router, token));
        io
    }
}

/// How workers are reached.
struct Broker {
    link: Link,
    url: String,
    /// What workers are told; `None`: the host that they used.
    host: Option<String>,
    port: u16,
}

fn local(listener: &TcpListener) -> Result<SocketAddr, ClusterError> {
    listener.local_addr().map_err(|source| ClusterError::Io {
        operation: "tell the address that is listened on",
        source,
    })
}

fn open_store(config: &Config) -> Result<Arc<dyn Store>, ClusterError> {
    if config.store == StoreKind::Memory {
        return Ok(Arc::new(Memory::new()));
    }
    let dir = &config.data_dir;
    make_private(dir).map_err(|source| ClusterError::DataDir {
        path: dir.clone(),
        source,
    })?;
    let store = Embedded::open(&dir.join("cluster.redb"), store::Options::default())?;
    Ok(Arc::new(store))
}

/// Makes a directory that only its owner may read: the store holds hashes of credentials and what users run.
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}
