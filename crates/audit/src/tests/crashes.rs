//! What power cuts and disks do, and what opening makes of it.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::*;
use crate::disk::Disk;

/// A disk that has only so much room for each write, whose syncs fail, or wait at a gate.
#[derive(Debug)]
pub(super) struct Faulty {
    room: AtomicU64,
    bad: AtomicBool,
    syncs: AtomicU64,
    refused: AtomicU64,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Faulty {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            room: AtomicU64::new(u64::MAX),
            bad: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            shut: Mutex::new(false),
            opened: Condvar::new(),
        })
    }

    pub(super) fn room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn gate(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    /// How many syncs were begun.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// How many writes found no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }
}

impl Disk for Arc<Faulty> {
    fn write(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        let fits = bytes.len().min(room as usize);
        Machine.write(file, &bytes[..fits], at)?;
        if fits < bytes.len() {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
        if self.bad.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is bad"));
        }
        Machine.sync(file)
    }
}

#[test]
fn whatever_a_power_cut_leaves_of_the_last_batch_is_repaired_and_told() {
    let whole = tempfile::tempdir().unwrap();
    let options = rotating(1_000);
    let mut journal = open(whole.path(), options);
    append(&mut journal, &[3, 2]);
    let (first, second) = (text(whole.path(), 1), text(whole.path(), 2));
    let old_head = {
        let dir = tempfile::tempdir().unwrap();
        append(&mut open(dir.path(), options), &[3]);
        fs::read(files::head_path(dir.path())).unwrap()
    };
    let borders: Vec<usize> = second.match_indices('\n').map(|(at, _)| at).collect();
    // Each length around the end of a line, and some between.
    let lengths = (0..=second.len())
        .filter(|length| length % 13 == 0 || borders.iter().any(|at| at.abs_diff(*length) < 3));
    for length in lengths {
        let dir = tempfile::tempdir().unwrap();
        fs::write(files::path(dir.path(), 1), &first).unwrap();
        fs::write(files::path(dir.path(), 2), &second[..length]).unwrap();
        fs::write(files::head_path(dir.path()), &old_head).unwrap();
        let whole_lines = second[..length].rfind('\n').map_or(0, |at| at + 1);
        let summary = verify(dir.path()).unwrap();
        assert_eq!(summary.unfinished_bytes as usize, length - whole_lines);
        append(&mut open(dir.path(), options), &[1]);
        let summary = verify(dir.path()).unwrap();
        assert_eq!(
            summary.cut_bytes as usize,
            length - whole_lines,
            "at {length}"
        );
        assert_eq!(summary.unfinished_bytes, 0);
        assert!(
            lines(dir.path())
                .iter()
                .map(|line| &*line.2)
                .collect::<String>()
                .contains(&second[..whole_lines])
        );
    }
}

#[test]
fn a_hole_in_what_nobody_was_told_of_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), Options::default()), &[2]);
    let head = fs::read(files::head_path(dir.path())).unwrap();
    append(&mut open(dir.path(), Options::default()), &[4]);
    fs::write(files::head_path(dir.path()), head).unwrap();
    let path = files::path(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    bytes[ends[2] + 5..ends[3] + 9].fill(0);
    fs::write(&path, &bytes).unwrap();
    append(&mut open(dir.path(), Options::default()), &[1]);
    let summary = verify(dir.path()).unwrap();
    assert_eq!(summary.cut_bytes as usize, bytes.len() - ends[2] - 1);
    assert_eq!(summary.last, 5);
}

#[test]
fn a_crash_before_the_first_line_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), Options::default()));
    assert_eq!(verify(dir.path()).unwrap().last, 0);
    fs::remove_file(files::path(dir.path(), 1)).unwrap();
    append(&mut open(dir.path(), Options::default()), &[1]);
    assert_eq!(verify(dir.path()).unwrap().last, 1);
}

#[test]
fn a_full_disk_takes_nothing_by_halves_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let options = rotating(1_500);
    let mut journal = Journal::open(dir.path(), options, Box::new(Arc::clone(&disk)), NOW).unwrap();
    append(&mut journal, &[2]);
    for room in (0..1_200).step_by(53) {
        let before = lines(dir.path());
        disk.room(room);
        let batch = [0, 1, 2].map(|_| entry(record("lost")));
        let error = journal.append(&batch, NOW).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot append to "),
            "{error}"
        );
        assert_eq!(lines(dir.path()), before, "with room for {room}");
        verify(dir.path()).unwrap();
        disk.room(u64::MAX);
        append(&mut journal, &[1]);
        assert_eq!(lines(dir.path()).len(), before.len() + 1);
    }
    assert!(!lines(dir.path()).iter().any(|line| line.2.contains("lost")));
    verify(dir.path()).unwrap();
}

#[test]
fn a_sync_that_fails_takes_the_batch_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let mut journal = Journal::open(
        dir.path(),
        Options::default(),
        Box::new(Arc::clone(&disk)),
        NOW,
    )
    .unwrap();
    append(&mut journal, &[2]);
    disk.bad.store(true, Ordering::SeqCst);
    journal.append(&[entry(record("lost"))], NOW).unwrap_err();
    assert_eq!(verify(dir.path()).unwrap().last, 2);
    disk.bad.store(false, Ordering::SeqCst);
    append(&mut journal, &[1]);
    assert_eq!(verify(dir.path()).unwrap().last, 3);
}

#[test]
fn a_crash_while_old_files_are_removed_leaves_a_log_that_begins_where_it_says() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), rotating(500)), &[2; 6]);
    let kept: Vec<_> = files::list(dir.path())
        .unwrap()
        .into_iter()
        .map(|index| (files::path(dir.path(), index), text(dir.path(), index)))
        .collect();
    // A smaller limit removes several at once.
    let smaller = Options {
        file_bytes: 500,
        total_bytes: 2_000,
    };
    append(&mut open(dir.path(), smaller), &[1]);
    let left = files::list(dir.path()).unwrap();
    assert!(left[0] > 3, "{left:?}");
    verify(dir.path()).unwrap();
    // The newest are removed last: put back one after the other.
    for (path, text) in kept.iter().rev() {
        if !path.exists() {
            fs::write(path, text).unwrap();
            verify(dir.path()).unwrap();
        }
    }
    assert_eq!(verify(dir.path()).unwrap().first, 1);
}
