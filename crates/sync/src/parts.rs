//! A change in parts: how it is dealt out, and where to go on.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use crate::{Change, Digest, Item, StagedMark};

/// Messages of one change that go out together: its parts, or so many of them as may be under way.
#[derive(Debug, Clone)]
pub struct Parcel<T: Item> {
    changes: Arc<[Change<T>]>,
    from: u32,
    to: u32,
}

impl<T: Item> Parcel<T> {
    /// The parts from `from` on, before `to`.
    pub(crate) fn new(changes: Arc<[Change<T>]>, from: u32, to: u32) -> Self {
        let to = to.min(changes.len() as u32);
        Self {
            from: from.min(to),
            to,
            changes,
        }
    }

    pub(crate) const fn from(&self) -> u32 {
        self.from
    }

    pub(crate) const fn to(&self) -> u32 {
        self.to
    }

    /// All parts of the change.
    pub(crate) fn whole(&self) -> Arc<[Change<T>]> {
        Arc::clone(&self.changes)
    }

    pub(crate) fn is_of(&self, changes: &Arc<[Change<T>]>) -> bool {
        Arc::ptr_eq(&self.changes, changes)
    }
}

impl<T: Item> Deref for Parcel<T> {
    type Target = [Change<T>];

    fn deref(&self) -> &[Change<T>] {
        let range = self.from as usize..self.to as usize;
        self.changes.get(range).unwrap_or_default()
    }
}

impl<T: Item + PartialEq> PartialEq for Parcel<T>
where
    Change<T>: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Item> Default for Parcel<T> {
    fn default() -> Self {
        Self::new(Arc::from([]), 0, 0)
    }
}

impl<T: Item> IntoIterator for Parcel<T> {
    type Item = Change<T>;
    type IntoIter = std::vec::IntoIter<Change<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let parts: Vec<_> = self.iter().cloned().collect();
        parts.into_iter()
    }
}

impl<'a, T: Item> IntoIterator for &'a Parcel<T> {
    type Item = &'a Change<T>;
    type IntoIter = std::slice::Iter<'a, Change<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The first missing part, when the child has staged some of exactly this change.
pub(crate) fn staged_here<T: Item>(staged: Option<StagedMark>, change: &Change<T>) -> Option<u32> {
    staged
        .filter(|mark| mark.next < change.parts && mark.change == change.id())
        .map(|mark| mark.next)
}

/// About how many bytes a key takes in a message.
const KEY: usize = 48;

/// About how many bytes a part takes in a message, its head left out.
pub(crate) fn weight<T: Item>(part: &Change<T>) -> usize {
    let mut shared = BTreeSet::new();
    let put = part
        .put
        .iter()
        .map(|item| item.weight() + news(item, &mut shared));
    put.sum::<usize>() + part.remove.len() * KEY
}

/// What an item brings into a part beside its own weight: nothing if an earlier item has brought the same.
fn news<T: Item>(item: &T, shared: &mut BTreeSet<Digest>) -> usize {
    item.shared()
        .filter(|(what, _)| shared.insert(*what))
        .map_or(0, |(_, bytes)| bytes)
}

/// Deals the removals, then the items out over parts of about `size` bytes.
pub(crate) fn split<T: Item>(
    head: &Change<T>,
    remove: Vec<T::Key>,
    put: Vec<T>,
    size: usize,
) -> Vec<Change<T>> {
    let mut parts: Vec<Change<T>> = Vec::new();
    let mut current = head.clone();
    let mut full = 0;
    let next = |current: &mut Change<T>, parts: &mut Vec<Change<T>>| {
        let next = Change {
            part: current.part + 1,
            ..head.clone()
        };
        parts.push(std::mem::replace(current, next));
    };
    for key in remove {
        if full > 0 && full + KEY > size {
            next(&mut current, &mut parts);
            full = 0;
        }
        full += KEY;
        current.remove.push(key);
    }
    let mut shared = BTreeSet::new();
    for item in put {
        let mut more = item.weight() + news(&item, &mut shared);
        if full > 0 && full + more > size {
            next(&mut current, &mut parts);
            full = 0;
            shared.clear();
            more = item.weight() + news(&item, &mut shared);
        }
        full += more;
        current.put.push(item);
    }
    parts.push(current);
    let count = parts.len() as u32;
    for change in &mut parts {
        change.parts = count;
    }
    parts
}
