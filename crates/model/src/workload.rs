//! What a worker runs for one instance of a service.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secrets;
use crate::security::Security;
use crate::units::Resources;

/// Which runtime of a worker runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// A container engine that speaks the Docker API.
    Docker,
    /// A process of the worker itself.
    Native,
    /// Nothing runs: every start succeeds at once. For load tests and the simulator.
    Noop,
}

impl RuntimeKind {
    /// The word used in documents, facts and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Native => "native",
            Self::Noop => "noop",
        }
    }

    /// The runtime of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Docker, Self::Native, Self::Noop]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When an image is asked for at its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// Only when the worker does not have it.
    #[default]
    IfAbsent,
    /// Before each start of a new instance.
    Always,
}

/// What happens when the application ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Start it again, whatever its exit code.
    #[default]
    Always,
    /// Start it again unless it ended with 0.
    OnFailure,
    /// Leave it ended.
    Never,
}

/// The transport of a port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the application that the worker publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// On the worker; `None` lets the runtime choose and the answer shows it.
    pub host: Option<u16>,
    /// Inside the container (for native applications the same as on the worker).
    pub container: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

/// What a volume's left side names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum VolumeSource {
    /// A volume that the runtime keeps under this name.
    Named(String),
    /// A folder of the worker.
    HostPath(String),
}

/// A folder that outlives the instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    /// Where it comes from.
    pub source: VolumeSource,
    /// Absolute path inside the container.
    pub target: String,
    /// Mounted read-only (`:ro`).
    pub read_only: bool,
}

/// How a worker finds out whether an application is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `GET` answers with a status from 200 to 399.
    Http {
        /// Inside the container.
        port: u16,
        /// Begins with `/`; may have a query.
        path: String,
    },
    /// The port takes a connection.
    Tcp {
        /// Inside the container.
        port: u16,
    },
    /// The command, run beside the application, ends with 0.
    Command(Vec<String>),
}

/// A health check: what is probed, and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is probed.
    pub probe: Probe,
    /// Between the end of a probe and the next one.
    pub interval: Duration,
    /// A probe without an answer by then has failed.
    pub timeout: Duration,
    /// This many failures in a row make it unhealthy; one at least.
    pub retries: u32,
    /// After each start, failures do not count for so long.
    pub start_period: Duration,
}

impl HealthCheck {
    /// Where nothing else is said: the time between two probes.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// Where nothing else is said: how long a probe may take.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// Where nothing else is said: failures in a row.
    pub const RETRIES: u32 = 3;

    /// Its texts, for who estimates what it takes in a message.
    pub(crate) fn texts(&self) -> &[String] {
        match &self.probe {
            Probe::Http { path, .. } => std::slice::from_ref(path),
            Probe::Command(command) => command,
            Probe::Tcp { .. } => &[],
        }
    }
}

/// SHA-256 of a workload's canonical JSON, its first 16 bytes, as lower-case hex on the wire: what "the same spec" means everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpecHash(pub [u8; 16]);

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SpecHash> for String {
    fn from(hash: SpecHash) -> String {
        hash.to_string()
    }
}

/// Why a text is no spec hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no spec hash of 32 hexadecimal digits")]
pub struct SpecHashError(String);

impl TryFrom<String> for SpecHash {
    type Error = SpecHashError;

    fn try_from(text: String) -> Result<Self, SpecHashError> {
        u128::from_str_radix(&text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(SpecHashError(text))
    }
}

/// Everything that a worker needs to know to run one instance, but for who it is. Equal hashes mean equal workloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Hash of all the rest; computed where documents and messages are read (`protocol`).
    pub hash: SpecHash,
    /// Which runtime.
    pub runtime: RuntimeKind,
    /// The image's reference, or `file:///absolute/path` of a native program; `None` when `command` says all.
    pub image: Option<String>,
    /// When to ask the registry.
    pub pull: Pull,
    /// Replaces the image's entry point; empty keeps it.
    pub command: Vec<String>,
    /// Replaces the image's arguments; empty keeps them unless `command` is set.
    pub args: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Files that are there when the application starts, by path: absolute ones in a container, relative to the working folder natively.
    pub files: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Mounted folders.
    pub volumes: Vec<Volume>,
    /// Reserved on the worker and set as limits; zero sets none.
    pub resources: Resources,
    /// After it ended by itself.
    pub restart: Restart,
    /// How its worker finds out whether it is well; `None`: what runs is well.
    pub health: Option<HealthCheck>,
    /// What its container asks for beyond the least; native processes have no use for it.
    pub security: Security,
    /// What it needs of secrets.
    pub secrets: Secrets,
    /// Between the polite signal and the kill.
    pub stop_grace: Duration,
}

impl Workload {
    /// Whether its container's root file system is read-only: files are put into that before the start, which is a writing.
    pub fn is_read_only(&self) -> bool {
        self.security.read_only && self.files.is_empty()
    }
}
