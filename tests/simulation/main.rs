//! The simulation as tests: a thousand seeds hold every rule, and a broken rule is caught.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use edgeio_tests::simulation::{self, Outcome, Sabotage, Violation};

/// `EDGEIO_SEED=n` runs one seed; `EDGEIO_SEEDS=a..b` a range.
fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().ok();
    if let Some(seed) = std::env::var("EDGEIO_SEED")
        .ok()
        .as_deref()
        .and_then(number)
    {
        return seed..seed + 1;
    }
    let range = std::env::var("EDGEIO_SEEDS").ok();
    let range = range.as_deref().and_then(|text| text.split_once(".."));
    range
        .and_then(|(from, to)| Some(number(from)?..number(to)?))
        .unwrap_or(0..1_000)
}

/// Seeds beyond the usual ones that failed once stay here for ever.
const KEPT: &[u64] = &[];

/// Runs all seeds on both cores of the machine; every failing one is named, the first one with its trace.
fn run_all(seeds: &[u64]) -> String {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Vec<Violation>> = Mutex::new(Vec::new());
    let total: Mutex<Outcome> = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match simulation::run(*seed, None) {
                        Ok(outcome) => total.lock().unwrap().add(&outcome),
                        Err(violation) => failed.lock().unwrap().push(*violation),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|violation| violation.seed);
    if let Some(first) = failed.first() {
        for violation in &failed {
            println!(
                "seed {} at {} ms: {}",
                violation.seed, violation.at, violation.what
            );
        }
        panic!(
            "{first}\n{} of {} seeds failed; run one again with EDGEIO_SEED={}",
            failed.len(),
            seeds.len(),
            first.seed
        );
    }
    format!("{} seeds: {:?}", seeds.len(), total.into_inner().unwrap())
}

#[test]
fn every_seed_holds_every_rule() {
    let all: Vec<u64> = KEPT.iter().copied().chain(seeds()).collect();
    println!("{}", run_all(&all));
}

/// A checker that cannot fail proves nothing.
fn is_caught(sabotage: Sabotage) {
    let caught = (0..200).find_map(|seed| simulation::run(seed, Some(sabotage)).err());
    let violation = caught.unwrap_or_else(|| panic!("{sabotage:?} was not caught in 200 seeds"));
    println!("{sabotage:?} is caught: {}", violation.what);
}

#[test]
fn acting_before_the_commit_is_caught() {
    is_caught(Sabotage::ActBeforeCommit);
}

#[test]
fn leaving_what_runs_out_of_reports_is_caught() {
    is_caught(Sabotage::ForgedGone);
}

#[test]
fn a_second_process_is_caught() {
    is_caught(Sabotage::SecondProcess);
}

#[test]
fn a_worker_that_forgets_is_caught() {
    is_caught(Sabotage::WorkerForgets);
}

#[test]
fn a_stop_that_does_not_stop_is_caught() {
    is_caught(Sabotage::LyingStop);
}

#[test]
fn a_worker_that_forgets_what_was_not_confirmed_is_caught() {
    is_caught(Sabotage::Unconfirmed);
}

#[test]
fn a_cluster_that_tells_beside_its_worker_is_caught() {
    is_caught(Sabotage::AlsoConcluded);
}
