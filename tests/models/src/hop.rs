//! One hop: a parent with a child's desired set, and the child that holds it.
//!
//! A message once sent may arrive at any later time, any number of times, or never. Both sides crash, the child also
//! between its durable write and its word. The store of the parent is replaced by an empty one or by an older copy, and
//! a second run begins on it while the first one lives.
//!
//! What the orchestrators do around `sync` is done here as their cores do it: what is due is asked after each input, a
//! run that is superseded sends nothing, and another store's set is asked for before it is taken over.

mod agree;
mod child;
mod run;
mod thing;
mod world;

use stateright::Property;
use sync::Term;

use crate::check::{Bounded, Point, Scene};
pub use thing::Thing;
pub use world::World;

/// How often each event may happen in one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Users change what is desired.
    pub changes: u8,
    /// The parent starts anew.
    pub parent_crashes: u8,
    /// The child starts anew.
    pub child_crashes: u8,
    /// The parent's store is replaced.
    pub restores: u8,
    /// Another run begins while the one before lives on.
    pub successors: u8,
    /// The connection breaks.
    pub reconnects: u8,
    /// The time of a resend comes.
    pub resends: u8,
}

/// What a run that has a successor can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stores {
    /// Both runs are on one store, whose lock the later one has: the earlier one sends what it has and changes nothing.
    #[default]
    One,
    /// The later run is on a copy: the earlier one goes on with its own.
    Copied,
}

/// A rule that is broken on purpose, to test that the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The child does not compare digests.
    AnyDigest,
    /// The child believes every store to have taken over what it holds.
    AnyStore,
    /// The child obeys a whole set of an earlier revision.
    AnyRevision,
    /// The child does not look at terms.
    AnyTerm,
    /// The parent sends nothing twice.
    SentOnce,
    /// The child does not say that a delta was of no use to it.
    NeverWhole,
}

/// What a search of one hop is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hop {
    /// How often what may happen.
    pub budget: Budget,
    /// Of two runs.
    pub stores: Stores,
    /// What is broken.
    pub sabotage: Option<Sabotage>,
}

/// What must hold after every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// What a child holds is what the parent promised.
    Promise,
    /// What may run is not stopped because another store does not know of it.
    Adoption,
    /// A revision is not followed by an earlier one.
    Forward,
    /// What a child has met a later run than changes nothing there.
    Superseded,
    /// When the faults stop, both agree.
    Agreement,
}

impl Rule {
    /// Its name in what a search found.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promise => "a change leads to the set that was promised",
            Self::Adoption => "nothing is stopped for absence before it was adopted",
            Self::Forward => "no revision goes back inside an incarnation",
            Self::Superseded => "a superseded run changes nothing",
            Self::Agreement => "parent and child agree soon after the faults stop",
        }
    }
}

/// One thing that happens. Runs are counted from the earliest that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An item gets another version.
    Put(usize),
    /// Two items change at once: one gets another version, one is new.
    PutTwo(usize),
    /// An item is desired no more.
    Remove(usize),
    /// A message to the child arrives.
    Down(u64),
    /// It arrives and is written, and the child dies before it says so.
    DownAndCrash(u64),
    /// A message of the child arrives at this run.
    Up(u64, usize),
    /// The present run ends and the next one begins.
    ParentCrash,
    /// The child starts anew.
    ChildCrash,
    /// The store becomes what it was at first.
    RestoreCopy,
    /// The store becomes empty.
    RestoreEmpty,
    /// A run begins beside the present one.
    Successor,
    /// The connection to this run broke, and is there again.
    Reconnect(usize),
    /// The time of a resend comes at this run.
    Resend(usize),
}

impl Scene for Hop {
    type World = World;
    type Step = Step;

    fn begin(&self) -> Vec<World> {
        vec![World::fresh(self), World::agreed(self)]
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
            Property::always(Rule::Promise.name(), |model, at| {
                keeps(model, at, Rule::Promise)
            }),
            Property::always(Rule::Adoption.name(), |model, at| {
                keeps(model, at, Rule::Adoption)
            }),
            Property::always(Rule::Forward.name(), |model, at| {
                keeps(model, at, Rule::Forward)
            }),
            Property::always(Rule::Superseded.name(), |model, at| {
                keeps(model, at, Rule::Superseded)
            }),
            Property::always(
                Rule::Agreement.name(),
                |model: &Bounded<Self>, at: &Point<World>| {
                    model.holds(Rule::Agreement.name(), at.world.settles(model.scene()))
                },
            ),
            // A model that does not come to what it is about proves nothing.
            Property::sometimes("a part waits for the rest", |_, at: &Point<World>| {
                at.world.child().held().staged.is_some()
            }),
            Property::sometimes(
                "a former set was adopted",
                |model: &Bounded<Self>, at: &Point<World>| {
                    model.scene().budget.restores == 0 || at.world.has_adopted()
                },
            ),
            Property::sometimes(
                "a run learns that it is superseded",
                |model: &Bounded<Self>, at: &Point<World>| {
                    model.scene().budget.successors == 0 || at.world.has_fenced_run()
                },
            ),
            Property::sometimes(
                "a child wants the whole set",
                |model: &Bounded<Self>, at: &Point<World>| {
                    model.scene().stores == Stores::One || at.world.child().held().want_whole
                },
            ),
        ]
    }

    fn tell(&self, before: &World, step: Step) -> String {
        before.tell(step)
    }
}

fn keeps(model: &Bounded<Hop>, at: &Point<World>, rule: Rule) -> bool {
    model.holds(rule.name(), !at.world.broken().contains(&rule))
}

/// The first run of a store.
fn first_term() -> Term {
    Term::default().next(1)
}
