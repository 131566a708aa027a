//! Workers as candidates of their cluster.

use std::collections::{BTreeMap, BTreeSet};

use model::id::NodeId;
use model::name::Name;
use model::node::Scheduling;
use model::reason::ReasonCode;
use model::units::Resources;
use model::workload::{RuntimeKind, Transport, Workload};

use crate::{Candidate, Request};

/// A host port with its transport.
pub type PortKey = (Transport, u16);

/// The host ports that a workload insists on.
pub fn fixed_ports(workload: &Workload) -> impl Iterator<Item = PortKey> {
    let native = workload.runtime == RuntimeKind::Native;
    workload.ports.iter().filter_map(move |port| {
        // A native application binds its own port; a container's is chosen unless the document names one.
        port.host
            .or_else(|| native.then_some(port.container))
            .map(|host| (port.transport, host))
    })
}

/// A worker with what is free on it.
#[derive(Debug, Clone, Copy)]
pub struct WorkerCandidate<'a> {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: &'a Name,
    /// It can be heard.
    pub reachable: bool,
    /// Whether it gets work.
    pub scheduling: Scheduling,
    /// CPU architecture.
    pub architecture: &'a str,
    /// Its runtimes.
    pub runtimes: &'a BTreeSet<RuntimeKind>,
    /// Those of them that do not answer.
    pub silent: &'a BTreeSet<RuntimeKind>,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Allocatable minus reserved.
    pub room: Resources,
    /// Host ports in use by instances.
    pub ports: &'a BTreeSet<PortKey>,
    /// Replicas of the service that it has.
    pub replicas: u32,
}

impl Candidate for WorkerCandidate<'_> {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn is_called(&self, key: &str) -> bool {
        self.name.as_str() == key || self.id.to_string() == key
    }

    /// First what never changes, then what may, then room: so that what is named last is the nearest miss.
    fn reject(&self, request: &Request<'_>) -> Option<ReasonCode> {
        let (workload, rules) = (request.workload, request.rules);
        let asked = workload.resources;
        if rules
            .worker
            .as_ref()
            .is_some_and(|pin| *pin != *self.name.as_str() && *pin != self.id.to_string())
        {
            Some(ReasonCode::NotPinned)
        } else if !rules.architectures.is_empty()
            && !rules
                .architectures
                .iter()
                .any(|name| name == self.architecture)
        {
            Some(ReasonCode::ArchitectureMismatch)
        } else if !self.runtimes.contains(&workload.runtime) {
            Some(ReasonCode::RuntimeMissing)
        } else if rules
            .labels
            .iter()
            .any(|(key, value)| self.labels.get(key) != Some(value))
        {
            Some(ReasonCode::LabelMismatch)
        } else if self.scheduling != Scheduling::Open {
            Some(ReasonCode::Cordoned)
        } else if !self.reachable {
            Some(ReasonCode::Unreachable)
        } else if self.silent.contains(&workload.runtime) {
            Some(ReasonCode::RuntimeDegraded)
        } else if fixed_ports(workload).any(|port| self.ports.contains(&port)) {
            Some(ReasonCode::PortTaken)
        } else {
            lack(asked, self.room)
        }
    }

    fn replicas(&self) -> u32 {
        self.replicas
    }

    fn room(&self) -> Resources {
        self.room
    }

    fn is_at(&self, location: &str) -> bool {
        ["location", "city"]
            .iter()
            .filter_map(|key| self.labels.get(*key))
            .any(|here| here.to_lowercase() == location.to_lowercase())
    }
}

/// What of `asked` does not fit into `room`.
pub(crate) fn lack(asked: Resources, room: Resources) -> Option<ReasonCode> {
    if asked.memory > room.memory {
        Some(ReasonCode::InsufficientMemory)
    } else if asked.cpu > room.cpu {
        Some(ReasonCode::InsufficientCpu)
    } else if asked.disk > room.disk {
        Some(ReasonCode::InsufficientDisk)
    } else {
        None
    }
}
