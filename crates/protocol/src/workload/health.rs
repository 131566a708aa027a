//! Wire and disk shape of health checks.

use std::time::Duration;

use model::workload::{HealthCheck, Probe};
use serde::{Deserialize, Serialize};

use super::{WorkloadError, is_default, millis};

/// A health check; one of `command`, `http` and `tcp` is given. The order of the fields is hashed, as that of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireHealth {
    /// Program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// A request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<WireHttpProbe>,
    /// Milliseconds; 10 s where left out.
    #[serde(default = "interval", skip_serializing_if = "is_interval")]
    pub interval_ms: u64,
    /// Failures in a row; 3 where left out.
    #[serde(default = "retries", skip_serializing_if = "is_retries")]
    pub retries: u32,
    /// Milliseconds; none where left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_period_ms: u64,
    /// A connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<WireTcpProbe>,
    /// Milliseconds; 2 s where left out.
    #[serde(default = "timeout", skip_serializing_if = "is_timeout")]
    pub timeout_ms: u64,
}

/// A probe by a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireHttpProbe {
    /// What is asked for.
    pub path: String,
    /// Inside the container.
    pub port: u16,
}

/// A probe by a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireTcpProbe {
    /// Inside the container.
    pub port: u16,
}

impl From<&HealthCheck> for WireHealth {
    fn from(check: &HealthCheck) -> Self {
        let mut wire = Self {
            command: None,
            http: None,
            interval_ms: millis(check.interval),
            retries: check.retries,
            start_period_ms: millis(check.start_period),
            tcp: None,
            timeout_ms: millis(check.timeout),
        };
        match &check.probe {
            Probe::Http { port, path } => {
                let (path, port) = (path.clone(), *port);
                wire.http = Some(WireHttpProbe { path, port });
            }
            Probe::Tcp { port } => wire.tcp = Some(WireTcpProbe { port: *port }),
            Probe::Command(command) => wire.command = Some(command.clone()),
        }
        wire
    }
}

impl TryFrom<WireHealth> for HealthCheck {
    type Error = WorkloadError;

    fn try_from(wire: WireHealth) -> Result<Self, WorkloadError> {
        let probe = match (wire.command, wire.http, wire.tcp) {
            (Some(command), None, None) => Probe::Command(command),
            (None, Some(WireHttpProbe { path, port }), None) => Probe::Http { port, path },
            (None, None, Some(WireTcpProbe { port })) => Probe::Tcp { port },
            (_, _, _) => return Err(WorkloadError::Probe),
        };
        Ok(Self {
            probe,
            interval: Duration::from_millis(wire.interval_ms),
            timeout: Duration::from_millis(wire.timeout_ms),
            retries: wire.retries,
            start_period: Duration::from_millis(wire.start_period_ms),
        })
    }
}

fn interval() -> u64 {
    millis(HealthCheck::INTERVAL)
}

fn timeout() -> u64 {
    millis(HealthCheck::TIMEOUT)
}

const fn retries() -> u32 {
    HealthCheck::RETRIES
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_interval(millis: &u64) -> bool {
    *millis == interval()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_timeout(millis: &u64) -> bool {
    *millis == timeout()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_retries(retries: &u32) -> bool {
    *retries == HealthCheck::RETRIES
}
