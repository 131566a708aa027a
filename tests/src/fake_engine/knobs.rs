//! What a test can ask for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A route of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// `/_ping`.
    Ping,
    /// `/version`.
    Version,
    /// `/info`.
    Info,
    /// `/containers/create`.
    Create,
    /// `/containers/{id}/start`.
    Start,
    /// `/containers/{id}/stop`.
    Stop,
    /// `/containers/{id}/kill`.
    Kill,
    /// `DELETE /containers/{id}`.
    Remove,
    /// `/containers/{id}/json`.
    Inspect,
    /// `/containers/json`.
    List,
    /// `/containers/{id}/logs`.
    Logs,
    /// `/containers/{id}/archive`.
    Archive,
    /// `/events`.
    Events,
    /// `/images/create`.
    Pull,
    /// `/images/{name}/json`.
    ImageInspect,
    /// `/images/json`.
    ImageList,
    /// `DELETE /images/{id}`.
    ImageRemove,
    /// What a worker does not use.
    Other,
}

/// How a route misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It never answers, and does nothing.
    Hang,
    /// It answers with this status and message, and does nothing.
    Error(u16, &'static str),
    /// It does its work after this long.
    Slow(Duration),
    /// It does its work, and the connection ends before the answer.
    Deaf,
}

/// What a container is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It runs, though it ended.
    Runs,
    /// It ended with this code, though it runs.
    Ended(i64),
    /// No list has it.
    LeftOut,
}

/// What a registry does when an image is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulling {
    /// It is there, after this long; meanwhile it says how far it is.
    Takes(Duration),
    /// There is no such image.
    NotFound,
    /// The engine may not read it.
    Unauthorized,
    /// Nothing is ever said.
    Silent,
    /// A layer is not what its digest says.
    BadDigest,
    /// The engine's disk is full before it is whole.
    NoSpace,
    /// So many bytes, of which so many come each second.
    Huge {
        /// In all.
        bytes: u64,
        /// Each second.
        rate: u64,
    },
}

/// A call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What was asked for.
    pub route: Route,
    /// The whole line: method and path with query, without the API's version.
    pub line: String,
    /// When it came.
    pub at: Instant,
}

#[derive(Debug)]
pub(super) struct Knobs {
    faults: BTreeMap<Route, Fault>,
    registry: BTreeMap<String, Pulling>,
    pub(super) events: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            registry: BTreeMap::new(),
            events: 1,
        }
    }
}

impl Knobs {
    pub(super) fn fault(&mut self, route: Route, fault: Fault) {
        self.faults.insert(route, fault);
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.events = 1;
    }

    pub(super) fn of(&self, route: Route) -> Option<Fault> {
        self.faults.get(&route).cloned()
    }

    pub(super) fn registry(&mut self, image: &str, pulling: Pulling) {
        self.registry.insert(image.to_owned(), pulling);
    }

    pub(super) fn pulling(&self, image: &str) -> Pulling {
        let known = self.registry.get(image).copied();
        known.unwrap_or(Pulling::NotFound)
    }
}
