//! `nodes/{id}/control`: a part of a change of a worker's desired set. The same shape carries assignments over the uplink.

use std::time::Duration;

use ::sync::{Change, Digest, Incarnation, Term};
use model::desired::{Desired, NodeItem, NodeKey, NodeSettings};
use model::id::InstanceId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::desired::WireSet;
use super::{
    DesiredEntry, MessageError, SecretKey, Source, Text, at_most, desired_entry, hex64, keys,
};

/// Parts of one change at most.
const PARTS: u32 = 1 << 20;

/// The head of a part of a change.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    incarnation: Incarnation,
    term: WireTerm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<u64>,
    revision: u64,
    desired_digest: Digest,
    part: u32,
    parts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adopted: Option<Digest>,
}

/// One run of a parent, as messages and stores hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireTerm {
    /// Greater for each start.
    pub number: u64,
    /// Random for each start.
    #[serde(with = "hex64")]
    pub nonce: u64,
    /// Nonces of earlier runs, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Nonce>,
}

/// A random number of 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(#[serde(with = "hex64")] pub u64);

#[derive(Debug, Deserialize)]
struct Removed<K> {
    #[serde(default = "Vec::new")]
    terminate: Vec<K>,
}

#[derive(Debug, Serialize)]
struct Removing<'a, K> {
    #[serde(skip_serializing_if = "<[K]>::is_empty")]
    terminate: &'a [K],
}

#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<WireSettings>,
}

/// A worker's settings, as messages and stores hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSettings {
    /// Milliseconds between two reports of use.
    pub report_interval_ms: u64,
}

impl From<&Term> for WireTerm {
    fn from(term: &Term) -> Self {
        Self {
            number: term.number,
            nonce: term.nonce,
            history: term.history.iter().copied().map(Nonce).collect(),
        }
    }
}

impl From<WireTerm> for Term {
    fn from(wire: WireTerm) -> Self {
        Self {
            number: wire.number,
            nonce: wire.nonce,
            history: wire.history.into_iter().map(|nonce| nonce.0).collect(),
        }
    }
}

impl From<&NodeSettings> for WireSettings {
    fn from(settings: &NodeSettings) -> Self {
        Self {
            report_interval_ms: settings.report_interval.as_millis() as u64,
        }
    }
}

impl TryFrom<WireSettings> for NodeSettings {
    type Error = MessageError;

    fn try_from(wire: WireSettings) -> Result<Self, MessageError> {
        if !(1..=86_400_000).contains(&wire.report_interval_ms) {
            return Err(MessageError::field(
                "report_interval_ms",
                "is not between 1 ms and a day",
            ));
        }
        Ok(Self {
            report_interval: Duration::from_millis(wire.report_interval_ms),
        })
    }
}

/// Writes one part, with the keys to the secrets that its workloads need.
pub fn encode(change: &Change<DesiredEntry>, keys: &[SecretKey]) -> Vec<u8> {
    let mut settings = None;
    let mut instances: Vec<&Desired> = Vec::new();
    for entry in &change.put {
        match &entry.value {
            NodeItem::Settings(some) => settings = Some(some.into()),
            NodeItem::Instance(desired) => instances.push(desired),
        }
    }
    // The settings change and never leave.
    let removed = change.remove.iter().filter_map(|key| match key {
        NodeKey::Instance(instance) => Some(*instance),
        NodeKey::Settings => None,
    });
    let removed: Vec<InstanceId> = removed.collect();
    let text = text(change, &WireSet::pack(instances), &removed).with(&Settings { settings });
    keys::with(text, keys).bytes()
}

/// Reads one part.
///
/// # Errors
/// [`MessageError`], where it is no such message or carries a workload that this program does not understand.
pub fn decode(payload: &[u8]) -> Result<Change<DesiredEntry>, MessageError> {
    let mut change = read(
        payload,
        |desired| desired_entry(NodeItem::Instance(desired)),
        |instance: InstanceId| NodeKey::Instance(instance),
    )?;
    if let Some(settings) = payload.fields::<Settings>()?.settings {
        let settings = NodeSettings::try_from(settings)?;
        change
            .put
            .insert(0, desired_entry(NodeItem::Settings(settings)));
    }
    Ok(change)
}

/// Reads the keys of one part that was read; where no workload needs one, nothing is looked for.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn keys(payload: &[u8], change: &Change<DesiredEntry>) -> Result<Vec<SecretKey>, MessageError> {
    let needs = |item: &NodeItem| match item {
        NodeItem::Instance(desired) => !desired.service.workload.secrets.is_empty(),
        NodeItem::Settings(_) => false,
    };
    if change.put.iter().any(|entry| needs(&entry.value)) {
        keys::read(payload)
    } else {
        Ok(Vec::new())
    }
}

pub(crate) fn text<T: ::sync::Item>(
    change: &Change<T>,
    set: &WireSet,
    terminate: &[impl Serialize],
) -> Text {
    let head = Head {
        incarnation: change.incarnation,
        term: (&change.term).into(),
        base: change.base,
        revision: change.revision,
        desired_digest: change.digest,
        part: change.part,
        parts: change.parts,
        adopted: change.adopted,
    };
    Text::new()
        .with(&head)
        .with(set)
        .with(&Removing { terminate })
}

pub(crate) fn read<T, K, S>(
    source: &S,
    item: impl Fn(Desired) -> T,
    key: impl Fn(K) -> T::Key,
) -> Result<Change<T>, MessageError>
where
    T: ::sync::Item,
    K: DeserializeOwned,
    S: Source + ?Sized,
{
    source.open()?;
    let head: Head = source.fields()?;
    if head.part >= head.parts || head.parts > PARTS {
        return Err(MessageError::field("part", "is none of its parts"));
    }
    at_most(head.term.history.len(), Term::HISTORY, "history")?;
    let set: WireSet = source.fields()?;
    let removed: Removed<K> = source.fields()?;
    Ok(Change {
        incarnation: head.incarnation,
        term: head.term.into(),
        base: head.base,
        revision: head.revision,
        digest: head.desired_digest,
        part: head.part,
        parts: head.parts,
        put: set.unpack()?.into_iter().map(item).collect(),
        remove: removed.terminate.into_iter().map(key).collect(),
        adopted: head.adopted,
    })
}
