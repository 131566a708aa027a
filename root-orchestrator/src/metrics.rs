//! What Prometheus is told beyond what both orchestrators tell (contract, Metrics).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use model::id::JobId;
use model::job::JobState;
use model::view::ClusterState;
use orchestrator::{Counts, registered};
use prometheus::{GaugeVec, IntCounterVec, IntGauge, Opts};
use root_core::{State, Write};

/// The series of one root. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) common: orchestrator::Metrics,
    clusters: GaugeVec,
    /// Workers that are relayed to their clusters.
    pub(crate) relayed: IntGauge,
    /// Peers that were not relayed, by the reason.
    pub(crate) not_relayed: IntCounterVec,
    /// Jobs that were accepted in this run and do not run wholly yet.
    deploying: Arc<Mutex<HashMap<JobId, Deploying>>>,
}

#[derive(Debug, Clone, Copy)]
struct Deploying {
    since: Instant,
    /// Instances that were not seen running.
    left: u32,
}

/// What is counted when it is asked for.
#[derive(Debug)]
pub(crate) struct Seen {
    clusters: Counts,
    jobs: Counts,
    instances: Counts,
}

impl Seen {
    /// Counts a state.
    pub(crate) fn of(state: &State) -> Self {
        let (jobs, instances) = state.tallies();
        let all = root_core::Page {
            after: None,
            limit: usize::MAX,
        };
        let mut clusters = Counts::new();
        for cluster in state.clusters(&all) {
            *clusters.entry(cluster.state.as_str()).or_default() += 1;
        }
        Self {
            clusters,
            jobs,
            instances,
        }
    }
}

impl Metrics {
    /// All series, in the registry of the common ones.
    ///
    /// # Errors
    /// Two series of one name: a bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let common = orchestrator::Metrics::new()?;
        let clusters = Opts::new("edgeio_clusters", "Clusters by state");
        let relayed = IntGauge::new(
            "edgeio_relayed_workers",
            "Workers that reach their clusters through this root",
        )?;
        let refused = Opts::new(
            "edgeio_relay_refused_total",
            "Connections that were not relayed, by the reason",
        );
        Ok(Self {
            clusters: registered(&common.registry, GaugeVec::new(clusters, &["state"])?)?,
            relayed: registered(&common.registry, relayed)?,
            not_relayed: registered(&common.registry, IntCounterVec::new(refused, &["reason"])?)?,
            deploying: Arc::default(),
            common,
        })
    }

    /// These writes are committed. Only first deployments are measured: a change or a repair has another beginning.
    pub(crate) fn happened(&self, writes: &[Write]) {
        let mut deploying = self
            .deploying
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            match write {
                Write::Job(job) if job.generation == 1 && !job.is_deleted() => {
                    let left = job.spec.services.iter().map(|service| service.replicas);
                    let deployment = Deploying {
                        since: Instant::now(),
                        left: left.sum(),
                    };
                    deploying.insert(job.id, deployment);
                }
                Write::Job(job) => {
                    deploying.remove(&job.id);
                }
                Write::Event(event) if event.to == JobState::Running.as_str() => {
                    let Some(deployment) = deploying.get_mut(&event.job) else {
                        continue;
                    };
                    self.common.deployed(deployment.since.elapsed());
                    deployment.left = deployment.left.saturating_sub(1);
                    if deployment.left == 0 {
                        deploying.remove(&event.job);
                    }
                }
                Write::Term(_)
                | Write::Superseded
                | Write::ForgetJob(_)
                | Write::Submission(_)
                | Write::Unsettled(_)
                | Write::ForgetSubmission(_)
                | Write::Slot { .. }
                | Write::Cluster { .. }
                | Write::ForgetCluster(_)
                | Write::Floor(_)
                | Write::Revision { .. }
                | Write::Event(_)
                | Write::ForgetEvent(..)
                | Write::Heard { .. }
                | Write::Soft(_) => {}
            }
        }
    }

    /// Sets what is counted when it is asked for; a state that nothing is in shows 0.
    pub(crate) fn show(&self, seen: &Seen) {
        let states = [
            ClusterState::Active,
            ClusterState::Degraded,
            ClusterState::Inactive,
        ];
        for state in states.map(ClusterState::as_str) {
            let count = seen.clusters.get(state).copied().unwrap_or_default() as f64;
            self.clusters.with_label_values(&[state]).set(count);
        }
        self.common.show(&seen.jobs, &seen.instances);
    }
}
