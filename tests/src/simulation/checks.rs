//! The rules that are held against every step, and those that hold once the faults have stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::access::{Measure, TenantPath};
use model::book::Asked;
use model::id::NodeId;
use model::instance::InstanceState;
use model::job::JobState;
use model::node::Liveness;
use model::operation::OperationKind;
use model::slot::{Role, Slot};
use model::units::Resources;
use model::view::InstanceView;

use super::users;
use super::world::World;

/// While faults go on, a second copy is excused for this long after its path to its owner was last broken: a lost
/// message costs a resend (up to 15 s), the end of the first copy its grace, and both may be lost again.
const EXCUSED: u64 = 75_000;

/// A broken rule.
#[derive(Debug)]
pub struct Violation {
    /// The seed, to run it again.
    pub seed: u64,
    /// When, in milliseconds of the simulation.
    pub at: u64,
    /// Which rule, and how.
    pub what: String,
    /// What happened before.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {} ms: {}", self.seed, self.at, self.what)?;
        self.trace
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for Violation {}

#[expect(
    clippy::unnecessary_box_returns,
    reason = "every caller returns it boxed"
)]
fn violation(world: &World, what: String) -> Box<Violation> {
    let mut trace = world.trace.clone();
    trace.extend(
        world
            .root
            .live
            .iter()
            .flat_map(root_core::State::sync_status)
            .map(|line| format!("root: {line}")),
    );
    for (index, cluster) in world.clusters.iter().enumerate() {
        let state = cluster.program.live.iter();
        trace.extend(state.clone().map(|state| {
            format!(
                "cluster {index}: {:?} {:?} incarnation {}",
                state.cluster(),
                state.held(),
                state.incarnation()
            )
        }));
        let now = world.time();
        let rows = state.clone().flat_map(|state| {
            state.jobs(
                now,
                &TenantPath::root(),
                &cluster_core::Page {
                    after: None,
                    limit: usize::MAX,
                },
                None,
            )
        });
        trace.extend(rows.flat_map(|view| view.instances).map(|row| {
            format!(
                "cluster {index}: {:?} {} {:?} {}",
                row.instance, row.generation, row.role, row.state
            )
        }));
        trace.extend(
            state
                .flat_map(cluster_core::State::sync_status)
                .map(|line| format!("cluster {index}: {line}")),
        );
    }
    for (index, worker) in world.workers.iter().enumerate() {
        let state = worker.program.live.iter();
        trace.extend(state.map(|state| {
            format!(
                "worker {index}: {:?} session {:?} {:?}",
                state.node(),
                worker.session,
                state.held()
            )
        }));
        let state = worker.program.live.iter();
        let observed = state.flat_map(node_core::State::observed);
        trace.extend(observed.map(|report| {
            format!(
                "worker {index}: {} {} {}",
                report.instance,
                report.generation,
                report.report.word()
            )
        }));
    }
    Box::new(Violation {
        seed: world.seed,
        at: world.now - 1_000_000,
        what,
        trace,
    })
}

/// After every step.
pub(crate) fn always(world: &World) -> Result<(), Box<Violation>> {
    accepted_is_kept(world)?;
    overlap_is_declared(world)?;
    ended_never_runs(world)?;
    nothing_is_told_twice(world)?;
    quotas_hold(world)?;
    nothing_is_overcommitted(world)
}

/// What a tenant's jobs ask for at the root, with what of them still ends, is within its quota.
fn quotas_hold(world: &World) -> Result<(), Box<Violation>> {
    let Some(root) = world.root.live.as_ref().filter(|_| !world.learned) else {
        return Ok(());
    };
    for (tenant, quota) in users::quotas() {
        let usage = root.usage(&tenant);
        for measure in Measure::ALL {
            let (used, limit) = (usage.get(measure), quota.limit(measure));
            if limit.is_some_and(|limit| used > limit) {
                let what = format!("tenant {tenant} has {used} of {measure:?}, of {limit:?}");
                return Err(violation(world, what));
            }
        }
    }
    Ok(())
}

/// What happened is told at each tier once, by the one who saw it.
fn nothing_is_told_twice(world: &World) -> Result<(), Box<Violation>> {
    match world.ledger.broken() {
        Some(what) => Err(violation(world, what.to_owned())),
        None => Ok(()),
    }
}

/// What happened below the root, and was not dropped with a store, is told at its cluster and at the root.
fn everything_is_told(world: &World) -> Result<(), Box<Violation>> {
    match world.ledger.missing(world) {
        Some(what) => Err(violation(world, what)),
        None => Ok(()),
    }
}

/// I1: what was accepted is in the store, until its deletion was accepted.
fn accepted_is_kept(world: &World) -> Result<(), Box<Violation>> {
    for id in world.accepted.keys() {
        let kept = world
            .root
            .durable
            .job(&Asked::default(), &id.to_string())
            .is_some();
        if !kept && !world.deleted.contains(id) {
            return Err(violation(world, format!("accepted job {id} is lost")));
        }
    }
    Ok(())
}

/// I2: live copies of a slot beyond the first one are on workers that cannot be reached, or could not a moment ago.
fn overlap_is_declared(world: &World) -> Result<(), Box<Violation>> {
    let mut live: BTreeMap<&Slot, Vec<(usize, u32)>> = BTreeMap::new();
    for (index, worker) in world.workers.iter().enumerate() {
        for (_, app) in worker.runtime.running() {
            live.entry(&app.slot)
                .or_default()
                .push((index, app.processes));
        }
    }
    for (slot, copies) in live {
        let firm = copies
            .iter()
            .filter(|(worker, _)| !is_excused(world, *worker))
            .count();
        let excess = copies.iter().any(|(_, processes)| *processes > 1);
        let declared = if is_taken_over(world, slot) { 2 } else { 1 };
        if excess || (copies.len() > 1 && firm > declared) {
            return Err(violation(
                world,
                format!(
                    "slot {slot} has {} live copies on workers {copies:?}",
                    copies.len()
                ),
            ));
        }
    }
    Ok(())
}

/// Whether the slot's copy is replaced by another that starts first, as its owner and its cluster have it on their disks:
/// then two may run.
fn is_taken_over(world: &World, slot: &Slot) -> bool {
    let ordered = world.drained
        || world
            .root
            .durable
            .job(&Asked::default(), &slot.job.to_string())
            .and_then(|view| view.job.operation)
            .is_some_and(|operation| operation.kind != OperationKind::Scale);
    ordered
        && (world.root.durable.is_between_clusters(slot)
            || world
                .clusters
                .iter()
                .any(|cluster| cluster.program.durable.is_taken_over(slot)))
}

fn is_excused(world: &World, worker: usize) -> bool {
    let sim = &world.workers[worker];
    let cluster = &world.clusters[sim.cluster];
    let broken_now = !sim.link
        || sim.program.live.is_none()
        || !cluster.link
        || cluster.program.live.is_none()
        || world.root.live.is_none();
    let last = sim
        .broken_at
        .max(cluster.broken_at)
        .max(world.root_broken_at);
    broken_now || world.now.saturating_sub(last) < EXCUSED
}

/// I4: a copy whose end was confirmed never runs again.
fn ended_never_runs(world: &World) -> Result<(), Box<Violation>> {
    for (index, worker) in world.workers.iter().enumerate() {
        for (instance, app) in worker.runtime.running() {
            if world.ended.contains(&instance) {
                return Err(violation(
                    world,
                    format!(
                        "{instance} of slot {} runs on worker {index} after its end was confirmed",
                        app.slot
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// What runs on a worker fits on it, unless a store was lost: then what it had placed elsewhere comes on top.
fn nothing_is_overcommitted(world: &World) -> Result<(), Box<Violation>> {
    if world.outcome.stores > 0 {
        return Ok(());
    }
    for (index, worker) in world.workers.iter().enumerate() {
        let used = worker
            .runtime
            .running()
            .fold(Resources::default(), |sum, (_, app)| {
                sum.plus(app.resources)
            });
        let has = Resources {
            cpu: model::units::Millicores(4_000),
            memory: model::units::Bytes::from_mb(4_096),
            disk: model::units::Bytes::from_mb(10_000),
        };
        if !used.fits(has) {
            return Err(violation(
                world,
                format!("worker {index} is overcommitted: {used}"),
            ));
        }
    }
    Ok(())
}

/// I3, I10: the root's view, the clusters' and what runs agree, and what can run does.
pub(crate) fn settled(world: &World) -> Result<(), Box<Violation>> {
    let Some(root) = &world.root.live else {
        return Err(violation(world, "the root is not up".to_owned()));
    };
    let page = root_core::Page {
        after: None,
        limit: 10_000,
    };
    let mut wanted: BTreeSet<Slot> = BTreeSet::new();
    let mut live: BTreeMap<Slot, usize> = BTreeMap::new();
    for worker in &world.workers {
        for (_, app) in worker.runtime.running() {
            *live.entry(app.slot.clone()).or_default() += 1;
        }
    }
    for view in root.jobs(&TenantPath::root(), &page, None) {
        if view.job.is_deleted() {
            return Err(violation(
                world,
                format!(
                    "deleted job {} is not over: {:?}",
                    view.job.id, view.instances
                ),
            ));
        }
        for slot in view.job.slots() {
            // A copy on a worker that exists no more stays dangling until an operator forgets that worker.
            let vanished = |row: &InstanceView| {
                row.role == Role::Dangling && !row.worker_id.is_some_and(|id| exists(world, id))
            };
            let rows: Vec<_> = view
                .instances
                .iter()
                .filter(|row| {
                    row.index == slot.index && row.service == slot.service && !vanished(row)
                })
                .collect();
            let running = live.get(&slot).copied().unwrap_or(0);
            let [row] = rows.as_slice() else {
                return Err(violation(
                    world,
                    format!("slot {slot} has {} rows: {rows:?}", rows.len()),
                ));
            };
            let agrees = match &row.state {
                InstanceState::Running(_) => running == 1 && row.role == Role::Holder,
                InstanceState::NotDeployed { .. } => running == 0 && !has_room(world, &slot),
                InstanceState::Failed(_)
                | InstanceState::Requested
                | InstanceState::ScheduledCluster
                | InstanceState::ScheduledNode
                | InstanceState::Unknown { .. }
                | InstanceState::Terminated { .. } => false,
            };
            if !agrees {
                let (name, state) = (&view.job.spec.name, &row.state);
                let status = slot_status(world, root, &slot);
                let what = format!(
                    "slot {slot} of {name} is {state} with {running} live copies: {row:?}\n  {status}"
                );
                return Err(violation(world, what));
            }
            wanted.insert(slot);
        }
        if matches!(view.state, JobState::Scaling | JobState::Migrating) {
            let slots = view.job.slots();
            let status: Vec<String> = slots.map(|slot| slot_status(world, root, &slot)).collect();
            let what = format!(
                "job {} is still {}: {:?} {:?} {status:#?}",
                view.job.id, view.state, view.job.operation, view.instances
            );
            return Err(violation(world, what));
        }
    }
    if let Some((slot, count)) = live.iter().find(|(slot, _)| !wanted.contains(slot)) {
        return Err(violation(
            world,
            format!("slot {slot} has {count} live copies and nobody wants it"),
        ));
    }
    everything_is_told(world)
}

/// How a slot stands with everybody.
fn slot_status(world: &World, root: &root_core::State, slot: &Slot) -> String {
    let clusters: Vec<String> = world
        .clusters
        .iter()
        .filter_map(|cluster| Some(cluster.program.live.as_ref()?.slot_status(slot)))
        .collect();
    format!(
        "at the clusters: {clusters:#?}\n  at the root: {}",
        root.slot_status(slot)
    )
}

fn exists(world: &World, id: NodeId) -> bool {
    world
        .workers
        .iter()
        .any(|worker| worker.program.durable.node() == Some(id))
}

/// Whether some worker that the slot may use has room for it, by its cluster's ledger.
fn has_room(world: &World, slot: &Slot) -> bool {
    let Some(root) = &world.root.live else {
        return false;
    };
    let Some(view) = root.job(&Asked::default(), &slot.job.to_string()) else {
        return false;
    };
    let Some(service) = view.job.service(&slot.service) else {
        return false;
    };
    let asked = service.workload.resources;
    world.clusters.iter().any(|cluster| {
        let Some(state) = &cluster.program.live else {
            return false;
        };
        let pin = service.placement.cluster.as_deref();
        pin.is_none_or(|pin| pin == state.config().name.as_str())
            && state
                .nodes(&cluster_core::Page {
                    after: None,
                    limit: 100,
                })
                .iter()
                .any(|node| {
                    node.liveness == Liveness::Alive
                        && asked.fits(node.room)
                        && service
                            .placement
                            .worker
                            .as_deref()
                            .is_none_or(|pin| pin == node.facts.name.as_str())
                })
    })
}
