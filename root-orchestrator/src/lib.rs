//! The root of an edgeIO system: the shell around the pure decisions of `root-core`.
//!
//! # Who does what
//! - `tier` is the core as the shared shell knows it: [`orchestrator::Controller`] owns its state, and `record` says how
//!   the store keeps it.
//! - `uplink` lets clusters in and hears them, `outlets` speaks to them.
//! - `relay` passes the MQTT of workers on to their clusters, over the same uplinks.
//! - `http` is what of the REST interface is not shared.
//!
//! [`run`] starts all of it and ends when its token is cancelled, so that the daemon and `edgeio up` are the same.

mod config;
mod holders;
mod http;
mod metrics;
mod outlets;
mod record;
mod relay;
mod standby;
mod tier;
mod uplink;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daemon::Tasks;
use daemon::listen::bind;
use model::id::ClusterId;
use orchestrator::access::{Access, Settings};
use orchestrator::audited::Audit;
use orchestrator::http::Backups;
use orchestrator::http::logs::Logs;
use orchestrator::keys::{self, Brought, Keys, KeysError};
use orchestrator::scheduler::{self, Advisor};
use orchestrator::streams::Streams;
use orchestrator::traces::{self, Collector};
use orchestrator::{Lost, Opened, Tier};
use protocol::message::uplink::RelayAt;
use root_core::Input;
use serde::Serialize;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::config::Checked;
use crate::holders::Clusters;
use crate::metrics::Metrics;
use crate::outlets::Outlets;
use crate::relay::Relay;
use crate::tier::{Handle, Root};
use crate::uplink::{Desk, Links};

/// Where this program can be told to die (`daemon::crash`), beside the points of the shared shell.
pub const CRASH_POINTS: &[&str] = daemon::crashpoints![
    "root.register.admitted",
    "root.register.answered",
    "root.assign.unsent",
    "root.assign.sent",
    "root.news.unheard",
    "root.news.heard",
    "root.confirm.unsent",
];

pub use config::Config;
pub use orchestrator::{RunError as RootError, StoreAt};

/// From the shutdown to the end of everything.
const GRACE: Duration = Duration::from_secs(8);

/// What is told once everything serves: the contract's ready line.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// `ready`.
    pub event: &'static str,
    /// Where REST and the uplinks are served, with the port really bound.
    pub http: String,
    /// Where workers are relayed to their clusters; left out where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<String>,
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
    match standby::store(&config, &place, &shutdown).await? {
        Some(opened) => begin(config, place, opened, shutdown, ready).await,
        None => Ok(()),
    }
}

/// As [`run`], on a store of the caller's; `--store` and `--data-dir` are not looked at, and its authority lives in memory.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    config: Config,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RootError> {
    let config = Config {
        store: StoreAt::Memory,
        ..config
    };
    let place = Place::take(&config)?;
    let lost = Lost::never();
    let opened = Opened { store, lost };
    begin(config, place, opened, shutdown, ready).await
}

/// What the options ask for, checked, with the address taken.
struct Place {
    core: Root,
    scheduler: scheduler::Client,
    collector: Option<Collector>,
    listener: TcpListener,
    address: SocketAddr,
    /// Where workers are relayed.
    relay: Option<(TcpListener, SocketAddr)>,
}

impl Place {
    fn take(config: &Config) -> Result<Self, RootError> {
        let Checked {
            core,
            scheduler,
            collector,
        } = config.checked()?;
        let core = Root {
            config: core,
            policy: config.scheduling.scheduler.clone(),
        };
        let (listener, address) = listen(config.http)?;
        let relay = config.mqtt.map(listen);
        Ok(Self {
            core,
            scheduler,
            collector,
            listener,
            address,
            relay: relay.transpose()?,
        })
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RootError> {
    let listener = bind(address)?;
    let address = listener.local_addr().map_err(|source| RootError::Io {
        operation: "tell the address that is listened on",
        source,
    })?;
    Ok((listener, address))
}

async fn begin(
    config: Config,
    place: Place,
    Opened { store, lost }: Opened,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), RootError> {
    let Place {
        core,
        scheduler,
        collector,
        listener,
        address,
        relay,
    } = place;
    let metrics = Metrics::new()?;
    let keys = Arc::new(keys(&config, address)?);
    let door = keys.users_door(config.insecure);
    let access = access(&config, address, &store, &keys).await?;
    access.count(&metrics.common.registry)?;
    let backups = Backups::new(Arc::clone(&store), Tier::Root, None);
    let (controller, handle) = orchestrator::open(store, core, metrics.common.clone()).await?;
    let advisor = Advisor::new(scheduler, handle.clone(), &metrics.common);
    let mut tasks = Tasks::new(shutdown.child_token());
    lost.ends(&mut tasks);
    let token = tasks.token().clone();
    // Connections are tasks of their own: they end with this future, however it ends.
    let _ending = token.clone().drop_guard();
    let links = Links::default();
    let outlets = Outlets::new(links.clone(), metrics.clone(), advisor.clone());
    let controller = controller.watched_by(config.notifier.clone());
    tasks.spawn("controller", controller.run(outlets, token.clone()));
    let requests = traces::tell(collector, &handle, &metrics.common, &mut tasks);
    let common = common(&config, &handle, backups, &access).noting(requests);
    let service = http::Service {
        handle: handle.clone(),
        links: links.clone(),
        metrics: metrics.clone(),
        access: access.clone(),
    };
    let streams = Streams::new(Arc::new(links.clone()));
    let logs = Logs {
        handle: handle.clone(),
        streams: streams.clone(),
        holders: Clusters(links.clone()),
    };
    let router = rest::finish(
        http::router(common, service, (logs, advisor), Arc::new(access.clone())),
        metrics.common.http.clone(),
    );
    let relayed = relay
        .as_ref()
        .map(|(_, address)| relay_at(&config, *address));
    let relay = relay.map(|(listener, address)| {
        let relay = Relay::new(links.clone(), metrics.clone(), config.insecure);
        tasks.spawn("relay", relay.run(listener, token.clone()));
        format!("mqtt://{address}")
    });
    follow(&access, &handle, &links, &mut tasks).await;
    let desk = Desk {
        handle,
        access,
        links,
        streams,
        relay: relayed,
        metrics: metrics.common,
        report_interval: config.report_interval,
        ping: config.uplink_ping,
        shutdown: token.clone(),
    };
    let (router, io) = uplink::serve(router, desk);
    tasks.spawn("http", rest::serve((listener, door), router, token.clone()));
    tasks.spawn("keys", keys.renew(token.clone()));
    ready(Ready {
        event: "ready",
        http: keys::url(address, config.insecure),
        mqtt: relay,
        data_dir: config.data_dir,
    });
    token.cancelled().await;
    // Sockets of clusters would otherwise outlive the service.
    io.close().await;
    Ok(tasks.finish(GRACE).await.into_result()?)
}

/// What workers are told of the relay.
fn relay_at(config: &Config, address: SocketAddr) -> RelayAt {
    RelayAt {
        host: config.advertise.clone(),
        port: address.port(),
        tls: true,
    }
}

/// What both tiers serve.
fn common(
    config: &Config,
    handle: &Handle,
    backups: Backups,
    access: &Access,
) -> orchestrator::http::Service<Root> {
    orchestrator::http::Service::new(handle.clone(), documents(config), backups, access.clone())
}

/// What documents may say here beyond the contract.
fn documents(config: &Config) -> protocol::document::Options {
    protocol::document::Options {
        allow_noop: config.allow_noop,
        ..protocol::document::Options::default()
    }
}

/// What this root proves itself with, and shows to users.
fn keys(config: &Config, address: SocketAddr) -> Result<Keys, KeysError> {
    let names = keys::names(&[address], config.advertise.as_deref());
    let keys = Keys::open(config.store.kind(), &config.data_dir, Tier::Root, names)?;
    let brought = Brought::of(config.tls_cert.as_deref(), config.tls_key.as_deref());
    keys.showing_users(brought.map_err(KeysError::from)?)
}

/// Who may do what here, and who may join.
async fn access(
    config: &Config,
    address: SocketAddr,
    store: &Arc<dyn Store>,
    keys: &Arc<Keys>,
) -> Result<Access, RootError> {
    let settings = Settings {
        tier: Tier::Root,
        store: config.store.kind(),
        admin_token: config.admin_token(),
        insecure: config.insecure,
        places: keys::places(address, config.advertise.as_deref()),
        rates: config.rates,
    };
    let audit = Audit::open(config.store.kind(), &config.data_dir, Tier::Root)?;
    let access = Access::open(settings, Arc::clone(store), Arc::clone(keys), audit);
    let access = access.await?;
    access.scraped_by(config.scrape_token_file.as_deref())?;
    Ok(access)
}

/// What users and members become is told to those who act on it: quotas to the core, revocations to the uplinks.
async fn follow(access: &Access, handle: &Handle, links: &Links, tasks: &mut Tasks) {
    access.beside(handle, root_core::State::usage);
    // One that has ended already is seen when the program's parts are.
    let _ = handle.tell(Input::Quotas(access.quotas())).await;
    let token = tasks.token().clone();
    let quotas = access.clone();
    let quotas = quotas.tell_quotas(handle.clone(), Input::Quotas, token.clone());
    tasks.spawn("quotas", quotas);
    let revocations = cut_off(access.clone(), links.clone(), token);
    tasks.spawn("revocations", revocations);
    let uses = access.clone().store_uses(tasks.token().clone());
    tasks.spawn("token uses", uses);
}

/// Ends the connection of each cluster whose certificate means nothing any more.
async fn cut_off(access: Access, links: Links, shutdown: CancellationToken) {
    let mut revoked = access.revocations();
    loop {
        let news = tokio::select! {
            () = shutdown.cancelled() => return,
            news = revoked.recv() => news,
        };
        match news {
            Ok(id) => links.end(ClusterId::from_bits(id)),
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => {
                let connected = links.connected().into_iter();
                connected
                    .filter(|cluster| access.is_revoked(cluster.bits()))
                    .for_each(|cluster| links.end(cluster));
            }
        }
    }
}
