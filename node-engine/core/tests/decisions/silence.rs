//! A runtime that does not answer: what it has is left alone, nothing is asked of it, and all is made good afterwards.

use std::time::Duration;

use model::reason::{Reason, ReasonCode};
use model::workload::{Restart, RuntimeKind};
use node_core::Input;

use crate::support::{Worker, id, listed, running, started};

const SILENT: Input = Input::ListFailed {
    runtime: RuntimeKind::Noop,
};

fn failed(number: u128, code: ReasonCode) -> Input {
    Input::StartFailed {
        instance: id(number),
        reason: Reason::new(code, "the test says so"),
    }
}

#[test]
fn what_runs_keeps_its_last_word_and_nothing_is_started_meanwhile() {
    let mut worker = Worker::running(Restart::Always);
    assert!(worker.state.silent().is_empty());
    worker.turn([SILENT]);
    assert_eq!(worker.state.silent().len(), 1);
    assert_eq!(worker.observed(), "1 running");
    worker.want_web(2);
    let sent = worker.sync();
    assert!(
        !sent.lines().any(|line| line.starts_with("start ")),
        "{sent}"
    );
    // It is asked again, and stays silent while the answer is out.
    assert_eq!(worker.pass(Duration::from_secs(2)), "list noop\n");
    assert_eq!(worker.state.silent().len(), 1);
    let back = worker.turn([listed(&[(1, running())])]);
    assert!(back.starts_with("start 2 1.1\n"), "{back}");
    assert!(worker.state.silent().is_empty());
}

#[test]
fn what_failed_for_the_runtime_s_silence_is_tried_as_soon_as_it_answers() {
    let mut worker = Worker::running(Restart::Always);
    for number in 2..=3 {
        worker.want_web(number);
    }
    worker.sync();
    worker.turn([SILENT]);
    // One because the engine hung, one because of its image.
    worker.turn([
        failed(2, ReasonCode::WorkerFault),
        failed(3, ReasonCode::ImagePullFailed),
    ]);
    worker.pass(Duration::from_millis(500));
    let back = worker.turn([listed(&[(1, running())])]);
    assert!(back.contains("start 2 1.1"), "{back}");
    assert!(!back.contains("start 3"), "its own wait goes on: {back}");
    worker.turn([started(2)]);
    // That attempt counts as no failure: after the next crash the wait is the first one.
    worker.turn([crate::support::exited(2, 1)]);
    assert!(
        worker.observed().contains("2 exited until 1500"),
        "{}",
        worker.observed()
    );
}

#[test]
fn a_wait_that_ends_during_the_silence_starts_nothing_and_never_spins() {
    let mut worker = Worker::running(Restart::Always);
    worker.turn([crate::support::exited(1, 1), SILENT]);
    let passed = worker.pass(Duration::from_secs(5));
    assert_eq!(passed, "list noop\n");
    assert_eq!(worker.deadline(), None, "it waits for the answer");
    worker.turn([SILENT]);
    let deadline = worker.deadline().unwrap();
    assert!(
        deadline > worker.now.steady,
        "the list is asked again later"
    );
    let back = worker.turn([SILENT, listed(&[])]);
    assert!(back.contains("start 1 1.1"), "{back}");
}
