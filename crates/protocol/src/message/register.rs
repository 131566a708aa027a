//! A worker registers with its cluster: Socket.IO, namespace `/`, event [`EVENT`] with an acknowledgement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::id::NodeId;
use model::name::Name;
use model::node::NodeFacts;
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fallback::Fallback;
use super::{MessageError, Source, Text, at_most, clipped, hex64};

/// The event's name.
pub const EVENT: &str = "register";
/// The namespace.
pub const NAMESPACE: &str = "/";
/// The longest boot id, in bytes.
pub const BOOT_ID: usize = 64;

/// A worker asks to join.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it says of itself.
    pub facts: NodeFacts,
    /// The id on its disk, if it has one.
    pub node: Option<NodeId>,
    /// Random for each start of its engine: tells a cloned disk from a restart. Letters, digits and `-`.
    pub boot_id: String,
    /// The number of its start: a report of an earlier one is not of now.
    pub boot: u64,
    /// Random for each start of its process, since an emptied or restored disk counts the same numbers again.
    pub start: u64,
    /// What lets it in, where the cluster asks for it.
    pub join_token: Option<String>,
    /// It knows the cluster's authority, and takes no `control` without its signature ([`super::signed`]).
    pub signed: bool,
    /// For what the keys to secrets are encrypted that it gets; base64.
    pub sealing_key: Option<String>,
}

/// Where the broker is and who the worker is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Its id, for ever.
    pub node: NodeId,
    /// The broker's host; `None`: the host that the worker used to reach the cluster.
    pub broker_host: Option<String>,
    /// The broker's port.
    pub broker_port: u16,
    /// Whether it speaks TLS there, under the authority that the cluster's own address is under.
    pub broker_tls: bool,
    /// MQTT user name: `<node id>:<boot id>`.
    pub username: String,
    /// MQTT password.
    pub password: String,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// Between two reports of use, until the desired set says otherwise.
    pub report_interval: Duration,
    /// The other way to the cluster; `None`: the cluster does not know whether there is one.
    pub fallback: Option<Fallback>,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Stable snake_case word.
    pub code: String,
    /// A sentence that says what to do about it.
    pub message: String,
}

#[derive(Serialize, Deserialize)]
struct WireFacts {
    name: Name,
    hostname: String,
    #[serde(default)]
    addresses: Vec<String>,
    architecture: String,
    cpu_millicores: Millicores,
    /// Bytes.
    memory: Bytes,
    /// Bytes.
    disk: Bytes,
    #[serde(default)]
    accelerators: Vec<String>,
    #[serde(default)]
    sensors: Vec<String>,
    /// Words; those that this program does not know are of no use to it.
    runtimes: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    engine_version: String,
}

#[derive(Serialize, Deserialize)]
struct Credentials {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_id: Option<NodeId>,
    boot_id: String,
    boot: u64,
    #[serde(with = "hex64")]
    start: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    join_token: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    signed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealing_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireWelcome {
    node_id: NodeId,
    broker: Broker,
    username: String,
    password: String,
    keep_alive_ms: u64,
    report_interval_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
}

#[derive(Serialize, Deserialize)]
struct Broker {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    port: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
}

/// An answer that refuses.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireProblem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<Refused>,
}

impl Request {
    /// Writes it.
    pub fn encode(&self) -> Value {
        let facts = &self.facts;
        let wire = WireFacts {
            name: facts.name.clone(),
            hostname: facts.hostname.clone(),
            addresses: facts.addresses.clone(),
            architecture: facts.architecture.clone(),
            cpu_millicores: facts.allocatable.cpu,
            memory: facts.allocatable.memory,
            disk: facts.allocatable.disk,
            accelerators: facts.accelerators.clone(),
            sensors: facts.sensors.clone(),
            runtimes: facts
                .runtimes
                .iter()
                .map(|kind| kind.as_str().to_owned())
                .collect(),
            labels: facts.labels.clone(),
            engine_version: facts.engine_version.clone(),
        };
        let credentials = Credentials {
            node_id: self.node,
            boot_id: self.boot_id.clone(),
            boot: self.boot,
            start: self.start,
            join_token: self.join_token.clone(),
            signed: self.signed,
            sealing_key: self.sealing_key.clone(),
        };
        Text::new().with(&wire).with(&credentials).value()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`MessageError`], where it is no request or a field is longer than sensible.
    pub fn decode(value: &Value) -> Result<Self, MessageError> {
        value.open()?;
        let credentials: Credentials = value.fields()?;
        let boot_id = credentials.boot_id;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if boot_id.is_empty() || boot_id.len() > BOOT_ID || !boot_id.chars().all(plain) {
            return Err(MessageError::field(
                "boot_id",
                "is not 1 to 64 letters, digits and hyphens",
            ));
        }
        let token = credentials.join_token.as_deref().unwrap_or_default();
        at_most(token.len(), 4_096, "join_token")?;
        let sealing = credentials.sealing_key.as_deref().unwrap_or_default();
        at_most(sealing.len(), 64, "sealing_key")?;
        Ok(Self {
            facts: value.fields::<WireFacts>()?.try_into()?,
            node: credentials.node_id,
            boot_id,
            boot: credentials.boot,
            start: credentials.start,
            join_token: credentials.join_token,
            signed: credentials.signed,
            sealing_key: credentials.sealing_key,
        })
    }
}

impl TryFrom<WireFacts> for NodeFacts {
    type Error = MessageError;

    fn try_from(wire: WireFacts) -> Result<Self, MessageError> {
        at_most(wire.hostname.len(), 255, "hostname")?;
        at_most(wire.architecture.len(), 63, "architecture")?;
        at_most(wire.labels.len(), 256, "labels")?;
        for (key, value) in &wire.labels {
            at_most(key.len(), 255, "labels")?;
            at_most(value.len(), 255, "labels")?;
        }
        let words = |list: Vec<String>, field, limit| {
            at_most(list.len(), limit, field)?;
            list.iter()
                .try_for_each(|word| at_most(word.len(), 255, field))?;
            Ok::<_, MessageError>(list)
        };
        let most = Resources::MACHINE;
        if wire.cpu_millicores > most.cpu || wire.memory > most.memory || wire.disk > most.disk {
            return Err(MessageError::field(
                "cpu_millicores, memory or disk",
                "is more than any machine has",
            ));
        }
        let runtimes: BTreeSet<RuntimeKind> = words(wire.runtimes, "runtimes", 64)?
            .iter()
            .filter_map(|word| RuntimeKind::parse(word))
            .collect();
        Ok(Self {
            name: wire.name,
            hostname: wire.hostname,
            addresses: words(wire.addresses, "addresses", 64)?,
            architecture: wire.architecture,
            allocatable: Resources {
                cpu: wire.cpu_millicores,
                memory: wire.memory,
                disk: wire.disk,
            },
            accelerators: words(wire.accelerators, "accelerators", 64)?,
            sensors: words(wire.sensors, "sensors", 64)?,
            runtimes,
            labels: wire.labels,
            engine_version: clipped(wire.engine_version, 63),
        })
    }
}

/// Writes the answer to a request.
pub fn answer(answer: &Result<Welcome, Refused>) -> Value {
    match answer {
        Ok(welcome) => Text::new()
            .with(&WireWelcome {
                node_id: welcome.node,
                broker: Broker {
                    host: welcome.broker_host.clone(),
                    port: welcome.broker_port,
                    tls: welcome.broker_tls,
                },
                username: welcome.username.clone(),
                password: welcome.password.clone(),
                keep_alive_ms: welcome.keep_alive.as_millis() as u64,
                report_interval_ms: welcome.report_interval.as_millis() as u64,
                fallback: welcome.fallback.clone(),
            })
            .value(),
        Err(refused) => problem(refused),
    }
}

/// Reads the answer to a request.
///
/// # Errors
/// [`MessageError`], where it is no answer.
pub fn read_answer(value: &Value) -> Result<Result<Welcome, Refused>, MessageError> {
    value.open()?;
    if let Some(refused) = refusal(value)? {
        return Ok(Err(refused));
    }
    let wire: WireWelcome = value.fields()?;
    let host = wire.broker.host.as_deref().unwrap_or_default();
    at_most(host.len(), 255, "broker")?;
    at_most(wire.username.len(), 255, "username")?;
    at_most(wire.password.len(), 1_024, "password")?;
    let hour = 3_600_000;
    if !(1..=hour).contains(&wire.keep_alive_ms)
        || !(1..=24 * hour).contains(&wire.report_interval_ms)
    {
        return Err(MessageError::field(
            "keep_alive_ms or report_interval_ms",
            "is out of range",
        ));
    }
    wire.fallback.as_ref().map_or(Ok(()), Fallback::check)?;
    Ok(Ok(Welcome {
        node: wire.node_id,
        broker_host: wire.broker.host,
        broker_port: wire.broker.port,
        broker_tls: wire.broker.tls,
        username: wire.username,
        password: wire.password,
        keep_alive: Duration::from_millis(wire.keep_alive_ms),
        report_interval: Duration::from_millis(wire.report_interval_ms),
        fallback: wire.fallback,
    }))
}

pub(crate) fn problem(refused: &Refused) -> Value {
    Text::new()
        .with(&WireProblem {
            problem: Some(refused.clone()),
        })
        .value()
}

pub(crate) fn refusal(value: &Value) -> Result<Option<Refused>, MessageError> {
    let problem = value.fields::<WireProblem>()?.problem;
    Ok(problem.map(|refused| Refused {
        code: clipped(refused.code, 63),
        message: clipped(refused.message, 2_048),
    }))
}
