//! What Prometheus is told (contract, Metrics).

use std::time::Duration;

use cluster_core::{State, Write};
use model::job::{JobState, Tally};
use model::node::Liveness;
use model::view::NodeView;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, Opts, Registry,
};

/// The series of one cluster. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) http: rest::Metrics,
    /// Messages of workers that could not be read.
    pub(crate) dropped: IntCounter,
    jobs: GaugeVec,
    instances: GaugeVec,
    root: Gauge,
    deploy: Histogram,
    placement: HistogramVec,
    commit: Histogram,
    cores_free: GaugeVec,
    memory_free: GaugeVec,
    up: GaugeVec,
}

impl Metrics {
    /// A registry with all series.
    ///
    /// # Errors
    /// Two series of one name: a bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str, label: &str| {
            registered(&registry, GaugeVec::new(Opts::new(name, help), &[label])?)
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
        let dropped = "Messages of workers that could not be read";
        let root = "1 while the uplink to the root is open";
        Ok(Self {
            http: rest::Metrics::register(&registry)?,
            dropped: registered(
                &registry,
                IntCounter::new("edgeio_messages_dropped_total", dropped)?,
            )?,
            jobs: gauges("edgeio_jobs", "Jobs by state", "state")?,
            instances: gauges("edgeio_instances", "Instances by state", "state")?,
            root: registered(&registry, Gauge::new("edgeio_root_connected", root)?)?,
            deploy: registered(
                &registry,
                Histogram::with_opts(seconds("edgeio_deploy_seconds", deploy, &long))?,
            )?,
            placement: registered(&registry, HistogramVec::new(placement, &["tier"])?)?,
            commit: registered(
                &registry,
                Histogram::with_opts(seconds("edgeio_commit_seconds", commit, &short))?,
            )?,
            cores_free: gauges(
                "edgeio_node_cpu_cores_free",
                "Cores of a worker that are not reserved",
                "node",
            )?,
            memory_free: gauges(
                "edgeio_node_memory_free_bytes",
                "Memory of a worker that is not reserved",
                "node",
            )?,
            up: gauges("edgeio_node_up", "1 while a worker is heard", "node")?,
            registry,
        })
    }

    /// A commit took this long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// A turn with these writes took this long.
    pub(crate) fn placed(&self, writes: &[Write], took: Duration) {
        let places =
            |write: &Write| matches!(write, Write::Event(event) if event.cause == "placed");
        if writes.iter().any(places) {
            self.placement
                .with_label_values(&["cluster"])
                .observe(took.as_secs_f64());
        }
    }

    /// These writes are committed.
    pub(crate) fn happened(&self, state: &State, writes: &[Write]) {
        for write in writes {
            if let Write::Event(event) = write
                && event.to == JobState::Running.as_str()
                && event.generation.placement == 1
                && let Some(created) = state.created_at(event.job)
            {
                let millis = event.at.0.saturating_sub(created.0).max(0);
                self.deploy.observe(millis as f64 / 1_000.0);
            }
        }
    }

    /// Sets what is counted when it is asked for.
    pub(crate) fn show(&self, jobs: &[(JobState, u64)], tally: &Tally, nodes: &[NodeView]) {
        for (state, count) in jobs {
            self.jobs
                .with_label_values(&[state.as_str()])
                .set(*count as f64);
        }
        let instances = [
            (JobState::Requested, tally.requested),
            (JobState::ScheduledCluster, tally.scheduled_cluster),
            (JobState::ScheduledNode, tally.scheduled_node),
            (JobState::Running, tally.running),
            (JobState::Failed, tally.failed),
            (JobState::NotDeployed, tally.not_deployed),
            (JobState::Unknown, tally.unknown),
            (JobState::Terminated, tally.terminated),
        ];
        for (state, count) in instances {
            self.instances
                .with_label_values(&[state.as_str()])
                .set(f64::from(count));
        }
        // A worker that was renamed must not go on under its old name.
        self.cores_free.reset();
        self.memory_free.reset();
        self.up.reset();
        for node in nodes {
            let name = [node.facts.name.as_str()];
            self.cores_free
                .with_label_values(&name)
                .set(node.room.cpu.cores());
            self.memory_free
                .with_label_values(&name)
                .set(node.room.memory.0 as f64);
            let up = f64::from(u8::from(node.liveness == Liveness::Alive));
            self.up.with_label_values(&name).set(up);
        }
    }

    /// The uplink opened or closed.
    pub(crate) fn root_connected(&self, connected: bool) {
        self.root.set(f64::from(u8::from(connected)));
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    series: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(series.clone()))?;
    Ok(series)
}
