//! The parent's side: a child's desired set, and what to send next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Change, Digest, Held, Incarnation, Item, StagedMark, Term};

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
}

impl Default for Timing {
    /// 2 s doubling to 15 s; 16 KiB halving to 1 KiB (protocol, section 4).
    fn default() -> Self {
        Self {
            resend: 2_000,
            resend_max: 15_000,
            part: 16_384,
            part_min: 1_024,
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
    /// The last acknowledgement since the child connected.
    held: Option<Held>,
    /// The digest of the former set that this parent has taken over from the child.
    adopted: Option<Digest>,
    flight: Option<Flight<T>>,
    part: Option<usize>,
}

#[derive(Debug, Clone)]
struct Flight<T: Item> {
    changes: Vec<Change<T>>,
    sent_at: u64,
    attempts: u32,
    /// Sent on a connection that has since broken.
    broken: bool,
}

impl<T: Item> Default for Parent<T> {
    fn default() -> Self {
        Self {
            set: BTreeMap::new(),
            revision: 0,
            digest: Digest::default(),
            log: VecDeque::new(),
            log_from: 0,
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
        let Some(flight) = &mut self.flight else {
            return;
        };
        let Some(first) = flight.changes.first() else {
            return;
        };
        let mine = held.incarnation == Some(incarnation);
        let done = mine && held.revision >= first.revision;
        let builds = first.base.is_none() || (mine && first.base == Some(held.revision));
        let progress = staged_here(held.staged, first).is_some();
        if flight.broken && !progress && flight.changes.len() > 1 {
            // A part that never arrives whole is too big for this link.
            let part = self.part.unwrap_or(timing.part);
            self.part = Some((part / 2).max(timing.part_min));
        }
        if done || !builds || held.want_whole || (flight.broken && !progress) {
            self.flight = None;
        } else if flight.broken {
            flight.broken = false;
            flight.sent_at = 0;
            flight.attempts = 0;
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

    /// Whether the child has acknowledged `revision` or a later one of this incarnation.
    pub fn has_acknowledged(&self, incarnation: Incarnation, revision: u64) -> bool {
        self.held
            .is_some_and(|held| held.incarnation == Some(incarnation) && held.revision >= revision)
    }

    /// The messages that are due at `now`, if any; `sent` notes them.
    ///
    /// Nothing is due before the child has said what it holds, while a change is unacknowledged and its time is not
    /// up, or when the child holds the present set.
    pub fn due(
        &self,
        now: u64,
        incarnation: Incarnation,
        term: &Term,
        timing: &Timing,
    ) -> Option<Vec<Change<T>>> {
        let held = self.held.as_ref()?;
        if held.superseded || self.is_synced(incarnation) {
            return None;
        }
        if let Some(flight) = &self.flight {
            let wait = (timing.resend << flight.attempts.min(8)).min(timing.resend_max);
            if now < flight.sent_at.saturating_add(wait) {
                return None;
            }
            let skip = flight
                .changes
                .first()
                .and_then(|first| staged_here(held.staged, first))
                .unwrap_or(0);
            return Some(flight.changes.iter().skip(skip as usize).cloned().collect());
        }
        let foreign = held.incarnation.is_some_and(|theirs| theirs != incarnation);
        if foreign
            && held.desired_digest != Digest::default()
            && self.adopted != Some(held.desired_digest)
        {
            // It holds another store's set: nothing may be sent before that is taken over.
            return None;
        }
        let mut term = term.clone();
        if held.nonce == term.nonce {
            term.history.clear();
        }
        Some(self.build(held, incarnation, &term, self.part.unwrap_or(timing.part)))
    }

    /// The time at which an unacknowledged change is sent again.
    pub fn resend_at(&self, timing: &Timing) -> Option<u64> {
        self.held.as_ref()?;
        let flight = self.flight.as_ref()?;
        let wait = (timing.resend << flight.attempts.min(8)).min(timing.resend_max);
        Some(flight.sent_at.saturating_add(wait))
    }

    /// Notes that these messages go out at `now`.
    pub fn sent(&mut self, changes: &[Change<T>], now: u64) {
        let same = |flight: &Flight<T>| {
            flight
                .changes
                .first()
                .map(|known| (known.base, known.revision))
                == changes.first().map(|new| (new.base, new.revision))
        };
        match &mut self.flight {
            Some(flight) if same(flight) => {
                flight.sent_at = now;
                flight.attempts += 1;
            }
            Some(_) | None => {
                self.flight = Some(Flight {
                    changes: changes.to_vec(),
                    sent_at: now,
                    attempts: 0,
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
        let delta = held.incarnation == Some(incarnation)
            && !held.want_whole
            && held.revision >= self.log_from
            && held.revision < self.revision;
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
        let head = Change {
            incarnation,
            term: term.clone(),
            base: delta.then_some(held.revision),
            revision: self.revision,
            digest: self.digest,
            part: 0,
            parts: 1,
            put: Vec::new(),
            remove,
            adopted: self.adopted,
        };
        split(head, put, part)
    }
}

/// The first missing part, when the child has staged some of exactly this change.
fn staged_here<T: Item>(staged: Option<StagedMark>, change: &Change<T>) -> Option<u32> {
    staged
        .filter(|mark| mark.revision == change.revision && mark.parts == change.parts)
        .map(|mark| mark.next)
}

/// Deals the items out over parts of about `size` bytes; the removals go into the first.
fn split<T: Item>(head: Change<T>, put: Vec<T>, size: usize) -> Vec<Change<T>> {
    let mut parts: Vec<Change<T>> = Vec::new();
    let mut weight = head.remove.len() * 48;
    let mut current = head.clone();
    for item in put {
        let more = item.weight();
        if weight > 0
            && weight + more > size
            && !(current.put.is_empty() && current.remove.is_empty())
        {
            let next = Change {
                part: current.part + 1,
                remove: Vec::new(),
                put: Vec::new(),
                ..head.clone()
            };
            parts.push(std::mem::replace(&mut current, next));
            weight = 0;
        }
        weight += more;
        current.put.push(item);
    }
    parts.push(current);
    let count = parts.len() as u32;
    parts.iter_mut().for_each(|change| change.parts = count);
    parts
}
