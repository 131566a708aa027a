//! What the controller knows of the instances whose output is read now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::id::InstanceId;
use tokio::sync::{mpsc, watch};

use crate::link::FromLink;
use node_core::Input;

/// What the controller knows of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It runs, or will (again).
    Lives,
    /// It ended, and will not be started again.
    Over,
    /// It is none of this worker's any more, or never was one.
    Absent,
}

/// What is known of one instance, as it changes.
pub type Known = watch::Receiver<Standing>;

/// The instances whose output is read. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Standings {
    read: Arc<Mutex<BTreeMap<InstanceId, watch::Sender<Standing>>>>,
    inputs: mpsc::Sender<FromLink>,
}

impl Standings {
    /// None yet; `inputs` wakes the controller for a new one.
    pub(crate) fn new(inputs: mpsc::Sender<FromLink>) -> Self {
        Self {
            read: Arc::default(),
            inputs,
        }
    }

    /// What is known of an instance, from now on, until the receiver is dropped.
    pub(crate) async fn of(&self, instance: InstanceId) -> Known {
        let receiver = {
            let mut read = self.lock();
            read.retain(|_, sender| sender.receiver_count() > 0);
            read.entry(instance)
                .or_insert_with(|| watch::Sender::new(Standing::Unknown))
                .subscribe()
        };
        if *receiver.borrow() == Standing::Unknown {
            // Without a controller there is no answer, and nobody who waits for it.
            let _ = self.inputs.send(Input::Reconcile).await;
        }
        receiver
    }

    /// Tells what the controller knows now.
    pub(crate) fn tell(&self, know: impl Fn(InstanceId) -> Standing) {
        for (instance, sender) in self.lock().iter() {
            let now = know(*instance);
            sender.send_if_modified(|known| std::mem::replace(known, now) != now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, watch::Sender<Standing>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
