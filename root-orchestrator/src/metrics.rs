//! What Prometheus is told (contract, Metrics).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::id::JobId;
use model::job::JobState;
use model::view::ClusterState;
use prometheus::core::Collector;
use prometheus::{GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, Opts, Registry};
use root_core::{State, Write};

/// The series of one root. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) http: rest::Metrics,
    /// Messages of clusters that could not be read.
    pub(crate) dropped: IntCounter,
    clusters: GaugeVec,
    jobs: GaugeVec,
    instances: GaugeVec,
    deploy: Histogram,
    placement: HistogramVec,
    commit: Histogram,
    /// Jobs that were accepted in this run and do not run wholly yet.
    deploying: Arc<Mutex<HashMap<JobId, Deploying>>>,
}

#[derive(Debug, Clone, Copy)]
struct Deploying {
    since: Instant,
    /// Instances that were not seen running.
    left: u32,
}

/// What is counted when it is asked for: rows by state.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    clusters: BTreeMap<&'static str, u64>,
    jobs: BTreeMap<&'static str, u64>,
    instances: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts a state.
    pub(crate) fn of(state: &State) -> Self {
        let (jobs, instances) = state.tallies();
        let all = root_core::Page {
            after: None,
            limit: usize::MAX,
        };
        let mut clusters = BTreeMap::new();
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
    /// A registry with all series.
    ///
    /// # Errors
    /// Two series of one name: a bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str| {
            registered(&registry, GaugeVec::new(Opts::new(name, help), &["state"])?)
        };
        let seconds = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::new(name, help).buckets(buckets.to_vec())
        };
        let long = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        let short = [
            0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0,
        ];
        let deploy = "Time from a job's acceptance to the first RUNNING of an instance, in seconds";
        let placement = "Time of a turn that placed something, in seconds";
        let placement = seconds("edgeio_placement_seconds", placement, &short);
        let commit = "Time of a commit, in seconds";
        let dropped = "Messages of clusters that could not be read";
        Ok(Self {
            http: rest::Metrics::register(&registry)?,
            dropped: registered(
                &registry,
                IntCounter::new("edgeio_messages_dropped_total", dropped)?,
            )?,
            clusters: gauges("edgeio_clusters", "Clusters by state")?,
            jobs: gauges("edgeio_jobs", "Jobs by state")?,
            instances: gauges("edgeio_instances", "Instances by state")?,
            deploy: registered(
                &registry,
                Histogram::with_opts(seconds("edgeio_deploy_seconds", deploy, &long))?,
            )?,
            placement: registered(&registry, HistogramVec::new(placement, &["tier"])?)?,
            commit: registered(
                &registry,
                Histogram::with_opts(seconds("edgeio_commit_seconds", commit, &short))?,
            )?,
            deploying: Arc::default(),
            registry,
        })
    }

    /// A commit took this long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// A turn with these writes took this long.
    pub(crate) fn placed(&self, writes: &[Write], took: Duration) {
        let assigns =
            |write: &Write| matches!(write, Write::Event(event) if event.cause == "assigned");
        if writes.iter().any(assigns) {
            self.placement
                .with_label_values(&["root"])
                .observe(took.as_secs_f64());
        }
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
                    self.deploy
                        .observe(deployment.since.elapsed().as_secs_f64());
                    deployment.left = deployment.left.saturating_sub(1);
                    if deployment.left == 0 {
                        deploying.remove(&event.job);
                    }
                }
                Write::Term(_)
                | Write::ForgetJob(_)
                | Write::Slot { .. }
                | Write::Cluster { .. }
                | Write::Revision { .. }
                | Write::Event(_)
                | Write::ForgetEvent(..)
                | Write::Soft(_) => {}
            }
        }
    }

    /// Sets what is counted when it is asked for; a state that nothing is in shows 0.
    pub(crate) fn show(&self, counts: &Counts) {
        let states = [
            ClusterState::Active,
            ClusterState::Degraded,
            ClusterState::Inactive,
        ];
        let of = |counts: &BTreeMap<&'static str, u64>, state: &str| {
            counts.get(state).copied().unwrap_or_default() as f64
        };
        for state in states.map(ClusterState::as_str) {
            let count = of(&counts.clusters, state);
            self.clusters.with_label_values(&[state]).set(count);
        }
        for state in JobState::ALL.map(JobState::as_str) {
            let count = of(&counts.jobs, state);
            self.jobs.with_label_values(&[state]).set(count);
            if !["MIGRATING", "SCALING"].contains(&state) {
                let count = of(&counts.instances, state);
                self.instances.with_label_values(&[state]).set(count);
            }
        }
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    series: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(series.clone()))?;
    Ok(series)
}
