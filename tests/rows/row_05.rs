//! Row 5: a whole cluster is lost, and comes back.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{System, alone, end_all_in, pause};
use edgeio_tests::history::{Fault, Recorder};

use crate::documents::sleeper;
use crate::stage::{
    LIMIT, ROOMY, Stage, UNDISTURBED, Wanted, agreed, cluster_lost_after, grace, instances, judge,
    of, record, settings, short, submit, wait_agreed, wait_replaced,
};

/// What runs in `cluster-a`: what moves when it is lost, what stays, and what is its own.
const JOBS: [Wanted<'_>; 3] = [
    ("root", "moves", 1),
    ("root", "stays", 1),
    ("cluster-a", "own", 1),
];

/// Submits them while `cluster-a` is the only one with a worker.
fn fill(system: &System, recorder: &Recorder) {
    let moves = sleeper("moves", "on_partition: move\n");
    submit(recorder, "root", "moves", &moves);
    submit(recorder, "root", "stays", &sleeper("stays", ""));
    submit(recorder, "cluster-a", "own", &sleeper("own", ""));
    wait_agreed(system, &JOBS, LIMIT);
}

/// What may not happen to what stays while its cluster cannot be heard.
fn still_waits(system: &System) {
    let rows = instances(&system.root(), "stays").unwrap();
    let elsewhere = rows.iter().any(|row| row["worker_node"] == "near-b");
    assert!(!elsewhere, "what stays was placed elsewhere: {rows:?}");
    let body = system.root().job("stays").unwrap();
    assert_ne!(body["state"], "RUNNING", "{}", short(&body));
}

/// The limit of a replacement: a cluster's `lost_after` and three seconds.
fn limit() -> Duration {
    cluster_lost_after() + Duration::from_secs(3)
}

/// Waits until what moves runs in the other cluster.
fn wait_moved(system: &System, begun: Instant) {
    let left = limit().saturating_sub(begun.elapsed());
    wait_replaced(system, "moves", "near-b", left);
    eprintln!(
        "what moves runs elsewhere {:?} after its cluster was lost; lost_after is {:?}",
        begun.elapsed(),
        cluster_lost_after()
    );
}

/// Also the named regression: work deleted when a cluster returns (Karmada #5406).
#[test]
fn row_05_whole_cluster_lost() {
    let Some(mut stage) = Stage::open() else {
        return;
    };
    stage.worker("near-a", 0);
    stage.and_cluster_b();
    let recorder = stage.record();
    fill(&stage.system, &recorder);
    stage.worker("near-b", 1);
    // The cluster has joined just now, and nobody is lost for a while after that.
    pause(grace());
    let before = agreed(&stage.system, &JOBS).unwrap();

    recorder.cut("near-a", &["root", "cluster-a"]);
    let begun = Instant::now();
    stage.lab.pull("cluster-a");
    wait_moved(&stage.system, begun);
    still_waits(&stage.system);
    pause(of(30.0));
    still_waits(&stage.system);
    let two = stage.system.copies("moves");
    assert_eq!(two.len(), 2, "the cut-off one runs on: {two:?}");
    stage.lab.plug("cluster-a");
    recorder.mended("near-a");
    let after = judge("row_05_lost", &stage.system, recorder, &JOBS, |bounds| {
        bounds.undisturbed = vec![
            ("root".to_owned(), UNDISTURBED),
            ("cluster-b".to_owned(), UNDISTURBED),
        ];
    });
    assert_eq!(
        after[1..],
        before[1..],
        "what had a right to run was not touched"
    );
}

/// The whole site loses its power: the orchestrator, the engine and what they ran.
#[test]
fn row_05_a_cluster_is_killed_and_returns() {
    let _turn = alone();
    let mut system = System::start(settings());
    system.add_cluster("cluster-a", &[]);
    system.add_worker("near-a", 0, &ROOMY);
    system.add_cluster("cluster-b", &[]);
    let recorder = record(&system);
    fill(&system, &recorder);
    system.add_worker("near-b", 1, &ROOMY);

    recorder.cut("near-a", &["root", "cluster-a"]);
    recorder.fault(Fault::Ended {
        worker: "near-a".to_owned(),
    });
    let begun = Instant::now();
    system.clusters[0].kill();
    system.workers[0].program.kill();
    end_all_in(&system.workers[0].directory);
    wait_moved(&system, begun);
    still_waits(&system);
    assert_eq!(system.copies("stays"), []);
    // The worker is first, and starts what its disk says, without its cluster.
    system.workers[0].program.again();
    pause(of(10.0));
    system.clusters[0].again();
    recorder.mended("near-a");
    judge("row_05_killed", &system, recorder, &JOBS, |_| {});
}
