//! One cluster of an edgeIO system: the shell around the pure decisions of `cluster-core`.
//!
//! # Who does what
//! - `tier` is the core as the shared shell knows it: [`orchestrator::Controller`] owns its state, and `record` says how
//!   the store keeps it.
//! - `workers` registers workers, `broker` hears them over MQTT, `outlets` speaks to them, `places` knows whose output is
//!   where.
//! - `approach` says which root that is, and joins it where a token says so; `uplink` is the link to the root; workers that cannot reach the broker come through it as well, and `announcer` tells
//!   workers of that way.
//! - `foreign` is a broker that the operator runs, and [`mosquitto`] writes the files that hold it to the same rules.
//! - `general_broker` is one for other applications, where the program was built with it.
//! - `http` is what of the REST interface is not shared.
//!
//! [`run`] starts all of it and ends when its token is cancelled, so that the daemon and `edgeio up` are the same.

mod announcer;
mod approach;
mod broker;
mod config;
mod foreign;
mod general_broker;
mod http;
mod metrics;
pub mod mosquitto;
mod outlets;
mod places;
mod record;
mod tier;
mod uplink;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_core::Input;
use daemon::Tasks;
use daemon::listen::bind;
use identity::authority::Authority;
use identity::door::Door;
use model::id::{ClusterId, NodeId};
use mqtt::endpoint;
use mqtt::link::{self, Link};
use orchestrator::access::{self, Access};
use orchestrator::audited::Audit;
use orchestrator::http::Backups;
use orchestrator::http::logs::Logs;
use orchestrator::keys::{self, Brought, Keys, KeysError};
use orchestrator::scheduler::{self, Advisor};
use orchestrator::streams::Streams;
use orchestrator::traces::{self, Collector, Requests};
use orchestrator::{Controller, Lost, Opened, Tier, Wait, Waiting, open_store};
use protocol::message::fallback::Fallback;
use serde::Serialize;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::announcer::Announcer;
use crate::approach::Root;
use crate::broker::{Inlet, Kind, Logins};
use crate::config::{BrokerAddress, Checked};
use crate::metrics::Metrics;
use crate::outlets::{Credentials, Open, Outlets, Sealing, Signing};
use crate::places::{Places, Workers};
use crate::tier::{Cluster, Handle};
use crate::workers::Desk;

/// Where this program can be told to die (`daemon::crash`), beside the points of the shared shell.
pub const CRASH_POINTS: &[&str] = daemon::crashpoints![
    "cluster.uplink.registered",
    "cluster.assign.unheard",
    "cluster.assign.heard",
    "cluster.ack.unsent",
    "cluster.ack.sent",
    "cluster.part.staged",
    "cluster.report.unsent",
    "cluster.report.sent",
    "cluster.events.unsent",
    "cluster.events.sent",
    "cluster.confirm.unsent",
    "cluster.control.unsent",
    "cluster.control.sent",
    "cluster.worker.registered",
    "cluster.worker.answered",
];

pub use config::Config;
pub use orchestrator::{RunError as ClusterError, StoreAt};

/// Messages of workers that wait for the controller.
const INBOUND: usize = 1_024;
/// Refused copies of workers that wait to be told; what is too much is told by the next one.
const CLONES: usize = 16;
/// From the shutdown to the end of everything.
const GRACE: Duration = Duration::from_secs(8);

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
    let waiting = Waiting {
        wait: Wait::Briefly,
        place: String::new(),
        mark: String::new(),
        held: &watch::Sender::new(None),
        shutdown: &shutdown,
    };
    match open_store(&config.store, &config.data_dir, Tier::Cluster, waiting).await? {
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
) -> Result<(), ClusterError> {
    let config = Config {
        store: StoreAt::Memory,
        ..config
    };
    let place = Place::take(&config)?;
    let lost = Lost::never();
    let opened = Opened { store, lost };
    begin(config, place, opened, shutdown, ready).await
}

/// What the options ask for, checked, with the addresses taken.
struct Place {
    core: cluster_core::Config,
    http: TcpListener,
    mqtt: Mqtt,
    /// Held for the general broker until that begins.
    #[cfg(feature = "general-broker")]
    general_broker: Option<TcpListener>,
    scheduler: scheduler::Client,
    collector: Option<Collector>,
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
        let Checked {
            core,
            broker,
            scheduler,
            collector,
        } = config.checked()?;
        // By TLS for other machines.
        let http = bind(config.http)?;
        let mqtt = match broker {
            Some(address) => Mqtt::External(address),
            None => Mqtt::Own(bind(config.mqtt)?),
        };
        Ok(Self {
            core,
            http,
            mqtt,
            #[cfg(feature = "general-broker")]
            general_broker: config.general_broker.map(bind).transpose()?,
            scheduler,
            collector,
        })
    }
}

async fn begin(
    config: Config,
    place: Place,
    Opened { store, lost }: Opened,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), ClusterError> {
    let Place {
        core,
        http,
        mqtt,
        #[cfg(feature = "general-broker")]
        general_broker,
        scheduler,
        collector,
    } = place;
    let metrics = Metrics::new()?;
    let mut ports = vec![local(&http)?];
    if let Mqtt::Own(listener) = &mqtt {
        ports.push(local(listener)?);
    }
    let mut names = keys::names(&ports, config.advertise.as_deref());
    names.extend(config.advertised_host());
    let keys = Keys::open(config.store.kind(), &config.data_dir, Tier::Cluster, names)?;
    let brought = Brought::of(config.tls_cert.as_deref(), config.tls_key.as_deref());
    let keys = Arc::new(keys.showing_users(brought.map_err(KeysError::from)?)?);
    let settings = access::Settings {
        tier: Tier::Cluster,
        store: config.store.kind(),
        admin_token: config.admin_token(),
        insecure: config.insecure,
        places: keys::places(local(&http)?, config.advertise.as_deref()),
        rates: config.rates,
    };
    let audit = Audit::open(config.store.kind(), &config.data_dir, Tier::Cluster)?;
    let access = Access::open(settings, Arc::clone(&store), Arc::clone(&keys), audit).await?;
    access.scraped_by(config.scrape_token_file.as_deref())?;
    access.count(&metrics.common.registry)?;
    let name = config.cluster_name()?.to_string();
    let backups = Backups::new(Arc::clone(&store), Tier::Cluster, Some(name));
    let core = Cluster {
        config: core,
        policy: config.scheduling.scheduler.clone(),
    };
    let (controller, handle) = orchestrator::open(store, core, metrics.common.clone()).await?;
    let root = config.root(controller.state().cluster()).await?;
    let mut tasks = Tasks::new(shutdown.child_token());
    let requests = traces::tell(collector, &handle, &metrics.common, &mut tasks);
    let mut site = Site {
        door: keys.door(config.insecure),
        users_door: keys.users_door(config.insecure),
        authority: keys.authority(),
        access,
        scheduler,
        config,
        handle,
        metrics,
        backups,
        root,
        requests,
        tasks,
    };
    lost.ends(&mut site.tasks);
    let token = site.tasks.token().clone();
    site.tasks.spawn("keys", keys.renew(token));
    #[cfg(feature = "general-broker")]
    if let Some(reserved) = general_broker {
        let broker = general_broker::GeneralBroker::start(reserved).await?;
        let token = site.tasks.token().clone();
        site.tasks.spawn("general broker", broker.keep(token));
    }
    site.serve(controller, http, mqtt, ready).await
}

/// What is being put together.
struct Site {
    config: Config,
    handle: Handle,
    metrics: Metrics,
    backups: Backups,
    /// How MQTT is entered.
    door: Door,
    /// How the REST interface is entered.
    users_door: Door,
    /// Who signs what workers are to run.
    authority: Arc<Authority>,
    /// Who may do what, and who may join.
    access: Access,
    /// By what a scheduler elsewhere is asked.
    scheduler: scheduler::Client,
    /// Whom this cluster belongs to, if to anybody.
    root: Option<Root>,
    /// Where changes of jobs are noted for their traces.
    requests: Requests,
    tasks: Tasks,
}

impl Site {
    async fn serve(
        mut self,
        controller: Controller<Cluster>,
        http: TcpListener,
        mqtt: Mqtt,
        ready: impl FnOnce(Ready) + Send,
    ) -> Result<(), ClusterError> {
        let http_address = local(&http)?;
        let credentials = Credentials::default();
        let (fallback, told) = watch::channel(None);
        let (broker, streams) = self.broker(mqtt, credentials.clone(), told.clone())?;
        let places = Places::default();
        let common = self.common();
        let desk = uplink::Desk {
            streams: streams.clone(),
            places: places.clone(),
            access: self.access.clone(),
            jobs: common.clone(),
        };
        let relayed = uplink::Relayed {
            endpoint: broker.link.endpoint().clone(),
            fallback,
        };
        let uplink = self.uplink(http_address, desk, relayed);
        let logs = Logs {
            handle: self.handle.clone(),
            streams,
            holders: places.clone(),
        };
        let outlets = Outlets {
            link: broker.link.clone(),
            credentials,
            uplink,
            metrics: self.metrics.clone(),
            open: Open::default(),
            places,
            signing: Signing::new(Arc::clone(&self.authority)),
            sealing: Sealing::new(self.access.clone()),
            advisor: self.advisor(),
        };
        let cluster_id = controller.state().cluster();
        let token = self.tasks.token().clone();
        let controller = controller.watched_by(self.config.notifier.clone());
        self.tasks
            .spawn("controller", controller.run(outlets, token.clone()));
        let (access, handle) = (self.access.clone(), self.handle.clone());
        access.beside(&handle, cluster_core::State::usage);
        // One that has ended already is seen below.
        let _ = handle.tell(Input::Quotas(access.quotas())).await;
        let quotas = access.tell_quotas(handle, Input::Quotas, token.clone());
        self.tasks.spawn("quotas", quotas);
        let cut_off = workers::cut_off(self.access.clone(), broker.link.clone(), token.clone());
        self.tasks.spawn("revocations", cut_off);
        let uses = self.access.clone().store_uses(token.clone());
        self.tasks.spawn("token uses", uses);
        let io = self.http((http, common), &broker, logs, told);
        ready(Ready {
            event: "ready",
            http: keys::url(http_address, self.config.insecure),
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
    fn broker(
        &mut self,
        mqtt: Mqtt,
        credentials: Credentials,
        fallback: watch::Receiver<Option<Fallback>>,
    ) -> Result<(Broker, Streams<NodeId>), ClusterError> {
        let token = self.tasks.token().clone();
        let (sender, inbound) = mpsc::channel(INBOUND);
        let authenticate = broker::authenticate(Logins {
            credentials,
            insecure: self.config.insecure,
            revoked: {
                let access = self.access.clone();
                Arc::new(move |node: NodeId| access.is_revoked(node.bits()))
            },
        });
        let (clones, refused_clones) = mpsc::channel(CLONES);
        let limits = endpoint::Options {
            witness: broker::witness(self.access.clone(), clones),
            ..endpoint::Options::default()
        };
        let (kind, broker) = match mqtt {
            Mqtt::External(BrokerAddress { host, port, secure }) => {
                let id = format!("edgeio-cluster-{port}-{}", std::process::id());
                let options = mqtt::client::Options::new(host.clone(), port, id);
                let scheme = if secure { "mqtts" } else { "mqtt" };
                let url = format!("{scheme}://{host}:{port}");
                let dial = self.foreign(options, secure);
                // For workers that come through the root, past the broker.
                let relayed = endpoint::detached(
                    self.door.clone(),
                    limits,
                    authenticate,
                    sender.clone(),
                    token.clone(),
                );
                let link = link::external(dial, sender, token.clone());
                let link = Link::External(link, relayed);
                let host = Some(host);
                (
                    Kind::External,
                    Broker {
                        link,
                        url,
                        host,
                        port,
                        tls: secure,
                    },
                )
            }
            Mqtt::Own(listener) => {
                let address = local(&listener)?;
                let handle = endpoint::serve(
                    (listener, self.door.clone()),
                    limits,
                    authenticate,
                    sender,
                    token.clone(),
                )
                .map_err(|source| ClusterError::Io {
                    operation: "serve MQTT",
                    source,
                })?;
                let broker = Broker {
                    link: Link::Own(handle),
                    url: format!("mqtt://{address}"),
                    host: self.config.advertise.clone(),
                    port: address.port(),
                    tls: true,
                };
                (Kind::Own, broker)
            }
        };
        let streams = Streams::new(Arc::new(Workers(broker.link.clone())));
        let inlet = Inlet::new(
            kind,
            self.handle.clone(),
            self.metrics.common.clone(),
            streams.clone(),
            Announcer::new(broker.link.clone(), fallback),
            (self.access.clone(), refused_clones),
        );
        self.tasks.spawn("mqtt", inlet.run(inbound, token));
        Ok((broker, streams))
    }

    /// How each connection to a broker of somebody else is made. One that speaks TLS is held to its rules, as far as they
    /// change.
    fn foreign(
        &mut self,
        options: mqtt::client::Options,
        secure: bool,
    ) -> impl Fn() -> std::io::Result<mqtt::client::Options> + Send + 'static {
        if secure && self.config.store != StoreAt::Memory {
            let file = self.config.data_dir.join(foreign::RULES);
            let token = self.tasks.token().clone();
            let rules = foreign::keep_rules(self.access.clone(), file, token);
            self.tasks.spawn("broker rules", rules);
        }
        let authority = secure.then(|| Arc::clone(&self.authority));
        move || foreign::dial(&options, authority.as_deref())
    }

    fn uplink(
        &mut self,
        http: SocketAddr,
        desk: uplink::Desk,
        relayed: uplink::Relayed,
    ) -> Option<uplink::Upward> {
        let options = uplink::Options {
            root: self.root.clone()?,
            name: self.config.cluster_name().ok()?,
            location: self.config.location.clone(),
            http: self.config.reached(http),
            reconnect_max: self.config.reconnect_max,
        };
        let (handle, metrics) = (self.handle.clone(), self.metrics.clone());
        let (task, upward) = uplink::new(options, handle, metrics, (desk, relayed));
        let token = self.tasks.token().clone();
        self.tasks.spawn("uplink", task.run(token));
        Some(upward)
    }

    /// Who asks a scheduler elsewhere.
    fn advisor(&self) -> Advisor<Cluster> {
        Advisor::new(
            self.scheduler.clone(),
            self.handle.clone(),
            &self.metrics.common,
        )
    }

    /// What takes jobs, from whichever side they come.
    fn common(&self) -> orchestrator::http::Service<Cluster> {
        orchestrator::http::Service::new(
            self.handle.clone(),
            protocol::document::Options {
                allow_noop: self.config.allow_noop,
                ..protocol::document::Options::default()
            },
            self.backups.clone(),
            self.access.clone(),
        )
        .noting(self.requests.clone())
    }

    fn http(
        &mut self,
        (listener, common): (TcpListener, orchestrator::http::Service<Cluster>),
        broker: &Broker,
        logs: Logs<Cluster, Places>,
        fallback: watch::Receiver<Option<Fallback>>,
    ) -> socketioxide::SocketIo {
        let service = http::Service {
            handle: self.handle.clone(),
            metrics: self.metrics.clone(),
            access: self.access.clone(),
        };
        let desk = Desk {
            handle: self.handle.clone(),
            access: self.access.clone(),
            host: broker.host.clone(),
            port: broker.port,
            tls: broker.tls,
            locked: broker.tls && matches!(broker.link, Link::External(..)),
            keep_alive: self.config.keep_alive,
            report_interval: self.config.report_interval,
            fallback,
        };
        let router = rest::finish(
            http::router(
                common,
                service,
                (logs, self.advisor()),
                Arc::new(self.access.clone()),
            ),
            self.metrics.common.http.clone(),
        );
        let (router, io) = workers::serve(router, desk);
        let token = self.tasks.token().clone();
        self.tasks.spawn(
            "http",
            rest::serve((listener, self.users_door.clone()), router, token),
        );
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
    /// Whether it speaks TLS.
    tls: bool,
}

fn local(listener: &TcpListener) -> Result<SocketAddr, ClusterError> {
    listener.local_addr().map_err(|source| ClusterError::Io {
        operation: "tell the address that is listened on",
        source,
    })
}
