//! The runtime that runs nothing: every start succeeds at once. For load tests and simulated workers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::id::InstanceId;
use model::instance::{Endpoint, Exit};
use model::workload::Workload;
use tokio::sync::mpsc;

use super::{Exited, Found, Identity, Started, Status, wall};

/// A list in memory.
#[derive(Debug)]
pub struct Noop {
    exits: mpsc::Sender<Exited>,
    instances: Mutex<BTreeMap<InstanceId, Found>>,
}

impl Noop {
    /// An empty one, which tells ends to `exits`.
    pub fn new(exits: mpsc::Sender<Exited>) -> Self {
        Self {
            exits,
            instances: Mutex::default(),
        }
    }

    pub(super) fn start(&self, identity: &Identity, workload: &Workload) -> Started {
        let mut instances = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(Found {
            status: Status::Running(started),
            ..
        }) = instances.get(&identity.instance)
        {
            return started.clone();
        }
        let endpoints = workload.ports.iter().map(|port| Endpoint {
            container_port: port.container,
            host_port: port
                .host
                .filter(|host| *host != 0)
                .unwrap_or(port.container),
            transport: port.transport,
        });
        let started = Started {
            since: wall(),
            endpoints: endpoints.collect(),
        };
        let found = Found {
            instance: identity.instance,
            spec_hash: workload.hash,
            generation: identity.generation,
            status: Status::Running(started.clone()),
        };
        instances.insert(identity.instance, found);
        started
    }

    pub(super) fn stop(&self, instance: InstanceId) {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&instance);
    }

    pub(super) fn has(&self, instance: InstanceId) -> bool {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&instance)
    }

    pub(super) fn list(&self) -> Vec<Found> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Plays the end of an application that runs, as tests and simulators want it; anything else is ignored.
    pub async fn end(&self, instance: InstanceId, exit: Exit) {
        let ended = {
            let mut instances = self
                .instances
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match instances.get_mut(&instance) {
                Some(found) if matches!(found.status, Status::Running(_)) => {
                    found.status = Status::Exited(exit.clone());
                    true
                }
                Some(_) | None => false,
            }
        };
        if ended {
            // Nobody listens while the engine ends.
            let _ = self.exits.send(Exited { instance, exit }).await;
        }
    }
}
