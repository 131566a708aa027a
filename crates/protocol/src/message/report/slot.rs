//! Slots with their copies, as a cluster reports them to its root.

use std::collections::BTreeMap;

use model::desired::{CopyReport, Offer, SlotReport};
use model::id::{InstanceId, JobId, NodeId};
use model::instance::{InstanceState, Observed, Report};
use model::name::Name;
use model::reason::{ReasonCode, Rejections};
use model::slot::{Generation, Role, Slot};
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::{WireReason, WireReport, code};
use crate::message::{MessageError, at_most, clipped};
use crate::skew::{Spoken, count_word};
use crate::time::rfc3339;

/// Copies of one slot.
const COPIES: usize = 64;

/// The words of an instance's states.
pub(super) const STATES: [&str; 8] = [
    "REQUESTED",
    "SCHEDULED_CLUSTER",
    "SCHEDULED_NODE",
    "RUNNING",
    "FAILED",
    "NOT_DEPLOYED",
    "UNKNOWN",
    "TERMINATED",
];

/// A slot: one replica of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSlot {
    /// The job.
    pub job: JobId,
    /// The service.
    pub service: Name,
    /// Which replica, from 0.
    pub index: u32,
}

/// Candidates rejected for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireRejection {
    /// How many.
    pub count: u32,
    /// Up to five of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// Rejections by the word of their reason.
pub type WireRejections = BTreeMap<String, WireRejection>;

/// A slot that its cluster cannot place (any more).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireOffer {
    /// Why.
    pub reason: WireReason,
    /// Counted over its workers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejections: WireRejections,
    /// Its capacity revision at that moment.
    pub capacity_revision: u64,
}

/// One copy, as its cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireCopy {
    /// Which.
    pub instance: InstanceId,
    /// (assignment, placement).
    pub generation: Generation,
    /// What it is to its slot.
    pub role: Spoken<Role>,
    /// Its worker.
    pub node: NodeId,
    /// Its worker's name.
    pub node_name: Name,
    /// An address of its worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its state: one of the eight words; of a newer program's word, its report says the nearest meaning.
    pub state: String,
    /// What its worker last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<WireReport>,
    /// Of `NOT_DEPLOYED`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WireReason>,
    /// Of `NOT_DEPLOYED`: counted over the candidates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejections: WireRejections,
    /// Since when it is in that state.
    #[serde(with = "rfc3339")]
    pub since: Wall,
    /// Its worker is not heard, or the runtime that has it does not answer: the state is the last that was known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// What a cluster reports of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSlotReport {
    /// Which.
    pub slot: WireSlot,
    /// The assignment that it follows.
    pub assignment: u64,
    /// It cannot be placed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<WireOffer>,
    /// Its copy runs on, and cannot be replaced here as told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<WireOffer>,
    /// Its copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<WireCopy>,
}

impl From<&Slot> for WireSlot {
    fn from(slot: &Slot) -> Self {
        Self {
            job: slot.job,
            service: slot.service.clone(),
            index: slot.index,
        }
    }
}

impl From<WireSlot> for Slot {
    fn from(wire: WireSlot) -> Self {
        Self {
            job: wire.job,
            service: wire.service,
            index: wire.index,
        }
    }
}

/// Rejections as messages hold them.
pub fn rejections_out(rejections: &Rejections) -> WireRejections {
    let wire = |examples: &[String], count| WireRejection {
        count,
        examples: examples.to_vec(),
    };
    rejections
        .iter()
        .map(|(code, count, examples)| (code.as_str().to_owned(), wire(examples, count)))
        .collect()
}

/// The inverse; surplus examples are dropped, and what is of unknown reasons is counted as one.
pub fn rejections_in(wire: WireRejections) -> Rejections {
    let mut known: BTreeMap<ReasonCode, (u32, Vec<String>)> = BTreeMap::new();
    for (word, one) in wire {
        let (count, examples) = known.entry(code(&word)).or_default();
        // Sums of counts are made in 32 bits.
        *count = (*count).saturating_add(one.count).min(1 << 24);
        let room = Rejections::EXAMPLES.saturating_sub(examples.len());
        let names = one.examples.into_iter().take(room);
        examples.extend(names.map(|name| clipped(name, 128)));
    }
    let mut rejections = Rejections::default();
    for (code, (count, examples)) in known {
        rejections.insert(code, count, examples);
    }
    rejections
}

impl From<&CopyReport> for WireCopy {
    fn from(copy: &CopyReport) -> Self {
        let (reason, rejections) = match &copy.state {
            InstanceState::NotDeployed { reason, rejections } => {
                (Some(reason.into()), rejections_out(rejections))
            }
            InstanceState::Requested
            | InstanceState::ScheduledCluster
            | InstanceState::ScheduledNode
            | InstanceState::Running(_)
            | InstanceState::Failed(_)
            | InstanceState::Unknown { .. }
            | InstanceState::Terminated { .. } => (None, WireRejections::new()),
        };
        Self {
            instance: copy.instance,
            generation: copy.generation,
            role: copy.role.into(),
            node: copy.node,
            node_name: copy.node_name.clone(),
            address: copy.address.clone(),
            state: copy.state.as_str().to_owned(),
            report: copy.state.report().map(WireReport::from),
            reason,
            rejections,
            since: copy.since,
            stale: copy.stale,
        }
    }
}

impl TryFrom<WireCopy> for CopyReport {
    type Error = MessageError;

    fn try_from(wire: WireCopy) -> Result<Self, MessageError> {
        at_most(wire.address.as_ref().map_or(0, String::len), 255, "address")?;
        let report = wire.report.map(Report::try_from).transpose()?;
        let missing = MessageError::field("report", "is missing");
        let role = match wire.role {
            Spoken::Known(role) => role,
            // What may have a right to run is not taken for what must end.
            Spoken::Newer(_) => Role::Holder,
        };
        let state = match wire.state.as_str() {
            "REQUESTED" => InstanceState::Requested,
            "SCHEDULED_CLUSTER" => InstanceState::ScheduledCluster,
            "SCHEDULED_NODE" => InstanceState::ScheduledNode,
            "RUNNING" => InstanceState::Running(report.ok_or(missing)?),
            "FAILED" => InstanceState::Failed(report.ok_or(missing)?),
            "NOT_DEPLOYED" => InstanceState::NotDeployed {
                reason: wire
                    .reason
                    .ok_or(MessageError::field("reason", "is missing"))?
                    .into(),
                rejections: rejections_in(wire.rejections),
            },
            "UNKNOWN" => InstanceState::Unknown { last: report },
            "TERMINATED" => InstanceState::Terminated { last: report },
            word if !is_word(word) => {
                return Err(MessageError::field("state", "is no state of an instance"));
            }
            word => {
                count_word(word);
                nearest(report)
            }
        };
        Ok(Self {
            instance: wire.instance,
            generation: wire.generation,
            role,
            node: wire.node,
            node_name: wire.node_name,
            address: wire.address,
            state,
            since: wire.since,
            stale: wire.stale,
        })
    }
}

/// Whether a text can be the state of a newer program.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The state of this program that is nearest to one of a newer program: what the worker last said.
fn nearest(report: Option<Report>) -> InstanceState {
    match report {
        Some(report) if matches!(report.observed, Observed::Running { .. }) => {
            InstanceState::Running(report)
        }
        Some(report) if matches!(report.observed, Observed::Failed { .. }) => {
            InstanceState::Failed(report)
        }
        last => InstanceState::Unknown { last },
    }
}

impl From<&Offer> for WireOffer {
    fn from(offer: &Offer) -> Self {
        Self {
            reason: (&offer.reason).into(),
            rejections: rejections_out(&offer.rejections),
            capacity_revision: offer.capacity_revision,
        }
    }
}

impl From<WireOffer> for Offer {
    fn from(wire: WireOffer) -> Self {
        Self {
            reason: wire.reason.into(),
            rejections: rejections_in(wire.rejections),
            capacity_revision: wire.capacity_revision,
        }
    }
}

impl From<&SlotReport> for WireSlotReport {
    fn from(report: &SlotReport) -> Self {
        Self {
            slot: (&report.slot).into(),
            assignment: report.assignment,
            offer: report.offer.as_ref().map(WireOffer::from),
            refused: report.refused.as_ref().map(WireOffer::from),
            copies: report.copies.iter().map(WireCopy::from).collect(),
        }
    }
}

impl TryFrom<WireSlotReport> for SlotReport {
    type Error = MessageError;

    fn try_from(wire: WireSlotReport) -> Result<Self, MessageError> {
        at_most(wire.copies.len(), COPIES, "copies")?;
        Ok(Self {
            slot: wire.slot.into(),
            assignment: wire.assignment,
            offer: wire.offer.map(Offer::from),
            refused: wire.refused.map(Offer::from),
            copies: wire
                .copies
                .into_iter()
                .map(CopyReport::try_from)
                .collect::<Result<_, _>>()?,
        })
    }
}
