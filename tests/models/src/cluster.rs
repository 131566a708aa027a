//! One cluster, two workers, two jobs of one slot each, with the decisions of `cluster-core` and `node-core`.
//!
//! Messages arrive in any order, late, twice or never. A worker's link is cut and comes back, an engine dies beside its
//! applications or with them, the cluster-orchestrator dies, each also between a commit and what should follow it. Time
//! is a small number: it passes in steps of one keep-alive, and only as a step of the search.
//!
//! What is left out, because it is in each history that is looked at: a commit that fails is a message that never came,
//! and a program that is down is one at which nothing arrives, so a program that dies begins anew at once. A worker's
//! start, an answer of its runtime, and the registration are one step with what caused them; a stop takes its time.

mod parts;
mod programs;
mod setup;
mod truth;
mod world;

use model::id::InstanceId;
use stateright::Property;

use crate::check::{Bounded, Point, Scene};
pub use truth::Rule;
pub use world::World;

/// How often each event may happen in one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Users ask something: the first job, the second, the end of the first.
    pub requests: u8,
    /// One keep-alive passes.
    pub ticks: u8,
    /// A message arrives once more.
    pub repeats: u8,
    /// A worker's link is cut.
    pub cuts: u8,
    /// A worker's engine dies, with its applications or without.
    pub engine_crashes: u8,
    /// The cluster-orchestrator dies.
    pub cluster_crashes: u8,
}

/// A rule that is broken on purpose, to test that the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The cluster answers a user before its commit, which is lost.
    AnswerFirst,
    /// The cluster does not hear the first worker, though its messages arrive.
    Deaf,
    /// A runtime does not find what it runs, and starts it beside.
    SecondProcess,
    /// A runtime says that it stopped what it did not.
    LyingStop,
    /// A runtime never stops anything.
    NoStop,
}

/// How a history begins: with two workers that have joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// And no job.
    Idle,
    /// Both jobs run.
    #[default]
    Busy,
    /// Both jobs ran; then the first one's worker was lost, and it was placed on the other one.
    Lost,
}

/// What a search of a cluster is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cluster {
    /// How often what may happen.
    pub budget: Budget,
    /// How it begins.
    pub start: Start,
    /// Of so many states one is asked whether all agree when the faults stop; that costs more than all the rest.
    pub sample: u64,
    /// What is broken.
    pub sabotage: Option<Sabotage>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next request of a user arrives.
    Request,
    /// It is committed, and the cluster-orchestrator dies before it answers.
    RequestAndCrash,
    /// One keep-alive passes.
    Tick,
    /// A message arrives.
    Deliver(u64),
    /// It arrives and will arrive again.
    Repeat(u64),
    /// It arrives and what follows is committed, and its receiver dies before it acts.
    DeliverAndCrash(u64),
    /// A worker's link is cut.
    Cut(usize),
    /// A worker connects.
    Join(usize),
    /// A worker's engine dies; its applications run on.
    EngineCrash(usize),
    /// A worker's machine starts anew: nothing runs on it.
    Reboot(usize),
    /// The cluster-orchestrator dies.
    ClusterCrash,
    /// A worker's runtime has stopped an application.
    Stopped(usize, InstanceId),
}

impl Scene for Cluster {
    type World = World;
    type Step = Step;

    fn begin(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn steps(&self, world: &World) -> Vec<Step> {
        world.steps(self)
    }

    fn take(&self, world: &World, step: Step) -> World {
        let mut next = world.clone();
        next.take(self, step);
        next
    }

    fn fingerprint(world: &World) -> u64 {
        world.fingerprint()
    }

    fn rules() -> Vec<Property<Bounded<Self>>> {
        vec![
            Property::always(Rule::Accepted.name(), |model, at| {
                keeps(model, at, Rule::Accepted)
            }),
            Property::always(Rule::Patience.name(), |model, at| {
                keeps(model, at, Rule::Patience)
            }),
            Property::always(Rule::Overlap.name(), |model, at| {
                keeps(model, at, Rule::Overlap)
            }),
            Property::always(Rule::Ended.name(), |model, at| {
                keeps(model, at, Rule::Ended)
            }),
            Property::always(
                Rule::Agreement.name(),
                |model: &Bounded<Self>, at: &Point<World>| {
                    let skipped = !at.fingerprint().is_multiple_of(model.scene().sample.max(1));
                    let settles = skipped || at.world.settles(model.scene());
                    model.holds(Rule::Agreement.name(), settles)
                },
            ),
            // A model that does not come to what it is about proves nothing.
            Property::sometimes(
                "a lost copy runs beside its replacement",
                |model: &Bounded<Self>, at: &Point<World>| {
                    model.scene().budget.cuts == 0 && model.scene().start != Start::Lost
                        || at.world.has_two_copies()
                },
            ),
            Property::sometimes(
                "the end of a copy is confirmed",
                |model: &Bounded<Self>, at: &Point<World>| {
                    let scene = model.scene();
                    let asked = scene.budget.requests > 0 || scene.start == Start::Lost;
                    !asked || !at.world.truth().ended.is_empty()
                },
            ),
        ]
    }

    fn tell(&self, before: &World, step: Step) -> String {
        before.tell(step)
    }
}

fn keeps(model: &Bounded<Cluster>, at: &Point<World>, rule: Rule) -> bool {
    model.holds(rule.name(), !at.world.truth().broken.contains(&rule))
}
