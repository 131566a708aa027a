//! The engine is killed and started again: what runs goes on running.

use expect_test::expect;
use model::instance::Exit;
use model::time::Wall;
use model::workload::Restart;
use node_core::{FoundStatus, Input};

use crate::support::{Worker, exit, id, listed, running, started, stopped};

#[test]
fn a_restarted_engine_adopts_starts_what_is_missing_and_stops_orphans() {
    let mut worker = Worker::running(Restart::Always);
    worker.want_web(2);
    worker.sync();
    worker.turn([started(2)]);
    worker.restart();
    worker.turn([Input::Connected]);
    let found = [(1, running()), (9, running())];
    expect![[r#"
        start 2 1.1
        stop 9 within 5s
        report news at 2: 1 running, 9 starting
    "#]]
    .assert_eq(&worker.turn([listed(&found)]));
    worker.turn([started(2), stopped(9)]);
    assert_eq!(worker.observed(), "1 running, 2 running");
}

#[test]
fn what_was_told_to_stop_before_the_restart_is_stopped_after_it() {
    let mut worker = Worker::running(Restart::Always);
    worker.drop_web(1);
    worker.sync();
    let stops = worker.restart();
    assert_eq!(stops, "list noop\nstop 1 within 5s\n");
    assert_eq!(worker.turn([listed(&[(1, running())])]), "");
    assert_eq!(worker.observed(), "1 starting", "until it is gone");
    worker.turn([stopped(1)]);
    assert_eq!(worker.observed(), "");
}

#[test]
fn what_ended_while_the_engine_was_away_is_started_again_after_its_wait() {
    let mut worker = Worker::running(Restart::Always);
    worker.restart();
    let ended = [(1, FoundStatus::Exited(exit(3)))];
    assert_eq!(worker.turn([listed(&ended)]), "");
    assert_eq!(worker.observed(), "1 exited until 1000");
}

#[test]
fn what_ended_while_a_list_was_made_is_not_taken_for_running() {
    let mut worker = Worker::running(Restart::Always);
    worker.restart();
    let exit = Exit {
        at: Wall(5),
        ..exit(3)
    };
    let instance = id(1);
    worker.turn([Input::Exited { instance, exit }]);
    assert_eq!(worker.observed(), "1 exited until 1000");
    // It was looked at before it ended.
    assert_eq!(worker.turn([listed(&[(1, running())])]), "");
    assert_eq!(worker.observed(), "1 exited until 1000");
}

#[test]
fn what_was_made_and_never_started_is_started() {
    let mut worker = Worker::running(Restart::Always);
    worker.restart();
    let made = [(1, FoundStatus::Created)];
    assert_eq!(worker.turn([listed(&made)]), "start 1 1.1\n");
}

#[test]
fn each_start_has_its_own_number_and_reports_everything() {
    let mut worker = Worker::running(Restart::Always);
    let before = worker.state.beat().boot;
    worker.restart();
    assert_eq!(worker.state.beat().boot, before + 1);
    expect![[r#"
        acknowledge 1
        report all at 1: 1 starting
    "#]]
    .assert_eq(&worker.turn([Input::Connected]));
}

#[test]
fn the_engine_is_settled_only_when_its_runtime_answered_and_everything_runs() {
    let mut worker = Worker::running(Restart::Always);
    assert!(worker.state.is_settled());
    worker.restart();
    assert!(!worker.state.is_settled());
    worker.turn([listed(&[])]);
    assert!(!worker.state.is_settled());
    worker.turn([started(1)]);
    assert!(worker.state.is_settled());
}
