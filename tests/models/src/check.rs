//! How a model is searched: breadth first, by stateright, to a bound that is part of the model.
//!
//! One thread searches, so that the first way to a state is the shortest one: then all histories of so many steps are
//! looked at and no other, the count of states is the same in each run, and what is told of a broken rule is the fewest
//! steps that break it. Several models are searched beside each other by the test runner.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Debug, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use stateright::{Checker as _, Expectation, HasDiscoveries, Model, Property};

/// What can happen in a small world, and what must hold in it.
pub trait Scene: Send + Sync + Sized + 'static {
    /// Everything there is.
    type World: Send + Sync;
    /// One thing that happens.
    type Step: Copy + PartialEq + Debug + Send + Sync;
    /// How it may begin.
    fn begin(&self) -> Vec<Self::World>;
    /// What may happen now, always in the same order.
    fn steps(&self, world: &Self::World) -> Vec<Self::Step>;
    /// What becomes of it.
    fn take(&self, world: &Self::World, step: Self::Step) -> Self::World;
    /// Tells worlds apart: two that can go on differently, or that the rules judge differently, have two fingerprints.
    fn fingerprint(world: &Self::World) -> u64;
    /// The rules.
    fn rules() -> Vec<Property<Bounded<Self>>>;
    /// A step for a reader.
    fn tell(&self, before: &Self::World, step: Self::Step) -> String;
}

/// A scene, and how many steps its histories have at most.
#[derive(Debug)]
pub struct Bounded<S> {
    scene: S,
    depth: u16,
    /// Rules that were seen to be broken: stateright keeps the last history that it is told of, and the first one is the
    /// shortest.
    seen: Mutex<BTreeSet<&'static str>>,
}

impl<S> Bounded<S> {
    /// The scene.
    pub const fn scene(&self) -> &S {
        &self.scene
    }

    /// Whether a rule holds, or was seen to be broken before.
    pub fn holds(&self, rule: &'static str, holds: bool) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        holds || !seen.insert(rule)
    }
}

/// A world that was reached.
#[derive(Debug)]
pub struct Point<W> {
    /// It.
    pub world: Arc<W>,
    fingerprint: u64,
    /// By how many steps at least.
    steps: u16,
}

impl<W> Clone for Point<W> {
    fn clone(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            fingerprint: self.fingerprint,
            steps: self.steps,
        }
    }
}

impl<W> PartialEq for Point<W> {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl<W> Hash for Point<W> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.fingerprint);
    }
}

impl<W> Point<W> {
    /// What tells it from others.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn of<S: Scene<World = W>>(world: W, steps: u16) -> Self {
        Self {
            fingerprint: S::fingerprint(&world),
            world: Arc::new(world),
            steps,
        }
    }
}

impl<S: Scene> Model for Bounded<S> {
    type State = Point<S::World>;
    type Action = S::Step;

    fn init_states(&self) -> Vec<Self::State> {
        let worlds = self.scene.begin().into_iter();
        worlds.map(|world| Point::of::<S>(world, 0)).collect()
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        if state.steps < self.depth {
            actions.extend(self.scene.steps(&state.world));
        }
    }

    fn next_state(&self, last: &Self::State, step: Self::Action) -> Option<Self::State> {
        let next = self.scene.take(&last.world, step);
        let next = Point::of::<S>(next, last.steps + 1);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        S::rules()
    }
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// How many different states there are within the bound.
    pub states: usize,
    /// The most steps that lead to a new one.
    pub steps: usize,
    /// The bound.
    pub depth: u16,
    /// The rules that do not hold, each with the steps that break it.
    pub broken: Vec<(&'static str, String)>,
    /// What should have come about and did not: the model does not reach what it is about.
    pub unreached: Vec<&'static str>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.steps < usize::from(self.depth) {
            "all there are"
        } else {
            "all within the bound"
        };
        write!(
            f,
            "{} states, {all}, of histories of up to {} steps",
            self.states, self.steps
        )?;
        for (rule, story) in &self.broken {
            write!(f, "\nbroken: {rule}\n{story}")?;
        }
        for never in &self.unreached {
            write!(f, "\nnever reached: {never}")?;
        }
        Ok(())
    }
}

/// Searches a scene to `depth` steps: until any rule is broken, or this one.
pub fn search<S: Scene>(scene: S, depth: u16, rule: Option<&'static str>) -> Found {
    let bounded = Bounded {
        scene,
        depth,
        seen: Mutex::default(),
    };
    let end = rule.map_or(HasDiscoveries::AnyFailures, |rule| {
        HasDiscoveries::AnyOf(BTreeSet::from([rule]))
    });
    let searched = bounded.checker().finish_when(end).spawn_bfs().join();
    let bounded = searched.model();
    let mut found = Found {
        states: searched.unique_state_count(),
        // The first state counts as one.
        steps: searched.max_depth().saturating_sub(1),
        depth,
        broken: Vec::new(),
        unreached: Vec::new(),
    };
    let mut discoveries = searched.discoveries();
    for rule in S::rules() {
        let path = discoveries.remove(rule.name);
        match (rule.expectation, path) {
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let mut story = String::new();
                for (before, step) in path.into_vec() {
                    let Some(step) = step else { continue };
                    // Writing into a String cannot fail.
                    let _ = writeln!(story, "- {}", bounded.scene.tell(&before.world, step));
                }
                found.broken.push((rule.name, story));
            }
            (Expectation::Sometimes, None) => found.unreached.push(rule.name),
            (Expectation::Always | Expectation::Eventually, None)
            | (Expectation::Sometimes, Some(_)) => {}
        }
    }
    found
}

/// Hashes what is written, so that a value without `Hash` has a fingerprint by its `Debug`, without the text of it.
#[derive(Debug, Default)]
pub struct Print(DefaultHasher);

impl Print {
    /// With this too.
    #[must_use]
    pub fn and(mut self, value: &impl Debug) -> Self {
        // It takes whatever is written.
        let _ = write!(self, "{value:?}");
        // What ends here is told from what goes on.
        self.0.write_u8(0xff);
        self
    }

    /// The fingerprint of all of it.
    pub fn end(self) -> u64 {
        self.0.finish()
    }
}

impl fmt::Write for Print {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The fingerprint of one value.
pub fn print(value: &impl Debug) -> u64 {
    Print::default().and(value).end()
}
