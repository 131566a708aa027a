//! The log as those who write it and those who read it see it.

mod crashes;
mod format;
mod tampering;
mod writing;

use std::fs;
use std::path::Path;

use crate::disk::Machine;
use crate::journal::Journal;
use crate::line::Entry;
use crate::{Broken, Decision, Digest, Options, Record, Subject, Tier, VerifyError, files, verify};

const NOW: &str = "2026-11-05T08:00:00Z";

/// Files of so many bytes, and no limit of all.
fn rotating(file_bytes: u64) -> Options {
    Options {
        file_bytes,
        ..Options::default()
    }
}

fn record(resource: &str) -> Record {
    Record {
        time: "2026-11-05T08:00:01Z".to_owned(),
        tier: Tier::Cluster,
        who: Subject::Worker("node_1".to_owned()),
        from: Some(([192, 0, 2, 7], 40_000).into()),
        verb: "publish".to_owned(),
        resource: resource.to_owned(),
        decision: Decision::Denied("the topic is another worker's".to_owned()),
        before: None,
        after: Some(Digest::of(b"after")),
        request: None,
    }
}

fn open(directory: &Path, options: Options) -> Journal {
    Journal::open(directory, options, Box::new(Machine), NOW).unwrap()
}

fn entry(record: Record) -> Entry {
    Entry::Record(Box::new(record))
}

/// Appends batches of so many records.
fn append(journal: &mut Journal, batches: &[usize]) {
    for records in batches {
        let entries = (0..*records).map(|n| entry(record(&n.to_string())));
        journal.append(&entries.collect::<Vec<_>>(), NOW).unwrap();
    }
}

fn text(directory: &Path, index: u64) -> String {
    fs::read_to_string(files::path(directory, index)).unwrap()
}

/// All lines, with their ends, and where each stands.
fn lines(directory: &Path) -> Vec<(u64, u64, String)> {
    let mut all = Vec::new();
    for index in files::list(directory).unwrap() {
        let bytes = fs::read(files::path(directory, index)).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = text.split_inclusive('\n').zip(1..);
        all.extend(lines.map(|(line, number)| (index, number, line.to_owned())));
    }
    all
}

/// What a log that is broken is broken by.
fn broken(path: &Path) -> Broken {
    match verify(path) {
        Err(VerifyError::Broken(broken)) => broken,
        other => panic!("{other:?}"),
    }
}
