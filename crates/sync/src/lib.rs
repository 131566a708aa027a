//! The sync protocol, the same on both hops: root to cluster, cluster to worker.
//!
//! # Flow
//! 1. A parent keeps each child's desired set in a [`Parent`]: every change makes the revision greater by one.
//! 2. A child says what it holds ([`Held`]) after each (re)connect and after each write.
//! 3. The parent answers with a [`Change`] from that revision to the present one, or with the whole set where it no
//!    longer has the changes since. One unacknowledged change per child; what gathers meanwhile is the next one.
//! 4. The child stages the parts, applies all of them in **one** durable write ([`Update`]), acknowledges, then acts.
//! 5. Upward, a child numbers its reports ([`Observer`]); the parent checks the digest ([`Observed`]) and asks for a
//!    whole report when it differs.
//!
//! # Guarantees
//! A lost, doubled, reordered or late message costs latency, never correctness: a change is applied only onto the
//! revision it builds on, and only when the result has the digest it promises. Absence means stop only in a set whose
//! digest holds, of the known incarnation.
//!
//! # Assumptions
//! Revisions are compared inside one incarnation of the parent's store; a child that meets another one keeps what it
//! has until the parent proves, by the digest, that it has taken it over (`adopted`). A parent sees that by
//! [`Parent::wants_former`] and asks for the former set. A run that a child knows to be overtaken
//! ([`Parent::is_overtaken`]) is fenced by its orchestrator. `due` is asked after each input.
//!
//! Source: Fig. 6 of the KubeEdge paper (incremental sync with one atomic write), made common to both hops.

mod child;
mod identity;
mod observe;
mod parent;
mod parts;

pub use child::{Child, Foreign, ParentMark, Update, Verdict};
pub use identity::{Digest, Incarnation, Run, Term, TermOrder, mark};
pub use observe::{Observed, Observer, Reading, UpReport};
pub use parent::{Parent, Timing};
pub use parts::Parcel;

use serde::{Deserialize, Serialize};

/// What a desired set is made of.
pub trait Item: Clone {
    /// Identifies it in the set.
    type Key: Ord + Clone + std::fmt::Debug;
    /// Its key.
    fn key(&self) -> Self::Key;
    /// Its share of the set's digest: id, generation and spec hash go in.
    fn mark(&self) -> Digest;
    /// About how many bytes it takes in a message, without what it shares with others.
    fn weight(&self) -> usize;
    /// What it shares with other items of a message, and how many bytes that takes once.
    fn shared(&self) -> Option<(Digest, usize)> {
        None
    }
}

/// An item of any key and value, with its mark computed once.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<K, V> {
    /// Its key.
    pub key: K,
    /// What it says.
    pub value: V,
    mark: Digest,
    weight: usize,
    shared: Option<(Digest, usize)>,
}

impl<K, V> Entry<K, V> {
    /// An entry whose mark is that of `identity`, and that takes about `weight` bytes in a message.
    pub fn new(key: K, value: V, identity: &str, weight: usize) -> Self {
        Self {
            key,
            value,
            mark: mark(&[&identity]),
            weight,
            shared: None,
        }
    }

    /// The same, with what it shares with others of a message, if anything.
    #[must_use]
    pub fn sharing(self, shared: Option<(u128, usize)>) -> Self {
        Self {
            shared: shared.map(|(what, bytes)| (Digest(what), bytes)),
            ..self
        }
    }
}

impl<K: Ord + Clone + std::fmt::Debug, V: Clone> Item for Entry<K, V> {
    type Key = K;

    fn key(&self) -> K {
        self.key.clone()
    }

    fn mark(&self) -> Digest {
        self.mark
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn shared(&self) -> Option<(Digest, usize)> {
        self.shared
    }
}

/// One part of a change of a child's desired set.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<T: Item> {
    /// Of the parent's store.
    pub incarnation: Incarnation,
    /// Of the parent's present run.
    pub term: Term,
    /// The revision it builds on; `None`: this is the whole set.
    pub base: Option<u64>,
    /// The revision it leads to.
    pub revision: u64,
    /// The digest of the set that it leads to.
    pub digest: Digest,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts.
    pub parts: u32,
    /// New or changed items.
    pub put: Vec<T>,
    /// Keys that are no longer desired (empty in a whole set).
    pub remove: Vec<T::Key>,
    /// The digest of the child's former set that the parent has taken over.
    pub adopted: Option<Digest>,
}

impl<T: Item> Change<T> {
    /// Names the change that this is a part of, so that parts of two are never taken for each other.
    pub fn id(&self) -> Digest {
        let base = self.base.map_or_else(String::new, |base| base.to_string());
        mark(&[
            &self.incarnation,
            &base,
            &self.revision,
            &self.digest,
            &self.parts,
        ])
    }
}

/// What a child says it holds: the acknowledgement that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// Incarnation of the set it holds; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Number of the greatest term it has seen.
    #[serde(default)]
    pub term: u64,
    /// Nonce of that term.
    #[serde(default)]
    pub nonce: u64,
    /// Revision of the set it holds.
    pub revision: u64,
    /// Digest of that set.
    pub desired_digest: Digest,
    /// Parts of a change that it has staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<StagedMark>,
    /// It could not build what the last change promised: only the whole set helps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub want_whole: bool,
    /// It has seen a later term: the sender is superseded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
}

impl Held {
    /// Whether the child has met a later run of this store: then the run of `term` must change nothing any more.
    ///
    /// The child's `superseded` alone may have been meant for a run before this one.
    pub fn supersedes(&self, incarnation: Incarnation, term: &Term) -> bool {
        self.superseded && self.incarnation == Some(incarnation) && self.term > term.number
    }
}

/// How far a child is with the parts of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedMark {
    /// Which change: [`Change::id`].
    pub change: Digest,
    /// The change's revision.
    pub revision: u64,
    /// How many parts it has in all.
    pub parts: u32,
    /// The first part that is missing.
    pub next: u32,
}
