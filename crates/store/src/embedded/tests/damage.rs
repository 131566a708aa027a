//! Files that are damaged, cut short or something else (reliability row 18).

use super::platter::{Dice, Platter, Survives};
use super::*;

const STEPS: u8 = 12;
const PAGE: usize = 4_096;

/// The bytes of a store after the script, closed in order.
fn closed() -> Vec<u8> {
    let platter = Platter::of(Platter::formatted());
    let store = platter.open(Origin::Existing).unwrap();
    (0..STEPS).for_each(|step| store.commit(&script(step)).unwrap());
    drop(store);
    platter.after_power_cut(Survives::Nothing)
}

/// Opens and reads damaged bytes: the right data or a refusal, and a refusal that helps.
/// Returns whether they were refused.
fn refused(image: Vec<u8>, context: &str) -> bool {
    let store = Platter::of(image).open(Origin::Existing);
    match store.and_then(|store| store.load()) {
        Ok(records) => {
            let counter = records
                .iter()
                .find(|record| record.key == b"counter")
                .map(|record| &record.value);
            assert!(
                records == after(STEPS),
                "{context}: wrong data, counter {counter:?}"
            );
            false
        }
        Err(error) => {
            assert!(
                matches!(error, StoreError::Corrupt { .. }),
                "{context}: {error:?}"
            );
            assert!(
                error.to_string().contains("restore it from a backup"),
                "{error}"
            );
            true
        }
    }
}

#[test]
fn a_flipped_bit_or_a_zeroed_page_is_never_served() {
    let image = closed();
    let mut dice = Dice(1);
    let mut refusals = 0;
    for page in 0..image.len() / PAGE {
        let start = page * PAGE;
        if image[start..start + PAGE].iter().all(|byte| *byte == 0) {
            continue;
        }
        for _flip in 0..4 {
            let (byte, bit) = (dice.roll(PAGE), dice.roll(8));
            let mut flipped = image.clone();
            flipped[start + byte] ^= 1 << bit;
            refusals += usize::from(refused(
                flipped,
                &format!("page {page}, byte {byte}, bit {bit}"),
            ));
        }
        let mut zeroed = image.clone();
        zeroed[start..start + PAGE].fill(0);
        refusals += usize::from(refused(zeroed, &format!("page {page} zeroed")));
    }
    assert!(refusals > 20, "only {refusals} damages were noticed");
}

#[test]
fn any_flipped_bit_of_the_header_is_refused_or_harmless() {
    let image = closed();
    for byte in 0..320 {
        for bit in 0..8 {
            let mut flipped = image.clone();
            flipped[byte] ^= 1 << bit;
            refused(flipped, &format!("header byte {byte}, bit {bit}"));
        }
    }
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let image = closed();
    for len in
        (1..image.len())
            .step_by(PAGE * 3 + 77)
            .chain([1, 8, 320, 511, PAGE, image.len() - 1])
    {
        assert!(
            refused(image[..len].to_vec(), &format!("cut to {len}")),
            "cut to {len}"
        );
    }
}

#[test]
fn an_emptied_file_is_not_taken_for_a_new_store() {
    let (_directory, path) = place();
    open(&path).unwrap().commit(&script(0)).unwrap();
    std::fs::write(&path, b"").unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert_eq!(
        std::fs::metadata(&path).unwrap().len(),
        0,
        "it was left as it was"
    );
}

#[test]
fn a_foreign_file_is_refused_and_left_as_it_was() {
    let (_directory, path) = place();
    let mut dice = Dice(2);
    let noise = (0..20_000).map(|_| dice.roll(256) as u8).collect();
    for foreign in [
        b"just some notes\n".to_vec(),
        noise,
        vec![0; 8_192],
        b"SQLite format 3\0".repeat(512),
    ] {
        std::fs::write(&path, &foreign).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(std::fs::read(&path).unwrap() == foreign);
    }
}

#[test]
fn a_tree_of_another_program_is_refused() {
    let (_directory, path) = place();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let theirs = TableDefinition::<u64, u64>::new("theirs");
    transaction
        .open_table(theirs)
        .unwrap()
        .insert(1, 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

/// Opens what a crash left, with one bit flipped here and there; returns how often it was
/// refused and how often the last commit was missing.
fn damage_after_a_crash(syncs: Syncs) -> (usize, usize) {
    let platter = Platter::of(Platter::formatted());
    let store = platter.open_with(Origin::Existing, syncs).unwrap();
    (0..STEPS).for_each(|step| store.commit(&script(step)).unwrap());
    let image = platter.after_power_cut(Survives::Nothing);
    let mut dice = Dice(3);
    let (mut refusals, mut stale) = (0, 0);
    for byte in (0..320).chain((320..image.len()).step_by(631)) {
        let mut flipped = image.clone();
        flipped[byte] ^= 1 << dice.roll(8);
        let store = Platter::of(flipped).open_with(Origin::Existing, syncs);
        match store.and_then(|store| store.load()) {
            Ok(records) if records == after(STEPS) => {}
            Ok(records) if records == after(STEPS - 1) => stale += 1,
            Ok(_) => panic!("byte {byte}: wrong data"),
            Err(StoreError::Corrupt { .. }) => refusals += 1,
            Err(error) => panic!("byte {byte}: {error:?}"),
        }
    }
    (refusals, stale)
}

#[test]
fn damage_after_a_crash_is_refused() {
    let (refusals, stale) = damage_after_a_crash(Syncs::Two);
    assert!(
        refusals > 100 && stale == 0,
        "{refusals} refused, {stale} stale"
    );
}

/// This is the price of one sync, told in its documentation.
#[test]
fn damage_after_a_crash_may_cost_the_whole_last_commit_with_one_sync() {
    let (refusals, stale) = damage_after_a_crash(Syncs::One);
    assert!(
        refusals > 0 && stale > 0,
        "{refusals} refused, {stale} stale"
    );
}

/// The header has bits that no checksum covers, so each of them is tried after a crash too. One
/// is not noticed: the bit that says which of two valid commits counts. It then looks as if the
/// power went just before that bit was written.
#[test]
fn one_bit_of_the_header_can_hide_the_last_commit_after_a_crash_and_no_other() {
    let platter = Platter::of(Platter::formatted());
    let store = platter.open(Origin::Existing).unwrap();
    (0..STEPS).for_each(|step| store.commit(&script(step)).unwrap());
    let image = platter.after_power_cut(Survives::Nothing);
    let mut stale = Vec::new();
    for (byte, bit) in (0..320).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut flipped = image.clone();
        flipped[byte] ^= 1 << bit;
        match Platter::of(flipped)
            .open(Origin::Existing)
            .and_then(|store| store.load())
        {
            Ok(records) if records == after(STEPS) => {}
            Ok(records) if records == after(STEPS - 1) => stale.push((byte, bit)),
            Ok(_) => panic!("byte {byte}, bit {bit}: wrong data"),
            Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}"),
        }
    }
    assert_eq!(stale, [(9, 0)]);
}
