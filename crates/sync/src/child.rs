//! The child's side: the desired set it holds, and what a change does to it.

use std::collections::BTreeMap;

use crate::{Change, Digest, Held, Incarnation, Item, StagedMark, Term, TermOrder};

/// Whose set a child holds, and how far it is: durable, written together with the items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParentMark {
    /// Of the parent's store; `None` before the first set.
    pub incarnation: Option<Incarnation>,
    /// The latest term met.
    pub term: Term,
    /// Revision held.
    pub revision: u64,
}

/// One durable write of a child: the items and the mark, together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Update<T: Item> {
    /// The new mark.
    pub mark: ParentMark,
    /// New or changed items.
    pub put: Vec<T>,
    /// Items that are no longer desired.
    pub remove: Vec<T::Key>,
}

/// What a message does to a child.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a verdict that is dropped loses the change"]
pub enum Verdict<T: Item> {
    /// Write this, acknowledge, then act.
    Apply(Update<T>),
    /// A part was kept; acknowledge so that the rest comes.
    Stage(Change<T>),
    /// Nothing new: acknowledge what is held.
    Known,
    /// It does not build on what is held: acknowledge what is held. `want_whole`: only the whole set helps.
    Refuse {
        /// The promised digest was not met.
        want_whole: bool,
    },
    /// From a superseded parent: say so.
    Superseded,
    /// From another store: keep everything, send it up for adoption.
    Foreign(Foreign),
}

/// Why a set counts as another store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Another incarnation.
    Incarnation,
    /// The same incarnation, but two copies of that store run.
    Diverged,
}

/// Who sends a change, seen from what is held.
enum Sender {
    /// The first parent.
    New,
    /// The same run, or a later one of the same store.
    Known,
    /// An earlier run.
    Superseded,
    /// Another store, or a copy of the store.
    Foreign(Foreign),
}

/// The desired set that a child holds.
#[derive(Debug, Clone)]
pub struct Child<T: Item> {
    mark: ParentMark,
    set: BTreeMap<T::Key, T>,
    digest: Digest,
    staged: Vec<Change<T>>,
    want_whole: bool,
    superseded: bool,
}

impl<T: Item> Default for Child<T> {
    fn default() -> Self {
        Self {
            mark: ParentMark::default(),
            set: BTreeMap::new(),
            digest: Digest::default(),
            staged: Vec::new(),
            want_whole: false,
            superseded: false,
        }
    }
}

impl<T: Item> Child<T> {
    /// The set held.
    pub const fn set(&self) -> &BTreeMap<T::Key, T> {
        &self.set
    }

    /// Whose set it is.
    pub const fn mark(&self) -> &ParentMark {
        &self.mark
    }

    /// The digest of the set held.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What to tell the parent.
    pub fn held(&self) -> Held {
        Held {
            incarnation: self.mark.incarnation,
            term: self.mark.term.number,
            nonce: self.mark.term.nonce,
            revision: self.mark.revision,
            desired_digest: self.digest,
            staged: self.staged.first().map(|first| StagedMark {
                change: first.id(),
                revision: first.revision,
                parts: first.parts,
                next: self.staged.len() as u32,
            }),
            want_whole: self.want_whole,
            superseded: self.superseded,
        }
    }

    /// What [`Child::held`] will say once `update` is applied. Costs the size of the update, not of the set.
    pub fn held_after(&self, update: &Update<T>) -> Held {
        Held {
            incarnation: update.mark.incarnation,
            term: update.mark.term.number,
            nonce: update.mark.term.nonce,
            revision: update.mark.revision,
            desired_digest: self.digest_after(update),
            staged: None,
            want_whole: false,
            superseded: false,
        }
    }

    /// What [`Child::held`] will say once `part` is staged.
    pub fn held_staging(&self, part: &Change<T>) -> Held {
        let continued = self.staged.first().filter(|first| same_change(first, part));
        let first = continued.unwrap_or(part);
        let before = continued.map_or(0, |_| self.staged.len() as u32);
        Held {
            staged: Some(StagedMark {
                change: first.id(),
                revision: first.revision,
                parts: first.parts,
                next: before + 1,
            }),
            want_whole: false,
            superseded: false,
            ..self.held()
        }
    }

    /// What `change` does: total and pure.
    pub fn decide(&self, change: &Change<T>) -> Verdict<T> {
        match self.sender(change) {
            Sender::Known => {}
            Sender::New => return self.build_on(change, false),
            // What is held is in that parent's store: from here on it decides.
            Sender::Foreign(_) if change.adopted == Some(self.digest) => {
                return self.build_on(change, false);
            }
            Sender::Foreign(foreign) => return Verdict::Foreign(foreign),
            Sender::Superseded => return Verdict::Superseded,
        }
        if change.revision < self.mark.revision {
            return Verdict::Known;
        }
        if change.revision == self.mark.revision && change.digest == self.digest {
            return if change.term.nonce == self.mark.term.nonce {
                Verdict::Known
            } else {
                // Nothing changes but the run that says so.
                Verdict::Apply(Update {
                    mark: self.next_mark(change),
                    put: Vec::new(),
                    remove: Vec::new(),
                })
            };
        }
        self.build_on(change, true)
    }

    fn sender(&self, change: &Change<T>) -> Sender {
        match self.mark.incarnation {
            None => return Sender::New,
            Some(known) if known != change.incarnation => {
                return Sender::Foreign(Foreign::Incarnation);
            }
            Some(_) => {}
        }
        match self.mark.term.order(&change.term) {
            // A run starts from what the runs before it have committed: one that knows less is of a copy.
            TermOrder::Later if change.revision < self.mark.revision => {
                Sender::Foreign(Foreign::Diverged)
            }
            TermOrder::Same | TermOrder::Later => Sender::Known,
            TermOrder::Superseded => Sender::Superseded,
            TermOrder::Diverged => Sender::Foreign(Foreign::Diverged),
        }
    }

    /// `comparable`: the sender's revisions are those of the set held.
    fn build_on(&self, change: &Change<T>, comparable: bool) -> Verdict<T> {
        if let Some(base) = change.base
            && (!comparable || base != self.mark.revision)
        {
            return Verdict::Refuse { want_whole: false };
        }
        self.assemble(change)
    }

    fn assemble(&self, change: &Change<T>) -> Verdict<T> {
        let continues = self
            .staged
            .first()
            .is_none_or(|first| same_change(first, change));
        let position = if continues {
            self.staged.len() as u32
        } else {
            0
        };
        if change.part != position {
            // A part that is staged already, or one whose forerunner was lost.
            return Verdict::Refuse { want_whole: false };
        }
        if change.part + 1 < change.parts {
            return Verdict::Stage(change.clone());
        }
        let staged: &[Change<T>] = if continues { &self.staged } else { &[] };
        let parts = || staged.iter().chain(std::iter::once(change));
        let mut put: Vec<T> = parts().flat_map(|part| part.put.iter().cloned()).collect();
        let mut remove: Vec<T::Key> = parts()
            .flat_map(|part| part.remove.iter().cloned())
            .collect();
        if change.base.is_none() {
            let named: std::collections::BTreeSet<T::Key> = put.iter().map(Item::key).collect();
            remove.extend(self.set.keys().filter(|key| !named.contains(key)).cloned());
            // A whole set costs the disk no more than a delta.
            put.retain(|item| self.set.get(&item.key()).map(Item::mark) != Some(item.mark()));
        }
        let update = Update {
            mark: self.next_mark(change),
            put,
            remove,
        };
        if self.digest_after(&update) == change.digest {
            Verdict::Apply(update)
        } else {
            Verdict::Refuse { want_whole: true }
        }
    }

    fn next_mark(&self, change: &Change<T>) -> ParentMark {
        let mut term = change.term.clone();
        if term.nonce == self.mark.term.nonce && term.history.is_empty() {
            term.history.clone_from(&self.mark.term.history);
        }
        ParentMark {
            incarnation: Some(change.incarnation),
            term,
            revision: change.revision,
        }
    }

    /// Costs the size of the update, not of the set.
    fn digest_after(&self, update: &Update<T>) -> Digest {
        let removed = update.remove.iter().map(|key| (key.clone(), None));
        let put = update
            .put
            .iter()
            .map(|item| (item.key(), Some(item.mark())));
        let last: BTreeMap<T::Key, Option<Digest>> = removed.chain(put).collect();
        last.iter().fold(self.digest, |digest, (key, mark)| {
            let without = self
                .set
                .get(key)
                .map_or(digest, |old| digest.minus(old.mark()));
            mark.map_or(without, |mark| without.plus(mark))
        })
    }

    fn write(&mut self, update: &Update<T>) {
        for key in &update.remove {
            if let Some(old) = self.set.remove(key) {
                self.digest = self.digest.minus(old.mark());
            }
        }
        for item in &update.put {
            if let Some(old) = self.set.insert(item.key(), item.clone()) {
                self.digest = self.digest.minus(old.mark());
            }
            self.digest = self.digest.plus(item.mark());
        }
        self.mark = update.mark.clone();
    }

    /// Takes a written update into the set, or rebuilds the set from the store's records.
    pub fn apply(&mut self, update: &Update<T>) {
        self.write(update);
        self.staged.clear();
        self.want_whole = false;
        self.superseded = false;
    }

    /// Keeps a part until the rest is there.
    pub fn stage(&mut self, part: Change<T>) {
        if self
            .staged
            .first()
            .is_some_and(|first| !same_change(first, &part))
        {
            self.staged.clear();
        }
        self.staged.push(part);
        self.want_whole = false;
        self.superseded = false;
    }

    /// Notes what the next acknowledgement must say beside what is held.
    pub fn refused(&mut self, want_whole: bool, superseded: bool) {
        self.want_whole = want_whole;
        self.superseded = superseded;
        if want_whole {
            self.staged.clear();
        }
    }
}

fn same_change<T: Item>(a: &Change<T>, b: &Change<T>) -> bool {
    (a.incarnation, a.base, a.revision, a.parts, a.digest)
        == (b.incarnation, b.base, b.revision, b.parts, b.digest)
}
