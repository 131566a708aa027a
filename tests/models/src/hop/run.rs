//! A run of the parent's orchestrator, and what it says and hears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync::{Change, Digest, Held, Incarnation, Parent, Term, Timing};

use super::{Thing, first_term};

/// Two things fill a part, and one part is under way beyond those that are staged.
const TIMING: Timing = Timing {
    resend: 2_000,
    resend_max: 15_000,
    part: 2 * Thing::WEIGHT,
    part_min: Thing::WEIGHT,
    window: 1,
};
/// All is sent at the beginning of time; by then the longest wait is over.
pub(super) const LATE: u64 = 60_000;
/// What is desired.
pub(super) type Set = BTreeMap<u16, Thing>;

/// What is true of the sender, so that its promises can be held against it.
#[derive(Debug, PartialEq)]
pub(super) struct Truth {
    pub(super) set: Set,
    /// Digests of the former sets that are in its store.
    pub(super) taken: BTreeSet<Digest>,
}

/// A message under way.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// A part of a change.
    Down(Change<Thing>, Arc<Truth>),
    /// The parent asks for the former set.
    Ask,
    /// What the child holds.
    Held(Held),
    /// The former set.
    Former(Held, Vec<Thing>),
}

/// A run of the orchestrator.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) incarnation: Incarnation,
    pub(super) term: Term,
    pub(super) parent: Parent<Thing>,
    pub(super) taken: BTreeSet<Digest>,
    /// What was true when the change that is under way was made: parts of it go out later too.
    promised: Option<(Base, Arc<Truth>)>,
    pub(super) fenced: bool,
}

/// Names a change among those of one run.
type Base = (Option<u64>, u64, Digest, Option<Digest>);

const fn base(change: &Change<Thing>) -> Base {
    (change.base, change.revision, change.digest, change.adopted)
}

impl Run {
    /// The next run on the store that this one has.
    pub(super) fn next(&self, nonce: u64) -> Self {
        let (set, revision) = (self.parent.set().clone(), self.parent.revision());
        let mut run = Self::on(self.incarnation, &set, revision);
        run.term = self.term.next(nonce);
        run.taken.clone_from(&self.taken);
        run
    }

    pub(super) fn on(incarnation: Incarnation, set: &Set, revision: u64) -> Self {
        let mut parent = Parent::default();
        for thing in set.values() {
            parent.put(*thing);
        }
        parent.restore(revision);
        Self {
            incarnation,
            term: first_term(),
            parent,
            taken: BTreeSet::new(),
            promised: None,
            fenced: false,
        }
    }

    /// What is due goes out.
    pub(super) fn send(&mut self, now: u64, out: &mut Vec<Message>) {
        if self.fenced {
            return;
        }
        let due = self.parent.due(now, self.incarnation, &self.term, &TIMING);
        let Some(due) = due.filter(|due| !due.is_empty()) else {
            return;
        };
        self.parent.sent(&due, 0);
        let Some(named) = due.first().map(base) else {
            return;
        };
        let known = self.promised.take().filter(|(known, _)| *known == named);
        let truth = known.map_or_else(
            || {
                Arc::new(Truth {
                    set: self.parent.set().clone(),
                    taken: self.taken.clone(),
                })
            },
            |(_, truth)| truth,
        );
        self.promised = Some((named, Arc::clone(&truth)));
        out.extend(
            due.into_iter()
                .map(|change| Message::Down(change, Arc::clone(&truth))),
        );
    }

    pub(super) fn hear(&mut self, message: &Message, out: &mut Vec<Message>) {
        match message {
            Message::Held(held) => {
                self.fenced |= held.supersedes(self.incarnation, &self.term);
                self.parent.acknowledge(*held, self.incarnation, &TIMING);
                if !self.fenced && self.parent.wants_former(self.incarnation) {
                    out.push(Message::Ask);
                }
            }
            Message::Former(held, things) => self.adopt(held, things),
            Message::Down(..) | Message::Ask => {}
        }
    }

    /// What the store does not have of a former set comes into it.
    fn adopt(&mut self, held: &Held, things: &[Thing]) {
        if self.fenced || !self.parent.wants_former(self.incarnation) {
            return;
        }
        for thing in things {
            if !self.parent.set().contains_key(&thing.key) {
                self.parent.put(*thing);
            }
        }
        self.parent.adopt(held.desired_digest);
        self.taken.insert(held.desired_digest);
    }
}
