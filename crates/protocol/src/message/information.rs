//! `nodes/{id}/information`: a worker's use, every report interval (contract, MQTT).

use std::collections::BTreeSet;

use ::sync::Held;
use model::desired::InstanceReport;
use model::id::InstanceId;
use model::instance::Observed;
use model::node::Usage;
use model::units::{Bytes, Millicores};
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};

use super::held::WireHeld;
use super::report::Word;
use super::{Beat, MessageError, Source, Text};
use crate::skew::count_word;

/// Instances that are listed at most; the reports, not this list, say what runs.
const INSTANCES: usize = 1_000;
/// Runtimes that a worker may say do not answer.
const RUNTIMES: usize = 64;
/// Cores that a machine may say it has.
const CORES: f64 = 1e6;

/// What a worker says at an interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Information {
    /// Measured use.
    pub usage: Usage,
    /// Runtimes of the worker that do not answer.
    pub silent: BTreeSet<RuntimeKind>,
    /// The set held.
    pub held: Held,
    /// Numbers of the reports.
    pub beat: Beat,
}

/// One row of the list of instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub id: InstanceId,
    /// What it does.
    pub state: Word,
    /// Cores in use, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Bytes in use, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

impl Row {
    /// The row of a report, with nothing measured.
    pub const fn of(report: &InstanceReport) -> Self {
        let state = match report.report.observed {
            Observed::Starting => Word::Starting,
            Observed::Running { .. } => Word::Running,
            Observed::Failed { .. } => Word::Failed,
            Observed::Ended => Word::Ended,
        };
        Self {
            id: report.instance,
            state,
            cpu: None,
            memory: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Fields {
    cpu: f64,
    free_cores: f64,
    memory: f64,
    memory_free_in_mb: u64,
    disk_free_in_mb: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runtimes_degraded: Vec<String>,
}

#[derive(Serialize)]
struct Rows {
    instances: Vec<Row>,
}

/// Writes the message.
pub fn encode(information: &Information, instances: impl IntoIterator<Item = Row>) -> Vec<u8> {
    let usage = &information.usage;
    let fields = Fields {
        cpu: percent(usage.cpu_percent),
        free_cores: usage.free_cores.cores(),
        memory: percent(usage.memory_percent),
        memory_free_in_mb: usage.memory_free.mb(),
        disk_free_in_mb: usage.disk_free.mb(),
        runtimes_degraded: information.silent.iter().map(ToString::to_string).collect(),
    };
    Text::new()
        .with(&fields)
        .with(&WireHeld::from(&information.held))
        .with(&information.beat)
        .with(&Rows {
            instances: instances.into_iter().take(INSTANCES).collect(),
        })
        .bytes()
}

/// Reads the message; the list of instances is for people, and is not read.
///
/// # Errors
/// [`MessageError`], where it is no such message or a number means nothing.
pub fn decode(payload: &[u8]) -> Result<Information, MessageError> {
    payload.open()?;
    let fields: Fields = payload.fields()?;
    if fields.runtimes_degraded.len() > RUNTIMES {
        return Err(MessageError::field(
            "runtimes_degraded",
            "has too many words",
        ));
    }
    let is_percent = |value: f64| (0.0..=100.0).contains(&value);
    if !is_percent(fields.cpu) || !is_percent(fields.memory) {
        return Err(MessageError::field("cpu or memory", "is no percentage"));
    }
    if !(0.0..=CORES).contains(&fields.free_cores) {
        return Err(MessageError::field("free_cores", "is no number of cores"));
    }
    Ok(Information {
        usage: Usage {
            cpu_percent: fields.cpu,
            free_cores: Millicores::from_cores(fields.free_cores),
            memory_percent: fields.memory,
            memory_free: Bytes::from_mb(fields.memory_free_in_mb),
            disk_free: Bytes::from_mb(fields.disk_free_in_mb),
        },
        silent: silent(&fields.runtimes_degraded),
        held: payload.fields::<WireHeld>()?.into(),
        beat: payload.fields()?,
    })
}

/// A word that this version does not know is of a runtime that it places nothing on anyway.
fn silent(words: &[String]) -> BTreeSet<RuntimeKind> {
    let known = words.iter().filter_map(|word| {
        let kind = RuntimeKind::parse(word);
        if kind.is_none() {
            count_word(word);
        }
        kind
    });
    known.collect()
}

/// Tenths of a percent are more than anybody can use.
pub(crate) fn percent(value: f64) -> f64 {
    if value.is_finite() {
        (value.clamp(0.0, 100.0) * 10.0).round() / 10.0
    } else {
        0.0
    }
}
