//! What a scheduler elsewhere is asked: what is to be placed, and the candidates that will do.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::desired::Desired;
use model::job::ServiceSpec;
use model::location::Location;
use model::name::Name;
use model::reason::ReasonCode;
use model::units::Resources;

use crate::policy::Remote;
use crate::{Candidate, ClusterCandidate, Request, WorkerCandidate};

/// A question to a scheduler elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Its number, which its answer is told with.
    pub number: u64,
    /// Who is asked.
    pub remote: Remote,
    /// The job.
    pub job: Name,
    /// Its service.
    pub service: Name,
    /// Which replica.
    pub index: u32,
    /// What runs, and where it may.
    pub spec: Arc<ServiceSpec>,
    /// Who will do.
    pub offers: Vec<Offer>,
}

impl Question {
    /// Who of those gets `wanted`.
    pub fn new(number: u64, remote: &Remote, wanted: &Desired, offers: Vec<Offer>) -> Self {
        Self {
            number,
            remote: remote.clone(),
            job: wanted.job.name.clone(),
            service: wanted.slot.service.clone(),
            index: wanted.slot.index,
            spec: Arc::clone(&wanted.service),
            offers,
        }
    }
}

/// A candidate that will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is, as text; empty: nobody said.
    pub location: String,
    /// A worker's CPU architecture; empty: a cluster.
    pub architecture: String,
    /// A worker's labels.
    pub labels: BTreeMap<String, String>,
    /// What is free there; at a cluster the most that one of its workers has, of those that could run it.
    pub room: Resources,
    /// Replicas of the service that it has.
    pub replicas: u32,
    /// What else is known of a cluster.
    pub workers: Option<Workers>,
}

/// What a root knows of a cluster's workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// How many it has.
    pub count: u32,
    /// What is free on all of those together that could run it, without what was assigned since they said so.
    pub room: Resources,
}

impl Offer {
    /// A worker.
    pub fn worker(candidate: &WorkerCandidate<'_>) -> Self {
        let place = ["location", "city"]
            .iter()
            .find_map(|key| candidate.labels.get(*key));
        Self {
            id: candidate.id.to_string(),
            name: candidate.name.to_string(),
            location: place.cloned().unwrap_or_default(),
            architecture: candidate.architecture.to_owned(),
            labels: candidate.labels.clone(),
            room: candidate.room,
            replicas: candidate.replicas,
            workers: None,
        }
    }

    /// A cluster, to which that may go.
    pub fn cluster(candidate: &ClusterCandidate<'_>, request: &Request<'_>) -> Self {
        let architectures = &request.rules.architectures;
        let runtime = request.workload.runtime;
        let (mut hole, mut total) = (Resources::default(), Resources::default());
        for class in candidate.aggregate.classes_for(runtime, architectures) {
            total = total.plus(class.total);
            hole = class.holes.iter().fold(hole, |most, hole| most.most(*hole));
        }
        Self {
            id: candidate.id.to_string(),
            name: candidate.name.to_string(),
            location: candidate.location.text.clone(),
            architecture: String::new(),
            labels: BTreeMap::new(),
            room: hole,
            replicas: candidate.replicas,
            workers: Some(Workers {
                count: candidate.aggregate.number_of_nodes,
                room: total.minus(candidate.pending),
            }),
        }
    }
}

/// Whoever asks has looked whether it will do.
impl Candidate for Offer {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_called(&self, key: &str) -> bool {
        self.name == key || self.id == key
    }

    fn reject(&self, _request: &Request<'_>) -> Option<ReasonCode> {
        None
    }

    fn replicas(&self) -> u32 {
        self.replicas
    }

    fn room(&self) -> Resources {
        self.room
    }

    fn is_at(&self, location: &str) -> bool {
        let wish = location.to_lowercase();
        let named = [&self.name, &self.location].into_iter().chain(
            ["location", "city"]
                .iter()
                .filter_map(|key| self.labels.get(*key)),
        );
        named
            .map(|here| here.to_lowercase())
            .any(|here| here == wish)
            || Location::parse(&self.location).is_ok_and(|here| here.matches(location))
    }
}
