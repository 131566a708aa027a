//! What every store must do. Each rule is one function; the macro runs it on each store.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Embedded, Memory, Op, Options, Order, Page, Record, Store, StoreError, Table};

const JOBS: Table = Table("jobs");
const JOB: Table = Table("job");
const EVENTS: Table = Table("events");

macro_rules! contract {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $rule() { super::$rule(&super::Memory::new()); })*
        }
        mod embedded {
            $(#[test] fn $rule() {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("store");
                super::$rule(&super::Embedded::open(&path, super::Options::default()).unwrap());
            })*
        }
        // One server for all, since each takes seconds to start.
        #[cfg(feature = "mongodb")]
        #[test]
        fn mongodb() {
            let Some(rig) = crate::mongo::tests::Rig::required() else { return };
            $({
                super::tests::$rule(&rig.store(&stringify!($rule)[..stringify!($rule).len().min(60)]));
            })*
        }
    };
}

contract!(
    a_new_store_is_empty,
    a_put_overwrites_and_a_delete_removes,
    ops_of_one_commit_apply_in_their_order,
    a_refused_commit_changes_nothing,
    records_are_sorted_by_table_then_key,
    tables_do_not_mix,
    an_empty_key_and_an_empty_value_are_kept,
    a_large_value_is_kept,
    an_empty_commit_is_accepted,
    pages_walk_a_table_both_ways,
    a_prefix_limits_a_page,
    old_events_are_trimmed_by_deletes,
    a_thousand_random_batches_match_a_map,
    readers_never_see_half_a_commit,
);

fn record(table: Table, key: &[u8], value: &[u8]) -> Record {
    Record {
        table: table.0.to_owned(),
        key: key.to_vec(),
        value: value.to_vec(),
    }
}

fn a_new_store_is_empty(store: &dyn Store) {
    assert_eq!(store.load().unwrap(), []);
    assert_eq!(store.get(JOBS, b"a").unwrap(), None);
    assert_eq!(
        store.range(&page(JOBS, Order::Ascending, None)).unwrap(),
        []
    );
}

fn a_put_overwrites_and_a_delete_removes(store: &dyn Store) {
    store
        .commit(&[Op::put(JOBS, *b"a", *b"1"), Op::put(JOBS, *b"b", *b"2")])
        .unwrap();
    store.commit(&[Op::put(JOBS, *b"a", *b"3")]).unwrap();
    store
        .commit(&[Op::delete(JOBS, *b"b"), Op::delete(JOBS, *b"never there")])
        .unwrap();
    assert_eq!(store.load().unwrap(), [record(JOBS, b"a", b"3")]);
    assert_eq!(store.get(JOBS, b"a").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(store.get(JOBS, b"b").unwrap(), None);
}

fn ops_of_one_commit_apply_in_their_order(store: &dyn Store) {
    store
        .commit(&[
            Op::put(JOBS, *b"a", *b"1"),
            Op::delete(JOBS, *b"a"),
            Op::put(JOBS, *b"b", *b"1"),
            Op::put(JOBS, *b"b", *b"2"),
            Op::delete(JOBS, *b"c"),
            Op::put(JOBS, *b"c", *b"3"),
        ])
        .unwrap();
    assert_eq!(
        store.load().unwrap(),
        [record(JOBS, b"b", b"2"), record(JOBS, b"c", b"3")]
    );
}

fn a_refused_commit_changes_nothing(store: &dyn Store) {
    store.commit(&[Op::put(JOBS, *b"a", *b"1")]).unwrap();
    for name in ["", "jo\0bs"] {
        let refused = store.commit(&[
            Op::put(JOBS, *b"a", *b"2"),
            Op::put(Table(name), *b"k", *b"v"),
        ]);
        assert!(
            matches!(refused, Err(StoreError::TableName { .. })),
            "{refused:?}"
        );
        assert!(store.get(Table(name), b"k").is_err());
        assert!(
            store
                .range(&page(Table(name), Order::Ascending, None))
                .is_err()
        );
    }
    assert_eq!(store.load().unwrap(), [record(JOBS, b"a", b"1")]);
}

fn records_are_sorted_by_table_then_key(store: &dyn Store) {
    let keys: [&[u8]; 4] = [b"", b"\0", b"\x01z", b"\xff\xff"];
    for table in [JOBS, EVENTS, JOB] {
        for key in keys.iter().rev() {
            store.commit(&[Op::put(table, *key, *b"v")]).unwrap();
        }
    }
    let expected: Vec<_> = [EVENTS, JOB, JOBS]
        .iter()
        .flat_map(|table| keys.iter().map(|key| record(*table, key, b"v")))
        .collect();
    assert_eq!(store.load().unwrap(), expected);
}

fn tables_do_not_mix(store: &dyn Store) {
    // The one name continues the other, which is where a careless separator would mix them.
    store
        .commit(&[Op::put(JOB, *b"s\0a", *b"1"), Op::put(JOBS, *b"a", *b"2")])
        .unwrap();
    assert_eq!(store.get(JOB, b"s\0a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(store.get(JOB, b"a").unwrap(), None);
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(
            store.range(&page(JOB, order, None)).unwrap(),
            [record(JOB, b"s\0a", b"1")]
        );
        assert_eq!(
            store.range(&page(JOBS, order, None)).unwrap(),
            [record(JOBS, b"a", b"2")]
        );
    }
    let many: Vec<_> = (0..60).map(|i| Table(["t", "u", "tt"][i % 3])).collect();
    let ops: Vec<_> = many
        .iter()
        .enumerate()
        .map(|(i, t)| Op::put(*t, [i as u8], [i as u8]))
        .collect();
    store.commit(&ops).unwrap();
    assert_eq!(
        store
            .range(&page(Table("tt"), Order::Ascending, None))
            .unwrap()
            .len(),
        20
    );
}

fn an_empty_key_and_an_empty_value_are_kept(store: &dyn Store) {
    store.commit(&[Op::put(JOBS, [], [])]).unwrap();
    assert_eq!(store.load().unwrap(), [record(JOBS, b"", b"")]);
}

fn a_large_value_is_kept(store: &dyn Store) {
    let value: Vec<u8> = (0..1_048_576_u32).map(|i| (i % 251) as u8).collect();
    store
        .commit(&[
            Op::put(JOBS, *b"a", value.clone()),
            Op::put(JOBS, *b"b", *b"small"),
        ])
        .unwrap();
    assert_eq!(store.get(JOBS, b"a").unwrap(), Some(value));
    store
        .commit(&[Op::put(JOBS, *b"a", *b"small too")])
        .unwrap();
    assert_eq!(store.load().unwrap().len(), 2);
}

fn an_empty_commit_is_accepted(store: &dyn Store) {
    store.commit(&[]).unwrap();
    assert_eq!(store.load().unwrap(), []);
}

fn page(table: Table, order: Order, after: Option<&[u8]>) -> Page<'_> {
    Page {
        table,
        prefix: b"",
        after,
        order,
        limit: 100,
    }
}

fn keys(records: &[Record]) -> Vec<u8> {
    records
        .iter()
        .map(|record| *record.key.last().unwrap())
        .collect()
}

fn pages_walk_a_table_both_ways(store: &dyn Store) {
    let ops: Vec<_> = (0..10_u8).map(|i| Op::put(EVENTS, [i], [i])).collect();
    store.commit(&ops).unwrap();
    store
        .commit(&[Op::put(JOBS, *b"a", *b"1"), Op::put(Table("a"), [5], *b"1")])
        .unwrap();
    for (order, expected) in [
        (
            Order::Ascending,
            vec![vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9], vec![]],
        ),
        (
            Order::Descending,
            vec![vec![9, 8, 7, 6], vec![5, 4, 3, 2], vec![1, 0], vec![]],
        ),
    ] {
        let mut after: Option<Vec<u8>> = None;
        for expected in expected {
            let found = store
                .range(&Page {
                    limit: 4,
                    ..page(EVENTS, order, after.as_deref())
                })
                .unwrap();
            assert_eq!(keys(&found), expected);
            after = found.last().map(|record| record.key.clone()).or(after);
        }
    }
    assert_eq!(
        store
            .range(&Page {
                limit: 0,
                ..page(EVENTS, Order::Ascending, None)
            })
            .unwrap(),
        []
    );
}

fn a_prefix_limits_a_page(store: &dyn Store) {
    let rows: [&[u8]; 7] = [b"a", b"b", b"b1", b"b2", b"b\xff", b"b\xff\xff", b"c"];
    store
        .commit(&rows.map(|key| Op::put(EVENTS, key, *b"v")))
        .unwrap();
    let read = |prefix: &[u8], after: Option<&[u8]>, order| -> Vec<Vec<u8>> {
        let found = store
            .range(&Page {
                prefix,
                ..page(EVENTS, order, after)
            })
            .unwrap();
        found.into_iter().map(|record| record.key).collect()
    };
    assert_eq!(read(b"b", None, Order::Ascending), rows[1..6]);
    assert_eq!(read(b"b", Some(b"b1"), Order::Ascending), rows[3..6]);
    assert_eq!(
        read(b"b", Some(b"b2"), Order::Descending),
        [rows[2], rows[1]]
    );
    assert_eq!(read(b"b\xff", None, Order::Descending), [rows[5], rows[4]]);
    // A cursor from another prefix neither panics nor leaves the prefix.
    assert_eq!(read(b"b", Some(b"a"), Order::Ascending), rows[1..6]);
    assert_eq!(read(b"b", Some(b"c"), Order::Ascending), [[]; 0]);
    assert_eq!(read(b"b", Some(b"a"), Order::Descending), [[]; 0]);
    assert_eq!(read(b"b", Some(b"c"), Order::Descending).len(), 5);
}

fn old_events_are_trimmed_by_deletes(store: &dyn Store) {
    for event in 0..200_u8 {
        let mut ops = vec![Op::put(EVENTS, [event], [0; 64])];
        if let Some(old) = event.checked_sub(50) {
            ops.push(Op::delete(EVENTS, [old]));
        }
        store.commit(&ops).unwrap();
    }
    assert_eq!(
        keys(&store.load().unwrap()),
        (150..200).collect::<Vec<u8>>()
    );
}

fn a_thousand_random_batches_match_a_map(store: &dyn Store) {
    let tables = [JOB, JOBS, EVENTS, Table("\u{1}"), Table("\u{10ffff}")];
    let key = vec(prop_oneof![Just(0_u8), Just(255), 97..100_u8], 0..3);
    let op = (
        0..tables.len(),
        key,
        proptest::option::weighted(0.7, vec(any::<u8>(), 0..300)),
    );
    let mut oracle = BTreeMap::new();
    let mut runner = TestRunner::new(Config {
        cases: 20,
        failure_persistence: None,
        ..Config::default()
    });
    // All cases go to one store, so the oracle lives as long as it; a failure is not shrunk.
    let oracle = std::cell::RefCell::new(&mut oracle);
    runner
        .run(&vec(vec(op, 0..12), 50), |batches| {
            let mut oracle = oracle.borrow_mut();
            for batch in batches {
                let ops: Vec<_> = batch
                    .into_iter()
                    .map(|(table, key, value)| match value {
                        Some(value) => Op::put(tables[table], key, value),
                        None => Op::delete(tables[table], key),
                    })
                    .collect();
                store.commit(&ops).unwrap();
                for op in ops {
                    match op {
                        Op::Put { table, key, value } => oracle.insert((table.0, key), value),
                        Op::Delete { table, key } => oracle.remove(&(table.0, key)),
                    };
                }
            }
            let expected: Vec<_> = oracle
                .iter()
                .map(|((table, key), value)| record(Table(table), key, value))
                .collect();
            prop_assert_eq!(store.load().unwrap(), expected);
            Ok(())
        })
        .unwrap();
}

fn readers_never_see_half_a_commit(store: &dyn Store) {
    let write = |round: u8| {
        let ops: Vec<_> = (0..40_u8)
            .map(|key| Op::put(JOBS, [key], [round]))
            .collect();
        store.commit(&ops).unwrap();
    };
    write(0);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (1..60).for_each(write));
        while !writing.is_finished() {
            let records = store.load().unwrap();
            assert_eq!(records.len(), 40);
            assert!(
                records
                    .iter()
                    .all(|record| record.value == records[0].value)
            );
        }
    });
}
