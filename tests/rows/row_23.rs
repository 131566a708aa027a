//! Row 23: an orchestrator that gets little of the processor, or none for a while.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{Copy, Program, System, alone, pause};
use edgeio_tests::history::Recorder;
use edgeio_tests::simulation::Rng;
use rustix::process::Signal;

use crate::documents::sleeper;
use crate::stage::{
    LIMIT, ROOMY, UNDISTURBED, judge, lost_after, of, record, seed, settings, submit, wait_agreed,
};

const WORKERS: usize = 3;
const JOBS: usize = 9;

/// Lets a program run for `on` of each `period`.
fn share(program: &Program, on: Duration, period: Duration, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        program.signal(Signal::STOP);
        pause(period.saturating_sub(on));
        program.signal(Signal::CONT);
        pause(on);
    }
}

fn names() -> Vec<String> {
    (0..JOBS).map(|number| format!("job-{number}")).collect()
}

/// Does something to an orchestrator; nothing that ran may be touched, nor its neighbour disturbed.
fn row(name: &str, overload: impl FnOnce(&System, &Recorder, &mut Rng)) {
    let _turn = alone();
    let mut system = System::start(settings());
    system.add_cluster("cluster-a", &[]);
    for number in 1..=WORKERS {
        system.add_worker(&format!("worker-{number}"), 0, &ROOMY);
    }
    system.add_cluster("cluster-b", &[]);
    let recorder = record(&system);
    let names = names();
    for name in &names {
        submit(&recorder, "root", name, &sleeper(name, ""));
    }
    let wanted: Vec<_> = names
        .iter()
        .map(|name| ("root", name.as_str(), 1))
        .collect();
    let (before, _): (Vec<Copy>, _) = wait_agreed(&system, &wanted, LIMIT);
    let begun = Instant::now();
    overload(&system, &recorder, &mut Rng::new(seed()));
    eprintln!("{name}: overloaded for {:?}", begun.elapsed());
    let after = judge(name, &system, recorder, &wanted, |bounds| {
        bounds.undisturbed = vec![("cluster-b".to_owned(), UNDISTURBED)];
    });
    assert_eq!(after, before, "nobody was lost");
}

#[test]
fn row_23_overloaded_cluster_loses_nobody() {
    row("row_23_cluster", |system, recorder, rng| {
        recorder.control("cluster-a gets a twentieth of a processor");
        let period = Duration::from_millis(rng.between(600, 1_400));
        share(&system.clusters[0], period / 20, period, of(200.0));
    });
}

#[test]
fn row_23_a_cluster_that_stood_still_blames_nobody() {
    row("row_23_still", |system, recorder, rng| {
        for _ in 0..3 {
            recorder.control("cluster-a stands still for longer than it waits for workers");
            system.clusters[0].signal(Signal::STOP);
            pause(lost_after() * 2 + Duration::from_millis(rng.below(1_000)));
            system.clusters[0].signal(Signal::CONT);
            pause(Duration::from_millis(rng.between(100, 2_000)));
        }
    });
}

#[test]
fn row_23_a_root_that_stood_still_blames_nobody() {
    row("row_23_root", |system, recorder, rng| {
        recorder.control("the root stands still for longer than it waits for clusters");
        system.root.signal(Signal::STOP);
        pause(of(120.0) + Duration::from_millis(rng.below(1_000)));
        system.root.signal(Signal::CONT);
    });
}
