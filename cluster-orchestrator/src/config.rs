//! The options of a cluster-orchestrator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use daemon::dial::Dialled;
use daemon::notify::Notifier;
use daemon::value::{duration, listen_address};
use model::location::Location;
use model::name::Name;
use orchestrator::access::{ADMIN_TOKEN, RateOptions};
use orchestrator::keys::{self, Brought};
use orchestrator::scheduler::{Client, SchedulerOptions};
use orchestrator::traces::{Collector, TraceOptions};
use orchestrator::{Core as _, StoreAt};

use crate::tier::Cluster;
use crate::{ClusterError, Ready, general_broker};

/// A broker that is not the own endpoint.
const BROKER: Dialled = Dialled {
    option: "--broker",
    schemes: &["mqtt"],
    secure: &["mqtts"],
    path: false,
    example: "mqtt://127.0.0.1:1883",
};

/// Where this cluster's users are sent.
const ADVERTISED: Dialled = Dialled {
    option: "--advertise-http",
    schemes: &["http"],
    secure: &["https"],
    path: true,
    example: "https://edge.example:10001",
};

/// Runs one cluster of an edgeIO system: it places instances on its workers, keeps them placed, and tells its root.
///
/// Without --root it works alone. It prints one line of JSON on standard output once it serves; logs go to standard
/// error. `cluster-orchestrator healthy`, with the same options, asks the one that runs whether it is ready, and exits with 0 if
/// it is.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "cluster-orchestrator", version)]
pub struct Config {
    /// The cluster's name, unique at its root; the host's name if it is not given.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<Name>,
    /// Where the cluster is: free text, or city=…,country=…,lat=…,lon=….
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = Location::parse)]
    pub location: Location,
    /// The root-orchestrator to join, for example http://127.0.0.1:10000; where it is not given, the one that was joined with
    /// a token; without either the cluster works alone.
    #[arg(long, value_name = "URL")]
    pub root: Option<String>,
    /// Where REST, workers' registrations and metrics are served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10001", value_parser = listen_address)]
    pub http: SocketAddr,
    /// Where the cluster's own MQTT endpoint listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10003", value_parser = listen_address)]
    pub mqtt: SocketAddr,
    /// An MQTT broker to use instead of the own endpoint, for example mqtts://192.0.2.7:8883, with the files that
    /// `cluster-orchestrator mosquitto` writes, or mqtt://127.0.0.1:1883.
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Serves an MQTT broker for other applications on this machine here, a loopback address: for up to 1,000 clients that are
    /// trusted, by MQTT 3.1.1 in plain text. Workers do not use it, unless --broker names it.
    #[arg(long, value_name = "ADDR", value_parser = listen_address, hide = cfg!(not(feature = "general-broker")))]
    pub general_broker: Option<SocketAddr>,
    /// The directory of the store; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./edgeio-cluster")]
    pub data_dir: PathBuf,
    /// Where the state is kept: embedded (a file in --data-dir), memory (nothing survives the process), or the URL of a
    /// database of a MongoDB replica set, mongodb://HOST:PORT/DATABASE. A URL with a password belongs into EDGEIO_STORE or the
    /// configuration file.
    #[arg(long, value_name = "KIND|URL", default_value = "embedded")]
    pub store: StoreAt,
    /// The file of the administrator's token, made at the first start; admin.token in --data-dir if it is not given.
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// A file with a token that reads /metrics and nothing else, for Prometheus; it may be the same of all orchestrators, and
    /// nobody but its owner may read the file. Any 32 to 200 characters, for example of `openssl rand -hex 32`.
    #[arg(long, value_name = "FILE")]
    pub scrape_token_file: Option<PathBuf>,
    /// Who chooses workers.
    #[command(flatten)]
    pub scheduling: SchedulerOptions,
    /// MQTT keep-alive of the workers, in whole seconds; one and a half of it in silence makes a worker suspect.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub keep_alive: Duration,
    /// How often workers report what they use.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub report_interval: Duration,
    /// How long a worker may be silent before what it runs is placed elsewhere.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub lost_after: Duration,
    /// How long a worker may be away whose engine said that it restarts: what it runs is not placed elsewhere before.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub restart_grace: Duration,
    /// How long an application may take to run on a worker that is heard, its image's download included; then it is
    /// placed on another worker, once.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub deploy_deadline: Duration,
    /// The longest wait between two attempts to connect: this cluster's to its root, and its workers' to it.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub reconnect_max: Duration,
    /// The broker's host name or address that workers are told; the host that they used if it is not given.
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Where users reach --http, for example https://edge.example:10001: the root shows it, and sends there who asks for that.
    /// Where it is not given, the host of --advertise, or the address that --http listens on.
    #[arg(long, value_name = "URL")]
    pub advertise_http: Option<String>,
    /// The certificate of the authority that the root's is from, for a --root of https: a file in PEM. A root has its own
    /// in identity/authority.pem of its data directory. Who joins with a token needs none.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Joins a root with this token, made there by `edgeio token create`, unless the data directory says that this cluster
    /// has joined.
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// The same, from a file, where no --join-token is given; one that is not there means nothing to who has joined.
    #[arg(long, value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,
    /// A certificate that was made elsewhere, for users of --http: a file in PEM, the server's own certificate first and those
    /// above it behind. Machines go on with the own authority. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, a file in PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Allows plain text with other machines: on addresses that they reach, and towards a root or broker there; workers join
    /// from there without a token.
    #[arg(long)]
    pub insecure: bool,
    /// Accepts `image_runtime: noop` in documents and `--scheduler faulty`, for tests.
    #[arg(long, hide = true)]
    pub allow_noop: bool,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceOptions,
    /// How often each may ask.
    #[command(flatten)]
    pub rates: RateOptions,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: daemon::telemetry::LogOptions,
    /// The service manager that watches this program, if one does.
    #[arg(skip)]
    pub notifier: Notifier,
}

impl orchestrator::Options for Config {
    type Ready = Ready;

    fn http(&self) -> SocketAddr {
        self.http
    }

    fn log(&self) -> &daemon::telemetry::LogOptions {
        &self.log
    }

    fn watched_by(self, notifier: Notifier) -> Self {
        Self { notifier, ..self }
    }
}

impl Default for Config {
    /// The defaults of the command line.
    fn default() -> Self {
        // Every option has a default, so this parses; a test holds it.
        <Self as clap::Parser>::parse_from(["cluster-orchestrator"])
    }
}

/// An external broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// It speaks TLS, and lets in who shows a certificate of this cluster's authority.
    pub(crate) secure: bool,
}

/// What the options mean, once they were found in order.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The settings of the decisions.
    pub(crate) core: cluster_core::Config,
    /// The external broker, if one is to be used.
    pub(crate) broker: Option<BrokerAddress>,
    /// By what a scheduler elsewhere is asked.
    pub(crate) scheduler: Client,
    /// Who is told of traces.
    pub(crate) collector: Option<Collector>,
}

impl Config {
    /// Where the administrator's token stands.
    pub(crate) fn admin_token(&self) -> PathBuf {
        let given = self.admin_token_file.clone();
        given.unwrap_or_else(|| self.data_dir.join(ADMIN_TOKEN))
    }

    /// The host of `--advertise-http`, which the certificate that is shown there has to name.
    pub(crate) fn advertised_host(&self) -> Option<String> {
        let url = self.advertise_http.as_deref()?;
        let host = ADVERTISED.read(url, true).ok()?.host;
        host.is_ascii().then_some(host)
    }

    /// Where users reach the REST interface, which listens there.
    pub(crate) fn reached(&self, http: SocketAddr) -> String {
        let told = self.advertise_http.clone();
        told.unwrap_or_else(|| keys::reached(http, self.advertise.as_deref(), self.insecure))
    }

    /// The cluster's name.
    pub(crate) fn cluster_name(&self) -> Result<Name, ClusterError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = host_name();
        Name::new(&host).map_err(|_| {
            ClusterError::Config(format!(
                "the host's name {host:?} cannot be the cluster's name; give one with --name"
            ))
        })
    }

    /// What the options mean.
    ///
    /// # Errors
    /// All values that fit their types and still mean nothing, cannot be dialled, or must not be.
    pub(crate) fn checked(&self) -> Result<Checked, ClusterError> {
        let mut faults = self.wrong_times();
        faults.extend(self.wrong_root()?);
        faults.extend(general_broker::fault(self.general_broker));
        let brought = Brought::check(self.tls_cert.as_deref(), self.tls_key.as_deref());
        faults.extend(brought.err().map(|error| error.to_string()));
        let advertised = self.advertise_http.as_deref();
        let advertised = advertised.map(|url| ADVERTISED.read(url, true));
        faults.extend(
            advertised
                .and_then(Result::err)
                .map(|error| error.to_string()),
        );
        let scheduler = self.scheduling.client(self.insecure, self.allow_noop);
        let collector = self.traces.collector(Cluster::TIER, self.insecure);
        let broker = self.broker_address();
        let name = self.cluster_name();
        match (name, broker, scheduler, collector) {
            (Ok(name), Ok(broker), Ok(scheduler), Ok(collector)) if faults.is_empty() => {
                Ok(Checked {
                    core: self.core(name),
                    broker,
                    scheduler,
                    collector,
                })
            }
            (name, broker, scheduler, collector) => {
                faults.extend(scheduler.err());
                faults.extend(collector.err());
                let more = [name.err(), broker.err()];
                faults.extend(more.into_iter().flatten().map(|error| error.to_string()));
                Err(ClusterError::config(&faults))
            }
        }
    }

    fn wrong_times(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let seconds = self.keep_alive.as_secs();
        let whole = self.keep_alive == Duration::from_secs(seconds);
        if !whole || !(1..=3_600).contains(&seconds) {
            faults
                .push("--keep-alive must be whole seconds, 1s to 1h: MQTT has no other".to_owned());
        }
        let least = [
            ("--report-interval", self.report_interval, "100ms", 100),
            ("--reconnect-max", self.reconnect_max, "1ms", 1),
            ("--deploy-deadline", self.deploy_deadline, "1s", 1_000),
        ];
        for (option, value, written, millis) in least {
            if value < Duration::from_millis(millis) {
                faults.push(format!("{option} must be at least {written}"));
            }
        }
        faults
    }

    fn core(&self, name: Name) -> cluster_core::Config {
        cluster_core::Config {
            lost_after: self.lost_after,
            deploy_deadline: self.deploy_deadline,
            restart_grace: self.restart_grace,
            keep_alive: self.keep_alive,
            report_interval: self.report_interval,
            reconnect_max: self.reconnect_max,
            scheduler_pause: self.scheduling.scheduler_pause,
            ..cluster_core::Config::new(name)
        }
    }

    /// The external broker, if one is to be used.
    ///
    /// # Errors
    /// A URL that is not `mqtts://host[:port]` or `mqtt://host[:port]`, or one off this machine without `--insecure`.
    fn broker_address(&self) -> Result<Option<BrokerAddress>, ClusterError> {
        let Some(url) = &self.broker else {
            return Ok(None);
        };
        let broker = BROKER.read(url, self.insecure)?;
        Ok(Some(BrokerAddress {
            host: broker.host,
            port: broker
                .port
                .unwrap_or(if broker.secure { 8883 } else { 1883 }),
            secure: broker.secure,
        }))
    }
}

fn name(text: &str) -> Result<Name, model::name::NameError> {
    Name::new(text)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        let config = Config {
            name: Name::new("a").ok(),
            ..Config::default()
        };
        assert!(config.checked().is_ok());
        assert_eq!(config.http.port(), 10_001);
        assert!(config.broker_address().unwrap().is_none());
    }

    #[test]
    fn values_that_mean_nothing_are_refused_with_what_to_write() {
        let of = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.checked().unwrap_err().to_string()
        };
        assert!(of(|config| config.keep_alive = Duration::from_millis(1_500)).contains("whole"));
        assert!(of(|config| config.report_interval = Duration::ZERO).contains("100ms"));
        let all = of(|config| {
            config.keep_alive = Duration::ZERO;
            config.deploy_deadline = Duration::ZERO;
            config.root = Some("nonsense".to_owned());
            config.broker = Some("nonsense".to_owned());
        });
        for option in ["--keep-alive", "--deploy-deadline", "--root", "--broker"] {
            assert!(all.contains(option), "{option}: {all}");
        }
        let bad = [
            "127.0.0.1:1883",
            "mqtt://",
            "mqtt://a:b",
            "mqtt://a/b",
            "http://a",
        ];
        for url in bad {
            let config = Config {
                broker: Some(url.to_owned()),
                ..Config::default()
            };
            let fault = config.broker_address().unwrap_err().to_string();
            assert!(fault.contains("mqtt://127.0.0.1:1883"), "{url}");
        }
    }

    #[test]
    fn a_general_broker_is_for_this_machine_at_a_port_that_is_named() {
        let of = |address: &str| {
            let config = Config {
                general_broker: address.parse().ok(),
                ..Config::default()
            };
            config.checked().err().map(|error| error.to_string())
        };
        let bad = [
            ("192.0.2.1:1883", "Mosquitto"),
            ("[::]:1883", "Mosquitto"),
            ("127.0.0.1:0", "port"),
        ];
        for (address, advice) in bad {
            let fault = of(address).unwrap();
            let advice = if cfg!(feature = "general-broker") {
                advice
            } else {
                "--features general-broker"
            };
            assert!(
                fault.contains("--general-broker") && fault.contains(advice),
                "{fault}"
            );
        }
        assert_eq!(
            of("127.0.0.1:1883").is_none(),
            cfg!(feature = "general-broker")
        );
    }

    #[test]
    fn plain_text_to_a_broker_elsewhere_needs_a_flag() {
        let of = |broker: &str, insecure| {
            let config = Config {
                broker: Some(broker.to_owned()),
                insecure,
                ..Config::default()
            };
            config.broker_address().is_ok()
        };
        assert!(of("mqtt://127.0.0.1", false));
        assert!(!of("mqtt://192.0.2.1:7", false));
        assert!(of("mqtt://192.0.2.1:7", true));
        assert!(of("mqtts://192.0.2.1", false));
    }

    #[test]
    fn users_reach_it_where_it_says_or_listens() {
        let of = |advertise: Option<&str>, advertise_http: Option<&str>| {
            let config = Config {
                advertise: advertise.map(str::to_owned),
                advertise_http: advertise_http.map(str::to_owned),
                ..Config::default()
            };
            let reached = config.reached("192.0.2.1:7".parse().unwrap());
            (reached, config.advertised_host())
        };
        let (host, url) = (Some("edge.example"), Some("https://users.example/one"));
        assert_eq!(of(None, None), ("https://192.0.2.1:7".to_owned(), None));
        assert_eq!(of(host, None), ("https://edge.example:7".to_owned(), None));
        let (reached, named) = of(host, url);
        assert_eq!(Some(&*reached), url);
        assert_eq!(named.as_deref(), Some("users.example"));
    }

    #[test]
    fn tls_to_a_root_needs_somebody_to_believe() {
        let of = |ca: Option<&str>| {
            let config = Config {
                root: Some("https://192.0.2.1:10000".to_owned()),
                ca: ca.map(PathBuf::from),
                ..Config::default()
            };
            config.checked().unwrap_err().to_string()
        };
        assert!(of(None).contains("identity/authority.pem"));
        assert!(of(Some("/nowhere.pem")).contains("/nowhere.pem"));
        assert!(of(Some("/dev/null")).contains("cannot be read"));
    }
}
