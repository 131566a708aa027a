//! Every order of events of one parent and one child, crashed at every step, over a network that loses, doubles and
//! reorders: a message once sent may arrive at any later time, any number of times, or never.
//!
//! The search goes breadth first, so that the steps shown for a broken invariant are the fewest that break it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::hash::Hasher;

use sync::{Change, Child, Digest, Held, Incarnation, Item, Parent, Term, Timing, Update, Verdict};

use crate::thing::Thing;

/// How often each event may happen in one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Budget {
    changes: u8,
    parent_crashes: u8,
    child_crashes: u8,
    /// The parent's store is replaced by an older copy, or by an empty one.
    restores: u8,
    reconnects: u8,
    resends: u8,
}

#[derive(Debug, Clone, PartialEq)]
enum Message {
    Down(Change<Thing>),
    Up(Held),
    /// The parent asks for the former set.
    Ask,
    /// What a child that meets another store sends up for adoption.
    Former(Held, Vec<Thing>),
}

type Set = BTreeMap<u16, Thing>;

#[derive(Debug, Clone)]
struct World {
    budget: Budget,
    incarnation: Incarnation,
    term: Term,
    parent: Parent<Thing>,
    child: Child<Thing>,
    net: Vec<Message>,
    /// What the parent had at each revision of each incarnation.
    past: BTreeMap<(Incarnation, u64), Set>,
    /// Which former sets each incarnation has taken over.
    taken: BTreeSet<(Incarnation, Digest)>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Put(u16, u16),
    Remove(u16),
    Deliver(usize),
    /// The child's disk has the update, but it dies before it acknowledges.
    DeliverAndCrash(usize),
    ParentCrash,
    ChildCrash,
    /// To what the store was after the first change.
    RestoreCopy,
    RestoreEmpty,
    Reconnect,
    Resend,
}

const KEYS: [u16; 3] = [0, 1, 2];
const MARKS: [u16; 2] = [1, 2];
/// Two items fill a part.
const TIMING: Timing = Timing {
    resend: 2_000,
    resend_max: 15_000,
    part: 80,
    part_min: 40,
    window: 1,
};

const fn item(key: u16, version: u16) -> Thing {
    Thing {
        key,
        version,
        weight: 40,
    }
}

impl World {
    fn new(budget: Budget) -> Self {
        let mut world = Self {
            budget,
            incarnation: Incarnation(1),
            term: Term::default().next(1),
            parent: Parent::default(),
            child: Child::default(),
            net: Vec::new(),
            past: BTreeMap::new(),
            taken: BTreeSet::new(),
        };
        // Enough for a whole set of two parts.
        for key in KEYS {
            world.change(|parent| parent.put(item(key, 1)));
        }
        world.emit(Message::Up(world.child.held()));
        world
    }

    fn change(&mut self, change: impl FnOnce(&mut Parent<Thing>)) {
        change(&mut self.parent);
        self.past.insert(
            (self.incarnation, self.parent.revision()),
            self.parent.set().clone(),
        );
    }

    fn emit(&mut self, message: Message) {
        if !self.net.contains(&message) {
            self.net.push(message);
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let budget = self.budget;
        if budget.changes > 0 {
            // One key may get either mark; the others only come and go.
            steps.extend(MARKS.map(|version| Step::Put(0, version)));
            steps.extend([Step::Put(1, 2), Step::Remove(1), Step::Remove(2)]);
        }
        for (at, message) in self.net.iter().enumerate() {
            steps.push(Step::Deliver(at));
            if budget.child_crashes > 0 && matches!(message, Message::Down(_)) {
                steps.push(Step::DeliverAndCrash(at));
            }
        }
        if budget.parent_crashes > 0 {
            steps.push(Step::ParentCrash);
        }
        if budget.child_crashes > 0 {
            steps.push(Step::ChildCrash);
        }
        if budget.restores > 0 {
            steps.extend([Step::RestoreCopy, Step::RestoreEmpty]);
        }
        if budget.reconnects > 0 {
            steps.push(Step::Reconnect);
        }
        if budget.resends > 0 {
            steps.push(Step::Resend);
        }
        steps
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Put(key, version) => {
                self.budget.changes -= 1;
                self.change(|parent| parent.put(item(key, version)));
            }
            Step::Remove(key) => {
                self.budget.changes -= 1;
                self.change(|parent| parent.remove(&key));
            }
            Step::Deliver(at) => self.deliver(at, false)?,
            Step::DeliverAndCrash(at) => {
                self.budget.child_crashes -= 1;
                self.deliver(at, true)?;
                self.crash_child();
            }
            Step::ParentCrash => {
                self.budget.parent_crashes -= 1;
                let (set, revision) = (self.parent.set().clone(), self.parent.revision());
                self.start(set, revision);
            }
            Step::ChildCrash => {
                self.budget.child_crashes -= 1;
                self.crash_child();
            }
            Step::RestoreCopy => {
                let copy = self.past.get(&(Incarnation(1), 1)).cloned();
                self.restore(copy.unwrap_or_default(), 1);
            }
            Step::RestoreEmpty => self.restore(Set::new(), 0),
            Step::Reconnect => {
                self.budget.reconnects -= 1;
                self.parent.disconnected();
                self.emit(Message::Up(self.child.held()));
            }
            Step::Resend => {
                self.budget.resends -= 1;
                self.send(60_000);
            }
        }
        // An orchestrator looks for what is due after each input.
        self.send(0);
        Ok(())
    }

    /// The parent starts with what its store has: a new run, and a child that connects anew.
    fn start(&mut self, set: Set, revision: u64) {
        self.term = self.term.next(self.term.nonce + 1);
        self.parent = Parent::default();
        for thing in set.into_values() {
            self.parent.put(thing);
        }
        self.parent.restore(revision);
        self.past
            .insert((self.incarnation, revision), self.parent.set().clone());
        self.emit(Message::Up(self.child.held()));
    }

    fn restore(&mut self, set: Set, revision: u64) {
        self.budget.restores -= 1;
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        self.start(set, revision);
    }

    fn crash_child(&mut self) {
        let durable = Update {
            mark: self.child.mark().clone(),
            put: self.child.set().values().cloned().collect(),
            remove: Vec::new(),
        };
        self.child = Child::default();
        self.child.apply(&durable);
        self.parent.disconnected();
        self.emit(Message::Up(self.child.held()));
    }

    fn send(&mut self, now: u64) {
        let due = self
            .parent
            .due(now, self.incarnation, &self.term, &TIMING)
            .unwrap_or_default();
        if due.is_empty() {
            return;
        }
        self.parent.sent(&due, 0);
        for change in due {
            self.emit(Message::Down(change));
        }
    }

    fn deliver(&mut self, at: usize, silent: bool) -> Result<(), String> {
        match self.net[at].clone() {
            Message::Up(held) => {
                self.parent.acknowledge(held, self.incarnation, &TIMING);
                if self.parent.wants_former(self.incarnation) {
                    self.emit(Message::Ask);
                }
            }
            Message::Ask => self.emit_former(),
            Message::Former(held, things) => self.adopt(held, things),
            Message::Down(change) => {
                self.receive(&change)?;
                if !silent {
                    self.emit(Message::Up(self.child.held()));
                }
            }
        }
        Ok(())
    }

    fn emit_former(&mut self) {
        let things = self.child.set().values().cloned().collect();
        self.emit(Message::Former(self.child.held(), things));
    }

    /// Takes a former set over when the child's last word is that it holds it.
    fn adopt(&mut self, held: Held, things: Vec<Thing>) {
        let still = self.parent.held().is_some_and(|last| {
            (last.incarnation, last.revision, last.desired_digest)
                == (held.incarnation, held.revision, held.desired_digest)
        });
        if !still || held.incarnation == Some(self.incarnation) {
            return;
        }
        for thing in things {
            if !self.parent.set().contains_key(&thing.key()) {
                self.change(|parent| parent.put(thing));
            }
        }
        self.parent.adopt(held.desired_digest);
        self.taken.insert((self.incarnation, held.desired_digest));
    }

    fn receive(&mut self, change: &Change<Thing>) -> Result<(), String> {
        let before = self.child.clone();
        match self.child.decide(change) {
            Verdict::Apply(update) => {
                self.invariant_absence_is_obeyed_only_of_whom_it_may_be(change, &update)?;
                if before.mark().incarnation == Some(change.incarnation)
                    && before.mark().term.history.contains(&change.term.nonce)
                {
                    return Err("a superseded run changed the child".to_owned());
                }
                self.child.apply(&update);
            }
            Verdict::Stage(part) => self.child.stage(part),
            Verdict::Refuse { want_whole } => self.child.refused(want_whole, false),
            Verdict::Superseded => self.child.refused(false, true),
            Verdict::Foreign(_) => self.emit_former(),
            Verdict::Known => {}
        }
        self.invariant_the_child_holds_what_the_parent_had()
    }

    fn invariant_absence_is_obeyed_only_of_whom_it_may_be(
        &self,
        change: &Change<Thing>,
        update: &Update<Thing>,
    ) -> Result<(), String> {
        let mark = self.child.mark();
        let foreign = mark
            .incarnation
            .is_some_and(|known| known != change.incarnation);
        let taken = (change.incarnation, self.child.digest());
        if foreign && !update.remove.is_empty() && !self.taken.contains(&taken) {
            return Err(format!(
                "{:?} stopped for a store that did not take them over",
                update.remove
            ));
        }
        Ok(())
    }

    fn invariant_the_child_holds_what_the_parent_had(&self) -> Result<(), String> {
        let sum = self
            .child
            .set()
            .values()
            .fold(Digest::default(), |sum, thing| sum.plus(thing.mark()));
        if sum != self.child.digest() {
            return Err("the child's digest is not that of its set".to_owned());
        }
        let mark = self.child.mark();
        let Some(incarnation) = mark.incarnation else {
            return Ok(());
        };
        match self.past.get(&(incarnation, mark.revision)) {
            Some(had) if had == self.child.set() => Ok(()),
            had => Err(format!("the child holds {mark:?}, the parent had {had:?}")),
        }
    }

    /// With the faults stopped and what is under way lost, the child comes to hold the present set.
    fn invariant_it_settles(&self, reconnect: bool) -> Result<(), String> {
        let mut world = self.clone();
        if reconnect {
            world.parent.disconnected();
        }
        let mut sent = 0;
        for round in 1..=8 {
            // Each report of a child says what it holds.
            world.net = vec![Message::Up(world.child.held())];
            let mut at = 0;
            while at < world.net.len() {
                world.deliver(at, false)?;
                // `emit` would hide a message that is the same as one before.
                let earlier = std::mem::take(&mut world.net);
                world.send(if at == 0 { round * 60_000 } else { 0 });
                let later = std::mem::replace(&mut world.net, earlier);
                sent += later.len();
                world.net.extend(later);
                at += 1;
                if sent > 60 {
                    return Err("a storm".to_owned());
                }
            }
            if world.parent.is_synced(world.incarnation)
                && world.child.mark().incarnation == Some(world.incarnation)
                && world.child.set() == world.parent.set()
                && world.child.mark().term.nonce == world.term.nonce
            {
                return Ok(());
            }
        }
        Err(format!(
            "not settled (reconnect: {reconnect}): {:?}",
            world.child.held()
        ))
    }

    fn fingerprint(&self, text: &mut String) -> (u64, u64) {
        text.clear();
        // The order in which messages were sent does not matter.
        let mut net: Vec<u64> = self
            .net
            .iter()
            .map(|message| {
                text.clear();
                let _ = write!(text, "{message:?}");
                hash(0, text)
            })
            .collect();
        net.sort_unstable();
        text.clear();
        let Self {
            budget,
            incarnation,
            term,
            parent,
            child,
            past,
            taken,
            net: _,
        } = self;
        let _ = write!(
            text,
            "{budget:?}{incarnation}{term:?}{parent:?}{child:?}{past:?}{taken:?}{net:?}"
        );
        (hash(1, text), hash(2, text))
    }
}

fn hash(seed: u64, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Searches all histories within the budget, at most `most` states; how many there were.
fn search(budget: Budget, most: usize) -> usize {
    let start = World::new(budget);
    let mut text = String::new();
    let mut seen = HashSet::from([start.fingerprint(&mut text)]);
    let mut trail: Vec<(usize, Option<Step>)> = vec![(0, None)];
    let mut layer = vec![(0_usize, start)];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (at, world) in layer {
            for step in world.steps() {
                let mut after = world.clone();
                let result = after.take(step);
                if result.is_ok() && !seen.insert(after.fingerprint(&mut text)) {
                    continue;
                }
                trail.push((at, Some(step)));
                let here = trail.len() - 1;
                let result = result
                    .and_then(|()| after.invariant_it_settles(false))
                    .and_then(|()| after.invariant_it_settles(true));
                if let Err(broken) = result {
                    let story = tell(budget, &trail, here);
                    panic!("{broken}\nafter {} states:\n{story}", seen.len());
                }
                next.push((here, after));
                if seen.len() >= most {
                    return most;
                }
            }
        }
        layer = next;
    }
    #[expect(
        clippy::print_stderr,
        reason = "shown for a test that fails, or on request"
    )]
    {
        eprintln!("{budget:?}: all of {} states", seen.len());
    }
    seen.len()
}

/// The steps that led to a state, each with what it did.
fn tell(budget: Budget, trail: &[(usize, Option<Step>)], mut at: usize) -> String {
    let mut steps = Vec::new();
    while let (before, Some(step)) = trail[at] {
        steps.push(step);
        at = before;
    }
    let mut world = World::new(budget);
    let mut story = String::new();
    for step in steps.into_iter().rev() {
        let message = match step {
            Step::Deliver(at) | Step::DeliverAndCrash(at) => world.net.get(at).cloned(),
            _ => None,
        };
        let result = world.take(step);
        let _ = writeln!(story, "- {step:?} {message:?} {result:?}");
    }
    let _ = writeln!(story, "{:?}\n{:?}", world.parent, world.child);
    story
}

const MOST: usize = 10_000;

/// Budget: changes, crashes of the parent, of the child, restores, reconnects, resends.
const fn budget(events: [u8; 6]) -> Budget {
    let [
        changes,
        parent_crashes,
        child_crashes,
        restores,
        reconnects,
        resends,
    ] = events;
    Budget {
        changes,
        parent_crashes,
        child_crashes,
        restores,
        reconnects,
        resends,
    }
}

#[test]
fn no_order_of_messages_breaks_the_sync() {
    search(budget([1, 0, 0, 0, 1, 1]), MOST);
    search(budget([4, 0, 0, 0, 0, 0]), MOST);
}

#[test]
fn no_crash_of_the_parent_breaks_the_sync() {
    search(budget([1, 1, 0, 0, 0, 0]), MOST);
    search(budget([2, 2, 0, 0, 0, 1]), MOST);
}

#[test]
fn no_crash_of_the_child_breaks_the_sync() {
    search(budget([1, 0, 1, 0, 0, 0]), MOST);
    search(budget([2, 0, 2, 0, 0, 1]), MOST);
}

#[test]
fn no_restored_or_emptied_store_breaks_the_sync() {
    search(budget([0, 0, 0, 1, 0, 0]), MOST);
    search(budget([0, 0, 0, 2, 0, 0]), MOST);
    search(budget([1, 0, 0, 1, 1, 0]), MOST);
}

#[test]
fn no_mixture_of_faults_breaks_the_sync() {
    search(budget([1, 1, 1, 0, 0, 0]), MOST);
    search(budget([0, 1, 0, 1, 0, 0]), MOST);
    search(budget([1, 1, 1, 1, 1, 1]), MOST);
}

#[test]
#[ignore = "a minute and more: the same search, ten times as far"]
fn no_mixture_of_faults_breaks_the_sync_far_out() {
    search(budget([1, 1, 1, 1, 0, 0]), 30 * MOST);
    search(budget([3, 2, 2, 2, 2, 2]), 15 * MOST);
}
