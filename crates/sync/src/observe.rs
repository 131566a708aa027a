//! Upward: what a child observes, numbered by the child and checked by the parent.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Digest, Item};

/// A child's report of what it observes.
#[derive(Debug, Clone, PartialEq)]
pub struct UpReport<T: Item> {
    /// Grows with each start of the child.
    pub boot: u64,
    /// Grows with each report of one boot.
    pub sequence: u64,
    /// Everything, or only what changed.
    pub whole: bool,
    /// States, changed or all.
    pub states: Vec<T>,
    /// What is no longer observed (empty in a whole report).
    pub gone: Vec<T::Key>,
    /// Over everything that the child observes now.
    pub digest: Digest,
    /// The child tells what happened event by event, so that its parent need not conclude it from the states.
    pub tells: bool,
}

/// The child's side: what it observes and what it has not reported yet.
#[derive(Debug, Clone)]
pub struct Observer<T: Item> {
    boot: u64,
    sequence: u64,
    states: BTreeMap<T::Key, T>,
    digest: Digest,
    /// The digest that the last report carried.
    reported: Digest,
    unreported: BTreeSet<T::Key>,
    whole_due: bool,
}

impl<T: Item> Observer<T> {
    /// Of this boot; the first report is a whole one.
    pub const fn new(boot: u64) -> Self {
        Self {
            boot,
            sequence: 0,
            states: BTreeMap::new(),
            digest: Digest(0),
            reported: Digest(0),
            unreported: BTreeSet::new(),
            whole_due: true,
        }
    }

    /// This boot.
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// The number of the last report.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The digest of everything observed.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What every message that is no report carries, so that a lost report shows: boot, sequence and digest of the
    /// last report.
    pub const fn stamp(&self) -> (u64, u64, Digest) {
        (self.boot, self.sequence, self.reported)
    }

    /// What is observed.
    pub const fn states(&self) -> &BTreeMap<T::Key, T> {
        &self.states
    }

    /// Takes a state in; the same one again is not news.
    pub fn put(&mut self, state: T) {
        let (key, mark) = (state.key(), state.mark());
        let old = self.states.insert(key.clone(), state).map(|old| old.mark());
        if old == Some(mark) {
            return;
        }
        self.digest = old
            .map_or(self.digest, |old| self.digest.minus(old))
            .plus(mark);
        self.unreported.insert(key);
    }

    /// Forgets a state.
    pub fn remove(&mut self, key: &T::Key) {
        if let Some(old) = self.states.remove(key) {
            self.digest = self.digest.minus(old.mark());
            self.unreported.insert(key.clone());
        }
    }

    /// The next report has to be a whole one.
    pub const fn ask_whole(&mut self) {
        self.whole_due = true;
    }

    /// Whether the next report has to be a whole one.
    pub const fn is_whole_due(&self) -> bool {
        self.whole_due
    }

    /// Whether there is something to report.
    pub fn is_due(&self) -> bool {
        self.whole_due || !self.unreported.is_empty()
    }

    /// The report that is due; `reported` notes it.
    pub fn report(&self) -> UpReport<T> {
        let (mut states, mut gone) = (Vec::new(), Vec::new());
        if self.whole_due {
            states.extend(self.states.values().cloned());
        } else {
            for key in &self.unreported {
                match self.states.get(key) {
                    Some(state) => states.push(state.clone()),
                    None => gone.push(key.clone()),
                }
            }
        }
        UpReport {
            boot: self.boot,
            sequence: self.sequence + 1,
            whole: self.whole_due,
            states,
            gone,
            digest: self.digest,
            tells: false,
        }
    }

    /// Notes that the present report went out; nothing may be taken in between `report` and this.
    pub fn reported(&mut self) {
        self.sequence += 1;
        self.reported = self.digest;
        self.whole_due = false;
        self.unreported.clear();
    }
}

/// What a report means to a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Take it.
    Fresh,
    /// Take it, and ask for the whole: something was lost before it.
    Gap,
    /// Older than what is known: drop it.
    Stale,
}

/// The parent's side: the last reports of one child. Soft: rebuilt by asking.
#[derive(Debug, Clone)]
pub struct Observed<T: Item> {
    boot: u64,
    sequence: u64,
    states: BTreeMap<T::Key, T>,
    digest: Digest,
    /// The states are all that the child observed at its last report.
    whole: bool,
    tells: bool,
}

impl<T: Item> Default for Observed<T> {
    fn default() -> Self {
        Self {
            boot: 0,
            sequence: 0,
            states: BTreeMap::new(),
            digest: Digest::default(),
            whole: false,
            tells: false,
        }
    }
}

impl<T: Item> Observed<T> {
    /// The states reported.
    pub const fn states(&self) -> &BTreeMap<T::Key, T> {
        &self.states
    }

    /// The child's start that the reports are of.
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// Whether everything that the child observes is known: nothing is ended for absence before.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether the child tells what happens event by event, as its last report says.
    pub const fn tells(&self) -> bool {
        self.tells
    }

    /// What to do with a report.
    pub fn read(&self, report: &UpReport<T>) -> Reading {
        if (report.boot, report.sequence) <= (self.boot, self.sequence) {
            return Reading::Stale;
        }
        let mut digest = Digest::default();
        if report.whole || report.boot != self.boot {
            digest = report
                .states
                .iter()
                .fold(digest, |digest, state| digest.plus(state.mark()));
        } else {
            let without = |digest: Digest, key: &T::Key| {
                self.states
                    .get(key)
                    .map_or(digest, |old| digest.minus(old.mark()))
            };
            digest = report.states.iter().fold(self.digest, |digest, state| {
                without(digest, &state.key()).plus(state.mark())
            });
            digest = report.gone.iter().fold(digest, without);
        }
        if digest == report.digest {
            Reading::Fresh
        } else {
            Reading::Gap
        }
    }

    /// Whether a message that carries only (boot, sequence, digest) shows that a report was lost.
    pub fn misses(&self, boot: u64, sequence: u64, digest: Digest) -> bool {
        (boot, sequence) > (self.boot, self.sequence)
            || ((boot, sequence) == (self.boot, self.sequence)
                && (digest != self.digest || !self.whole))
    }

    /// Takes a report that is not stale.
    pub fn apply(&mut self, report: &UpReport<T>) {
        if report.whole || report.boot != self.boot {
            self.states.clear();
            self.digest = Digest::default();
        }
        (self.boot, self.sequence) = (report.boot, report.sequence);
        self.tells = report.tells;
        for state in &report.states {
            let old = self.states.insert(state.key(), state.clone());
            self.digest = old
                .map_or(self.digest, |old| self.digest.minus(old.mark()))
                .plus(state.mark());
        }
        for key in &report.gone {
            if let Some(old) = self.states.remove(key) {
                self.digest = self.digest.minus(old.mark());
            }
        }
        // A report may be missing before this one: then something that is observed may be absent here.
        self.whole = self.digest == report.digest;
    }

    /// The child registered from a start that was not known: everything begins anew, also the number, which may be
    /// lower when its disk was emptied or restored.
    pub fn expect(&mut self, boot: u64) {
        *self = Self {
            boot,
            ..Self::default()
        };
    }
}
