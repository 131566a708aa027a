//! A change in parts: how it is dealt out, and where to go on.

use crate::{Change, Item, StagedMark};

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
    let put: usize = part.put.iter().map(Item::weight).sum();
    put + part.remove.len() * KEY
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
    let mut room_for = |more: usize, current: &mut Change<T>| {
        if full > 0 && full + more > size {
            let next = Change {
                part: current.part + 1,
                ..head.clone()
            };
            parts.push(std::mem::replace(current, next));
            full = 0;
        }
        full += more;
    };
    for key in remove {
        room_for(KEY, &mut current);
        current.remove.push(key);
    }
    for item in put {
        room_for(item.weight(), &mut current);
        current.put.push(item);
    }
    parts.push(current);
    let count = parts.len() as u32;
    for change in &mut parts {
        change.parts = count;
    }
    parts
}
