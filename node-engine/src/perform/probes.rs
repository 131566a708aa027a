//! Probes under way: few at once, none of an instance that is being stopped.
//!
//! # Guarantees
//! A probe that hangs holds up nothing but the probes of its own kind, and those for no longer than its timeout.

use std::collections::HashMap;
use std::sync::Arc;

use model::id::InstanceId;
use model::workload::Probe;
use node_core::{Input, ProbeId, ProbeOutcome};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id};

use crate::runtime::{Asked, Runtime};

/// Requests and connections under way at once: each is a socket, and a hundred that hang must not delay the others.
const REQUESTS: usize = 256;
/// Commands under way at once: each is a process.
const COMMANDS: usize = 16;

/// The probes under way.
#[derive(Debug)]
pub(super) struct Probes {
    requests: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    under_way: HashMap<InstanceId, AbortHandle>,
}

impl Probes {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(REQUESTS)),
            commands: Arc::new(Semaphore::new(COMMANDS)),
            under_way: HashMap::new(),
        }
    }

    /// What to run. Its time begins when it has a place.
    pub(super) fn task(
        &self,
        runtime: Option<Arc<Runtime>>,
        instance: InstanceId,
        id: ProbeId,
        asked: Asked,
    ) -> impl Future<Output = Input> + Send + 'static {
        let places = match &asked.probe {
            Probe::Http { .. } | Probe::Tcp { .. } => Arc::clone(&self.requests),
            Probe::Command(_) => Arc::clone(&self.commands),
        };
        async move {
            let _place = places.acquire().await;
            let found = match runtime {
                Some(runtime) => runtime.probe(instance, &asked).await,
                None => Err("this worker has no such runtime".to_owned()),
            };
            let outcome = match found {
                Ok(()) => ProbeOutcome::Good,
                Err(why) => {
                    tracing::debug!(instance.id = %instance, why, "a health check failed");
                    ProbeOutcome::Bad(why)
                }
            };
            Input::Probed {
                instance,
                id,
                outcome,
            }
        }
    }

    /// One began.
    pub(super) fn begun(&mut self, instance: InstanceId, handle: AbortHandle) {
        if let Some(former) = self.under_way.insert(instance, handle) {
            former.abort();
        }
    }

    /// The task of that id is over.
    pub(super) fn ended(&mut self, instance: InstanceId, task: Id) {
        let known = self.under_way.get(&instance);
        if known.is_some_and(|known| known.id() == task) {
            self.under_way.remove(&instance);
        }
    }

    /// Nobody wants to know it any more.
    pub(super) fn give_up(&mut self, instance: InstanceId) {
        if let Some(handle) = self.under_way.remove(&instance) {
            handle.abort();
        }
    }
}
