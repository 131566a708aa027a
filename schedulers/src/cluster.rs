//! Clusters as candidates of their root.

use model::aggregate::Aggregate;
use model::id::ClusterId;
use model::location::Location;
use model::name::Name;
use model::node::Scheduling;
use model::reason::ReasonCode;
use model::units::Resources;

use crate::worker::lack;
use crate::{Candidate, Request};

/// A cluster, by its aggregate.
#[derive(Debug, Clone, Copy)]
pub struct ClusterCandidate<'a> {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: &'a Name,
    /// Where it is.
    pub location: &'a Location,
    /// It can be heard.
    pub reachable: bool,
    /// Whether it gets work.
    pub scheduling: Scheduling,
    /// Its last aggregate.
    pub aggregate: &'a Aggregate,
    /// Assigned by the root and not yet in the aggregate.
    pub pending: Resources,
    /// It refused this slot, and nothing became free since.
    pub refused: bool,
    /// Replicas of the service that it has.
    pub replicas: u32,
}

impl Candidate for ClusterCandidate<'_> {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn is_called(&self, key: &str) -> bool {
        self.name.as_str() == key || self.id.to_string() == key
    }

    fn reject(&self, request: &Request<'_>) -> Option<ReasonCode> {
        let rules = request.rules;
        if rules
            .cluster
            .as_ref()
            .is_some_and(|pin| *pin != *self.name.as_str() && *pin != self.id.to_string())
        {
            return Some(ReasonCode::NotPinned);
        }
        if rules
            .location
            .as_ref()
            .is_some_and(|wish| !self.is_at(wish))
        {
            return Some(ReasonCode::LocationMismatch);
        }
        if !self.reachable {
            return Some(ReasonCode::Unreachable);
        }
        if self.scheduling != Scheduling::Open {
            return Some(ReasonCode::Cordoned);
        }
        if self.aggregate.number_of_nodes == 0 {
            return Some(ReasonCode::NoWorker);
        }
        self.room_for(request)
            .or_else(|| self.refused.then_some(ReasonCode::Refused))
    }

    fn replicas(&self) -> u32 {
        self.replicas
    }

    fn room(&self) -> Resources {
        let holes = self.aggregate.classes.iter().flat_map(|class| &class.holes);
        holes.fold(Resources::default(), |most, hole| most.most(*hole))
    }

    fn is_at(&self, location: &str) -> bool {
        self.name.as_str().to_lowercase() == location.to_lowercase()
            || self.location.matches(location)
    }
}

impl ClusterCandidate<'_> {
    /// What is missing in every class of workers that could run it.
    fn room_for(&self, request: &Request<'_>) -> Option<ReasonCode> {
        let asked = request.workload.resources;
        let runtime = request.workload.runtime;
        let mut missing = None;
        for class in self
            .aggregate
            .classes_for(runtime, &request.rules.architectures)
        {
            let total = class.total.minus(self.pending);
            let in_hole = class.holes.iter().map(|hole| lack(asked, *hole)).min();
            match lack(asked, total).or_else(|| in_hole.flatten()) {
                None => return None,
                Some(code) => missing = Some(code),
            }
        }
        missing.or_else(|| {
            let elsewhere = self.aggregate.classes_for(runtime, &[]).next().is_some();
            Some(if elsewhere {
                ReasonCode::ArchitectureMismatch
            } else if self.aggregate.silent.contains(&runtime) {
                ReasonCode::RuntimeDegraded
            } else {
                ReasonCode::RuntimeMissing
            })
        })
    }
}
