//! The power goes at every single write of a workload (reliability row 19).

use super::platter::{Fault, Platter, Survives};
use super::*;

const STEPS: u8 = 14;

/// Runs the script from `steps_done` on until an operation fails; returns the commits acknowledged.
fn run(platter: &Platter, first: u8, syncs: Syncs) -> u8 {
    let Ok(store) = platter.open_with(Origin::Existing, syncs) else {
        return first;
    };
    (first..STEPS)
        .find(|step| store.commit(&script(*step)).is_err())
        .unwrap_or(STEPS)
}

/// Opens what the cut left and says how many commits are there, which must be whole ones.
fn survivors(image: Vec<u8>, acknowledged: u8, context: &str) -> (Platter, u8) {
    let platter = Platter::of(image);
    let store = platter
        .open(Origin::Existing)
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let found = store.load().unwrap();
    let steps = (acknowledged..=STEPS.min(acknowledged + 1)).find(|steps| found == after(*steps));
    let Some(steps) = steps else {
        let counter = found.iter().find(|record| record.key == b"counter");
        panic!("{context}: {acknowledged} commits acknowledged, found {counter:?}");
    };
    (platter, steps)
}

fn modes(cut: usize) -> Vec<Survives> {
    let seeded = (0..4).map(|seed| Survives::Sectors(cut as u64 * 1_000 + seed));
    [Survives::Nothing, Survives::All]
        .into_iter()
        .chain(seeded)
        .collect()
}

#[test]
fn a_power_cut_at_any_write_loses_no_acknowledged_commit_and_leaves_no_half_one() {
    cut_everywhere(Syncs::Two);
}

#[test]
fn a_power_cut_loses_nothing_with_one_sync_either() {
    cut_everywhere(Syncs::One);
}

fn cut_everywhere(syncs: Syncs) {
    let formatted = Platter::formatted();
    let whole = Platter::of(formatted.clone());
    assert_eq!(run(&whole, 0, syncs), STEPS);
    let operations = whole.operations();
    assert!(operations > 100, "the workload has {operations} writes");

    let (mut in_flight_kept, mut in_flight_lost) = (0, 0);
    for cut in 0..=operations {
        let platter = Platter::of(formatted.clone());
        platter.set(Fault::From(cut));
        let acknowledged = run(&platter, 0, syncs);
        for mode in modes(cut) {
            let context = format!("cut at {cut}, {mode:?}");
            let (revived, steps) = survivors(platter.after_power_cut(mode), acknowledged, &context);
            if steps > acknowledged {
                in_flight_kept += 1;
            } else {
                in_flight_lost += 1;
            }
            // The store is not only readable but works on.
            if cut % 7 == 0 {
                assert_eq!(run(&revived, steps, syncs), STEPS, "{context}");
            }
        }
    }
    assert!(
        in_flight_kept > 0 && in_flight_lost > 0,
        "{in_flight_kept} kept, {in_flight_lost} lost"
    );
}

#[test]
fn a_second_power_cut_during_recovery_loses_nothing_either() {
    let formatted = Platter::formatted();
    let whole = Platter::of(formatted.clone());
    run(&whole, 0, Syncs::Two);
    for cut in (0..whole.operations()).step_by(9) {
        let platter = Platter::of(formatted.clone());
        platter.set(Fault::From(cut));
        let acknowledged = run(&platter, 0, Syncs::Two);
        let image = platter.after_power_cut(Survives::Sectors(cut as u64));
        let (_, recovered) = survivors(image.clone(), acknowledged, "first");
        for second in 0..12 {
            let recovering = Platter::of(image.clone());
            recovering.set(Fault::From(second));
            let acknowledged = run(&recovering, recovered, Syncs::Two);
            let context = format!("cut at {cut} and at {second} of the recovery");
            survivors(
                recovering.after_power_cut(Survives::Sectors(second as u64)),
                acknowledged,
                &context,
            );
        }
    }
}
