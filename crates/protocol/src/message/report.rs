//! What is observed, as messages and stores hold it.

mod entry;
mod slot;

use model::desired::InstanceReport;
use model::id::InstanceId;
use model::instance::{Endpoint, Exit, Health, Observed, Report};
use model::reason::{Reason, ReasonCode};
use model::slot::Generation;
use model::time::Wall;
use model::workload::Transport;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

pub(crate) use entry::{instance_in, slot_in};
pub use slot::{
    WireCopy, WireOffer, WireRejection, WireRejections, WireSlot, WireSlotReport, rejections_in,
    rejections_out,
};

use super::{MessageError, at_most, clipped, is_default};
use crate::skew::{Spoken, count_word};
use crate::time::{rfc3339, rfc3339_option};

/// Bytes of a sentence that are kept.
const SENTENCE: usize = 2_048;
/// Lines of output that are kept.
const TAIL_LINES: usize = 50;
/// Bytes of such a line that are kept.
const TAIL_LINE: usize = 4_096;
/// Published ports of one instance.
const ENDPOINTS: usize = 256;

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireExit {
    /// Exit code, when it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal number, when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Killed by the kernel for memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom: bool,
    /// When, by the worker's wall clock.
    #[serde(with = "rfc3339")]
    pub at: Wall,
    /// Its last lines of output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireEndpoint {
    /// Inside the container.
    pub container_port: u16,
    /// On the worker.
    pub host_port: u16,
    /// `tcp` or `udp`.
    #[serde(default)]
    pub protocol: Spoken<Transport>,
}

/// A reason with its sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireReason {
    /// Stable word; that of a newer program is read as `worker_fault`, since the rest of what it says is good.
    pub code: String,
    /// One English sentence.
    pub message: String,
}

/// The word for what a worker observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Accepted, not running yet.
    Starting,
    /// It runs.
    Running,
    /// It does not run.
    Failed,
    /// It ended for good.
    Ended,
}

/// An observation with what goes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireReport {
    /// What; of a newer program's word, the fields that go along say the nearest meaning.
    pub state: Spoken<Word>,
    /// Of `running`: since when.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "rfc3339_option"
    )]
    pub since: Option<Wall>,
    /// Of `running`: published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<WireEndpoint>,
    /// Of `running`: what its health check says; left out where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Spoken<Health>>,
    /// Of `failed`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WireReason>,
    /// Of `failed`: when the worker tries again; left out where it does not.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "rfc3339_option"
    )]
    pub next_attempt_at: Option<Wall>,
    /// Starts after the first one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restarts: u32,
    /// How it last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<WireExit>,
    /// When the worker saw this.
    #[serde(with = "rfc3339")]
    pub at: Wall,
}

/// What a worker reports of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireInstance {
    /// Which.
    pub instance: InstanceId,
    /// (assignment, placement) under which it runs.
    pub generation: Generation,
    /// What was observed.
    pub report: WireReport,
}

/// What a health check says; a word that this program does not know is no promise that it does its work.
fn health(said: &Spoken<Health>) -> Health {
    match said {
        Spoken::Known(health) => *health,
        Spoken::Newer(_) => Health::Starting,
    }
}

/// The reason that a word names; one that this program does not know is the worker's or cluster's own affair.
fn code(word: &str) -> ReasonCode {
    known_code(word).unwrap_or_else(|| {
        count_word(word);
        ReasonCode::WorkerFault
    })
}

fn known_code(word: &str) -> Option<ReasonCode> {
    let word: StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
    ReasonCode::deserialize(word).ok()
}

impl From<&Exit> for WireExit {
    fn from(exit: &Exit) -> Self {
        Self {
            code: exit.code,
            signal: exit.signal,
            oom: exit.oom,
            at: exit.at,
            log_tail: exit.log_tail.clone(),
        }
    }
}

impl From<WireExit> for Exit {
    fn from(wire: WireExit) -> Self {
        let mut log_tail = wire.log_tail;
        let surplus = log_tail.len().saturating_sub(TAIL_LINES);
        log_tail.drain(..surplus);
        Self {
            code: wire.code,
            signal: wire.signal,
            oom: wire.oom,
            at: wire.at,
            log_tail: log_tail
                .into_iter()
                .map(|line| clipped(line, TAIL_LINE))
                .collect(),
        }
    }
}

impl From<&Endpoint> for WireEndpoint {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            container_port: endpoint.container_port,
            host_port: endpoint.host_port,
            protocol: endpoint.transport.into(),
        }
    }
}

impl WireEndpoint {
    /// The endpoint; one of a transport that this program does not know is of no use to it.
    fn endpoint(self) -> Option<Endpoint> {
        match self.protocol {
            Spoken::Known(transport) => Some(Endpoint {
                container_port: self.container_port,
                host_port: self.host_port,
                transport,
            }),
            Spoken::Newer(_) => None,
        }
    }
}

impl WireReport {
    /// What is observed: what runs has a time, what failed has a reason, and all else is on its way.
    fn word(&self) -> Word {
        match &self.state {
            Spoken::Known(word) => *word,
            Spoken::Newer(_) if self.reason.is_some() => Word::Failed,
            Spoken::Newer(_) if self.since.is_some() => Word::Running,
            Spoken::Newer(_) => Word::Starting,
        }
    }
}

impl From<&Reason> for WireReason {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code.as_str().to_owned(),
            message: reason.message.clone(),
        }
    }
}

impl From<WireReason> for Reason {
    fn from(wire: WireReason) -> Self {
        Self::new(code(&wire.code), clipped(wire.message, SENTENCE))
    }
}

impl From<&Report> for WireReport {
    fn from(report: &Report) -> Self {
        let mut wire = Self {
            state: Word::Starting.into(),
            since: None,
            endpoints: Vec::new(),
            health: None,
            reason: None,
            next_attempt_at: None,
            restarts: report.restarts,
            last_exit: report.last_exit.as_ref().map(WireExit::from),
            at: report.at,
        };
        match &report.observed {
            Observed::Starting => {}
            Observed::Running {
                since,
                endpoints,
                health,
            } => {
                wire.state = Word::Running.into();
                wire.health = health.map(Spoken::Known);
                wire.since = Some(*since);
                wire.endpoints = endpoints.iter().map(WireEndpoint::from).collect();
            }
            Observed::Failed {
                reason,
                next_attempt,
            } => {
                wire.state = Word::Failed.into();
                wire.reason = Some(reason.into());
                wire.next_attempt_at = *next_attempt;
            }
            Observed::Ended => wire.state = Word::Ended.into(),
        }
        wire
    }
}

impl TryFrom<WireReport> for Report {
    type Error = MessageError;

    fn try_from(wire: WireReport) -> Result<Self, MessageError> {
        at_most(wire.endpoints.len(), ENDPOINTS, "endpoints")?;
        let observed = match wire.word() {
            Word::Starting => Observed::Starting,
            Word::Running => Observed::Running {
                since: wire
                    .since
                    .ok_or(MessageError::field("since", "is missing"))?,
                endpoints: wire
                    .endpoints
                    .into_iter()
                    .filter_map(WireEndpoint::endpoint)
                    .collect(),
                health: wire.health.as_ref().map(health),
            },
            Word::Failed => Observed::Failed {
                reason: wire
                    .reason
                    .ok_or(MessageError::field("reason", "is missing"))?
                    .into(),
                next_attempt: wire.next_attempt_at,
            },
            Word::Ended => Observed::Ended,
        };
        Ok(Self {
            observed,
            restarts: wire.restarts,
            last_exit: wire.last_exit.map(Exit::from),
            at: wire.at,
        })
    }
}

impl From<&InstanceReport> for WireInstance {
    fn from(report: &InstanceReport) -> Self {
        Self {
            instance: report.instance,
            generation: report.generation,
            report: (&report.report).into(),
        }
    }
}

impl TryFrom<WireInstance> for InstanceReport {
    type Error = MessageError;

    fn try_from(wire: WireInstance) -> Result<Self, MessageError> {
        Ok(Self {
            instance: wire.instance,
            generation: wire.generation,
            report: wire.report.try_into()?,
        })
    }
}
