//! The runtime of a simulated worker: it outlives the engine, but not the machine.

use std::collections::BTreeMap;

use model::desired::Desired;
use model::id::InstanceId;
use model::instance::Exit;
use model::slot::Slot;
use model::time::Wall;
use model::units::Resources;
use node_core::{Found, FoundStatus};

/// One application of a worker.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) slot: Slot,
    pub(crate) resources: Resources,
    pub(crate) since: Wall,
    /// `None` while it runs.
    pub(crate) exit: Option<Exit>,
    /// Processes of it; one, unless the runtime is sabotaged.
    pub(crate) processes: u32,
    /// When it began, in milliseconds of the simulation.
    pub(crate) began: u64,
}

/// What a worker's runtime has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) apps: BTreeMap<InstanceId, App>,
}

impl Runtime {
    /// Starts an instance; what runs already is found.
    pub(crate) fn start(&mut self, desired: &Desired, now: u64, idempotent: bool) -> Wall {
        let wall = Wall(now as i64);
        let fresh = App {
            slot: desired.slot.clone(),
            resources: desired.service.workload.resources,
            since: wall,
            exit: None,
            processes: 1,
            began: now,
        };
        let app = self
            .apps
            .entry(desired.instance)
            .or_insert_with(|| fresh.clone());
        if app.exit.is_some() {
            *app = fresh;
        } else if !idempotent && app.began != now {
            app.processes += 1;
        }
        app.since
    }

    pub(crate) fn crash(&mut self, instance: InstanceId, now: u64) -> Option<Exit> {
        let app = self
            .apps
            .get_mut(&instance)
            .filter(|app| app.exit.is_none())?;
        let exit = Exit {
            code: Some(1),
            at: Wall(now as i64),
            ..Exit::default()
        };
        app.exit = Some(exit.clone());
        Some(exit)
    }

    /// The machine reboots: nothing runs, what was made is still there.
    pub(crate) fn reboot(&mut self, now: u64) {
        let running: Vec<InstanceId> = self.running().map(|(instance, _)| instance).collect();
        for instance in running {
            self.crash(instance, now);
        }
    }

    pub(crate) fn list(&self) -> Vec<Found> {
        self.apps
            .iter()
            .map(|(instance, app)| Found {
                instance: *instance,
                status: match &app.exit {
                    None => FoundStatus::Running {
                        since: app.since,
                        endpoints: Vec::new(),
                    },
                    Some(exit) => FoundStatus::Exited(exit.clone()),
                },
            })
            .collect()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (InstanceId, &App)> {
        self.apps
            .iter()
            .filter(|(_, app)| app.exit.is_none())
            .map(|(instance, app)| (*instance, app))
    }
}
