//! The store that keeps nothing on disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use crate::{Op, Order, Page, Record, Store, StoreError, Table, check_ops, check_table};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A [`Store`] in memory, for simulations, tests and a level that was told to keep nothing.
#[derive(Debug, Default)]
pub struct Memory {
    tables: RwLock<BTreeMap<&'static str, Records>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for Memory {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables
            .iter()
            .flat_map(|(table, records)| {
                records.iter().map(|(key, value)| record(table, key, value))
            })
            .collect())
    }

    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        check_ops(ops)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            match op {
                Op::Put { table, key, value } => {
                    tables
                        .entry(table.0)
                        .or_default()
                        .insert(key.clone(), value.clone());
                }
                Op::Delete { table, key } => {
                    if let Some(records) = tables.get_mut(table.0) {
                        records.remove(key);
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_table(table)?;
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables
            .get(table.0)
            .and_then(|records| records.get(key))
            .cloned())
    }

    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError> {
        check_table(page.table)?;
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let Some(records) = tables.get(page.table.0) else {
            return Ok(Vec::new());
        };
        let matching = records
            .range::<[u8], _>((Bound::Included(page.prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(page.prefix));
        let name = page.table.0;
        Ok(match page.order {
            Order::Ascending => matching
                .filter(|(key, _)| page.after.is_none_or(|after| key.as_slice() > after))
                .take(page.limit)
                .map(|(key, value)| record(name, key, value))
                .collect(),
            Order::Descending => {
                let before: Vec<_> = matching
                    .filter(|(key, _)| page.after.is_none_or(|after| key.as_slice() < after))
                    .collect();
                before
                    .into_iter()
                    .rev()
                    .take(page.limit)
                    .map(|(key, value)| record(name, key, value))
                    .collect()
            }
        })
    }
}

fn record(table: &str, key: &[u8], value: &[u8]) -> Record {
    Record {
        table: table.to_owned(),
        key: key.to_vec(),
        value: value.to_vec(),
    }
}
