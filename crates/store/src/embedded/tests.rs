//! The file: how it is opened, and what it survives.

mod damage;
mod faults;
mod platter;
mod power;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::*;

const JOBS: Table = Table("jobs");
const EVENTS: Table = Table("events");

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    (directory, path)
}

fn open(path: &Path) -> Result<Embedded, StoreError> {
    Embedded::open(path, Options::default())
}

/// What commit number `step` of the scripted workload does: new records, growing ones, deletes.
fn script(step: u8) -> Vec<Op> {
    let mut ops = vec![
        Op::put(JOBS, *b"counter", [step]),
        Op::put(EVENTS, [step], vec![step; 40]),
        Op::put(JOBS, [b'j', step % 5], vec![step; usize::from(step) * 150]),
    ];
    if step % 4 == 3 {
        ops.push(Op::put(
            JOBS,
            *b"big",
            vec![step; 70_000 + 40_000 * usize::from(step)],
        ));
    }
    if step % 4 == 1 {
        ops.push(Op::delete(JOBS, *b"big"));
    }
    if let Some(old) = step.checked_sub(6) {
        ops.push(Op::delete(EVENTS, [old]));
    }
    ops
}

/// The records after the first `steps` commits of the script.
fn after(steps: u8) -> Vec<Record> {
    let memory = crate::Memory::new();
    (0..steps).for_each(|step| memory.commit(&script(step)).unwrap());
    memory.load().unwrap()
}

#[test]
fn a_reopened_store_has_what_was_committed() {
    let (_directory, path) = place();
    for step in 0..6 {
        let store = open(&path).unwrap();
        assert_eq!(store.load().unwrap(), after(step));
        store.commit(&script(step)).unwrap();
    }
    assert_eq!(open(&path).unwrap().load().unwrap(), after(6));
}

#[test]
fn a_new_file_is_for_its_owner_alone_and_leaves_nothing_beside_it() {
    let (directory, path) = place();
    let _store = open(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_second_opener_is_refused_until_the_first_closes() {
    let (_directory, path) = place();
    let first = open(&path).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("stop that one first"),
        "{refused}"
    );
    first.commit(&script(0)).unwrap();
    drop(first);
    assert_eq!(open(&path).unwrap().load().unwrap(), after(1));
}

#[test]
fn of_many_that_make_the_store_at_once_one_has_it() {
    for _round in 0..20 {
        let (directory, path) = place();
        let start = std::sync::Barrier::new(8);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        open(&path)
                    })
                })
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for lost in lost {
            assert!(matches!(lost, Err(StoreError::InUse { .. })), "{lost:?}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        won[0].as_ref().unwrap().commit(&script(0)).unwrap();
    }
}

#[test]
fn an_interrupted_creation_is_begun_anew() {
    let (_directory, path) = place();
    std::fs::write(path.with_file_name("store.new"), b"half a store").unwrap();
    let store = open(&path).unwrap();
    store.commit(&script(0)).unwrap();
    drop(store);
    assert_eq!(open(&path).unwrap().load().unwrap(), after(1));
}

#[test]
fn another_schema_is_refused_with_both_numbers_and_left_as_it_was() {
    let (_directory, path) = place();
    let schema = |schema| Options {
        schema,
        reads_from: schema,
        ..Options::default()
    };
    Embedded::open(&path, schema(7))
        .unwrap()
        .commit(&script(0))
        .unwrap();
    for (expected, remedy) in [(6, "newer version"), (8, "restore a backup")] {
        let message = Embedded::open(&path, schema(expected))
            .unwrap_err()
            .to_string();
        assert!(message.contains("schema 7"), "{message}");
        assert!(message.contains(&format!("schema {expected}")), "{message}");
        assert!(message.contains(remedy), "{message}");
    }
    assert_eq!(
        Embedded::open(&path, schema(7)).unwrap().load().unwrap(),
        after(1)
    );
}

#[test]
fn a_newer_program_takes_an_older_store_over_with_its_first_commit() {
    let (_directory, path) = place();
    let schema = |schema| Options {
        schema,
        ..Options::default()
    };
    Embedded::open(&path, schema(7))
        .unwrap()
        .commit(&script(0))
        .unwrap();
    let newer = Embedded::open(&path, schema(8)).unwrap();
    assert_eq!(newer.load().unwrap(), after(1));
    drop(newer);
    // It only looked, so the older program may go on.
    drop(Embedded::open(&path, schema(7)).unwrap());
    let newer = Embedded::open(&path, schema(8)).unwrap();
    newer.commit(&script(1)).unwrap();
    newer.commit(&script(2)).unwrap();
    drop(newer);
    let error = Embedded::open(&path, schema(7)).unwrap_err().to_string();
    assert!(error.contains("run the newer version"), "{error}");
    let newer = Embedded::open(&path, schema(8)).unwrap();
    assert_eq!(newer.load().unwrap(), after(3));
}

#[test]
fn a_missing_directory_is_an_error_of_the_disk() {
    let (directory, _path) = place();
    let error = open(&directory.path().join("missing").join("store")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
}

#[test]
fn a_smaller_cache_than_the_data_changes_nothing() {
    let (_directory, path) = place();
    let store = Embedded::open(
        &path,
        Options {
            cache_bytes: 16 * 1_024,
            schema: 1,
            ..Options::default()
        },
    )
    .unwrap();
    (0..12).for_each(|step| store.commit(&script(step)).unwrap());
    assert_eq!(store.load().unwrap(), after(12));
}

#[test]
fn a_failed_sync_makes_the_file_be_written_over_itself() {
    let (_directory, path) = place();
    open(&path).unwrap().commit(&script(0)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let disk = Disk::existing(&path).unwrap().unwrap();
    disk.distrusted.store(true, Ordering::Release);
    disk.recover().unwrap();
    assert!(!disk.distrusted.load(Ordering::Acquire));
    assert!(std::fs::read(&path).unwrap() == before);
}
