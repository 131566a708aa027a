//! What a scheduler elsewhere is asked: what is to be placed, and the candidates that will do.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// What is free there; at a cluster in its largest hole.
    pub room: Resources,
    /// Replicas of the service that it has.
    pub replicas: u32,
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
        }
    }

    /// A cluster.
    pub fn cluster(candidate: &ClusterCandidate<'_>) -> Self {
        Self {
            id: candidate.id.to_string(),
            name: candidate.name.to_string(),
            location: candidate.location.text.clone(),
            architecture: String::new(),
            labels: BTreeMap::new(),
            room: candidate.room(),
            replicas: candidate.replicas,
        }
    }
}

/// Whoever asks has looked whether it will do.
impl Candidate for Offer {
    fn name(&self) -> &str {
        &self.name
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
