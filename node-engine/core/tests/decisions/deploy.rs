//! A deployment from the cluster's word to the end of it.

use expect_test::expect;
use model::workload::{Restart, RuntimeKind};
use node_core::{Action, Input, Write};

use crate::support::{Worker, desired, listed, running, started, stopped, workload};

#[test]
fn a_deployment_is_acknowledged_then_started_then_reported() {
    let mut worker = Worker::ready();
    worker.want_web(1);
    expect![[r#"
        acknowledge 1
        start 1 1.1
        report news at 1: 1 starting
    "#]]
    .assert_eq(&worker.sync());
    expect![[r#"
        report news at 1: 1 running
    "#]]
    .assert_eq(&worker.turn([started(1)]));
    expect![""].assert_eq(&worker.turn([]));
}

#[test]
fn nothing_is_started_before_its_runtime_said_what_it_has() {
    let mut worker = Worker::new();
    worker.want_web(1);
    expect![[r#"
        acknowledge 1
    "#]]
    .assert_eq(&worker.sync());
    expect![[r#"
        start 1 1.1
    "#]]
    .assert_eq(&worker.turn([listed(&[])]));
}

#[test]
fn a_runtime_that_does_not_answer_is_asked_again() {
    let mut worker = Worker::new();
    worker.want_web(1);
    worker.sync();
    let silent = Input::ListFailed {
        runtime: RuntimeKind::Noop,
    };
    assert_eq!(worker.turn([silent]), "");
    let retry = worker.deadline().unwrap();
    assert_eq!(worker.pass(retry.since(worker.now.steady)), "list noop\n");
    assert_eq!(worker.turn([listed(&[])]), "start 1 1.1\n");
}

#[test]
fn the_acknowledgement_comes_in_the_turn_of_the_durable_write_and_before_the_start() {
    let mut worker = Worker::ready();
    worker.want_web(1);
    let changes = worker.cluster.due(worker.state.held());
    let decision = worker.decide(changes.into_iter().map(Input::Control));
    let written = |write: &Write| matches!(write, Write::Desired(_));
    assert!(decision.writes.iter().any(written));
    let kinds = decision.actions.iter().map(|action| match action {
        Action::Acknowledge { held, .. } => {
            assert_eq!(*held, worker.state.held());
            "acknowledge"
        }
        Action::Start(_) => "start",
        _ => "",
    });
    assert_eq!(kinds.take(2).collect::<Vec<_>>(), ["acknowledge", "start"]);
}

#[test]
fn what_is_terminated_stays_in_the_reports_until_nothing_is_left_of_it() {
    let mut worker = Worker::running(Restart::Always);
    worker.drop_web(1);
    expect![[r#"
        acknowledge 2
        stop 1 within 5s
    "#]]
    .assert_eq(&worker.sync());
    assert_eq!(worker.observed(), "1 running");
    expect![[r#"
        report news at 2: 1 gone
    "#]]
    .assert_eq(&worker.turn([stopped(1)]));
    assert_eq!(worker.observed(), "");
}

#[test]
fn a_stop_without_an_answer_is_asked_for_again() {
    let mut worker = Worker::running(Restart::Always);
    worker.drop_web(1);
    worker.sync();
    let again = worker.deadline().unwrap();
    assert_eq!(
        worker.pass(again.since(worker.now.steady)),
        "stop 1 within 5s\n"
    );
    let failed = Input::StopFailed {
        instance: crate::support::id(1),
    };
    assert_eq!(worker.turn([failed]), "");
    assert_eq!(
        worker.pass(std::time::Duration::from_secs(2)),
        "stop 1 within 5s\n"
    );
}

#[test]
fn what_is_wanted_again_while_it_stops_is_started_once_it_has() {
    let mut worker = Worker::running(Restart::Always);
    worker.drop_web(1);
    worker.sync();
    worker.want_web(1);
    expect![[r#"
        acknowledge 3
    "#]]
    .assert_eq(&worker.sync());
    expect![[r#"
        start 1 1.1
        report news at 3: 1 starting
    "#]]
    .assert_eq(&worker.turn([stopped(1)]));
}

#[test]
fn a_new_generation_is_taken_without_a_restart() {
    let mut worker = Worker::running(Restart::Always);
    worker.want(desired(1, 5, workload(RuntimeKind::Noop, Restart::Always)));
    expect![[r#"
        acknowledge 2
        report news at 2: 1 running
    "#]]
    .assert_eq(&worker.sync());
}

#[test]
fn without_its_runtime_an_instance_fails_and_says_what_is_missing() {
    let mut worker = Worker::ready();
    worker.want(desired(
        1,
        1,
        workload(RuntimeKind::Docker, Restart::Always),
    ));
    expect![[r#"
        acknowledge 1
        report news at 1: 1 runtime_missing
    "#]]
    .assert_eq(&worker.sync());
    worker.drop_web(1);
    worker.sync();
    worker.turn([stopped(1)]);
    assert_eq!(worker.observed(), "", "and it can be taken away again");
}

#[test]
fn a_start_that_finds_it_running_already_changes_nothing() {
    let mut worker = Worker::running(Restart::Always);
    assert_eq!(worker.turn([started(1)]), "");
    assert_eq!(worker.turn([listed(&[(1, running())])]), "");
    assert_eq!(worker.observed(), "1 running");
}
