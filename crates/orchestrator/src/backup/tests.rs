use store::{Op, Options, Table};

use super::*;
use crate::record::{META, SLOT};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn about(tier: Tier) -> About {
    let name = (tier == Tier::Cluster).then(|| "garching".to_owned());
    let term = Term::default().next(4);
    About::new(tier, name, Wall(1_700_000_000_000), Incarnation(5), &term)
}

/// A store as an orchestrator leaves it, one that knows itself superseded.
fn store(path: &Path) -> Embedded {
    let store = Embedded::open(path, Options::default()).unwrap();
    let ops = [
        Op::put(
            META,
            *b"incarnation",
            *b"\"00000000000000000000000000000005\"",
        ),
        Op::put(META, *b"superseded", *b"true"),
        Op::put(META, *b"term", *b"{}"),
        Op::put(SLOT, *b"s", *b"{}"),
        Op::put(Table("of-a-later-version"), *b"x", *b"y"),
    ];
    store.commit(&ops).unwrap();
    store
}

fn backed_up(store: &dyn Store, about: &About, file: &Path) {
    let mut backup = begin(store, about).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next_piece(10).unwrap() {
        bytes.extend(piece);
    }
    fs::write(file, bytes).unwrap();
}

fn keys(path: &Path) -> Vec<String> {
    let records = Embedded::open(path, options()).unwrap().load();
    let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let keys = records.unwrap().into_iter();
    keys.map(|record| format!("{} {}", record.table, name(&record.key)))
        .collect()
}

#[test]
fn a_restored_store_has_everything_but_its_identity() {
    let place = directory();
    let file = place.path().join("file");
    for tier in [Tier::Root, Tier::Cluster] {
        let original = store(&place.path().join(tier.as_str()));
        backed_up(&original, &about(tier), &file);
        assert_eq!(check(&file).unwrap().0, about(tier));
        let into = place.path().join(format!("new/{}", tier.as_str()));
        let restored = restore(&file, &into).unwrap();
        assert_eq!((restored.tier, restored.records), (tier, 5));
        assert_eq!(restored.backup, Some(about(tier)));
        assert_eq!(restored.store, into.join(tier.file()));
        let kept = ["meta term", "of-a-later-version x", "slot s"];
        assert_eq!(keys(&restored.store), kept);
    }
}

#[test]
fn a_directory_with_something_in_it_is_refused_by_name() {
    let place = directory();
    let file = place.path().join("file");
    backed_up(
        &store(&place.path().join("store")),
        &about(Tier::Root),
        &file,
    );
    let into = directory();
    fs::write(into.path().join("notes.txt"), "").unwrap();
    let error = restore(&file, into.path()).unwrap_err().to_string();
    assert!(
        error.contains("notes.txt") && error.contains("empty"),
        "{error}"
    );
    assert!(!into.path().join("root.redb").exists());
}

#[test]
fn what_is_no_backup_of_an_orchestrator_leaves_no_directory() {
    let place = directory();
    let file = place.path().join("file");
    let into = place.path().join("into");
    fs::write(&file, "nothing").unwrap();
    let error = restore(&file, &into).unwrap_err();
    assert!(matches!(error, RestoreError::Backup(_)), "{error}");
    // Whole, and of somebody else.
    // The store stays open until all of it is read.
    let theirs = store(&place.path().join("store"));
    let mut other = Backup::of(&theirs, b"{}").unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = other.next_piece(10).unwrap() {
        bytes.extend(piece);
    }
    fs::write(&file, &bytes).unwrap();
    let error = restore(&file, &into).unwrap_err();
    assert!(matches!(error, RestoreError::Foreign { .. }), "{error}");
    // One that ends in the middle.
    backed_up(
        &store(&place.path().join("again")),
        &about(Tier::Root),
        &file,
    );
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    assert!(restore(&file, &into).is_err());
    assert!(!into.exists());
}

#[test]
fn a_store_is_renewed_in_its_place_while_nobody_uses_it() {
    let place = directory();
    let path = place.path().join(Tier::Cluster.file());
    let error = renew(place.path(), None).unwrap_err().to_string();
    assert!(error.contains("cluster.redb"), "{error}");
    let running = store(&path);
    let error = renew(place.path(), None).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("in use"), "{source}");
    drop(running);
    for _ in 0..2 {
        let renewed = renew(place.path(), None).unwrap();
        assert_eq!((renewed.tier, renewed.records), (Tier::Cluster, 3));
        assert_eq!(keys(&path), ["meta term", "of-a-later-version x", "slot s"]);
    }
    drop(store(&place.path().join(Tier::Root.file())));
    let error = renew(place.path(), None).unwrap_err().to_string();
    assert!(error.contains("--tier"), "{error}");
    assert_eq!(
        renew(place.path(), Some(Tier::Root)).unwrap().tier,
        Tier::Root
    );
}
