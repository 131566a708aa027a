//! What tiers say to each other: desired instances down, observed ones up.

use std::sync::Arc;
use std::time::Duration;

use crate::access::TenantPath;
use crate::id::{InstanceId, JobId, NodeId};
use crate::instance::{InstanceState, Report};
use crate::job::{OnPartition, Owner, Reconcile, ServiceSpec};
use crate::name::Name;
use crate::reason::{Reason, Rejections};
use crate::slot::{Generation, Role, Slot};
use crate::time::Wall;
use crate::workload::HealthCheck;

/// What a child must know of a job to run, show, and in need rebuild it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobHead {
    /// The job.
    pub id: JobId,
    /// Its name.
    pub name: Name,
    /// Its tenant.
    pub tenant: TenantPath,
    /// Who decides about it.
    pub owner: Owner,
    /// The document's option, if it has one.
    pub lost_after: Option<Duration>,
    /// The document's policy.
    pub on_partition: OnPartition,
    /// The document's policy.
    pub reconcile: Reconcile,
    /// When it was accepted.
    pub created_at: Wall,
}

/// How the copy that an owner wants takes over from the one that its slot has.
///
/// The default is what a program says that knows of no takeovers: the old copy stops first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handover {
    /// Names the order, greater for later ones of a slot: what failed is not tried again under the same number.
    pub number: u64,
    /// The new copy may run beside the old one.
    pub start_first: bool,
    /// The old copy may not be stopped before the new one runs.
    pub keep_old: bool,
    /// The copy that is replaced though it is what is wanted.
    pub replace: Option<InstanceId>,
    /// Its worker may get the new copy too (a restart rather than a migration).
    pub same_worker: bool,
    /// The only worker that may get the new copy: name or id.
    pub worker: Option<String>,
}

/// One desired instance: from a root an assignment to a cluster (`placement` is 0), from a cluster a deployment to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The copy; from a root the id that the first copy of this assignment gets.
    pub instance: InstanceId,
    /// The slot that it fills.
    pub slot: Slot,
    /// Its generation.
    pub generation: Generation,
    /// Of which job.
    pub job: Arc<JobHead>,
    /// What to run.
    pub service: Arc<ServiceSpec>,
    /// How it takes over from a copy that is there.
    pub handover: Handover,
}

impl Desired {
    /// What digests cover: `instance|generation|spec_hash` (protocol, section 4).
    pub fn identity(&self) -> String {
        format!(
            "{}|{}|{}",
            self.instance, self.generation, self.service.workload.hash
        )
    }

    /// About how many bytes it takes in a message, without its job and its workload.
    pub fn weight(&self) -> usize {
        let rules = &self.service.placement;
        let labels: usize = rules
            .labels
            .iter()
            .map(|(key, value)| key.len() + value.len() + 6)
            .sum();
        let pins = [&rules.cluster, &rules.location, &rules.worker];
        let pins: usize = pins
            .iter()
            .filter_map(|pin| pin.as_ref())
            .map(|pin| pin.len() + 16)
            .sum();
        220 + self.slot.service.as_str().len() + labels + pins + 12 * rules.architectures.len()
    }

    /// Names the job and the workload, which all its instances in a message share, and about how many bytes they take.
    pub fn shared(&self) -> (u128, usize) {
        let workload = &self.service.workload;
        let texts = workload
            .command
            .iter()
            .chain(&workload.args)
            .chain(workload.health.iter().flat_map(HealthCheck::texts))
            .map(String::len)
            .sum::<usize>()
            + workload
                .environment
                .iter()
                .chain(&workload.files)
                .map(|(key, value)| key.len() + value.len() + 6)
                .sum::<usize>();
        let lists = workload.ports.len() + workload.volumes.len();
        let capabilities = workload.security.capabilities.len();
        let secrets = workload.secrets.weight();
        let bytes = 540 + texts + 40 * lists + 20 * capabilities + secrets;
        let hash = u128::from_be_bytes(workload.hash.0);
        (hash ^ self.job.id.bits(), bytes)
    }
}

/// Settings of a worker: part of its desired set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSettings {
    /// How often it reports its use.
    pub report_interval: Duration,
}

/// Key of an item in a worker's desired set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKey {
    /// The settings.
    Settings,
    /// An instance.
    Instance(InstanceId),
}

/// An item of a worker's desired set.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeItem {
    /// Its settings.
    Settings(NodeSettings),
    /// An instance to run.
    Instance(Desired),
}

impl NodeItem {
    /// Its key.
    pub const fn key(&self) -> NodeKey {
        match self {
            Self::Settings(_) => NodeKey::Settings,
            Self::Instance(desired) => NodeKey::Instance(desired.instance),
        }
    }

    /// About how many bytes it takes in a message.
    pub fn weight(&self) -> usize {
        match self {
            Self::Settings(_) => 64,
            Self::Instance(desired) => desired.weight(),
        }
    }

    /// See [`Desired::shared`]; settings share nothing.
    pub fn shared(&self) -> Option<(u128, usize)> {
        match self {
            Self::Settings(_) => None,
            Self::Instance(desired) => Some(desired.shared()),
        }
    }

    /// What digests cover; settings count as `settings|report_interval in ms`.
    pub fn identity(&self) -> String {
        match self {
            Self::Settings(settings) => {
                format!("settings|{}", settings.report_interval.as_millis())
            }
            Self::Instance(desired) => desired.identity(),
        }
    }
}

/// What a worker reports of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceReport {
    /// Which.
    pub instance: InstanceId,
    /// The generation that it runs under.
    pub generation: Generation,
    /// What was observed.
    pub report: Report,
}

impl InstanceReport {
    /// What digests cover.
    pub fn identity(&self) -> String {
        let mut text = format!(
            "{}|{}|{}|{}",
            self.instance,
            self.generation,
            self.report.word(),
            self.report.restarts
        );
        if let Some(health) = self.report.health() {
            text.push('|');
            text.push_str(health.as_str());
        }
        text
    }
}

/// A cluster offers a slot back: it cannot place it (any more), and keeps it until it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Why.
    pub reason: Reason,
    /// Counted over its workers.
    pub rejections: Rejections,
    /// Its capacity revision at that moment: asking again helps only after it grew.
    pub capacity_revision: u64,
}

/// One copy, as its cluster shows it to its root.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyReport {
    /// Which.
    pub instance: InstanceId,
    /// Its generation.
    pub generation: Generation,
    /// What it is to its slot.
    pub role: Role,
    /// Its worker.
    pub node: NodeId,
    /// Its worker's name.
    pub node_name: Name,
    /// An address of its worker, for endpoints.
    pub address: Option<String>,
    /// Its state.
    pub state: InstanceState,
    /// Since when it is in it, by the cluster's wall clock.
    pub since: Wall,
    /// Its worker is not heard, or the runtime that has it does not answer: the state is the last that was known.
    pub stale: bool,
}

/// What a cluster reports of one slot that its root assigned.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotReport {
    /// Which.
    pub slot: Slot,
    /// The assignment that it follows.
    pub assignment: u64,
    /// It cannot be placed here.
    pub offer: Option<Offer>,
    /// The copy that it has runs on, and cannot be replaced here as told: no room for the next one where there are rejections,
    /// else the next one did not come to run.
    pub refused: Option<Offer>,
    /// Its copies.
    pub copies: Vec<CopyReport>,
}

impl SlotReport {
    /// The copy that fills the slot.
    pub fn holder(&self) -> Option<&CopyReport> {
        self.copies.iter().find(|copy| copy.role == Role::Holder)
    }

    /// What digests cover.
    pub fn identity(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{}|{}", self.slot, self.assignment);
        if let Some(offer) = &self.offer {
            // Writing into a String cannot fail.
            let _ = write!(
                text,
                "|offer {} {} {}",
                offer.reason.code,
                offer.capacity_revision,
                offer.rejections.total()
            );
        }
        if let Some(refused) = &self.refused {
            let _ = write!(
                text,
                "|refused {} {} {}",
                refused.reason.code,
                refused.capacity_revision,
                refused.rejections.total()
            );
        }
        for copy in &self.copies {
            let report = copy.state.report();
            let (word, restarts) =
                report.map_or(("", 0), |report| (report.word(), report.restarts));
            let _ = write!(
                text,
                "|{} {} {:?} {} {word} {restarts}",
                copy.instance, copy.generation, copy.role, copy.state
            );
            if let Some(health) = report.and_then(Report::health) {
                text.push(' ');
                text.push_str(health.as_str());
            }
            if copy.stale {
                text.push_str(" stale");
            }
        }
        text
    }
}
