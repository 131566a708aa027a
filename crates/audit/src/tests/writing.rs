//! Many who record at once, and one thread that writes.

use std::sync::Arc;

use super::crashes::Faulty;
use super::*;
use crate::{Log, LogError};

fn log(directory: &Path, disk: &Arc<Faulty>) -> Log {
    let disk = Box::new(Arc::clone(disk));
    let journal = Journal::open(directory, Options::default(), disk, NOW).unwrap();
    Log::start(journal, NOW.to_owned()).unwrap()
}

/// Waits, while the other thread works.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_together_is_written_with_one_sync_and_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let log = Arc::new(log(dir.path(), &disk));
    disk.gate(true);
    let first = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.record(record("first")).await }
    });
    until("the first is at the gate", || disk.syncs() == 1).await;
    let mut others = Vec::new();
    for n in 0..100 {
        log.try_record(record(&format!("nobody waits for {n}")));
        let log = Arc::clone(&log);
        others.push(tokio::spawn(async move {
            log.record(record(&format!("{n}"))).await
        }));
        tokio::task::yield_now().await;
    }
    disk.gate(false);
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(disk.syncs(), 2);
    Arc::into_inner(log).unwrap().close().await;
    let summary = verify(dir.path()).unwrap();
    assert_eq!((summary.last, summary.lost_records), (201, 0));
    let lines = lines(dir.path());
    assert!(lines[2].2.contains(r#""resource":"0""#), "{}", lines[2].2);
    assert!(lines[200].2.contains(r#""resource":"99""#));
}

#[tokio::test]
async fn what_finds_no_place_is_counted_and_told_and_who_waits_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let log = Arc::new(log(dir.path(), &disk));
    disk.gate(true);
    log.try_record(record("first"));
    until("the first is at the gate", || disk.syncs() == 1).await;
    for n in 0..1_024 + 7 {
        log.try_record(record(&n.to_string()));
    }
    let waits = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.record(record("waits")).await }
    });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    disk.gate(false);
    waits.await.unwrap().unwrap();
    Arc::into_inner(log).unwrap().close().await;
    let summary = verify(dir.path()).unwrap();
    assert_eq!(summary.lost_records, 7);
    // The first, what filled the queue, who waited, and one line that tells of the seven.
    assert_eq!(summary.last, 1 + 1_024 + 1 + 1);
    assert!(text(dir.path(), 1).contains(r#""log":{"lost":{"records":7}}"#));
}

#[tokio::test]
async fn a_full_disk_is_an_error_for_who_waits_and_a_count_for_who_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let log = log(dir.path(), &disk);
    log.record(record("before")).await.unwrap();
    disk.room(10);
    log.try_record(record("nobody waits"));
    let error = log.record(record("waits")).await.unwrap_err();
    assert!(matches!(error, LogError::Io { .. }), "{error:?}");
    disk.room(u64::MAX);
    log.record(record("after")).await.unwrap();
    log.close().await;
    let summary = verify(dir.path()).unwrap();
    assert_eq!((summary.last, summary.lost_records), (3, 1));
}

#[tokio::test]
async fn what_was_lost_is_told_at_the_end_if_nothing_more_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let log = log(dir.path(), &disk);
    disk.room(10);
    log.try_record(record("nobody waits"));
    until("it was tried", || disk.refused() == 1).await;
    disk.room(u64::MAX);
    log.close().await;
    assert_eq!(verify(dir.path()).unwrap().lost_records, 1);
}

#[test]
fn two_do_not_write_one_log_and_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("a/b");
    let log = Log::open(&directory, Options::default(), NOW).unwrap();
    let other = Log::open(&directory, Options::default(), NOW);
    assert!(matches!(other, Err(LogError::InUse { .. })), "{other:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&files::path(&directory, 1)), 0o600);
    assert_eq!(mode(&files::head_path(&directory)), 0o600);
    drop(log);
    Log::open(&directory, Options::default(), NOW).unwrap();
}

#[tokio::test]
async fn a_log_is_read_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = rotating(20_000);
    let log = Arc::new(Log::open(dir.path(), options, NOW).unwrap());
    let writes = tokio::spawn(async move {
        for n in 0..300 {
            log.record(record(&n.to_string())).await.unwrap();
        }
    });
    while !writes.is_finished() {
        let path = dir.path().to_owned();
        tokio::task::spawn_blocking(move || verify(&path).unwrap())
            .await
            .unwrap();
    }
    writes.await.unwrap();
    assert_eq!(verify(dir.path()).unwrap().last, 300);
}
