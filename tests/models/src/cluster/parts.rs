//! What the small world is made of: programs, workers with their runtimes, messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use model::id::InstanceId;
use model::slot::Slot;
use node_core::{Found, FoundStatus, Input as NodeInput};
use sync::{Change, Held, UpReport};

use super::setup::{BEGAN, engine};
use crate::check::print;

/// A program's state, with its fingerprint once it is asked for.
#[derive(Debug)]
pub(super) struct Kept<S> {
    pub(super) state: S,
    print: OnceLock<u64>,
}

impl<S: Clone> Clone for Kept<S> {
    fn clone(&self) -> Self {
        Self::new(self.state.clone())
    }
}

impl<S> Kept<S> {
    pub(super) const fn new(state: S) -> Self {
        Self {
            state,
            print: OnceLock::new(),
        }
    }
}

impl<S: Clone + std::fmt::Debug> Kept<S> {
    pub(super) fn print(&self) -> u64 {
        *self.print.get_or_init(|| print(&self.state))
    }

    /// The state, to change it.
    pub(super) fn change(kept: &mut Arc<Self>) -> &mut S {
        let kept = Arc::make_mut(kept);
        kept.print = OnceLock::new();
        &mut kept.state
    }
}

/// An application of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct App {
    pub(super) slot: Slot,
    /// One, unless the runtime is sabotaged.
    pub(super) processes: usize,
}

/// A worker: its engine, its runtime, its link.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) engine: Arc<Kept<node_core::State>>,
    /// What runs.
    pub(super) apps: BTreeMap<InstanceId, App>,
    /// What the runtime was asked to stop.
    pub(super) stopping: BTreeSet<InstanceId>,
    /// Of the connection, while there is one.
    pub(super) session: Option<u64>,
    /// Nonce of the engine's start.
    pub(super) start: u64,
    /// When the cluster last had a sign of life of it.
    pub(super) heard: u8,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self {
            engine: Arc::new(Kept::new(engine())),
            apps: BTreeMap::new(),
            stopping: BTreeSet::new(),
            session: None,
            start: 0,
            heard: 0,
        }
    }
}

/// A message between the cluster and a worker.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Control(Change<cluster_core::DesiredEntry>),
    AskWhole,
    AskAdopt,
    Held(Held, cluster_core::Beat),
    Report(UpReport<cluster_core::ReportEntry>, Held),
    Adopt(Held, Vec<model::desired::Desired>),
}

impl Message {
    /// Whether the cluster sent it.
    pub(super) const fn is_down(&self) -> bool {
        matches!(self, Self::Control(_) | Self::AskWhole | Self::AskAdopt)
    }

    /// It, for a reader: who is meant, and not what runs there.
    pub(super) fn tell(&self) -> String {
        match self {
            Self::Control(change) => format!(
                "control {:?} to {} of term {}: put {:?}, remove {:?}",
                change.base,
                change.revision,
                change.term.number,
                change
                    .put
                    .iter()
                    .map(|entry| entry.value.identity())
                    .collect::<Vec<_>>(),
                change.remove
            ),
            Self::AskWhole => "asks for a whole report".to_owned(),
            Self::AskAdopt => "asks for the former set".to_owned(),
            Self::Held(held, beat) => format!("{held:?} {beat:?}"),
            Self::Report(report, held) => format!(
                "report {}.{} whole {}: {:?}, gone {:?}, held {held:?}",
                report.boot,
                report.sequence,
                report.whole,
                report
                    .states
                    .iter()
                    .map(|entry| entry.value.identity())
                    .collect::<Vec<_>>(),
                report.gone
            ),
            Self::Adopt(held, desired) => format!("{} for adoption, {held:?}", desired.len()),
        }
    }
}

pub(super) const fn beat(beat: node_core::Beat) -> cluster_core::Beat {
    cluster_core::Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}

impl Worker {
    /// Starts an instance; what runs already is found.
    pub(super) fn run(&mut self, instance: InstanceId, slot: Slot, again: bool) -> NodeInput {
        let app = App { slot, processes: 0 };
        let app = self.apps.entry(instance).or_insert(app);
        if again || app.processes == 0 {
            app.processes += 1;
        }
        NodeInput::Started {
            instance,
            since: BEGAN,
            endpoints: Vec::new(),
        }
    }

    pub(super) fn list(&self) -> Vec<Found> {
        let found = |instance: &InstanceId| Found {
            instance: *instance,
            status: FoundStatus::Running {
                since: BEGAN,
                endpoints: Vec::new(),
            },
        };
        self.apps.keys().map(found).collect()
    }
}
