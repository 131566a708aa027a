//! How a table and a key become one key of the tree: `table 0x00 key`.

use std::ops::Bound;

use crate::{Order, Page, Record, Table};

/// The lowest key a record can have; those below it are the store's own.
pub(super) const FIRST_RECORD: &[u8] = &[1];

pub(super) fn encode(table: Table, key: &[u8]) -> Vec<u8> {
    encode_named(table.0, key)
}

pub(super) fn encode_named(table: &str, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(table.len() + 1 + key.len());
    bytes.extend_from_slice(table.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes
}

/// The record behind a key, or what is wrong with it.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Record, redb::Error> {
    let damaged = || redb::Error::Corrupted("a record has no table".to_owned());
    let end = key.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
    let (table, rest) = key.split_at_checked(end).ok_or_else(damaged)?;
    Ok(Record {
        table: str::from_utf8(table)
            .map_err(|_not_text| damaged())?
            .to_owned(),
        key: rest.get(1..).unwrap_or_default().to_vec(),
        value: value.to_vec(),
    })
}

/// A range of keys of the tree.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys of the tree that a page may contain, or `None` if there can be none.
pub(super) fn bounds(page: &Page<'_>) -> Option<Bounds> {
    let first = encode(page.table, page.prefix);
    let end = successor(first.clone());
    let after = page.after.map(|after| encode(page.table, after));
    match (page.order, after) {
        (Order::Ascending, Some(after)) if after >= end => None,
        (Order::Ascending, Some(after)) if after >= first => {
            Some((Bound::Excluded(after), Bound::Excluded(end)))
        }
        (Order::Descending, Some(after)) if after <= first => None,
        (Order::Descending, Some(after)) if after < end => {
            Some((Bound::Included(first), Bound::Excluded(after)))
        }
        (Order::Ascending | Order::Descending, _) => {
            Some((Bound::Included(first), Bound::Excluded(end)))
        }
    }
}

/// The smallest key greater than every key that begins with `prefix`. There always is one, for
/// the zero byte after the table can grow.
fn successor(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            break;
        }
    }
    prefix
}
