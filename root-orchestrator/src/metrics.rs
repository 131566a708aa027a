//! What Prometheus is told beyond what both orchestrators tell (contract, Metrics).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use model::id::JobId;
use model::job::JobState;
use model::view::{ClusterState, ClusterView};
use orchestrator::{Standing, registered};
use prometheus::{GaugeVec, IntCounterVec, IntGauge, Opts, Registry};
use root_core::{State, Write};

use crate::relay::REASONS;
use crate::tier::{Handle, Root};

/// The series of one root. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) common: orchestrator::Metrics,
    clusters: GaugeVec,
    of_clusters: Arc<OfClusters>,
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
    clusters: Vec<ClusterView>,
    common: orchestrator::Seen,
}

impl Seen {
    /// Counts a state.
    pub(crate) fn of(state: &State, handle: &Handle) -> Self {
        let (jobs, instances) = state.tallies();
        let all = root_core::Page {
            after: None,
            limit: usize::MAX,
        };
        Self {
            clusters: state.clusters(&all),
            common: orchestrator::Seen {
                jobs,
                instances,
                standing: Standing::of::<Root>(state, handle),
            },
        }
    }
}

/// What each cluster told last, by its name.
#[derive(Debug, Clone)]
struct OfClusters {
    up: GaugeVec,
    nodes: GaugeVec,
    schedulable: GaugeVec,
    cores: GaugeVec,
    cores_free: GaugeVec,
    memory: GaugeVec,
    memory_free: GaugeVec,
    cpu_used: GaugeVec,
    memory_used: GaugeVec,
    jobs: GaugeVec,
}

impl OfClusters {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str| {
            registered(
                registry,
                GaugeVec::new(Opts::new(name, help), &["cluster"])?,
            )
        };
        Ok(Self {
            up: gauges("edgeio_cluster_up", "1 while a cluster is connected")?,
            nodes: gauges("edgeio_cluster_nodes", "Workers of a cluster")?,
            schedulable: gauges(
                "edgeio_cluster_nodes_schedulable",
                "Workers of a cluster that take work",
            )?,
            cores: gauges(
                "edgeio_cluster_cpu_cores_capacity",
                "Cores of a cluster that applications may use in all",
            )?,
            cores_free: gauges(
                "edgeio_cluster_cpu_cores_free",
                "Cores of a cluster that are not reserved",
            )?,
            memory: gauges(
                "edgeio_cluster_memory_capacity_bytes",
                "Memory of a cluster that applications may use in all",
            )?,
            memory_free: gauges(
                "edgeio_cluster_memory_free_bytes",
                "Memory of a cluster that is not reserved",
            )?,
            cpu_used: gauges(
                "edgeio_cluster_cpu_used_ratio",
                "Measured use of the cores of a cluster's workers, their mean, 0 to 1",
            )?,
            memory_used: gauges(
                "edgeio_cluster_memory_used_ratio",
                "Measured use of the memory of a cluster's workers, their mean, 0 to 1",
            )?,
            jobs: gauges("edgeio_cluster_jobs", "Jobs with an instance in a cluster")?,
        })
    }

    /// One that was forgotten must not go on. What one told that is not connected is no capacity.
    fn show(&self, clusters: &[ClusterView]) {
        let Self {
            up,
            nodes,
            schedulable,
            cores,
            cores_free,
            memory,
            memory_free,
            cpu_used,
            memory_used,
            jobs,
        } = self;
        let told = [
            nodes,
            schedulable,
            cores,
            cores_free,
            memory,
            memory_free,
            cpu_used,
            memory_used,
            jobs,
        ];
        up.reset();
        told.into_iter().for_each(GaugeVec::reset);
        for cluster in clusters {
            let name = [cluster.name.as_str()];
            let is_up = cluster.state != ClusterState::Inactive;
            up.with_label_values(&name).set(f64::from(u8::from(is_up)));
            if !is_up {
                continue;
            }
            let aggregate = &cluster.aggregate;
            let values = [
                f64::from(aggregate.number_of_nodes),
                f64::from(aggregate.schedulable_nodes),
                aggregate.allocatable.cpu.cores(),
                aggregate.room.cpu.cores(),
                aggregate.allocatable.memory.0 as f64,
                aggregate.room.memory.0 as f64,
                aggregate.cpu_percent / 100.0,
                aggregate.memory_percent / 100.0,
                f64::from(aggregate.number_of_jobs),
            ];
            for (gauges, value) in told.into_iter().zip(values) {
                gauges.with_label_values(&name).set(value);
            }
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
        let not_relayed = registered(&common.registry, IntCounterVec::new(refused, &["reason"])?)?;
        // Each is there from the start, so that a first refusal is seen as one more.
        for reason in REASONS {
            not_relayed.with_label_values(&[reason]);
        }
        Ok(Self {
            of_clusters: Arc::new(OfClusters::new(&common.registry)?),
            clusters: registered(&common.registry, GaugeVec::new(clusters, &["state"])?)?,
            relayed: registered(&common.registry, relayed)?,
            not_relayed,
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
                | Write::Policy(_)
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
            let is = |cluster: &&ClusterView| cluster.state.as_str() == state;
            let count = seen.clusters.iter().filter(is).count() as f64;
            self.clusters.with_label_values(&[state]).set(count);
        }
        self.of_clusters.show(&seen.clusters);
        self.common.show(&seen.common);
    }
}
