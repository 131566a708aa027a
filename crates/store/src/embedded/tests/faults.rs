//! The disk fails or is full, and comes back (reliability row 17).

use super::platter::{Fault, Platter, Survives};
use super::*;

const STEPS: u8 = 8;

#[test]
fn one_failed_write_anywhere_fails_one_commit_and_the_store_recovers_by_itself() {
    let formatted = Platter::formatted();
    let whole = Platter::of(formatted.clone());
    {
        let store = whole.open(Origin::Existing).unwrap();
        (0..STEPS).for_each(|step| store.commit(&script(step)).unwrap());
    }
    let mut failures = 0;
    for bad in 0..whole.operations() {
        let platter = Platter::of(formatted.clone());
        platter.set(Fault::Once(bad));
        let store = match platter.open(Origin::Existing) {
            Ok(store) => store,
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Io { .. }),
                    "operation {bad}: {error:?}"
                );
                platter.open(Origin::Existing).unwrap()
            }
        };
        for step in 0..STEPS {
            if let Err(error) = store.commit(&script(step)) {
                failures += 1;
                assert!(
                    matches!(error, StoreError::Io { .. }),
                    "operation {bad}: {error:?}"
                );
                let found = store.load().unwrap();
                assert!(
                    found == after(step) || found == after(step + 1),
                    "operation {bad}, step {step}"
                );
                // The failed commit may be there; doing it again must be harmless and work.
                store.commit(&script(step)).unwrap();
            }
            assert!(
                store.load().unwrap() == after(step + 1),
                "operation {bad}, step {step}"
            );
        }
        // Whatever was acknowledged after the failure is on the disk, not only in a cache.
        let image = platter.after_power_cut(Survives::Nothing);
        let found = Platter::of(image).open(Origin::Existing).unwrap().load();
        assert!(found.unwrap() == after(STEPS), "operation {bad}");
    }
    assert!(failures > 30, "only {failures} commits met the fault");
}

#[test]
fn a_full_disk_refuses_commits_that_grow_serves_reads_and_recovers_with_space() {
    let platter = Platter::of(Platter::formatted());
    let store = platter.open(Origin::Existing).unwrap();
    store.commit(&script(0)).unwrap();
    platter.set(Fault::Full(platter.size()));
    let huge = [Op::put(
        JOBS,
        *b"huge",
        vec![1; platter.size() as usize * 2],
    )];
    for _again in 0..3 {
        let error = store.commit(&huge).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("no space left"), "{error}");
        assert_eq!(store.load().unwrap(), after(1));
        assert_eq!(store.get(JOBS, b"counter").unwrap(), Some(vec![0]));
    }
    // Small commits and deletes find room inside the file.
    store.commit(&script(1)).unwrap();
    assert_eq!(store.load().unwrap(), after(2));
    platter.set(Fault::None);
    store.commit(&huge).unwrap();
    assert_eq!(store.load().unwrap().len(), after(2).len() + 1);
}

#[test]
fn a_disk_that_is_gone_fails_everything_and_nothing_is_lost_when_it_is_back() {
    let platter = Platter::of(Platter::formatted());
    let store = platter.open(Origin::Existing).unwrap();
    store.commit(&script(0)).unwrap();
    platter.set(Fault::Gone);
    for _again in 0..3 {
        assert!(store.commit(&script(1)).is_err());
    }
    assert!(store.load().is_err());
    platter.set(Fault::None);
    assert_eq!(store.load().unwrap(), after(1));
    store.commit(&script(1)).unwrap();
    assert_eq!(store.load().unwrap(), after(2));
}
