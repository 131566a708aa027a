//! One lock for each instance, so that two calls for the same one follow each other and others do not wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::id::InstanceId;
use tokio::sync::OwnedMutexGuard;

/// Locks by instance; one that nobody holds takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    locks: Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Keyed {
    /// Waits until nobody else works on `instance`.
    pub(crate) async fn lock(&self, instance: InstanceId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(instance).or_default())
        };
        lock.lock_owned().await
    }
}
