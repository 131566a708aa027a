//! What Prometheus is told beyond what both orchestrators tell (contract, Metrics).

use std::sync::Arc;
use std::time::Duration;

use cluster_core::{State, Write};
use model::job::{JobState, Tally};
use model::node::Liveness;
use model::view::NodeView;
use orchestrator::{Counts, Standing, registered};
use prometheus::{GaugeVec, IntGauge, Opts, Registry};

/// How a worker may be heard.
const LIVENESS: [Liveness; 4] = [
    Liveness::Alive,
    Liveness::Suspect,
    Liveness::Lost,
    Liveness::Reconnecting,
];

/// What is counted when it is asked for.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) jobs: Counts,
    pub(crate) tally: Tally,
    pub(crate) standing: Standing,
    pub(crate) nodes: Vec<NodeView>,
}

/// The series of one cluster. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) common: orchestrator::Metrics,
    /// Not there at a cluster that has no root.
    root: GaugeVec,
    broker: IntGauge,
    nodes: GaugeVec,
    of_nodes: Arc<OfNodes>,
}

/// What is known of each worker, by its name.
#[derive(Debug, Clone)]
struct OfNodes {
    up: GaugeVec,
    instances: GaugeVec,
    cores: GaugeVec,
    cores_free: GaugeVec,
    memory: GaugeVec,
    memory_free: GaugeVec,
    /// Measured, while the worker is heard: cores, memory and disk that are not in use, and how much is of cores and memory.
    measured: [GaugeVec; 5],
}

impl OfNodes {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str| {
            registered(registry, GaugeVec::new(Opts::new(name, help), &["node"])?)
        };
        Ok(Self {
            up: gauges("edgeio_node_up", "1 while a worker is heard")?,
            instances: gauges("edgeio_node_instances", "Instances that a worker is to run")?,
            cores: gauges(
                "edgeio_node_cpu_cores_capacity",
                "Cores of a worker that applications may use in all",
            )?,
            cores_free: gauges(
                "edgeio_node_cpu_cores_free",
                "Cores of a worker that are not reserved",
            )?,
            memory: gauges(
                "edgeio_node_memory_capacity_bytes",
                "Memory of a worker that applications may use in all",
            )?,
            memory_free: gauges(
                "edgeio_node_memory_free_bytes",
                "Memory of a worker that is not reserved",
            )?,
            measured: [
                gauges(
                    "edgeio_node_cpu_cores_unused",
                    "Cores of a worker's machine that are not in use, as measured",
                )?,
                gauges(
                    "edgeio_node_memory_unused_bytes",
                    "Memory of a worker's machine that is not in use, as measured",
                )?,
                gauges(
                    "edgeio_node_disk_unused_bytes",
                    "Disk of a worker's machine that is not in use, as measured",
                )?,
                gauges(
                    "edgeio_node_cpu_used_ratio",
                    "Cores of a worker's machine that are in use, as measured, 0 to 1",
                )?,
                gauges(
                    "edgeio_node_memory_used_ratio",
                    "Memory of a worker's machine that is in use, as measured, 0 to 1",
                )?,
            ],
        })
    }

    /// A worker that was renamed must not go on under its old name.
    fn show(&self, nodes: &[NodeView]) {
        let Self {
            up,
            instances,
            cores,
            cores_free,
            memory,
            memory_free,
            measured,
        } = self;
        let known = [up, instances, cores, cores_free, memory, memory_free];
        known.into_iter().chain(measured).for_each(GaugeVec::reset);
        for node in nodes {
            let name = [node.facts.name.as_str()];
            let is_up = node.liveness == Liveness::Alive;
            let capacity = &node.facts.allocatable;
            let values = [
                f64::from(u8::from(is_up)),
                f64::from(node.instances),
                capacity.cpu.cores(),
                node.room.cpu.cores(),
                capacity.memory.0 as f64,
                node.room.memory.0 as f64,
            ];
            for (gauges, value) in known.into_iter().zip(values) {
                gauges.with_label_values(&name).set(value);
            }
            let Some(usage) = node.usage.filter(|_| is_up) else {
                continue;
            };
            let values = [
                usage.free_cores.cores(),
                usage.memory_free.0 as f64,
                usage.disk_free.0 as f64,
                usage.cpu_percent / 100.0,
                usage.memory_percent / 100.0,
            ];
            for (gauges, value) in measured.iter().zip(values) {
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
        let registry = &common.registry;
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, GaugeVec::new(Opts::new(name, help), labels)?)
        };
        let root = "1 while the uplink to the root is open";
        let broker = "1 while the MQTT broker can be reached; the own endpoint always can";
        let this = Self {
            root: gauges("edgeio_root_connected", root, &[])?,
            broker: registered(registry, IntGauge::new("edgeio_broker_connected", broker)?)?,
            nodes: gauges("edgeio_nodes", "Workers by state", &["state"])?,
            of_nodes: Arc::new(OfNodes::new(registry)?),
            common,
        };
        this.broker_reachable(true);
        Ok(this)
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

    /// Sets what is counted when it is asked for; a state that nothing is in shows 0.
    pub(crate) fn show(&self, seen: Seen) {
        let Seen {
            jobs,
            tally,
            standing,
            nodes,
        } = seen;
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
        self.common.show(&orchestrator::Seen {
            jobs,
            instances: Counts::from(instances),
            standing,
        });
        for liveness in LIVENESS {
            let is = |node: &&NodeView| node.liveness == liveness;
            let count = nodes.iter().filter(is).count() as f64;
            let state = [liveness.as_str()];
            self.nodes.with_label_values(&state).set(count);
        }
        self.of_nodes.show(&nodes);
    }

    /// The uplink opened or closed.
    pub(crate) fn root_connected(&self, connected: bool) {
        let gauge = self.root.with_label_values::<&str>(&[]);
        gauge.set(f64::from(u8::from(connected)));
    }

    /// The broker can be reached, or not.
    pub(crate) fn broker_reachable(&self, reachable: bool) {
        self.broker.set(reachable.into());
    }
}
