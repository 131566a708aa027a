//! What happened and where it was told: each event once, at its cluster and at the root, or dropped for a reason.

use model::book::Asked;
use std::collections::BTreeMap;

use model::event::{Event, Tier};
use model::id::{InstanceId, JobId};

use super::World;

/// What tells an event from every other: who saw it, of what, when, and which change.
type Key = (
    Tier,
    JobId,
    Option<InstanceId>,
    i64,
    &'static str,
    &'static str,
);

fn key(event: &Event) -> Key {
    (
        event.tier,
        event.job,
        event.instance,
        event.at.0,
        event.from,
        event.to,
    )
}

/// An event that somebody below the root has on its disk to tell.
#[derive(Debug, Clone)]
struct Line {
    /// The worker that saw it; `None`: its cluster did.
    worker: Option<usize>,
    cluster: usize,
    /// How often it was written at the cluster, and at the root.
    told: (u32, u32),
    /// A store was lost that it was in: it need not arrive there.
    excused: (bool, bool),
}

/// All events of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lines: BTreeMap<Key, Line>,
    broken: Option<String>,
}

impl Ledger {
    /// A root that lost its store begins a job's history with the adoption of the job: until then it drops what it is told of
    /// it.
    fn made(&mut self, event: &Event, worker: Option<usize>, cluster: usize, root_knows: bool) {
        let line = Line {
            worker,
            cluster,
            told: (0, 0),
            excused: (false, !root_knows),
        };
        self.lines.entry(key(event)).or_insert(line);
    }

    fn told(&mut self, event: &Event, at_root: bool) {
        let Some(line) = self.lines.get_mut(&key(event)) else {
            let tier = event.tier;
            self.break_rule(format!(
                "an event of tier {tier:?} that nobody made is told: {event:?}"
            ));
            return;
        };
        let count = if at_root {
            &mut line.told.1
        } else {
            &mut line.told.0
        };
        *count += 1;
        if *count > 1 {
            let place = if at_root { "the root" } else { "its cluster" };
            self.break_rule(format!("told twice at {place}: {event:?}"));
        }
    }

    fn break_rule(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// The root's history is another one: what it was told may be told again, and what is gone from it stays so.
    pub(crate) fn root_lost(&mut self) {
        for line in self.lines.values_mut() {
            line.told.1 = 0;
            line.excused.1 = true;
        }
    }

    /// So is a cluster's; with it may go what the root was not told yet.
    pub(crate) fn cluster_lost(&mut self, cluster: usize) {
        for line in self.lines.values_mut() {
            if line.cluster == cluster {
                line.told.0 = 0;
                line.excused = (true, true);
            }
        }
    }

    /// What a worker had not told is gone with its disk.
    pub(crate) fn worker_lost(&mut self, worker: usize) {
        for line in self.lines.values_mut() {
            if line.worker == Some(worker) {
                line.excused = (true, true);
            }
        }
    }

    /// The first rule that was broken.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// How many events of workers the root was told.
    pub(crate) fn heard(&self) -> u64 {
        let heard = |line: &&Line| line.worker.is_some() && line.told.1 > 0;
        self.lines.values().filter(heard).count() as u64
    }

    /// The first event that should be somewhere and is not.
    pub(crate) fn missing(&self, world: &World) -> Option<String> {
        self.lines.iter().find_map(|(key, line)| {
            let (_, job, instance, ..) = key;
            let root = world
                .root
                .durable
                .job(&Asked::default(), &job.to_string())
                .is_some();
            if root && line.told.1 == 0 && !line.excused.1 {
                return Some(format!("the root was not told {key:?}: {line:?}"));
            }
            let here = instance
                .is_some_and(|instance| world.clusters[line.cluster].program.durable.has(instance));
            (line.worker.is_some() && here && line.told.0 == 0 && !line.excused.0)
                .then(|| format!("the cluster was not told {key:?}: {line:?}"))
        })
    }
}

impl World {
    pub(super) fn note_worker_events(&mut self, index: usize, writes: &[node_core::Write]) {
        let cluster = self.workers[index].cluster;
        for write in writes {
            if let node_core::Write::Tell(told) = write {
                let root_knows = self
                    .root
                    .durable
                    .job(&Asked::default(), &told.event.job.to_string())
                    .is_some();
                self.ledger
                    .made(&told.event, Some(index), cluster, root_knows);
            }
        }
    }

    pub(super) fn note_cluster_events(&mut self, index: usize, writes: &[cluster_core::Write]) {
        for write in writes {
            match write {
                cluster_core::Write::Event(event) if event.tier == Tier::Worker => {
                    self.ledger.told(event, false);
                }
                cluster_core::Write::Event(event) if is_a_workers(event) => {
                    let what = format!("a cluster tells what its worker tells: {event:?}");
                    self.ledger.break_rule(what);
                }
                cluster_core::Write::Tell(told) if told.event.tier == Tier::Cluster => {
                    let root_knows = self
                        .root
                        .durable
                        .job(&Asked::default(), &told.event.job.to_string())
                        .is_some();
                    self.ledger.made(&told.event, None, index, root_knows);
                }
                _ => {}
            }
        }
    }

    pub(super) fn note_root_events(&mut self, writes: &[root_core::Write]) {
        for write in writes {
            if let root_core::Write::Event(event) = write
                && event.tier != Tier::Root
            {
                self.ledger.told(event, true);
            }
        }
    }
}

/// Whether it is a change that a worker sees and tells itself.
fn is_a_workers(event: &Event) -> bool {
    let seen = match event.to {
        "RUNNING" => event.cause != "replaced",
        "FAILED" => event.cause != "deploy_deadline",
        _ => false,
    };
    seen && event.from != "UNKNOWN"
}
