//! The parent's side: a child's desired set, and what to send next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::parts::{Parcel, split, staged_here, weight};
use crate::{Change, Digest, Held, Incarnation, Item, Term};

/// When to send again, in milliseconds of the parent's steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Wait for the first acknowledgement; doubles with each resend.
    pub resend: u64,
    /// The longest wait.
    pub resend_max: u64,
    /// Bytes in a part at most.
    pub part: usize,
    /// Bytes that a part is halved to at least.
    pub part_min: usize,
    /// Parts that may be under way beyond those that the child has staged: what a slow link or a queue must hold.
    pub window: u32,
}

impl Default for Timing {
    /// 2 s doubling to 15 s; 16 KiB halving to 1 KiB (protocol, section 4); 16 parts under way.
    fn default() -> Self {
        Self {
            resend: 2_000,
            resend_max: 15_000,
            part: 16_384,
            part_min: 1_024,
            window: 16,
        }
    }
}

/// Changes kept to build deltas from.
const LOG: usize = 4_096;

/// A child's desired set at its parent. The set and `revision` are durable there; all else is soft.
#[derive(Debug, Clone)]
pub struct Parent<T: Item> {
    set: BTreeMap<T::Key, T>,
    revision: u64,
    digest: Digest,
    /// (revision, key) of recent changes, oldest first.
    log: VecDeque<(u64, T::Key)>,
    /// The revision below which the log is incomplete.
    log_from: u64,
    /// The revision that the store had of it when this run began; `None`: the child is new since.
    begun: Option<u64>,
    /// The last acknowledgement since the child connected.
    held: Option<Held>,
    /// The digest of the former set that this parent has taken over from the child.
    adopted: Option<Digest>,
    flight: Option<Flight<T>>,
    part: Option<usize>,
}

#[derive(Debug, Clone)]
struct Flight<T: Item> {
    changes: Arc<[Change<T>]>,
    /// The first part that was not sent on this connection.
    next: u32,
    /// `None`: due at once.
    sent_at: Option<u64>,
    attempts: u32,
    /// The first part that was missing when the connection last broke.
    reached: u32,
    /// Sent on a connection that has since broken.
    broken: bool,
}

impl<T: Item> Flight<T> {
    fn due_at(&self, timing: &Timing) -> u64 {
        let wait = (timing.resend << self.attempts.min(8)).min(timing.resend_max);
        self.sent_at.map_or(0, |sent| sent.saturating_add(wait))
    }
}

impl<T: Item> Default for Parent<T> {
    fn default() -> Self {
        Self {
            set: BTreeMap::new(),
            revision: 0,
            digest: Digest::default(),
            log: VecDeque::new(),
            log_from: 0,
            begun: None,
            held: None,
            adopted: None,
            flight: None,
            part: None,
        }
    }
}

impl<T: Item> Parent<T> {
    /// The present revision.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The digest of the present set.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The present set.
    pub const fn set(&self) -> &BTreeMap<T::Key, T> {
        &self.set
    }

    /// The last acknowledgement since the child connected.
    pub const fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Adds or changes an item. The same item again changes nothing.
    pub fn put(&mut self, item: T) {
        let (key, mark) = (item.key(), item.mark());
        if let Some(old) = self.set.get(&key) {
            if old.mark() == mark {
                return;
            }
            self.digest = self.digest.minus(old.mark());
        }
        self.digest = self.digest.plus(mark);
        self.set.insert(key.clone(), item);
        self.changed(key);
    }

    /// Takes an item out; absent is fine.
    pub fn remove(&mut self, key: &T::Key) {
        if let Some(old) = self.set.remove(key) {
            self.digest = self.digest.minus(old.mark());
            self.changed(key.clone());
        }
    }

    fn changed(&mut self, key: T::Key) {
        self.revision += 1;
        self.log.push_back((self.revision, key));
        if self.log.len() > LOG
            && let Some((revision, _)) = self.log.pop_front()
        {
            self.log_from = revision;
        }
    }

    /// Sets the revision that the store remembers, after the set was rebuilt: the log starts there.
    pub fn restore(&mut self, revision: u64) {
        self.revision = revision;
        self.log.clear();
        self.log_from = revision;
        self.begun = Some(revision);
    }

    /// Whether the child has heard of this store what this run does not know: from a run that it does not descend
    /// from, or a revision that the store did not have when this run began. Then the store is a copy, and another one
    /// went on, or this one is older than what was decided: its orchestrator fences it.
    pub fn is_overtaken(&self, held: &Held, incarnation: Incarnation, term: &Term) -> bool {
        let before = held.nonce != term.nonce;
        let ahead = before && self.begun.is_some_and(|begun| held.revision > begun);
        held.incarnation == Some(incarnation)
            && (ahead || term.is_overtaken_by(held.term, held.nonce))
    }

    /// Notes that the child's former set of this digest is in the parent's store.
    pub fn adopt(&mut self, former: Digest) {
        self.adopted = Some(former);
        self.flight = None;
    }

    /// The connection broke, or is new: nothing counts as held before the child says so again.
    pub fn disconnected(&mut self) {
        self.held = None;
        if let Some(flight) = &mut self.flight {
            flight.broken = true;
        }
    }

    /// Takes the child's word. A change in flight that it acknowledges, or that no longer helps it, is over.
    pub fn acknowledge(&mut self, held: Held, incarnation: Incarnation, timing: &Timing) {
        self.held = Some(held);
        let Some(mut flight) = self.flight.take() else {
            return;
        };
        let Some(first) = flight.changes.first() else {
            return;
        };
        if self.is_over(first, &held, incarnation) {
            return;
        }
        if flight.broken {
            let reached = staged_here(held.staged, first);
            let stuck = reached.unwrap_or(0) <= flight.reached;
            let next = flight.changes.get(reached.unwrap_or(0) as usize);
            let size = self.part.unwrap_or(timing.part);
            if stuck && size > timing.part_min && next.map(weight) > Some(timing.part_min) {
                // A part that never arrives whole is too big for this link.
                self.part = Some((size / 2).max(timing.part_min));
                return;
            }
            let Some(reached) = reached else {
                return;
            };
            flight.reached = reached;
            flight.broken = false;
            flight.sent_at = None;
            flight.attempts = 0;
            flight.next = reached;
        }
        self.flight = Some(flight);
    }

    /// A whole set that the child refuses stays in flight, so that it is sent again in its time and not at once.
    fn is_over(&self, first: &Change<T>, held: &Held, incarnation: Incarnation) -> bool {
        let mine = held.incarnation == Some(incarnation);
        let done = mine
            && held.revision == first.revision
            && held.desired_digest == first.digest
            && held.nonce == first.term.nonce;
        let passed = mine && held.revision > first.revision && held.revision <= self.revision;
        let helps = match first.base {
            Some(base) => mine && base == held.revision && !held.want_whole,
            None => !(held.want_whole && first.revision < self.revision),
        };
        let proof = self.proof_needed(held, incarnation, &first.term);
        let proven = proof.is_none() || proof == first.adopted;
        done || passed || !helps || !proven || self.unadopted(held, incarnation)
    }

    /// Whether the child's revision is one of this store's. A child that is ahead took its set from a copy of it.
    fn comparable(&self, held: &Held, incarnation: Incarnation, term: &Term) -> bool {
        held.incarnation == Some(incarnation)
            && held.revision <= self.revision
            && (held.nonce == term.nonce || term.history.contains(&held.nonce))
    }

    /// What a child that holds another's set wants to be told.
    fn proof_needed(&self, held: &Held, incarnation: Incarnation, term: &Term) -> Option<Digest> {
        if held.incarnation.is_none() || self.comparable(held, incarnation, term) {
            return None;
        }
        let ours = held.incarnation == Some(incarnation);
        if ours && !self.is_overtaken(held, incarnation, term) {
            // Of a run of this store that is too long ago to be named: what was decided since is all here.
            return Some(held.desired_digest);
        }
        self.proof(held)
    }

    fn unadopted(&self, held: &Held, incarnation: Incarnation) -> bool {
        held.incarnation.is_some_and(|theirs| theirs != incarnation)
            && self.proof(held) != Some(held.desired_digest)
    }

    /// An empty set needs no taking over.
    fn proof(&self, held: &Held) -> Option<Digest> {
        if held.desired_digest == Digest::default() {
            Some(held.desired_digest)
        } else {
            self.adopted
        }
    }

    /// Whether the child holds the present set.
    pub fn is_synced(&self, incarnation: Incarnation) -> bool {
        self.held.is_some_and(|held| {
            held.incarnation == Some(incarnation)
                && held.revision == self.revision
                && held.desired_digest == self.digest
        })
    }

    /// Whether the child holds another store's set that this one has not taken over: it is asked to send that up, then
    /// `adopt` notes that it is stored. Nothing is `due` before, so the child does not notice by itself.
    pub fn wants_former(&self, incarnation: Incarnation) -> bool {
        self.held
            .is_some_and(|held| self.unadopted(&held, incarnation))
    }

    /// The messages that are due at `now`, if any; `sent` notes them.
    ///
    /// Of a change in many parts so many are due as [`Timing::window`] says, and more as the child stages them. Nothing
    /// is due before the child has said what it holds, while what is under way is unacknowledged and its time is not
    /// up, or when the child holds the present set and knows the present run.
    pub fn due(
        &self,
        now: u64,
        incarnation: Incarnation,
        term: &Term,
        timing: &Timing,
    ) -> Option<Parcel<T>> {
        let held = self.held.as_ref()?;
        let settled = self.is_synced(incarnation) && held.nonce == term.nonce;
        if settled || held.supersedes(incarnation, term) || self.unadopted(held, incarnation) {
            return None;
        }
        let window = timing.window.max(1);
        let Some(flight) = &self.flight else {
            let size = self.part.unwrap_or(timing.part);
            let changes = self.build(held, incarnation, term, size);
            return Some(Parcel::new(changes.into(), 0, window));
        };
        let first = flight.changes.first();
        let staged = first
            .and_then(|first| staged_here(held.staged, first))
            .unwrap_or(0);
        let from = if now < flight.due_at(timing) {
            flight.next.max(staged)
        } else {
            staged
        };
        let parcel = Parcel::new(
            Arc::clone(&flight.changes),
            from,
            staged.saturating_add(window),
        );
        (!parcel.is_empty()).then_some(parcel)
    }

    /// The time at which an unacknowledged change is sent again; `due` may still have nothing then.
    pub fn resend_at(&self, timing: &Timing) -> Option<u64> {
        let held = self.held.as_ref()?;
        let flight = self.flight.as_ref()?;
        let first = flight.changes.first()?;
        (!held.supersedes(first.incarnation, &first.term)).then(|| flight.due_at(timing))
    }

    /// Notes that these messages go out at `now`.
    pub fn sent(&mut self, parcel: &Parcel<T>, now: u64) {
        match &mut self.flight {
            Some(flight) if parcel.is_of(&flight.changes) => {
                // What follows on what the child has staged is news, and no repetition.
                let again = parcel.from() < flight.next;
                if flight.sent_at.replace(now).is_some() && again {
                    flight.attempts += 1;
                } else {
                    flight.attempts = 0;
                }
                flight.next = parcel.to();
            }
            Some(_) | None => {
                self.flight = Some(Flight {
                    changes: parcel.whole(),
                    next: parcel.to(),
                    sent_at: Some(now),
                    attempts: 0,
                    reached: 0,
                    broken: false,
                });
            }
        }
    }

    fn build(
        &self,
        held: &Held,
        incarnation: Incarnation,
        term: &Term,
        part: usize,
    ) -> Vec<Change<T>> {
        let comparable = self.comparable(held, incarnation, term);
        let delta = comparable
            && !held.want_whole
            && held.revision >= self.log_from
            && (held.revision < self.revision || self.is_synced(incarnation));
        let mut put: Vec<T> = Vec::new();
        let mut remove: Vec<T::Key> = Vec::new();
        if delta {
            let keys: BTreeSet<&T::Key> = self
                .log
                .iter()
                .filter(|(revision, _)| *revision > held.revision)
                .map(|(_, key)| key)
                .collect();
            for key in keys {
                match self.set.get(key) {
                    Some(item) => put.push(item.clone()),
                    None => remove.push(key.clone()),
                }
            }
        } else {
            put.extend(self.set.values().cloned());
        }
        let adopted = self.proof_needed(held, incarnation, term);
        let mut term = term.clone();
        if held.nonce == term.nonce {
            term.history.clear();
        }
        let head = Change {
            incarnation,
            term,
            base: delta.then_some(held.revision),
            revision: self.revision,
            digest: self.digest,
            part: 0,
            parts: 1,
            put: Vec::new(),
            remove: Vec::new(),
            adopted,
        };
        split(&head, remove, put, part)
    }
}
