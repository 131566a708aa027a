//! The uplink of a cluster to its root: events of one Socket.IO connection, namespace [`NAMESPACE`].
//!
//! # Flow
//! The cluster connects and emits [`REGISTER`], whose acknowledgement names it. Then upwards [`SYNC`], [`REPORT`],
//! [`ADOPT`], [`AGGREGATE`] and [`EVENTS`]; downwards [`ASSIGN`] (a part of a change of the cluster's desired set),
//! [`ASK`], [`CONFIRMED`] (of events), [`ADMINISTRATORS`] and, with an acknowledgement, [`QUESTION`]. What is longer than one answer is asked
//! for by [`REQUEST`] and comes as [`REPLY`].
//! Both ways go the bytes of workers that reach their cluster through the root: [`RELAY`], see [`relay`].

use std::time::Duration;

use ::sync::{Change, Held, Incarnation, UpReport};
use model::access::TenantPath;
use model::desired::Desired;
use model::id::{ClusterId, TokenId};
use model::name::Name;
use model::telling::{Stamp, Telling};
use model::time::Wall;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::adopt::Adoption;
use super::control::WireTerm;
use super::desired::WireSet;
use super::held::WireHeld;
use super::instances::Reported;
use super::parts::Piece;
use super::question::{Ask, RequestId, Stream};
use super::register::{Refused, problem, refusal};
use super::reply::Chunk;
use super::report::{WireSlot, WireSlotReport, slot_in};
use super::{
    AssignmentEntry, Beat, MessageError, SecretKey, SlotEntry, Source, Text, adopt,
    assignment_entry, at_most, control, events, hex64, instances, keys, question, reply as chunks,
    sync,
};
use crate::document::Format;
use crate::problem::Problem;

mod aggregate;
pub mod relay;

pub use aggregate::{Standing, WireAggregate};

/// The namespace.
pub const NAMESPACE: &str = "/uplink";
/// Up, with an acknowledgement: who the cluster is.
pub const REGISTER: &str = "register";
/// Up: what the cluster holds.
pub const SYNC: &str = "sync";
/// Up: what it observes of its assignments.
pub const REPORT: &str = "report";
/// Up: what is free.
pub const AGGREGATE: &str = "aggregate";
/// Up: the set that it holds of another store.
pub const ADOPT: &str = "adopt";
/// Up: what happened, event by event.
pub const EVENTS: &str = "events";
/// Down: which of these the root has.
pub const CONFIRMED: &str = "confirmed";
/// Down: whose tokens of the root mean something at the cluster, too; all of them, at each connection and each change.
pub const ADMINISTRATORS: &str = "administrators";
/// Down: a part of a change of its desired set.
pub const ASSIGN: &str = "assign";
/// Down: what it should send.
pub const ASK: &str = "ask";
/// Down, with an acknowledgement: a question for a user.
pub const QUESTION: &str = "question";
/// Down: a question whose answer comes in chunks, or what is said about one.
pub const REQUEST: &str = "request";
/// Up: a chunk of such an answer.
pub const REPLY: &str = "reply";
/// Both ways, with an acknowledgement that it arrived: of a worker's connection through the root.
pub const RELAY: &str = "relay";

/// The code of a refusal: a run of the cluster's store was here that this run of it does not descend from.
pub const OVERTAKEN: &str = "overtaken";
/// Earlier runs that a registration names at most.
const HISTORY: usize = 64;
/// Bytes of a message at most, each way; what is longer ends the connection.
pub const LARGEST: usize = 1024 * 1024;
/// Bytes of a question, or of its answer, at most: what a message holds beside its own frame.
pub const LARGEST_QUESTION: usize = LARGEST - 1024;

/// A cluster asks to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name, unique at its root.
    pub name: Name,
    /// Where it is: free text, or `city=…,country=…,lat=…,lon=…`.
    #[serde(default)]
    pub location: String,
    /// Which scheduler it runs.
    pub scheduler: String,
    /// The id that a root gave it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<ClusterId>,
    /// The number of its start (its term): a report of an earlier one is not of now.
    pub boot: u64,
    /// The nonce of its start, since an emptied or restored store counts the same numbers again.
    #[serde(with = "hex64")]
    pub start: u64,
    /// Of its store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Its run of that store, with those before: of two copies of a store only one is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<WireTerm>,
    /// Where its own REST interface is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// What lets it in, where the root asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<String>,
    /// For what the keys to secrets are encrypted that it gets; base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
}

/// The root knows the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Its id.
    pub cluster: ClusterId,
    /// Between two aggregates, even when nothing changed.
    pub report_interval: Duration,
    /// Where the root relays MQTT for workers; `None`: it does not.
    pub relay: Option<RelayAt>,
}

/// Where a root relays MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayAt {
    /// Its host; `None`: the one that the cluster uses for the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// Whether it passes TLS on, which is towards the cluster; a root that says nothing of it reads plain text alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

#[derive(Serialize, Deserialize)]
struct WireWelcome {
    cluster_id: ClusterId,
    report_interval_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relay: Option<RelayAt>,
}

impl Request {
    /// Writes it.
    pub fn encode(&self) -> Value {
        Text::new().with(self).value()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`MessageError`], where it is no request.
    pub fn decode(value: &Value) -> Result<Self, MessageError> {
        value.open()?;
        let request: Self = value.fields()?;
        at_most(request.location.len(), 512, "location")?;
        at_most(request.scheduler.len(), 512, "scheduler")?;
        at_most(request.http.as_ref().map_or(0, String::len), 512, "http")?;
        let token = request.join_token.as_ref().map_or(0, String::len);
        at_most(token, 4_096, "join_token")?;
        let sealing = request.sealing_key.as_ref().map_or(0, String::len);
        at_most(sealing, 64, "sealing_key")?;
        let earlier = request.term.as_ref().map_or(0, |term| term.history.len());
        at_most(earlier, HISTORY, "history")?;
        Ok(request)
    }
}

/// Writes the answer to a request.
pub fn answer(answer: &Result<Welcome, Refused>) -> Value {
    match answer {
        Ok(welcome) => Text::new()
            .with(&WireWelcome {
                cluster_id: welcome.cluster,
                report_interval_ms: welcome.report_interval.as_millis() as u64,
                relay: welcome.relay.clone(),
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
    if !(1..=86_400_000).contains(&wire.report_interval_ms) {
        return Err(MessageError::field("report_interval_ms", "is out of range"));
    }
    let host = wire.relay.as_ref().and_then(|relay| relay.host.as_ref());
    at_most(host.map_or(0, String::len), 255, "relay")?;
    Ok(Ok(Welcome {
        cluster: wire.cluster_id,
        report_interval: Duration::from_millis(wire.report_interval_ms),
        relay: wire.relay,
    }))
}

/// Writes a [`SYNC`].
pub fn sync(held: &Held, beat: &Beat) -> Value {
    Text::new().with(&WireHeld::from(held)).with(beat).value()
}

/// Reads a [`SYNC`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_sync(value: &Value) -> Result<(Held, Beat), MessageError> {
    sync::read(value)
}

/// Writes a report, as one or more [`REPORT`] events.
pub fn report(report: &UpReport<SlotEntry>, held: &Held) -> Vec<Value> {
    instances::texts(
        report,
        held,
        |entry| WireSlotReport::from(&entry.value),
        |slot| WireSlot::from(slot),
    )
    .into_iter()
    .map(Text::value)
    .collect()
}

/// Reads one [`REPORT`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_report(value: &Value) -> Result<Piece<Reported<SlotEntry>>, MessageError> {
    instances::read(value, slot_in, |slot: WireSlot| slot.into())
}

/// Writes the set that is held of another store, as one or more [`ADOPT`] events.
pub fn adoption(held: &Held, desired: &[Desired]) -> Vec<Value> {
    adopt::texts(held, desired)
        .into_iter()
        .map(Text::value)
        .collect()
}

/// Reads one [`ADOPT`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_adoption(value: &Value) -> Result<Piece<Adoption>, MessageError> {
    adopt::read(value)
}

/// Writes [`EVENTS`].
pub fn events(telling: &Telling) -> Value {
    events::text(telling).value()
}

/// Reads [`EVENTS`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_events(value: &Value) -> Result<Telling, MessageError> {
    events::read(value)
}

/// A token of an administrator of the root, who operates its clusters with the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Administrator {
    /// Which token it is.
    pub token: TokenId,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// From then on it means nothing, by the root's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
}

/// How many of them are told at most.
pub const ADMINISTRATORS_TOLD: usize = 1_000;

#[derive(Serialize, Deserialize)]
struct WireAdministrators {
    tokens: Vec<Administrator>,
}

/// Writes [`ADMINISTRATORS`].
pub fn administrators(tokens: &[Administrator]) -> Value {
    let tokens = tokens.iter().take(ADMINISTRATORS_TOLD).copied().collect();
    Text::new().with(&WireAdministrators { tokens }).value()
}

/// Reads [`ADMINISTRATORS`].
///
/// # Errors
/// [`MessageError`], where it is no such message, or has too many.
pub fn read_administrators(value: &Value) -> Result<Vec<Administrator>, MessageError> {
    value.open()?;
    let WireAdministrators { tokens } = value.fields()?;
    at_most(tokens.len(), ADMINISTRATORS_TOLD, "tokens")?;
    Ok(tokens)
}

/// Writes [`CONFIRMED`].
pub fn confirmed(stamp: Stamp) -> Value {
    question::confirmed_text(stamp).value()
}

/// Reads [`CONFIRMED`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_confirmed(value: &Value) -> Result<Stamp, MessageError> {
    question::read_confirmed(value)
}

/// Writes one [`ASSIGN`], with the keys to the secrets that its workloads need.
pub fn assign(change: &Change<AssignmentEntry>, keys: &[SecretKey]) -> Value {
    let set = WireSet::pack(change.put.iter().map(|entry| &entry.value));
    let removed: Vec<WireSlot> = change.remove.iter().map(WireSlot::from).collect();
    keys::with(control::text(change, &set, &removed), keys).value()
}

/// Reads the keys of one [`ASSIGN`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_assign_keys(value: &Value) -> Result<Vec<SecretKey>, MessageError> {
    keys::read(value)
}

/// Reads one [`ASSIGN`].
///
/// # Errors
/// [`MessageError`], where it is no such message or carries a workload that this program does not understand.
pub fn read_assign(value: &Value) -> Result<Change<AssignmentEntry>, MessageError> {
    control::read(value, assignment_entry, |slot: WireSlot| slot.into())
}

/// Writes an [`ASK`].
pub fn ask(ask: Ask) -> Value {
    question::text(ask).value()
}

/// Reads an [`ASK`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_ask(value: &Value) -> Result<Ask, MessageError> {
    question::read(value)
}

/// Writes a [`REQUEST`].
pub fn stream(stream: &Stream) -> Value {
    question::stream_text(stream).value()
}

/// Reads a [`REQUEST`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_stream(value: &Value) -> Result<Stream, MessageError> {
    question::read_stream(value)
}

/// Writes a [`REPLY`].
pub fn chunk(request: &RequestId, chunk: &Chunk) -> Value {
    chunks::text(request, chunk).value()
}

/// Reads a [`REPLY`].
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn read_chunk(value: &Value) -> Result<(RequestId, Chunk), MessageError> {
    chunks::read(value)
}

/// What a root asks a cluster for a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Question {
    /// A page of its workers.
    Nodes {
        /// Rows at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// Where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// One worker.
    Node {
        /// Its id or name.
        node: String,
    },
    /// Changes what an operator may change of a worker.
    PatchNode {
        /// Its id or name.
        node: String,
        /// The body as `PATCH` takes it, checked there.
        body: Value,
    },
    /// Forgets a worker that is not heard.
    ForgetNode {
        /// Its id or name.
        node: String,
    },
    /// The certificate of a worker means nothing any more.
    RevokeNode {
        /// Its id or name.
        node: String,
    },
    /// A token by which workers join.
    CreateJoinToken {
        /// The body as `POST /join-tokens` takes it.
        body: Value,
        /// Who asks for it, in words.
        by: String,
    },
    /// Documents that become jobs of its own.
    Submit(Submission),
    /// Why the instances of a job are where they are, or nowhere.
    Explain {
        /// Its id.
        job: String,
    },
}

/// Documents as a user sent them to the root, which has not read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The text.
    pub document: String,
    /// How it is written.
    pub format: Written,
    /// Whether it is only asked where the instances would go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// By which the cluster knows it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The tenant that the request names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantPath>,
    /// Where the root looked at the rights of who asks, which hold below as well.
    pub within: TenantPath,
    /// Who asks, in words.
    pub by: String,
}

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// In YAML.
    Yaml,
    /// In JSON.
    Json,
}

impl From<Format> for Written {
    fn from(format: Format) -> Self {
        match format {
            Format::Yaml => Self::Yaml,
            Format::Json => Self::Json,
        }
    }
}

impl From<Written> for Format {
    fn from(written: Written) -> Self {
        match written {
            Written::Yaml => Self::Yaml,
            Written::Json => Self::Json,
        }
    }
}

impl Question {
    /// Writes it.
    pub fn encode(&self) -> Value {
        Text::new().with(self).value()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`MessageError`], where it is none of the questions that this program knows.
    pub fn decode(value: &Value) -> Result<Self, MessageError> {
        value.open()?;
        value.fields()
    }
}

#[derive(Serialize, Deserialize)]
struct WireReply {
    #[serde(default, skip_serializing_if = "Value::is_null")]
    answer: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Writes the answer to a question: a body of the REST interface, or a problem.
pub fn reply(reply: Result<Value, Problem>) -> Value {
    let wire = match reply {
        Ok(answer) => WireReply {
            answer,
            problem: None,
        },
        Err(problem) => WireReply {
            answer: Value::Null,
            problem: Some(problem),
        },
    };
    Text::new().with(&wire).value()
}

/// Reads the answer to a question.
///
/// # Errors
/// [`MessageError`], where it is no answer.
pub fn read_reply(value: &Value) -> Result<Result<Value, Problem>, MessageError> {
    value.open()?;
    let wire: WireReply = value.fields()?;
    Ok(match wire.problem {
        Some(problem) => Err(problem),
        None => Ok(wire.answer),
    })
}
