//! Candidates that own what they lend, and requests for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::aggregate::{Aggregate, Class};
use model::id::{ClusterId, NodeId};
use model::job::PlacementRules;
use model::location::Location;
use model::name::Name;
use model::node::Scheduling;
use model::units::{Bytes, Millicores, Resources};
use model::workload::{Port, Pull, Restart, RuntimeKind, SpecHash, Transport, Workload};
use schedulers::{ClusterCandidate, PortKey, Request, WorkerCandidate};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Millicores, MB of memory, MB of disk.
pub(crate) fn amount(cpu: u64, memory: u64, disk: u64) -> Resources {
    Resources {
        cpu: Millicores(cpu),
        memory: Bytes::from_mb(memory),
        disk: Bytes::from_mb(disk),
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) workload: Workload,
    pub(crate) rules: PlacementRules,
}

impl Wish {
    pub(crate) fn of(resources: Resources) -> Self {
        let workload = Workload {
            hash: SpecHash::default(),
            runtime: RuntimeKind::Docker,
            image: Some("image".to_owned()),
            pull: Pull::IfAbsent,
            command: Vec::new(),
            args: Vec::new(),
            environment: BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            files: BTreeMap::new(),
            resources,
            restart: Restart::Always,
            health: None,
            security: model::security::Security::default(),
            secrets: model::secret::Secrets::default(),
            stop_grace: Duration::from_secs(5),
        };
        Self {
            workload,
            rules: PlacementRules::default(),
        }
    }

    pub(crate) fn anything() -> Self {
        Self::of(Resources::default())
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn port(self, host: Option<u16>, container: u16, transport: Transport) -> Self {
        self.with(|wish| {
            wish.workload.ports.push(Port {
                host,
                container,
                transport,
            });
        })
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            workload: &self.workload,
            rules: &self.rules,
        }
    }
}

/// A worker that fits everything until something is changed.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) id: NodeId,
    pub(crate) name: Name,
    pub(crate) reachable: bool,
    pub(crate) scheduling: Scheduling,
    pub(crate) architecture: String,
    pub(crate) runtimes: BTreeSet<RuntimeKind>,
    pub(crate) silent: BTreeSet<RuntimeKind>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) room: Resources,
    pub(crate) ports: BTreeSet<PortKey>,
    pub(crate) replicas: u32,
}

impl Worker {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            id: NodeId::from_bits(u128::from(number)),
            name: name(&format!("worker-{number}")),
            reachable: true,
            scheduling: Scheduling::Open,
            architecture: "x86_64".to_owned(),
            runtimes: [RuntimeKind::Docker].into(),
            silent: BTreeSet::new(),
            labels: BTreeMap::new(),
            room: amount(4000, 4000, 4000),
            ports: BTreeSet::new(),
            replicas: 0,
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn label(self, key: &str, value: &str) -> Self {
        self.with(|worker| {
            worker.labels.insert(key.to_owned(), value.to_owned());
        })
    }

    pub(crate) fn candidate(&self) -> WorkerCandidate<'_> {
        WorkerCandidate {
            id: self.id,
            name: &self.name,
            reachable: self.reachable,
            scheduling: self.scheduling,
            architecture: &self.architecture,
            runtimes: &self.runtimes,
            silent: &self.silent,
            labels: &self.labels,
            room: self.room,
            ports: &self.ports,
            replicas: self.replicas,
        }
    }
}

pub(crate) fn workers(all: &[Worker]) -> Vec<WorkerCandidate<'_>> {
    all.iter().map(Worker::candidate).collect()
}

/// A cluster with one big worker, which fits everything until something is changed.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) name: Name,
    pub(crate) location: Location,
    pub(crate) reachable: bool,
    pub(crate) scheduling: Scheduling,
    pub(crate) aggregate: Aggregate,
    pub(crate) pending: Resources,
    pub(crate) refused: bool,
    pub(crate) replicas: u32,
}

impl Cluster {
    pub(crate) fn new(number: u32) -> Self {
        Self::of(number, &[amount(4000, 4000, 4000)])
    }

    /// With workers of that room, all alike.
    pub(crate) fn of(number: u32, rooms: &[Resources]) -> Self {
        let mut aggregate = Aggregate {
            number_of_nodes: rooms.len() as u32,
            ..Aggregate::default()
        };
        for room in rooms {
            aggregate.room = aggregate.room.plus(*room);
            aggregate.add_room(&class("x86_64", RuntimeKind::Docker), *room);
        }
        Self {
            id: ClusterId::from_bits(u128::from(number)),
            name: name(&format!("cluster-{number}")),
            location: Location::parse("city=Garching,country=DE").unwrap(),
            reachable: true,
            scheduling: Scheduling::Open,
            aggregate,
            pending: Resources::default(),
            refused: false,
            replicas: 0,
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn candidate(&self) -> ClusterCandidate<'_> {
        ClusterCandidate {
            id: self.id,
            name: &self.name,
            location: &self.location,
            reachable: self.reachable,
            scheduling: self.scheduling,
            aggregate: &self.aggregate,
            pending: self.pending,
            refused: self.refused,
            replicas: self.replicas,
        }
    }
}

pub(crate) fn clusters(all: &[Cluster]) -> Vec<ClusterCandidate<'_>> {
    all.iter().map(Cluster::candidate).collect()
}

pub(crate) fn class(architecture: &str, runtime: RuntimeKind) -> Class {
    Class {
        architecture: architecture.to_owned(),
        runtime,
        accelerator: None,
    }
}
