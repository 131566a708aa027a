//! What happened to a job: its history.

use crate::access::TenantPath;
use crate::desired::Desired;
use crate::id::{EventId, InstanceId, JobId};
use crate::slot::Generation;
use crate::time::{Now, Wall};

/// Which tier says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The root.
    Root,
    /// A cluster.
    Cluster,
    /// A worker.
    Worker,
}

impl Tier {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cluster => "cluster",
            Self::Worker => "worker",
        }
    }
}

/// One change of state, with its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Greater ids are later ones of the same issuer.
    pub id: EventId,
    /// When, by the issuer's wall clock.
    pub at: Wall,
    /// Who observed it.
    pub tier: Tier,
    /// The job.
    pub job: JobId,
    /// The job's tenant, as who keeps the event knows it; no message says it.
    pub tenant: TenantPath,
    /// The instance, where it is about one.
    pub instance: Option<InstanceId>,
    /// Its generation.
    pub generation: Generation,
    /// State before; empty for the first.
    pub from: &'static str,
    /// State after.
    pub to: &'static str,
    /// Stable word for why.
    pub cause: String,
    /// One sentence for people.
    pub message: String,
}

impl Event {
    /// A change of what a slot's instance is; who keeps it gives it its id.
    pub fn of_instance(
        now: Now,
        desired: &Desired,
        tier: Tier,
        (from, to): (&'static str, &'static str),
        cause: &str,
        message: String,
    ) -> Self {
        Self {
            id: EventId::from_bits(0),
            at: now.wall,
            tier,
            job: desired.slot.job,
            tenant: desired.job.tenant.clone(),
            instance: Some(desired.instance),
            generation: desired.generation,
            from,
            to,
            cause: cause.to_owned(),
            message,
        }
    }
}
