//! The options of a root-orchestrator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use daemon::dial::authority;
use daemon::notify::Notifier;
use daemon::value::{duration, listen_address};
use orchestrator::access::{ADMIN_TOKEN, RateOptions};
use orchestrator::keys::Brought;
use orchestrator::scheduler::{Client, SchedulerOptions};
use orchestrator::traces::{Collector, TraceOptions};
use orchestrator::{Core as _, StoreAt};

use crate::tier::Root;
use crate::{Ready, RootError};

/// Runs the root of an edgeIO system: it takes jobs, chooses a cluster for each instance, and shows what runs where.
///
/// It prints one line of JSON on standard output once it serves; logs go to standard error. `root-orchestrator healthy`, with the
/// same options, asks the one that runs whether it is ready, and exits with 0 if it is.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "root-orchestrator", version)]
pub struct Config {
    /// Where REST, the clusters' uplinks and metrics are served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = listen_address)]
    pub http: SocketAddr,
    /// Where workers that cannot reach their cluster's broker reach their cluster through this root, which passes their
    /// MQTT on and keeps nothing of it; off if it is not given. The usual port is 10002.
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub mqtt: Option<SocketAddr>,
    /// The host name or address of this machine for others: join tokens name it, in place of the addresses of --http, and workers
    /// are told it for --mqtt, in place of the host that their cluster uses for this root.
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub advertise: Option<String>,
    /// The directory of the store; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./edgeio-root")]
    pub data_dir: PathBuf,
    /// Where the state is kept: embedded (a file in --data-dir), memory (nothing survives the process), or the URL of a
    /// database of a MongoDB replica set, mongodb://HOST:PORT/DATABASE. Several roots on one database take turns: one decides, the
    /// others stand by. A URL with a password belongs into EDGEIO_STORE or the configuration file.
    #[arg(long, value_name = "KIND|URL", default_value = "embedded")]
    pub store: StoreAt,
    /// The file of the administrator's token, made at the first start; admin.token in --data-dir if it is not given.
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// A file with a token that reads /metrics and nothing else, for Prometheus; it may be the same of all orchestrators, and
    /// nobody but its owner may read the file. Any 32 to 200 characters, for example of `openssl rand -hex 32`.
    #[arg(long, value_name = "FILE")]
    pub scrape_token_file: Option<PathBuf>,
    /// How long a cluster may be out of reach before its movable work is assigned elsewhere.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub lost_after: Duration,
    /// How often clusters report what is free.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub report_interval: Duration,
    /// How often clusters are asked whether their uplink still lives; one that does not answer for half of that is closed.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub uplink_ping: Duration,
    /// The longest wait of a cluster between two attempts to connect.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub reconnect_max: Duration,
    /// Who chooses clusters.
    #[command(flatten)]
    pub scheduling: SchedulerOptions,
    /// How long a deleted job and its history can be seen.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub retention: Duration,
    /// A certificate that was made elsewhere, for users of --http: a file in PEM, the server's own certificate first and those
    /// above it behind. Machines go on with the own authority. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, a file in PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Allows plain text on addresses that other machines reach, and clusters to join from there without a token.
    #[arg(long)]
    pub insecure: bool,
    /// Accepts `image_runtime: noop` in documents, for load tests.
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

/// What the options mean.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The settings of the decisions.
    pub(crate) core: root_core::Config,
    /// By what a scheduler elsewhere is asked.
    pub(crate) scheduler: Client,
    /// Who is told of traces.
    pub(crate) collector: Option<Collector>,
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
        <Self as clap::Parser>::parse_from(["root-orchestrator"])
    }
}

impl Config {
    /// Where the administrator's token stands.
    pub(crate) fn admin_token(&self) -> PathBuf {
        let given = self.admin_token_file.clone();
        given.unwrap_or_else(|| self.data_dir.join(ADMIN_TOKEN))
    }

    /// What the options mean.
    ///
    /// # Errors
    /// All values that fit their types and still mean nothing.
    pub(crate) fn checked(&self) -> Result<Checked, RootError> {
        let mut faults = Vec::new();
        let interval = Duration::from_millis(100)..=Duration::from_hours(24);
        if !interval.contains(&self.report_interval) {
            faults.push("--report-interval must be 100ms to 24h".to_owned());
        }
        let ping = Duration::from_millis(100)..=Duration::from_hours(1);
        if !ping.contains(&self.uplink_ping) {
            faults.push("--uplink-ping must be 100ms to 1h".to_owned());
        }
        if self.reconnect_max < Duration::from_millis(1) {
            faults.push("--reconnect-max must be at least 1ms".to_owned());
        }
        let brought = Brought::check(self.tls_cert.as_deref(), self.tls_key.as_deref());
        faults.extend(brought.err().map(|error| error.to_string()));
        let scheduler = self.scheduling.client(self.insecure, self.allow_noop);
        let collector = self.traces.collector(Root::TIER, self.insecure);
        let (scheduler, collector) = match (scheduler, collector) {
            (Ok(scheduler), Ok(collector)) if faults.is_empty() => (scheduler, collector),
            (scheduler, collector) => {
                faults.extend(scheduler.err());
                faults.extend(collector.err());
                return Err(RootError::config(&faults));
            }
        };
        let core = root_core::Config {
            lost_after: self.lost_after,
            report_interval: self.report_interval,
            silence: self.uplink_ping.mul_f64(1.5),
            reconnect_max: self.reconnect_max,
            retention: self.retention,
            scheduler_pause: self.scheduling.scheduler_pause,
            ..root_core::Config::default()
        };
        Ok(Checked {
            core,
            scheduler,
            collector,
        })
    }
}

/// A host without a port.
fn host(text: &str) -> Result<String, String> {
    match authority(text) {
        Some((host, None)) if !text.ends_with(':') && host.len() <= 255 => Ok(host),
        Some(_) | None => Err(
            "write a host name or an address without a port, for example root.example".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        let config = Config::default();
        assert_eq!(config.checked().unwrap().core, root_core::Config::default());
        assert_eq!(config.http.port(), 10_000);
    }

    #[test]
    fn values_that_mean_nothing_are_refused_with_what_to_write() {
        let config = Config {
            report_interval: Duration::ZERO,
            ..Config::default()
        };
        assert!(config.checked().unwrap_err().to_string().contains("100ms"));
        let config = Config {
            uplink_ping: Duration::ZERO,
            ..Config::default()
        };
        assert!(config.checked().unwrap_err().to_string().contains("100ms"));
    }

    #[test]
    fn a_host_has_no_port() {
        for good in ["root.example", "192.0.2.1", "[2001:db8::1]"] {
            assert!(host(good).is_ok(), "{good}");
        }
        assert_eq!(host("[2001:db8::1]").unwrap(), "2001:db8::1");
        for bad in [
            "",
            "root.example:10002",
            "[2001:db8::1]:1",
            "a b",
            "a:",
            "mqtt://a",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
