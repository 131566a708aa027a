//! A small item, and short ways to drive both sides.

use std::collections::VecDeque;

use sync::{Change, Child, Digest, Held, Incarnation, Item, Parent, Term, Timing, Verdict};

/// An item of a desired set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing {
    pub(crate) key: u16,
    pub(crate) version: u16,
    pub(crate) weight: usize,
}

/// A thing that weighs 40 bytes.
pub(crate) const fn thing(key: u16, version: u16) -> Thing {
    Thing {
        key,
        version,
        weight: 40,
    }
}

impl Item for Thing {
    type Key = u16;

    fn key(&self) -> u16 {
        self.key
    }

    /// Mixed by two odd constants: cheaper than SHA-256, and no sum of a few of them is another.
    fn mark(&self) -> Digest {
        let word = (u128::from(self.key) << 16) | u128::from(self.version);
        let once = (word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Digest((once ^ (once >> 61)).wrapping_mul(0xda94_2042_e4dd_58b5_1a36_e282_2a3b_4c4d))
    }

    fn weight(&self) -> usize {
        self.weight
    }
}

pub(crate) const HERE: Incarnation = Incarnation(0xa);
pub(crate) const ELSEWHERE: Incarnation = Incarnation(0xb);

/// The first run of a store.
pub(crate) fn first_term() -> Term {
    Term::default().next(101)
}

/// What an orchestrator does with a message to a child; the answer is what it tells the parent.
pub(crate) fn receive(child: &mut Child<Thing>, change: &Change<Thing>) -> (Verdict<Thing>, Held) {
    let verdict = child.decide(change);
    match &verdict {
        Verdict::Apply(update) => {
            let told = child.held_after(update);
            child.apply(update);
            assert_eq!(told, child.held());
        }
        Verdict::Stage(part) => {
            let told = child.held_staging(part);
            child.stage(part.clone());
            assert_eq!(told, child.held());
        }
        Verdict::Refuse { want_whole } => child.refused(*want_whole, false),
        Verdict::Superseded => child.refused(false, true),
        Verdict::Known | Verdict::Foreign(_) => {}
    }
    (verdict, child.held())
}

/// What a parent sends at `now`, noted as sent.
pub(crate) fn send(
    parent: &mut Parent<Thing>,
    now: u64,
    term: &Term,
    timing: &Timing,
) -> Vec<Change<Thing>> {
    let changes = parent.due(now, HERE, term, timing).unwrap_or_default();
    if !changes.is_empty() {
        parent.sent(&changes, now);
    }
    changes.to_vec()
}

/// Exchanges in order and without loss until nothing is due; how many messages went down.
pub(crate) fn settle(
    parent: &mut Parent<Thing>,
    child: &mut Child<Thing>,
    term: &Term,
    timing: &Timing,
) -> usize {
    let mut messages = 0;
    parent.acknowledge(child.held(), HERE, timing);
    for round in 0..20 {
        let mut queue: VecDeque<_> = send(parent, round * 20_000, term, timing).into();
        while let Some(change) = queue.pop_front() {
            messages += 1;
            let (_, held) = receive(child, &change);
            parent.acknowledge(held, HERE, timing);
            queue.extend(send(parent, round * 20_000, term, timing));
        }
    }
    messages
}

/// A parent of these things.
pub(crate) fn parent_of(things: impl IntoIterator<Item = Thing>) -> Parent<Thing> {
    let mut parent = Parent::default();
    things.into_iter().for_each(|thing| parent.put(thing));
    parent
}

/// What a restarted orchestrator makes of its store.
pub(crate) fn restarted(parent: &Parent<Thing>) -> Parent<Thing> {
    let mut after = parent_of(parent.set().values().cloned());
    after.restore(parent.revision());
    after
}

/// Small parts, halved to no less than 50 bytes.
pub(crate) fn small_parts() -> Timing {
    Timing {
        part: 200,
        part_min: 50,
        window: 3,
        ..Timing::default()
    }
}
