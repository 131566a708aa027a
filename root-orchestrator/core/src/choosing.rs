//! Which cluster may have a slot, and why none can.

use model::desired::Desired;
use model::id::ClusterId;
use model::job::ServiceSpec;
use model::reason::{Reason, ReasonCode};
use model::slot::Slot;
use schedulers::{Candidate, ClusterCandidate, Request, Scheduler, Unplaceable};

use crate::state::{SlotRecord, Stage, State};

impl State {
    /// The cluster for a slot.
    pub(crate) fn choose(
        &self,
        slot: &Slot,
        wanted: &Desired,
        except: &[ClusterId],
    ) -> Result<ClusterId, Unplaceable> {
        let candidates: Vec<ClusterCandidate<'_>> = self
            .candidates(slot)
            .filter(|candidate| !except.contains(&candidate.id))
            .collect();
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        let chosen = self.algorithm.place(&request, &candidates)?;
        candidates
            .get(chosen)
            .map(|candidate| candidate.id)
            .ok_or_else(Unplaceable::default)
    }

    pub(crate) fn candidates<'a>(
        &'a self,
        slot: &'a Slot,
    ) -> impl Iterator<Item = ClusterCandidate<'a>> {
        let service = (slot.job, slot.service.clone());
        let refusals = self.refusals.get(slot);
        self.clusters
            .iter()
            .map(move |(id, cluster)| ClusterCandidate {
                id: *id,
                name: &cluster.record.name,
                location: &cluster.record.location,
                reachable: cluster.is_heard(),
                scheduling: cluster.record.scheduling,
                aggregate: &cluster.aggregate,
                pending: cluster.pending.total(),
                refused: refusals
                    .and_then(|known| known.get(id))
                    .is_some_and(|at| *at >= cluster.capacity),
                replicas: cluster.services.get(&service).copied().unwrap_or(0),
            })
    }

    /// Where a vacant slot goes: where an order says, if that can have it.
    pub(crate) fn destination(
        &self,
        slot: &Slot,
        wanted: &Desired,
        record: &SlotRecord,
    ) -> Result<ClusterId, Unplaceable> {
        let named = record
            .moving
            .as_ref()
            .and_then(|moving| match moving.stage {
                Stage::Away { to } => Some(to),
                Stage::Inside { .. } | Stage::Across { .. } => None,
            });
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        let fits = |to: &ClusterId| {
            self.candidates(slot)
                .any(|candidate| candidate.id == *to && candidate.reject(&request).is_none())
        };
        match named.filter(fits) {
            Some(to) => Ok(to),
            None => self.choose(slot, wanted, &[]),
        }
    }

    /// The sentence for what no cluster can host.
    pub(crate) fn no_cluster(&self, unplaceable: &Unplaceable, service: &ServiceSpec) -> Reason {
        if let Some(fault) = unplaceable.by_scheduler() {
            return fault;
        }
        let rejections = &unplaceable.rejections;
        if self.clusters.is_empty() {
            let message = "no cluster has joined yet; start a cluster-orchestrator with --root and this root's address";
            return Reason::new(ReasonCode::NoCluster, message);
        }
        let rules = &service.placement;
        if let Some(wish) = rules.cluster.as_ref().or(rules.location.as_ref())
            && rejections.iter().all(|(code, ..)| {
                matches!(code, ReasonCode::NotPinned | ReasonCode::LocationMismatch)
            })
        {
            return Reason::new(
                ReasonCode::NoSuchCluster,
                format!("there is no cluster named {wish:?}, or at that place"),
            );
        }
        let code = rejections.main().unwrap_or(ReasonCode::NoCluster);
        let request = Request {
            workload: &service.workload,
            rules: &service.placement,
        };
        Reason::new(code, unplaceable.sentence(&request, "cluster"))
    }
}

/// Slots of one class fit or do not fit together.
pub(crate) fn class(service: &ServiceSpec) -> String {
    let workload = &service.workload;
    format!(
        "{:?} {} {:?}",
        workload.resources, workload.runtime, service.placement
    )
}
