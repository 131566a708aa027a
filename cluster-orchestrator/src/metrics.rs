//! What Prometheus is told beyond what both orchestrators tell (contract, Metrics).

use std::time::Duration;

use cluster_core::{State, Write};
use model::job::{JobState, Tally};
use model::node::Liveness;
use model::view::NodeView;
use orchestrator::{Counts, registered};
use prometheus::{Gauge, GaugeVec, Opts};

/// The series of one cluster. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) common: orchestrator::Metrics,
    root: Gauge,
    cores_free: GaugeVec,
    memory_free: GaugeVec,
    up: GaugeVec,
}

impl Metrics {
    /// All series, in the registry of the common ones.
    ///
    /// # Errors
    /// Two series of one name: a bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let common = orchestrator::Metrics::new()?;
        let of_nodes = |name: &str, help: &str| {
            let gauges = GaugeVec::new(Opts::new(name, help), &["node"])?;
            registered(&common.registry, gauges)
        };
        let cores = "Cores of a worker that are not reserved";
        let memory = "Memory of a worker that is not reserved";
        let root = "1 while the uplink to the root is open";
        Ok(Self {
            cores_free: of_nodes("edgeio_node_cpu_cores_free", cores)?,
            memory_free: of_nodes("edgeio_node_memory_free_bytes", memory)?,
            up: of_nodes("edgeio_node_up", "1 while a worker is heard")?,
            root: registered(&common.registry, Gauge::new("edgeio_root_connected", root)?)?,
            common,
        })
    }

    /// These writes are committed.
    pub(crate) fn happened(&self, state: &State, writes: &[Write]) {
        for write in writes {
            if let Write::Event(event) = write
                && event.to == JobState::Running.as_str()
                && event.generation.placement == 1
                && let Some(created) = state.created_at(event.job)
            {
                // What a worker tells has the time of its clock, which says nothing here.
                let now = orchestrator::clock::now().wall;
                let millis = now.0.saturating_sub(created.0).max(0);
                self.common.deployed(Duration::from_millis(millis as u64));
            }
        }
    }

    /// Sets what is counted when it is asked for.
    pub(crate) fn show(&self, jobs: &Counts, tally: &Tally, nodes: &[NodeView]) {
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
        let instances = instances.map(|(state, count)| (state.as_str(), u64::from(count)));
        self.common.show(jobs, &Counts::from(instances));
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
