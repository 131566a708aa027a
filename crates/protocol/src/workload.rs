//! Wire and disk shapes of workloads and jobs, and the hash that says "the same spec" everywhere.
//!
//! A default is never written, so a field that is added later with its default changes no old hash. A reader that does
//! not know a new field computes another hash and refuses the workload: nothing is silently ignored.

mod health;
mod job;
mod secrets;
mod security;

use std::collections::BTreeMap;
use std::time::Duration;

use model::name::Name;
use model::units::{Bytes, Millicores, Resources};
use model::workload::{
    HealthCheck, Port, Pull, Restart, RuntimeKind, SpecHash, Transport, Volume, VolumeSource,
    Workload,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use health::{WireHealth, WireHttpProbe, WireTcpProbe};
pub use job::{
    WireJobSpec, WireOnPartition, WirePlacement, WireReconcile, WireServiceSpec, WireTakeover,
};
pub use secrets::{WireSecret, WireSecretUse};
pub use security::WireSecurity;

/// Where nothing else is said, an application has this long between the polite signal and the kill.
const DEFAULT_STOP_GRACE_MS: u64 = 5_000;

/// A workload as messages and stores hold it. The fields stand in the order of the alphabet, which is the order that
/// is hashed; the golden test below holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireWorkload {
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Entry point or command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu: Millicores,
    /// Bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disk: Bytes,
    /// Variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Contents of files, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The hash of all the rest; left out while it is computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<SpecHash>,
    /// Left out where the application has no health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<WireHealth>,
    /// Reference or program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: Bytes,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<WirePort>,
    /// When the registry is asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull: Pull,
    /// Left out where the image is pulled without a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<WireSecret>,
    /// After it ended by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// Which runtime.
    pub runtime: RuntimeKind,
    /// What the application is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<WireSecretUse>,
    /// Left out where nothing is asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: WireSecurity,
    /// Milliseconds.
    #[serde(
        default = "default_stop_grace",
        skip_serializing_if = "is_default_stop_grace"
    )]
    pub stop_grace_ms: u64,
    /// Mounted folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<WireVolume>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePort {
    /// Inside the container.
    pub container: u16,
    /// On the worker; left out where the runtime chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// TCP where left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transport: Transport,
}

/// A mounted folder; one of `host_path` and `name` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireVolume {
    /// A folder of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// A volume of the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Path inside the container.
    pub target: String,
}

/// Why a wire shape is no workload or job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// The sender knows fields that we do not, or the record is damaged.
    #[error("the workload says spec hash {said}, its content has {computed}")]
    HashMismatch {
        /// What was sent.
        said: SpecHash,
        /// What the content has.
        computed: SpecHash,
    },
    /// Nobody said what it is.
    #[error("the workload carries no spec hash")]
    NoHash,
    /// Neither or both of `host_path` and `name`.
    #[error("the volume at {target} must have one source")]
    VolumeSource {
        /// Its path inside the container.
        target: String,
    },
    /// None of `http`, `tcp` and `command`, or more than one.
    #[error("the health check must have one of http, tcp and command")]
    Probe,
    /// A secret that is not whole.
    #[error("a secret must have a place, and its version together with its ciphertext")]
    Secret,
    /// A job without services.
    #[error("job {name} has no service")]
    NoService {
        /// The job's name.
        name: Name,
    },
}

/// The spec hash of a workload; what its own `hash` says does not matter.
pub fn hash(workload: &Workload) -> SpecHash {
    hash_wire(&WireWorkload {
        hash: None,
        ..WireWorkload::from(workload)
    })
}

/// The workload with its hash computed.
#[must_use]
pub fn sealed(workload: Workload) -> Workload {
    Workload {
        hash: hash(&workload),
        ..workload
    }
}

fn hash_wire(without_hash: &WireWorkload) -> SpecHash {
    let mut sha = Sha256::new();
    // A struct of texts and numbers always has a JSON; the default hash, if ever, is refused by every reader.
    let Ok(json) = serde_json::to_vec(without_hash) else {
        return SpecHash::default();
    };
    sha.update(json);
    let mut first = [0; 16];
    first
        .iter_mut()
        .zip(sha.finalize())
        .for_each(|(to, from)| *to = from);
    SpecHash(first)
}

impl From<&Workload> for WireWorkload {
    fn from(workload: &Workload) -> Self {
        let secrets = secrets::Fields::from(&workload.secrets);
        Self {
            args: workload.args.clone(),
            command: workload.command.clone(),
            cpu: workload.resources.cpu,
            disk: workload.resources.disk,
            environment: workload.environment.clone(),
            files: workload.files.clone(),
            hash: Some(workload.hash),
            health: workload.health.as_ref().map(WireHealth::from),
            image: workload.image.clone(),
            memory: workload.resources.memory,
            ports: workload.ports.iter().map(WirePort::from).collect(),
            pull: workload.pull,
            pull_secret: secrets.pull,
            restart: workload.restart,
            runtime: workload.runtime,
            secrets: secrets.uses,
            security: WireSecurity::from(&workload.security),
            stop_grace_ms: millis(workload.stop_grace),
            volumes: workload.volumes.iter().map(WireVolume::from).collect(),
        }
    }
}

impl TryFrom<WireWorkload> for Workload {
    type Error = WorkloadError;

    fn try_from(mut wire: WireWorkload) -> Result<Self, WorkloadError> {
        let said = wire.hash.take().ok_or(WorkloadError::NoHash)?;
        let computed = hash_wire(&wire);
        if said != computed {
            return Err(WorkloadError::HashMismatch { said, computed });
        }
        let secrets = secrets::Fields {
            pull: wire.pull_secret,
            uses: wire.secrets,
        };
        Ok(Self {
            hash: said,
            runtime: wire.runtime,
            image: wire.image,
            pull: wire.pull,
            command: wire.command,
            args: wire.args,
            environment: wire.environment,
            files: wire.files,
            ports: wire.ports.into_iter().map(Port::from).collect(),
            volumes: wire
                .volumes
                .into_iter()
                .map(Volume::try_from)
                .collect::<Result<_, _>>()?,
            resources: Resources {
                cpu: wire.cpu,
                memory: wire.memory,
                disk: wire.disk,
            },
            restart: wire.restart,
            health: wire.health.map(HealthCheck::try_from).transpose()?,
            security: wire.security.into(),
            secrets: secrets.try_into()?,
            stop_grace: Duration::from_millis(wire.stop_grace_ms),
        })
    }
}

impl From<&Port> for WirePort {
    fn from(port: &Port) -> Self {
        Self {
            container: port.container,
            host: port.host,
            transport: port.transport,
        }
    }
}

impl From<WirePort> for Port {
    fn from(wire: WirePort) -> Self {
        Self {
            host: wire.host,
            container: wire.container,
            transport: wire.transport,
        }
    }
}

impl From<&Volume> for WireVolume {
    fn from(volume: &Volume) -> Self {
        let (host_path, name) = match &volume.source {
            VolumeSource::HostPath(path) => (Some(path.clone()), None),
            VolumeSource::Named(name) => (None, Some(name.clone())),
        };
        Self {
            host_path,
            name,
            read_only: volume.read_only,
            target: volume.target.clone(),
        }
    }
}

impl TryFrom<WireVolume> for Volume {
    type Error = WorkloadError;

    fn try_from(wire: WireVolume) -> Result<Self, WorkloadError> {
        let source = match (wire.host_path, wire.name) {
            (Some(path), None) => VolumeSource::HostPath(path),
            (None, Some(name)) => VolumeSource::Named(name),
            (None, None) | (Some(_), Some(_)) => {
                return Err(WorkloadError::VolumeSource {
                    target: wire.target,
                });
            }
        };
        Ok(Self {
            source,
            target: wire.target,
            read_only: wire.read_only,
        })
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn default_stop_grace() -> u64 {
    DEFAULT_STOP_GRACE_MS
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_default_stop_grace(millis: &u64) -> bool {
    *millis == DEFAULT_STOP_GRACE_MS
}

#[cfg(test)]
mod tests;
