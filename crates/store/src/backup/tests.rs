use std::path::{Path, PathBuf};

use super::*;
use crate::{Memory, Table};

const JOBS: Table = Table("jobs");
const META: Table = Table("meta");

/// A store with records of all sizes.
fn store(path: &Path) -> Embedded {
    let store = Embedded::open(path, Options::default()).unwrap();
    let mut ops: Vec<Op> = (0..200_u32)
        .map(|number| Op::put(JOBS, number.to_be_bytes(), vec![7; number as usize * 13]))
        .collect();
    ops.push(Op::put(META, *b"incarnation", *b"old"));
    ops.push(Op::put(META, *b"empty", Vec::new()));
    store.commit(&ops).unwrap();
    store
}

fn written(store: &dyn Store, piece: usize) -> Vec<u8> {
    let mut backup = Backup::of(store, b"about").unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next_piece(piece).unwrap() {
        bytes.extend(piece);
    }
    bytes
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.at("file.backup");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Everything that is there.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_store_comes_back_with_all_its_records() {
    let place = Place::new();
    let original = store(&place.at("store"));
    for piece in [1, 1_000, usize::MAX] {
        let file = place.file(&written(&original, piece));
        let path = place.at(&format!("restored-{piece}"));
        let last = [Op::delete(META, *b"incarnation")];
        let summary = restore(&file, &path, Options::default(), &last).unwrap();
        assert_eq!((summary.records, summary.schema), (202, 1));
        assert_eq!(summary.about, b"about");
        assert_eq!(summary.bytes, fs::metadata(&file).unwrap().len());
        let restored = Embedded::open(&path, Options::default()).unwrap();
        let mut expected = original.load().unwrap();
        expected.retain(|record| record.key != b"incarnation");
        assert_eq!(restored.load().unwrap(), expected);
        assert_eq!(check(&file).unwrap(), summary);
        assert_eq!(about(&file).unwrap(), b"about");
    }
}

#[test]
fn a_backup_shows_one_moment_while_commits_go_on() {
    let place = Place::new();
    let original = store(&place.at("store"));
    let expected = written(&original, 4_096);
    let mut backup = Backup::of(&original, b"about").unwrap();
    let mut bytes = backup.next_piece(1).unwrap().unwrap();
    for round in 0..50_u32 {
        // What was read, what is still to be read, and what is new.
        let changes = [
            Op::put(JOBS, 0_u32.to_be_bytes(), vec![9; 30_000]),
            Op::delete(JOBS, (round + 100).to_be_bytes()),
            Op::put(JOBS, (round + 1_000).to_be_bytes(), vec![9; 9_000]),
        ];
        original.commit(&changes).unwrap();
        bytes.extend(backup.next_piece(500).unwrap().unwrap_or_default());
    }
    while let Some(piece) = backup.next_piece(4_096).unwrap() {
        bytes.extend(piece);
    }
    assert!(bytes == expected, "{} {}", bytes.len(), expected.len());
    assert_ne!(written(&original, 4_096).len(), expected.len());
}

#[test]
fn a_store_in_memory_can_be_backed_up_too() {
    let place = Place::new();
    let (memory, embedded) = (Memory::new(), store(&place.at("store")));
    for record in embedded.load().unwrap() {
        let table = if record.table == JOBS.0 { JOBS } else { META };
        memory
            .commit(&[Op::put(table, record.key, record.value)])
            .unwrap();
    }
    assert!(written(&memory, 700) == written(&embedded, 900));
}

#[test]
fn a_backup_that_was_cut_off_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let original = store(&place.at("store"));
    let whole = written(&original, 4_096);
    let file = place.file(&whole);
    let before = place.names();
    let cuts = (0..200).chain((200..whole.len()).step_by(997));
    for (round, cut) in cuts.chain(whole.len() - 40..whole.len()).enumerate() {
        fs::write(&file, &whole[..cut]).unwrap();
        let error = if round % 50 == 0 {
            restore(&file, &place.at("new"), Options::default(), &[]).unwrap_err()
        } else {
            check(&file).unwrap_err()
        };
        let is = match &error {
            BackupError::Foreign { .. } => cut < MAGIC.len(),
            BackupError::Truncated { .. } => cut >= MAGIC.len(),
            _ => false,
        };
        assert!(is, "{cut}: {error}");
        assert_eq!(place.names(), before, "{cut}");
    }
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let place = Place::new();
    let original = store(&place.at("store"));
    let mut bytes = written(&original, 4_096);
    let before = {
        place.file(&bytes);
        place.names()
    };
    let at: Vec<usize> = (0..300)
        .chain((300..bytes.len()).step_by(499))
        .chain(bytes.len() - 45..bytes.len())
        .collect();
    for (round, at) in at.into_iter().enumerate() {
        for flip in [1, 0x80] {
            bytes[at] ^= flip;
            let file = place.file(&bytes);
            // The schema is looked at by whoever restores.
            let schema = (18..22).contains(&at);
            assert!(check(&file).is_err(), "byte {at} may be {flip:#x} other");
            if round % 50 == 0 || schema {
                let result = restore(&file, &place.at("new"), Options::default(), &[]);
                assert!(result.is_err(), "byte {at}");
                assert_eq!(place.names(), before, "byte {at}");
            }
            bytes[at] ^= flip;
        }
    }
    bytes.push(0);
    let error = check(&place.file(&bytes)).unwrap_err();
    assert!(error.to_string().contains("follows its end"), "{error}");
}

#[test]
fn what_another_version_made_is_refused_with_what_to_do() {
    let place = Place::new();
    let original = store(&place.at("store"));
    let whole = written(&original, 4_096);
    let of = |at: usize, number: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        let file = place.file(&bytes);
        let error = restore(&file, &place.at("new"), Options::default(), &[]).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let newer = of(MAGIC.len(), FORMAT + 1);
    assert!(
        newer.contains("format 2") && newer.contains("version"),
        "{newer}"
    );
    let schema = of(MAGIC.len() + 4, 9);
    assert!(
        schema.contains("schema 9") && schema.contains("newer version"),
        "{schema}"
    );
    let foreign = check(&place.file(b"\x7fELF")).unwrap_err().to_string();
    assert!(foreign.contains("no backup"), "{foreign}");
}

#[test]
fn a_store_that_is_there_is_not_replaced() {
    let place = Place::new();
    let original = store(&place.at("store"));
    let file = place.file(&written(&original, 4_096));
    let error = restore(&file, &place.at("store"), Options::default(), &[]).unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(original.load().unwrap().len(), 202);
}
