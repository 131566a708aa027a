//! What the values of this cluster's own records look like.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster_core::{Copy, NodeRecord, RefusedTakeover, SlotRecord};
use model::desired::Offer;
use model::id::{InstanceId, NodeId};
use model::name::Name;
use model::node::{NodeFacts, Scheduling};
use model::reason::{Reason, ReasonCode, Rejections};
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use protocol::stored::StoredDesired;
use serde::{Deserialize, Serialize};
use sync::{Incarnation, ParentMark, Term};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    #[serde(default)]
    incarnation: Option<Incarnation>,
    #[serde(default)]
    term: Term,
    #[serde(default)]
    revision: u64,
}

impl From<&ParentMark> for Mark {
    fn from(mark: &ParentMark) -> Self {
        Self {
            incarnation: mark.incarnation,
            term: mark.term.clone(),
            revision: mark.revision,
        }
    }
}

impl From<Mark> for ParentMark {
    fn from(mark: Mark) -> Self {
        Self {
            incarnation: mark.incarnation,
            term: mark.term,
            revision: mark.revision,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) placement: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<InstanceId>,
    #[serde(default)]
    pub(super) provisional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) withdrawn: Option<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) avoid: Option<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Refused>,
    #[serde(default)]
    pub(super) copies: Vec<SlotCopy>,
}

/// A takeover that could not be done; its counts are soft.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    number: u64,
    code: ReasonCode,
    message: String,
    capacity_revision: u64,
}

impl From<&RefusedTakeover> for Refused {
    fn from(refused: &RefusedTakeover) -> Self {
        Self {
            number: refused.number,
            code: refused.offer.reason.code,
            message: refused.offer.reason.message.clone(),
            capacity_revision: refused.offer.capacity_revision,
        }
    }
}

impl From<Refused> for RefusedTakeover {
    fn from(refused: Refused) -> Self {
        Self {
            number: refused.number,
            offer: Offer {
                reason: Reason::new(refused.code, refused.message),
                rejections: Rejections::default(),
                capacity_revision: refused.capacity_revision,
            },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SlotCopy {
    pub(super) desired: StoredDesired,
    pub(super) node: NodeId,
    #[serde(default)]
    pub(super) leaving: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) draining: bool,
}

impl From<&SlotRecord> for Slot {
    fn from(record: &SlotRecord) -> Self {
        Self {
            placement: record.placement,
            used: record.used,
            provisional: record.provisional,
            withdrawn: record.withdrawn,
            avoid: record.avoid,
            refused: record.refused.as_ref().map(Refused::from),
            copies: record.copies.iter().map(SlotCopy::from).collect(),
        }
    }
}

impl From<&Copy> for SlotCopy {
    fn from(copy: &Copy) -> Self {
        Self {
            desired: StoredDesired::from(&copy.desired),
            node: copy.node,
            leaving: copy.leaving,
            draining: copy.draining,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Node {
    name: Name,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    addresses: Vec<String>,
    architecture: String,
    cpu: Millicores,
    memory: Bytes,
    disk: Bytes,
    #[serde(default)]
    accelerators: Vec<String>,
    #[serde(default)]
    sensors: Vec<String>,
    #[serde(default)]
    runtimes: BTreeSet<RuntimeKind>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    engine_version: String,
    #[serde(default)]
    scheduling: Scheduling,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report_interval_ms: Option<u64>,
    #[serde(default)]
    operator_labels: BTreeMap<String, Option<String>>,
    /// SHA-256 of the credential.
    credential: [u8; 32],
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    verifies: bool,
    /// Its public key for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealing: Option<[u8; 32]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    synced: Option<Incarnation>,
}

impl From<&NodeRecord> for Node {
    fn from(record: &NodeRecord) -> Self {
        let facts = record.facts.clone();
        Self {
            name: facts.name,
            hostname: facts.hostname,
            addresses: facts.addresses,
            architecture: facts.architecture,
            cpu: facts.allocatable.cpu,
            memory: facts.allocatable.memory,
            disk: facts.allocatable.disk,
            accelerators: facts.accelerators,
            sensors: facts.sensors,
            runtimes: facts.runtimes,
            labels: facts.labels,
            engine_version: facts.engine_version,
            scheduling: record.scheduling,
            report_interval_ms: record.report_interval.map(millis),
            operator_labels: record.labels.clone(),
            credential: record.credential,
            verifies: record.verifies,
            sealing: record.sealing,
            synced: record.synced,
        }
    }
}

impl From<Node> for NodeRecord {
    fn from(node: Node) -> Self {
        Self {
            facts: NodeFacts {
                name: node.name,
                hostname: node.hostname,
                addresses: node.addresses,
                architecture: node.architecture,
                allocatable: Resources {
                    cpu: node.cpu,
                    memory: node.memory,
                    disk: node.disk,
                },
                accelerators: node.accelerators,
                sensors: node.sensors,
                runtimes: node.runtimes,
                labels: node.labels,
                engine_version: node.engine_version,
            },
            scheduling: node.scheduling,
            report_interval: node.report_interval_ms.map(Duration::from_millis),
            labels: node.operator_labels,
            credential: node.credential,
            verifies: node.verifies,
            sealing: node.sealing,
            synced: node.synced,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
