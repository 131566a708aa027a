//! Health checks: when is probed, what the answers mean, and what follows.

use std::time::Duration;

use expect_test::expect;
use model::instance::{Health, Observed};
use model::reason::ReasonCode;
use model::workload::{Restart, RuntimeKind};
use node_core::{FoundStatus, Input, ProbeId};

use crate::support::{
    Worker, checked, desired, exit, exited, id, listed, on_trial, probe_of, probed, running,
    started, stopped, workload,
};

fn seconds(worker: &Worker) -> u64 {
    worker.now.steady.0 / 1_000
}

/// Runs the clock to the next probe.
fn next(worker: &mut Worker) -> ProbeId {
    let wait = worker.deadline().unwrap().since(worker.now.steady);
    worker.now.steady = worker.now.steady.plus(wait);
    probe_of(&worker.decide([]).actions).unwrap()
}

/// Fails probes until the instance is stopped for it; when that was.
fn until_stopped(worker: &mut Worker, mut probe: ProbeId) -> u64 {
    loop {
        let actions = worker.turn([probed(1, probe, false)]);
        if actions.contains("stop 1") {
            return seconds(worker);
        }
        probe = next(worker);
    }
}

#[test]
fn the_first_success_makes_it_healthy_and_that_is_reported_at_once() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    assert_eq!(worker.observed(), "1 running starting");
    assert_eq!(
        worker.turn([probed(1, probe, true)]),
        "report news at 1: 1 running healthy\n"
    );
    assert_eq!(worker.pass(Duration::from_millis(9_999)), "");
    assert_eq!(worker.pass(Duration::from_millis(1)), "probe 1\n");
}

#[test]
fn what_is_not_well_yet_is_asked_every_second_and_then_once_an_interval() {
    let (mut worker, mut probe) = Worker::probing(Restart::Always);
    let mut at = Vec::new();
    for good in [false, false, false, true, true, false, true] {
        probe = worker.answer(probe, good).unwrap();
        at.push(seconds(&worker));
    }
    assert_eq!(at, [1, 2, 3, 13, 23, 33, 43]);
    assert_eq!(worker.observed(), "1 running healthy");
}

#[test]
fn failures_count_once_an_interval_and_not_in_the_start_period() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    // Counted at 20, 30 and 40 s.
    assert_eq!(until_stopped(&mut worker, probe), 40);
}

#[test]
fn a_success_ends_the_start_period_and_forgets_failures() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    let probe = worker.answer(probe, true).unwrap();
    assert_eq!(seconds(&worker), 10, "in the start period");
    let probe = worker.answer(probe, false).unwrap();
    let probe = worker.answer(probe, false).unwrap();
    let probe = worker.answer(probe, true).unwrap();
    assert_eq!(worker.observed(), "1 running healthy");
    assert_eq!(until_stopped(&mut worker, probe), 60, "at 40, 50 and 60 s");
}

#[test]
fn an_unhealthy_instance_is_reported_stopped_and_started_again_after_the_wait_of_a_crash() {
    let (mut worker, mut probe) = Worker::probing(Restart::OnFailure);
    probe = worker.answer(probe, true).unwrap();
    probe = worker.answer(probe, false).unwrap();
    probe = worker.answer(probe, false).unwrap();
    expect![[r#"
        stop 1 within 5s
        report news at 1: 1 running unhealthy
    "#]]
    .assert_eq(&worker.turn([probed(1, probe, false)]));
    assert_eq!(worker.turn([exited(1, 0)]), "", "its end is our doing");
    expect![[r"
        report news at 1: 1 unhealthy
    "]]
    .assert_eq(&worker.turn([stopped(1)]));
    assert_eq!(worker.observed(), "1 unhealthy until 31000");
    let report = worker.state.observed().next().unwrap().report.clone();
    let Observed::Failed { reason, .. } = report.observed else {
        panic!("{report:?}")
    };
    assert_eq!(
        (reason.code, reason.message.as_str()),
        (
            ReasonCode::Unhealthy,
            "the health check failed 3 times in a row (port 80: connection refused) and the application is started again"
        )
    );
    let due = worker.pass(Duration::from_secs(1));
    assert!(due.starts_with("start 1 1.1\n"), "{due}");
    expect![[r"
        probe 1
        report news at 1: 1 running starting
    "]]
    .assert_eq(&worker.turn([started(1)]));
    let report = worker.state.observed().next().unwrap();
    assert_eq!(report.report.restarts, 1);
}

#[test]
fn waits_of_what_is_unhealthy_again_and_again_double() {
    let (mut worker, mut probe) = Worker::probing(Restart::Always);
    let mut waits = Vec::new();
    for _ in 0..10 {
        until_stopped(&mut worker, probe);
        worker.turn([stopped(1)]);
        let wait = worker.deadline().unwrap().since(worker.now.steady);
        waits.push(wait.as_secs());
        let due = worker.pass(wait);
        assert!(due.starts_with("start 1 1.1\n"), "{due}");
        probe = probe_of(&worker.decide([started(1)]).actions).unwrap();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300], "seconds");
}

#[test]
fn what_is_never_restarted_stays_unhealthy_until_it_is_well_again() {
    let (mut worker, probe) = Worker::probing(Restart::Never);
    let mut probe = worker.answer(probe, true).unwrap();
    for _ in 0..5 {
        probe = worker.answer(probe, false).unwrap();
    }
    assert_eq!(worker.observed(), "1 running unhealthy");
    assert_eq!(
        worker.turn([probed(1, probe, true)]),
        "report news at 1: 1 running healthy\n"
    );
}

#[test]
fn an_answer_to_an_earlier_run_or_probe_says_nothing() {
    let (mut worker, first) = Worker::probing(Restart::Always);
    // A crash: the run of that probe is over.
    worker.turn([exited(1, 1)]);
    assert_eq!(worker.turn([probed(1, first, true)]), "");
    worker.pass(Duration::from_secs(1));
    let second = probe_of(&worker.decide([started(1)]).actions).unwrap();
    assert_ne!(first, second);
    assert_eq!(worker.turn([probed(1, first, true)]), "");
    assert_eq!(worker.observed(), "1 running starting");
    worker.turn([probed(1, second, true)]);
    assert_eq!(worker.observed(), "1 running healthy");
    assert_eq!(worker.turn([probed(1, second, false)]), "", "answered");
    assert_eq!(worker.turn([probed(9, second, true)]), "", "unknown");
    // An engine that was started again has probes of its own.
    worker.restart();
    let third = probe_of(&worker.decide([listed(&[(1, running())])]).actions).unwrap();
    assert_eq!(worker.turn([probed(1, second, true)]), "");
    assert_eq!(worker.observed(), "1 running starting");
    worker.turn([probed(1, third, true)]);
    assert_eq!(worker.observed(), "1 running healthy");
}

#[test]
fn probes_stop_with_the_instance() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    worker.drop_web(1);
    worker.sync();
    assert_eq!(worker.turn([probed(1, probe, true)]), "");
    let later = worker.pass(Duration::from_secs(15));
    assert!(!later.contains("probe"), "{later}");
    worker.turn([stopped(1)]);
    assert_eq!(worker.pass(Duration::from_hours(1)), "");
    assert_eq!(worker.deadline(), None);
    let (mut ended, _) = Worker::probing(Restart::Never);
    ended.turn([exited(1, 0)]);
    assert_eq!(ended.pass(Duration::from_hours(1)), "");
    assert_eq!(ended.observed(), "1 ended");
}

#[test]
fn what_is_deleted_while_it_is_stopped_for_its_health_leaves() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    until_stopped(&mut worker, probe);
    worker.drop_web(1);
    worker.sync();
    worker.turn([stopped(1)]);
    assert_eq!(worker.observed(), "");
    assert_eq!(worker.pass(Duration::from_hours(1)), "");
}

#[test]
fn a_stop_that_fails_or_is_not_answered_is_asked_again_and_still_followed_by_a_start() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    until_stopped(&mut worker, probe);
    let failed = Input::StopFailed {
        instance: crate::support::id(1),
    };
    worker.turn([failed]);
    let again = worker.pass(Duration::from_secs(2));
    assert_eq!(again, "stop 1 within 5s\n");
    let again = worker.pass(Duration::from_mins(1));
    assert_eq!(again, "stop 1 within 5s\n", "its answer was lost");
    worker.turn([stopped(1)]);
    let due = worker.pass(Duration::from_secs(1));
    assert!(due.starts_with("start 1 1.1\n"), "{due}");
}

/// The end that the stop causes looks like a success, which `on_failure` would leave as it is.
#[test]
fn an_engine_that_is_killed_while_it_stops_an_unhealthy_instance_starts_it_again() {
    for (status, observed) in [
        (Some(FoundStatus::Exited(exit(0))), "1 exited until"),
        (Some(running()), "1 running starting"),
        (None, "1 starting"),
    ] {
        let (mut worker, probe) = Worker::probing(Restart::OnFailure);
        until_stopped(&mut worker, probe);
        worker.restart();
        let found: Vec<_> = status
            .clone()
            .map(|status| (1, status))
            .into_iter()
            .collect();
        worker.turn([listed(&found)]);
        let now = worker.observed();
        assert!(now.starts_with(observed), "{status:?}: {now}");
        if status != Some(running()) {
            worker.pass(Duration::from_secs(1));
            worker.turn([started(1)]);
        }
        // From then on a success is one.
        worker.turn([exited(1, 0)]);
        assert_eq!(worker.observed(), "1 ended", "{status:?}");
    }
}

#[test]
fn without_a_link_the_check_goes_on_and_is_told_when_the_link_is_back() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    worker.turn([Input::Disconnected]);
    let probe = worker.answer(probe, true).unwrap();
    until_stopped(&mut worker, probe);
    worker.turn([stopped(1)]);
    assert_eq!(worker.pass(Duration::from_secs(1)), "start 1 1.1\n");
    let probe = probe_of(&worker.decide([started(1)]).actions).unwrap();
    worker.turn([probed(1, probe, true)]);
    expect![[r"
        acknowledge 1
        report all at 1: 1 running healthy
    "]]
    .assert_eq(&worker.turn([Input::Connected]));
}

#[test]
fn a_reported_health_changes_only_when_it_changes() {
    let (mut worker, probe) = Worker::probing(Restart::Always);
    let mut probe = worker.answer(probe, true).unwrap();
    for good in [true, false, true, false, false, true] {
        let said = worker.turn([probed(1, probe, good)]);
        assert_eq!(said, "", "nothing is news");
        probe = next(&mut worker);
    }
    let report = worker.state.observed().next().unwrap();
    assert_eq!(report.report.health(), Some(Health::Healthy));
}

#[test]
fn many_instances_are_probed_each_in_its_time() {
    let mut worker = Worker::ready();
    for number in 1..=20 {
        worker.want(desired(number, 1, checked(Restart::Always)));
    }
    worker.sync();
    let actions = worker.turn((1..=20).map(started));
    assert_eq!(actions.matches("probe ").count(), 20, "{actions}");
    assert_eq!(worker.deadline(), None, "all are under way");
}

/// A worker with one instance that has no check, and is ready after two seconds.
fn on_trial_for_two_seconds() -> Worker {
    let mut worker = Worker::ready();
    let workload = workload(RuntimeKind::Noop, Restart::Always);
    worker.want(on_trial(1, 1, workload, Duration::from_secs(2)));
    worker.sync();
    worker.turn([started(1)]);
    worker
}

#[test]
fn without_a_check_it_is_ready_when_it_has_run_for_a_while() {
    let mut worker = on_trial_for_two_seconds();
    assert_eq!(worker.observed(), "1 running starting");
    assert_eq!(worker.pass(Duration::from_millis(1_999)), "");
    assert_eq!(
        worker.pass(Duration::from_millis(1)),
        "report news at 1: 1 running\n"
    );
    assert_eq!(worker.deadline(), None, "nothing more is asked");
}

#[test]
fn what_ends_at_once_was_never_ready_and_begins_a_trial_again() {
    let mut worker = on_trial_for_two_seconds();
    worker.pass(Duration::from_secs(1));
    worker.turn([exited(1, 1)]);
    let again = worker.pass(Duration::from_secs(1));
    assert!(again.starts_with("start 1 1.1\n"), "{again}");
    let since = worker.now.wall;
    worker.turn([Input::Started {
        instance: id(1),
        since,
        endpoints: Vec::new(),
    }]);
    assert_eq!(worker.observed(), "1 running starting");
    worker.pass(Duration::from_millis(1_999));
    assert_eq!(worker.observed(), "1 running starting");
    worker.pass(Duration::from_millis(1));
    assert_eq!(worker.observed(), "1 running");
}

#[test]
fn a_restart_of_the_engine_does_not_begin_the_trial_anew() {
    let mut worker = on_trial_for_two_seconds();
    worker.pass(Duration::from_millis(1_500));
    worker.restart();
    worker.turn([listed(&[(1, running())])]);
    assert_eq!(worker.observed(), "1 running starting");
    worker.pass(Duration::from_millis(501));
    assert_eq!(worker.observed(), "1 running");
    worker.restart();
    worker.turn([listed(&[(1, running())])]);
    assert_eq!(worker.observed(), "1 running");
}
