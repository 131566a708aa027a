//! Desired instances as messages and stores hold them: jobs and specs once, however many instances refer to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::access::TenantPath;
use model::desired::{Desired, Handover, JobHead};
use model::id::{ClusterId, InstanceId, JobId};
use model::job::{OnPartition, Owner, PlacementRules, Reconcile, ServiceSpec, Takeover};
use model::name::Name;
use model::slot::{Generation, Slot};
use model::time::Wall;
use model::workload::{SpecHash, Workload};
use serde::{Deserialize, Serialize};

use super::{MessageError, is_default};
use crate::skew::Spoken;
use crate::time::rfc3339;
use crate::workload::{WireOnPartition, WirePlacement, WireReconcile, WireTakeover, WireWorkload};

/// Desired instances, with what they share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WireSet {
    /// The jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<WireHead>,
    /// The workloads, each with its hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub specs: Vec<WireWorkload>,
    /// The instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deploy: Vec<WireDesired>,
}

/// What a child must know of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireHead {
    /// The job.
    pub id: JobId,
    /// Its name.
    pub name: Name,
    /// Its tenant.
    pub tenant: TenantPath,
    /// Who decides about it; left out where the root does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ClusterId>,
    /// Milliseconds; left out for the cluster's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_after_ms: Option<u64>,
    /// `stay` where left out, and for a word of a newer program: what stays is not lost.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_partition: Spoken<WireOnPartition>,
    /// `keep_original` where left out, and for a word of a newer program.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reconcile: Spoken<WireReconcile>,
    /// When it was accepted.
    #[serde(with = "rfc3339")]
    pub created_at: Wall,
}

/// One desired instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireDesired {
    /// The copy.
    pub instance: InstanceId,
    /// Position of its job in `jobs`.
    pub job: u32,
    /// Its service.
    pub service: Name,
    /// Which replica, from 0.
    pub index: u32,
    /// (assignment, placement).
    pub generation: Generation,
    /// Hash of its workload in `specs`.
    pub spec_hash: SpecHash,
    /// How many replicas its service has.
    pub replicas: u32,
    /// Where its service may run; left out for anywhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: WirePlacement,
    /// How it takes over from a copy that is there; left out where the old one stops first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub handover: WireHandover,
    /// How its service's copies take over from one another; left out for the usual way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub takeover: WireTakeover,
}

/// How a copy takes over from the one that its slot has. A program that does not know this stops the old one first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WireHandover {
    /// Names the order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub number: u64,
    /// The new copy may run beside the old one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_first: bool,
    /// The old copy may not be stopped before the new one runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_old: bool,
    /// The copy that is replaced though it is what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<InstanceId>,
    /// Its worker may get the new copy too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub same_worker: bool,
    /// The only worker that may get the new copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

impl From<&Handover> for WireHandover {
    fn from(handover: &Handover) -> Self {
        let Handover {
            number,
            start_first,
            keep_old,
            replace,
            same_worker,
            worker,
        } = handover.clone();
        Self {
            number,
            start_first,
            keep_old,
            replace,
            same_worker,
            worker,
        }
    }
}

impl From<WireHandover> for Handover {
    fn from(wire: WireHandover) -> Self {
        let WireHandover {
            number,
            start_first,
            keep_old,
            replace,
            same_worker,
            worker,
        } = wire;
        Self {
            number,
            start_first,
            keep_old,
            replace,
            same_worker,
            worker,
        }
    }
}

impl WireSet {
    /// Packs instances.
    pub fn pack<'a>(desired: impl IntoIterator<Item = &'a Desired>) -> Self {
        let mut set = Self::default();
        let mut heads: Vec<Arc<JobHead>> = Vec::new();
        let mut positions: BTreeMap<JobId, Vec<usize>> = BTreeMap::new();
        let mut specs: BTreeMap<SpecHash, WireWorkload> = BTreeMap::new();
        for one in desired {
            // A job's options may have changed between two of its instances.
            let known = positions.entry(one.job.id).or_default();
            let same = |position: &&usize| heads.get(**position) == Some(&one.job);
            let position = known.iter().find(same).copied().unwrap_or(heads.len());
            if position == heads.len() {
                known.push(position);
                set.jobs.push(WireHead::from(one.job.as_ref()));
                heads.push(Arc::clone(&one.job));
            }
            let workload = one.service.workload.as_ref();
            specs
                .entry(workload.hash)
                .or_insert_with(|| WireWorkload::from(workload));
            set.deploy.push(WireDesired {
                instance: one.instance,
                job: position as u32,
                service: one.slot.service.clone(),
                index: one.slot.index,
                generation: one.generation,
                spec_hash: workload.hash,
                replicas: one.service.replicas,
                placement: WirePlacement::from(&one.service.placement),
                handover: WireHandover::from(&one.handover),
                takeover: WireTakeover::from(&one.service.takeover),
            });
        }
        set.specs = specs.into_values().collect();
        set
    }

    /// The instances; what they share is shared in memory too.
    ///
    /// # Errors
    /// When a workload's hash is not that of its content, or an instance refers to what is not there.
    pub fn unpack(self) -> Result<Vec<Desired>, MessageError> {
        let jobs: Vec<Arc<JobHead>> = self
            .jobs
            .into_iter()
            .map(|head| Arc::new(JobHead::from(head)))
            .collect();
        let mut specs: BTreeMap<SpecHash, Arc<Workload>> = BTreeMap::new();
        for spec in self.specs {
            let workload = Workload::try_from(spec)?;
            specs.insert(workload.hash, Arc::new(workload));
        }
        let mut last: Option<Arc<ServiceSpec>> = None;
        let unpack = |wire: WireDesired| {
            let job = jobs
                .get(wire.job as usize)
                .ok_or(MessageError::field("job", "names none of its jobs"))?;
            let workload = specs
                .get(&wire.spec_hash)
                .ok_or(MessageError::field("spec_hash", "names none of its specs"))?;
            let service = ServiceSpec {
                name: wire.service.clone(),
                workload: Arc::clone(workload),
                placement: PlacementRules::from(wire.placement),
                replicas: wire.replicas,
                takeover: Takeover::from(wire.takeover),
            };
            let service = match &last {
                Some(known) if **known == service => Arc::clone(known),
                Some(_) | None => Arc::clone(last.insert(Arc::new(service))),
            };
            Ok(Desired {
                instance: wire.instance,
                slot: Slot {
                    job: job.id,
                    service: wire.service,
                    index: wire.index,
                },
                generation: wire.generation,
                job: Arc::clone(job),
                service,
                handover: wire.handover.into(),
            })
        };
        self.deploy.into_iter().map(unpack).collect()
    }
}

impl From<&JobHead> for WireHead {
    fn from(head: &JobHead) -> Self {
        Self {
            id: head.id,
            name: head.name.clone(),
            tenant: head.tenant.clone(),
            owner: match head.owner {
                Owner::Root => None,
                Owner::Cluster(cluster) => Some(cluster),
            },
            lost_after_ms: head.lost_after.map(|after| after.as_millis() as u64),
            on_partition: match head.on_partition {
                OnPartition::Stay => WireOnPartition::Stay.into(),
                OnPartition::Move => WireOnPartition::Move.into(),
            },
            reconcile: WireReconcile::from(head.reconcile).into(),
            created_at: head.created_at,
        }
    }
}

impl From<WireHead> for JobHead {
    fn from(wire: WireHead) -> Self {
        Self {
            id: wire.id,
            name: wire.name,
            tenant: wire.tenant,
            owner: wire.owner.map_or(Owner::Root, Owner::Cluster),
            lost_after: wire.lost_after_ms.map(Duration::from_millis),
            on_partition: match wire.on_partition {
                Spoken::Known(WireOnPartition::Stay) | Spoken::Newer(_) => OnPartition::Stay,
                Spoken::Known(WireOnPartition::Move) => OnPartition::Move,
            },
            reconcile: match wire.reconcile {
                Spoken::Known(policy) => policy.into(),
                Spoken::Newer(_) => Reconcile::default(),
            },
            created_at: wire.created_at,
        }
    }
}
