//! Applications that end by themselves.

use std::time::Duration;

use model::reason::{Reason, ReasonCode};
use model::workload::Restart;
use node_core::Input;

use crate::support::{Worker, exited, id, listed, running, started};

/// Lets the instance crash and returns the milliseconds until it is started again.
fn crash(worker: &mut Worker) -> u64 {
    worker.turn([exited(1, 1)]);
    let wait = worker.deadline().unwrap().since(worker.now.steady);
    let early = worker.pass(wait.saturating_sub(Duration::from_millis(1)));
    assert!(!early.contains("start 1"), "{early}");
    let due = worker.pass(Duration::from_millis(1));
    assert!(due.starts_with("start 1"), "{due}");
    worker.turn([started(1)]);
    wait.as_millis() as u64
}

#[test]
fn waits_after_crashes_double_from_a_second_to_five_minutes() {
    let mut worker = Worker::running(Restart::Always);
    let waits: Vec<u64> = (0..12).map(|_| crash(&mut worker) / 1_000).collect();
    assert_eq!(
        waits,
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300],
        "seconds"
    );
}

#[test]
fn ten_minutes_of_running_forget_earlier_crashes() {
    let mut worker = Worker::running(Restart::Always);
    assert_eq!([crash(&mut worker), crash(&mut worker)], [1_000, 2_000]);
    worker.pass(Duration::from_secs(599));
    assert_eq!(crash(&mut worker), 4_000);
    worker.pass(Duration::from_mins(10));
    assert_eq!(crash(&mut worker), 1_000);
}

#[test]
fn the_third_crash_in_a_row_is_a_loop() {
    let mut worker = Worker::running(Restart::Always);
    let mut codes = Vec::new();
    for _ in 0..4 {
        worker.turn([exited(1, 1)]);
        let report = worker.state.observed().next().unwrap();
        codes.push(report.report.word());
        let wait = worker.deadline().unwrap().since(worker.now.steady);
        worker.pass(wait);
        worker.turn([started(1)]);
    }
    assert_eq!(codes, ["exited", "exited", "crash_loop", "crash_loop"]);
    let report = worker.state.observed().next().unwrap();
    assert_eq!(report.report.restarts, 4);
    let last = report.report.last_exit.as_ref().unwrap();
    assert_eq!(last.code, Some(1));
}

#[test]
fn the_report_between_two_attempts_says_when_the_next_one_is() {
    let mut worker = Worker::running(Restart::Always);
    worker.pass(Duration::from_secs(3));
    worker.turn([exited(1, 1)]);
    assert_eq!(worker.observed(), "1 exited until 4000");
}

#[test]
fn a_restart_policy_says_what_is_started_again() {
    let table = [
        (Restart::Always, 0, "1 exited until 1000"),
        (Restart::Always, 1, "1 exited until 1000"),
        (Restart::OnFailure, 0, "1 ended"),
        (Restart::OnFailure, 1, "1 exited until 1000"),
        (Restart::Never, 0, "1 ended"),
        (Restart::Never, 1, "1 ended"),
    ];
    for (policy, code, observed) in table {
        let mut worker = Worker::running(policy);
        worker.turn([exited(1, code)]);
        assert_eq!(
            worker.observed(),
            observed,
            "{policy:?} with exit code {code}"
        );
        let again = worker.pass(Duration::from_hours(1)).contains("start 1");
        assert_eq!(again, observed != "1 ended", "{policy:?}, {code}");
    }
}

#[test]
fn what_has_ended_for_good_is_not_started_after_a_restart_of_the_engine() {
    for left in [true, false] {
        let mut worker = Worker::running(Restart::Never);
        worker.turn([exited(1, 0)]);
        worker.restart();
        let status = node_core::FoundStatus::Exited(crate::support::exit(0));
        let found = [(1, status)];
        let found = if left { &found[..] } else { &[] };
        assert_eq!(worker.turn([listed(found)]), "");
        assert_eq!(worker.observed(), "1 ended");
        assert_eq!(worker.pass(Duration::from_hours(1)), "");
        let report = worker.state.observed().next().unwrap();
        let last = report.report.last_exit.as_ref().unwrap();
        assert!(last.success(), "the exit is remembered");
    }
}

#[test]
fn a_start_that_is_answered_after_the_end_is_ignored() {
    let mut worker = Worker::ready();
    worker.want_web(1);
    worker.sync();
    worker.turn([exited(1, 1), started(1)]);
    assert_eq!(worker.observed(), "1 exited until 1000");
}

#[test]
fn the_end_of_what_already_waits_or_was_never_wanted_is_no_news() {
    let mut worker = Worker::running(Restart::Always);
    worker.turn([exited(1, 1)]);
    assert_eq!(worker.turn([exited(1, 1)]), "");
    assert_eq!(worker.turn([exited(9, 1), started(9)]), "");
    assert_eq!(worker.observed(), "1 exited until 1000");
}

#[test]
fn a_start_that_fails_is_tried_again_like_a_crash_and_says_why() {
    let mut worker = Worker::ready();
    worker.want_web(1);
    worker.sync();
    let failed = || Input::StartFailed {
        instance: id(1),
        reason: Reason::new(ReasonCode::ImagePullFailed, "no such image"),
    };
    worker.turn([failed()]);
    assert_eq!(worker.observed(), "1 image_pull_failed until 1000");
    assert!(worker.pass(Duration::from_secs(1)).starts_with("start 1"));
    worker.turn([failed()]);
    assert_eq!(worker.observed(), "1 image_pull_failed until 3000");
}

#[test]
fn what_vanished_without_a_word_counts_as_ended() {
    let mut worker = Worker::running(Restart::Always);
    worker.turn([listed(&[])]);
    assert_eq!(worker.observed(), "1 exited until 1000");
    let mut there = Worker::running(Restart::Always);
    there.turn([listed(&[(1, running())])]);
    assert_eq!(there.observed(), "1 running");
}

#[test]
fn crashes_are_restarted_without_a_link_and_reported_when_it_is_back() {
    let mut worker = Worker::running(Restart::Always);
    worker.turn([Input::Disconnected]);
    assert_eq!(worker.turn([exited(1, 1)]), "");
    assert_eq!(worker.pass(Duration::from_secs(1)), "start 1 1.1\n");
    assert_eq!(worker.turn([started(1)]), "");
    let back = worker.turn([Input::Connected]);
    assert_eq!(back, "acknowledge 1\nreport all at 1: 1 running\n");
}
