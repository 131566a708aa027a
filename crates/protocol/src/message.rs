//! What tiers say to each other, as JSON (protocol, section 4; contract, MQTT).
//!
//! # Flow
//! Between worker and cluster: [`register`] over Socket.IO, then over MQTT [`connection`], [`sync`], [`instances`],
//! [`information`], [`events`], [`adopt`] and [`reply`] upwards, [`control`] and [`question`] downwards. Between cluster and root everything
//! goes as events of one Socket.IO connection: [`uplink`].
//!
//! # Guarantees
//! Every message carries `version`. Reading ignores and counts fields that it does not know ([`crate::skew`]), and refuses what is of another
//! version, too large, of the wrong shape, or with numbers that mean nothing; it never panics. A workload whose hash is
//! not that of its content is refused, so a field that an older reader does not know is never silently dropped from
//! what it runs. Marks are made again from the content, so a digest proves what was read.
//!
//! A [`control`] may have a signature behind it ([`signed`]).
//!
//! # Assumptions
//! What is too large for one packet comes in numbered parts, in order, on one connection ([`parts`]).

pub mod adopt;
pub mod connection;
pub mod control;
pub mod desired;
pub mod events;
pub mod fallback;
pub mod held;
pub mod information;
pub mod instances;
mod keys;
pub mod parts;
pub mod question;
pub mod register;
pub mod reply;
pub mod report;
pub mod signed;
pub mod sync;
pub mod uplink;

use model::desired::{Desired, InstanceReport, NodeItem, NodeKey, SlotReport};
use model::id::InstanceId;
use model::slot::Slot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use held::Beat;
pub use keys::SecretKey;

use crate::skew::Look;
use crate::workload::WorkloadError;

/// The version of every message here.
pub const VERSION: u64 = 1;
/// Bytes of an MQTT packet at most; a larger payload is not read.
pub const LARGEST: usize = 256 * 1024;

/// An item of a worker's desired set.
pub type DesiredEntry = ::sync::Entry<NodeKey, NodeItem>;
/// An item of a worker's reports.
pub type ReportEntry = ::sync::Entry<InstanceId, InstanceReport>;
/// An item of a cluster's desired set at its root.
pub type AssignmentEntry = ::sync::Entry<Slot, Desired>;
/// An item of a cluster's reports to its root.
pub type SlotEntry = ::sync::Entry<Slot, SlotReport>;

/// The entry of an item of a worker's desired set.
pub fn desired_entry(item: NodeItem) -> DesiredEntry {
    let (key, identity, weight) = (item.key(), item.identity(), item.weight());
    let shared = item.shared();
    ::sync::Entry::new(key, item, &identity, weight).sharing(shared)
}

/// The entry of a worker's report of an instance.
pub fn report_entry(report: InstanceReport) -> ReportEntry {
    let identity = report.identity();
    report_entry_of(report, &identity)
}

pub(crate) fn report_entry_of(report: InstanceReport, identity: &str) -> ReportEntry {
    ::sync::Entry::new(report.instance, report, identity, 256)
}

/// The entry of an assignment to a cluster.
pub fn assignment_entry(desired: Desired) -> AssignmentEntry {
    let (key, identity, weight) = (desired.slot.clone(), desired.identity(), desired.weight());
    let shared = Some(desired.shared());
    ::sync::Entry::new(key, desired, &identity, weight).sharing(shared)
}

/// The entry of a cluster's report of a slot.
pub fn slot_entry(report: SlotReport) -> SlotEntry {
    let identity = report.identity();
    slot_entry_of(report, &identity)
}

pub(crate) fn slot_entry_of(report: SlotReport, identity: &str) -> SlotEntry {
    ::sync::Entry::new(report.slot.clone(), report, identity, 512)
}

/// Why a text is no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Nothing of it was read.
    #[error("the message has {bytes} bytes, more than the {LARGEST} that are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Another program wrote it.
    #[error(
        "the message is of version {found} and this program reads {VERSION}: update the older of the two programs"
    )]
    Version {
        /// Its version.
        found: u64,
    },
    /// No JSON, a field missing, or a value of another type.
    #[error("the message is not of its shape")]
    Shape(#[source] serde_json::Error),
    /// A field has a value of another type, or one that cannot be read.
    #[error("the message's {path} cannot be read")]
    Value {
        /// Which, as `states[0].generation`.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A value that means nothing.
    #[error("the message's {field} {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A workload that this program must not run.
    #[error("the message carries a workload that cannot be used")]
    Workload(#[from] WorkloadError),
}

impl MessageError {
    /// Which field it is about is what the sender has to know; nothing is lost where all is well.
    fn shape(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        // A path of no fields is written as a dot.
        let path = clipped(error.path().to_string(), 200);
        let source = error.into_inner();
        if path == "." {
            Self::Shape(source)
        } else {
            Self::Value { path, source }
        }
    }

    pub(crate) const fn field(field: &'static str, problem: &'static str) -> Self {
        Self::Field { field, problem }
    }
}

/// Where a message is read from: bytes of MQTT, or a value of Socket.IO.
pub(crate) trait Source {
    /// The fields that `T` names; others are ignored.
    fn fields<T: DeserializeOwned>(&self) -> Result<T, MessageError>;

    /// Checks size and version first, since all else is of this version only.
    fn open(&self) -> Result<(), MessageError>;
}

fn known(look: &Look) -> Result<(), MessageError> {
    match look.version {
        Some(VERSION) => {
            look.count();
            Ok(())
        }
        found => Err(MessageError::Version {
            found: found.unwrap_or_default(),
        }),
    }
}

impl Source for [u8] {
    fn fields<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        let read = serde_json::from_slice(self);
        // Keeping the path costs time, so it is only done for what cannot be read.
        read.or_else(|_| {
            let mut reader = serde_json::Deserializer::from_slice(self);
            serde_path_to_error::deserialize(&mut reader).map_err(MessageError::shape)
        })
    }

    fn open(&self) -> Result<(), MessageError> {
        if self.len() > LARGEST {
            return Err(MessageError::TooLarge { bytes: self.len() });
        }
        let mut reader = serde_json::Deserializer::from_slice(self);
        let look = Look::at(&mut reader).and_then(|look| reader.end().map(|()| look));
        known(&look.map_err(MessageError::Shape)?)
    }
}

impl Source for Value {
    fn fields<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        T::deserialize(self)
            .or_else(|_| serde_path_to_error::deserialize(self).map_err(MessageError::shape))
    }

    fn open(&self) -> Result<(), MessageError> {
        known(&Look::at(self).map_err(MessageError::Shape)?)
    }
}

/// A message while it is written: one object, joined from the fields of several structs.
#[derive(Debug)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn new() -> Self {
        Self(format!("{{\"version\":{VERSION}"))
    }

    pub(crate) fn with(mut self, fields: &impl Serialize) -> Self {
        // Structs of texts and finite numbers always have a JSON.
        let json = serde_json::to_string(fields).unwrap_or_default();
        let inner = json
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|inner| !inner.is_empty());
        if let Some(inner) = inner {
            self.0.push(',');
            self.0.push_str(inner);
        }
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.push('}');
        self.0.into_bytes()
    }

    pub(crate) fn value(self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap_or_default()
    }
}

/// How many bytes a value takes as JSON.
pub(crate) fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// A text of at most `limit` bytes, cut between characters.
pub(crate) fn clipped(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}

/// Whether a list or text is longer than what the field may hold.
pub(crate) fn at_most(
    length: usize,
    limit: usize,
    field: &'static str,
) -> Result<(), MessageError> {
    if length <= limit {
        Ok(())
    } else {
        Err(MessageError::field(field, "is too long"))
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// For `#[serde(with)]` on random numbers: 16 hexadecimal digits, since JSON numbers of other languages end at 2^53.
pub(crate) mod hex64 {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn parse(text: &str) -> Option<u64> {
        (text.len() == 16 && !text.starts_with('+'))
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes the field by reference"
    )]
    pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| D::Error::custom("a nonce is 16 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests;
