//! Which containers' ends are to be told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::id::InstanceId;

/// The containers that are watched, by instance.
#[derive(Debug, Default)]
pub(super) struct Watched {
    containers: Mutex<HashMap<InstanceId, (String, Phase)>>,
    starved: Mutex<VecDeque<String>>,
}

/// Containers kept of which the kernel killed something for memory; each is asked for within a moment.
const STARVED: usize = 64;

/// Where the life of a watched container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its end will be told.
    Running,
    /// Its end was told, or is `stop`'s doing.
    Over,
}

impl Watched {
    /// Watches a container in place of whatever the instance had.
    pub(super) fn remember(&self, instance: InstanceId, container: &str, phase: Phase) {
        self.lock().insert(instance, (container.to_owned(), phase));
    }

    /// Watches a container unless it is known already; whether it was new.
    pub(super) fn remember_new(&self, instance: InstanceId, container: &str) -> bool {
        let mut containers = self.lock();
        let is_new = containers
            .get(&instance)
            .is_none_or(|(known, _)| known != container);
        if is_new {
            containers.insert(instance, (container.to_owned(), Phase::Running));
        }
        is_new
    }

    /// The container of an instance, unless it has ended.
    pub(super) fn container(&self, instance: InstanceId) -> Option<String> {
        let containers = self.lock();
        let known = containers.get(&instance);
        known
            .filter(|(_, phase)| *phase == Phase::Running)
            .map(|(container, _)| container.clone())
    }

    /// Watches nothing of the instance any more.
    pub(super) fn forget(&self, instance: InstanceId) {
        self.lock().remove(&instance);
    }

    /// Whether this end of this container is to be told; true once.
    pub(super) fn end(&self, instance: InstanceId, container: &str) -> bool {
        match self.lock().get_mut(&instance) {
            Some((known, phase)) if known == container && *phase == Phase::Running => {
                *phase = Phase::Over;
                true
            }
            Some(_) | None => false,
        }
    }

    /// All whose end is still to be told.
    pub(super) fn running(&self) -> Vec<(InstanceId, String)> {
        let containers = self.lock();
        let running = containers
            .iter()
            .filter(|(_, (_, phase))| *phase == Phase::Running);
        running
            .map(|(instance, (container, _))| (*instance, container.clone()))
            .collect()
    }

    /// Keeps that the kernel killed something in a container for memory.
    pub(super) fn set_starved(&self, container: String) {
        let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
        starved.truncate(STARVED - 1);
        starved.push_front(container);
    }

    /// Whether it was heard that the kernel killed something in a container for memory.
    pub(super) fn is_starved(&self, container: &str) -> bool {
        let starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
        starved.iter().any(|known| known == container)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, (String, Phase)>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_and_only_for_the_container_that_is_watched() {
        let (watched, instance) = (Watched::default(), InstanceId::from_bits(1));
        assert!(!watched.end(instance, "a"));
        watched.remember(instance, "a", Phase::Running);
        assert!(!watched.remember_new(instance, "a"));
        assert!(!watched.end(instance, "before"));
        assert_eq!(watched.running(), [(instance, "a".to_owned())]);
        assert_eq!(watched.container(instance).as_deref(), Some("a"));
        assert!(watched.end(instance, "a"));
        assert_eq!(watched.container(instance), None);
        assert!(!watched.end(instance, "a"));
        assert!(watched.running().is_empty());
        assert!(watched.remember_new(instance, "b"));
        watched.remember(instance, "b", Phase::Over);
        assert!(!watched.end(instance, "b"));
    }
}
