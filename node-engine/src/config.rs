//! The options of a node-engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use daemon::dial;
use daemon::value::{duration, pair};
use model::name::Name;
use model::node::Leaving;
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;

use crate::EngineError;
use crate::runtime::docker::DEFAULT_HOST;
use crate::runtime::native::ShimCommand;

/// Runs one worker of an edgeIO system: it joins its cluster, runs what it is told, and keeps that running without a link.
///
/// It dials out and listens on nothing. It prints one line of JSON on standard output once what its own disk says is
/// started; logs go to standard error.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "node-engine", version)]
pub struct Config {
    /// The worker's name, unique in its cluster; the host's name if it is not given.
    #[arg(long, value_name = "NAME", value_parser = Name::new)]
    pub name: Option<Name>,
    /// The cluster-orchestrator to join; where it is not given, the one that was joined with a token, else
    /// http://127.0.0.1:10001.
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// The certificate of the authority that the cluster's is from, for a --cluster of https: a file in PEM. A cluster has
    /// its own in identity/authority.pem of its data directory. Who joins with a token needs none.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The directory of everything that must survive a restart; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./edgeio-node")]
    pub data_dir: PathBuf,
    /// Which runtimes to use, with commas between them: docker, native; what is found if it is not given.
    #[arg(long, value_name = "LIST")]
    pub runtimes: Option<RuntimeList>,
    /// Where the container engine listens.
    #[arg(long, value_name = "URL", default_value = DEFAULT_HOST)]
    pub docker_host: String,
    /// How long the container engine may take for one call; a registry may be silent for twice as long.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub docker_timeout: Duration,
    /// How often the container engine is asked whether it answers, and how long it may take to; one that does not gets no
    /// new work.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub docker_check: Duration,
    /// What the owner of this machine lets others run on it, in TOML; policy.toml in the data directory if that is there
    /// and none is given.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A label of this worker, as KEY=VALUE; may be given again.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// What applications may use, as cpu=8,memory=16000,disk=50000 (cores, MB, MB); what is left out is all that the
    /// machine has.
    #[arg(long, value_name = "AMOUNTS", default_value = "")]
    pub capacity: Capacity,
    /// How full the container engine's disk may be before unused images go that this worker fetched (those that nobody
    /// used for a day always go); off keeps all of them.
    #[arg(long, value_name = "PERCENT", default_value = "85%")]
    pub image_gc: ImageGc,
    /// Joins a cluster with this token, made by `edgeio token create`, unless the data directory says that this worker has
    /// joined; - reads it from standard input. `node-engine join TOKEN` is the same, and says what it finds on this machine.
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// The same, from a file, where no --join-token is given; one that is not there means nothing to who has joined.
    #[arg(long, value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,
    /// Allows plain text towards addresses of other machines.
    #[arg(long)]
    pub insecure: bool,
    /// What an engine that is told to stop says to its cluster. restart: it is back soon; applications go on running, and
    /// none is started elsewhere for a minute. gone: it does not come back; applications are stopped here, started
    /// elsewhere at once, and this worker gets no more until it is uncordoned.
    #[arg(long, value_name = "WHAT", default_value = "restart", value_parser = leaving)]
    pub on_stop: Leaving,
    /// The longest wait between two attempts to reach the cluster.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub reconnect_max: Duration,
    /// How long the cluster's broker may be out of reach before this worker goes through the root, if the root relays.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub fallback_after: Duration,
    /// About how long a worker that goes through the root waits between two attempts to reach its cluster's broker; each
    /// wait is drawn between half and one and a half of it.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub fallback_probe: Duration,
    /// The first wait before a crashed application is started again; doubles up to 5 minutes.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, hide = true)]
    pub crash_backoff: Duration,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: daemon::telemetry::LogOptions,
    /// How the parent of a native instance is started; this program with the argument `shim` if it is not set.
    #[arg(skip)]
    pub shim: Option<ShimCommand>,
    /// Whether somebody said `node-engine join`.
    #[arg(skip)]
    pub is_joining: bool,
    /// The service manager that watches this program, if one does.
    #[arg(skip)]
    pub notifier: daemon::notify::Notifier,
}

impl Default for Config {
    /// The defaults of the command line.
    fn default() -> Self {
        // Every option has a default, so this parses; a test holds it.
        <Self as clap::Parser>::parse_from(["node-engine"])
    }
}

/// A word for how an engine stops that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} says nothing to a cluster; write restart or gone")]
pub struct LeavingError {
    word: String,
}

fn leaving(word: &str) -> Result<Leaving, LeavingError> {
    match word {
        "restart" => Ok(Leaving::Restart),
        "gone" => Ok(Leaving::Gone),
        _ => Err(LeavingError {
            word: word.to_owned(),
        }),
    }
}

/// Runtimes that are asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeList(pub BTreeSet<RuntimeKind>);

/// A list that names no runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no runtime; write docker, native, or both with a comma between them")]
pub struct RuntimeListError {
    word: String,
}

impl std::str::FromStr for RuntimeList {
    type Err = RuntimeListError;

    fn from_str(text: &str) -> Result<Self, RuntimeListError> {
        let kind = |word: &str| {
            RuntimeKind::parse(word.trim()).ok_or_else(|| RuntimeListError {
                word: word.to_owned(),
            })
        };
        text.split(',')
            .map(kind)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// From how many percent on images go; `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageGc(pub Option<u8>);

/// A limit that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no limit; write a percentage from 1% to 99%, or off")]
pub struct ImageGcError {
    text: String,
}

impl std::str::FromStr for ImageGc {
    type Err = ImageGcError;

    fn from_str(text: &str) -> Result<Self, ImageGcError> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .filter(|percent| (1..=99).contains(percent))
            .map(|percent| Self(Some(percent)))
            .ok_or_else(|| ImageGcError {
                text: text.to_owned(),
            })
    }
}

/// What an operator leaves to applications; `None`: all that the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu: Option<Millicores>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
}

/// Amounts that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is no amount; write for example cpu=8,memory=16000,disk=50000 (cores, MB, MB)")]
pub struct CapacityError {
    part: String,
}

impl std::str::FromStr for Capacity {
    type Err = CapacityError;

    fn from_str(text: &str) -> Result<Self, CapacityError> {
        let mut capacity = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let error = || CapacityError {
                part: part.to_owned(),
            };
            let (key, value) = part.split_once('=').ok_or_else(error)?;
            let megabytes = || value.trim().parse().ok().map(Bytes::from_mb);
            let cores = || {
                let cores = value.trim().parse::<f64>().ok();
                cores
                    .filter(|cores| (0.0..=1e6).contains(cores))
                    .map(Millicores::from_cores)
            };
            // An amount that is given twice is refused, too: one of the two would be ignored.
            let former = match key.trim() {
                "cpu" => (capacity.cpu.replace(cores().ok_or_else(error)?)).map(drop),
                "memory" => (capacity.memory.replace(megabytes().ok_or_else(error)?)).map(drop),
                "disk" => (capacity.disk.replace(megabytes().ok_or_else(error)?)).map(drop),
                _ => return Err(error()),
            };
            if former.is_some() {
                return Err(error());
            }
        }
        Ok(capacity)
    }
}

impl Capacity {
    /// What applications may use of a machine that has `all`.
    pub fn of(&self, all: Resources) -> Resources {
        Resources {
            cpu: self.cpu.unwrap_or(all.cpu),
            memory: self.memory.unwrap_or(all.memory),
            disk: self.disk.unwrap_or(all.disk),
        }
    }
}

impl Config {
    /// The worker's name.
    pub(crate) fn worker_name(&self, hostname: &str) -> Result<Name, EngineError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        Name::new(hostname).map_err(|_| {
            EngineError::Config(format!(
                "the host's name {hostname:?} cannot be the worker's name; give one with --name"
            ))
        })
    }

    /// The labels by key.
    pub(crate) fn label_map(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }

    /// How the parent of a native instance is started.
    pub(crate) fn shim_command(&self) -> Result<ShimCommand, EngineError> {
        if let Some(shim) = &self.shim {
            return Ok(shim.clone());
        }
        let program =
            std::env::current_exe().map_err(|source| EngineError::OwnProgram { source })?;
        Ok(ShimCommand {
            program,
            args: vec!["shim".into()],
        })
    }

    /// Whether the options fit together and mean something.
    ///
    /// # Errors
    /// All that do not.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let mut faults = self.wrong_approach()?;
        if self.reconnect_max < Duration::from_millis(1) {
            faults.push("--reconnect-max must be at least 1ms".to_owned());
        }
        for (option, value) in [
            ("--fallback-after", self.fallback_after),
            ("--fallback-probe", self.fallback_probe),
        ] {
            if !(Duration::from_millis(100)..=Duration::from_hours(24)).contains(&value) {
                faults.push(format!("{option} must be 100ms to 24h"));
            }
        }
        for (option, time, least) in [
            ("--docker-timeout", self.docker_timeout, 1_000),
            ("--docker-check", self.docker_check, 100),
        ] {
            if time < Duration::from_millis(least) {
                faults.push(format!("{option} must be at least {least}ms"));
            }
        }
        if !(self.docker_host.starts_with("unix:///") || self.docker_host.starts_with('/')) {
            faults.push(format!(
                "--docker-host {:?} cannot be used; write it as {DEFAULT_HOST}",
                self.docker_host
            ));
        }
        let mut keys = BTreeSet::new();
        let twice = self.labels.iter().filter(|(key, _)| !keys.insert(key));
        faults.extend(twice.map(|(key, _)| format!("--label {key} is given twice; keep one")));
        if faults.is_empty() {
            return Ok(());
        }
        Err(EngineError::Config(format!(
            "the configuration is wrong:\n  {}",
            faults.join("\n  ")
        )))
    }

    /// Whether plain text may be spoken to a host.
    pub(crate) fn may_reach(&self, host: &str) -> bool {
        dial::plain_allowed(host, self.insecure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approach::DEFAULT_CLUSTER;

    #[test]
    fn every_option_has_a_default() {
        let config = Config::default();
        assert_eq!(config.data_dir, PathBuf::from("./edgeio-node"));
        let approach = config.approach(None).unwrap();
        assert_eq!(approach.url, DEFAULT_CLUSTER);
        assert_eq!(config.capacity, Capacity::default());
    }

    #[test]
    fn all_options_that_mean_nothing_are_told() {
        assert!(Config::default().check().is_ok());
        let label = ("a".to_owned(), "b".to_owned());
        let config = Config {
            cluster: Some("nonsense".to_owned()),
            docker_host: "tcp://127.0.0.1:2375".to_owned(),
            reconnect_max: Duration::ZERO,
            fallback_after: Duration::ZERO,
            fallback_probe: Duration::from_hours(25),
            docker_timeout: Duration::from_millis(999),
            docker_check: Duration::ZERO,
            labels: vec![label.clone(), label],
            ..Config::default()
        };
        let told = config.check().unwrap_err().to_string();
        for option in [
            "--cluster",
            "--docker-host",
            "--docker-timeout",
            "--docker-check",
            "--reconnect-max",
            "--fallback-after",
            "--fallback-probe",
            "--label a",
        ] {
            assert!(told.contains(option), "{option}: {told}");
        }
    }

    #[test]
    fn amounts_and_runtimes_are_read_or_refused_with_an_example() {
        let capacity: Capacity = "cpu=1.5, memory=512".parse().unwrap();
        assert_eq!(capacity.cpu, Some(Millicores(1_500)));
        assert_eq!(capacity.memory, Some(Bytes::from_mb(512)));
        assert_eq!(capacity.disk, None);
        for bad in [
            "cpu",
            "cpu=x",
            "cpu=-1",
            "cpu=NaN",
            "memory=1.5",
            "gpu=1",
            "cpu=1,cpu=2",
        ] {
            let error = bad.parse::<Capacity>().unwrap_err();
            assert!(error.to_string().contains("cpu=8"), "{bad}");
        }
        assert_eq!("85%".parse(), Ok(ImageGc(Some(85))));
        assert_eq!("off".parse(), Ok(ImageGc(None)));
        for bad in ["85", "0%", "100%", "-1%", "", "%", "never"] {
            assert!(bad.parse::<ImageGc>().is_err(), "{bad}");
        }
        assert_eq!(Config::default().on_stop, Leaving::Restart);
        assert_eq!(leaving("gone"), Ok(Leaving::Gone));
        assert!(
            leaving("Gone")
                .unwrap_err()
                .to_string()
                .contains("write restart or gone")
        );
        let both: RuntimeList = "native,docker".parse().unwrap();
        assert_eq!(both.0.len(), 2);
        assert!("".parse::<RuntimeList>().is_err());
        assert!("native,".parse::<RuntimeList>().is_err());
    }
}
