//! What the cluster is told of what happened, with and without a link.

use std::time::Duration;

use model::reason::{Reason, ReasonCode};
use model::telling::LEFT_OUT;
use model::workload::{Restart, RuntimeKind};
use node_core::{Action, FoundStatus, Input, Write};

use crate::support::{
    Worker, desired, exit, exited, id, listed, running, started, stopped, workload,
};

/// The application crashes and is started again after its backoff.
fn crash(worker: &mut Worker) {
    worker.turn([exited(1, 1)]);
    let due = worker.pass(Duration::from_secs(1));
    assert!(due.contains("start 1"), "{due}");
    worker.turn([started(1)]);
}

/// The events of a turn, in the messages of that turn.
fn tellings(worker: &mut Worker, inputs: impl IntoIterator<Item = Input>) -> Vec<usize> {
    let decision = worker.decide(inputs);
    let counts = decision.actions.iter().filter_map(|action| match action {
        Action::Tell(telling) => Some(telling.events.len()),
        _ => None,
    });
    counts.collect()
}

#[test]
fn each_change_is_told_when_it_happens_after_the_report_and_what_gathered_before_it() {
    let mut worker = Worker::running(Restart::Always);
    crash(&mut worker);
    assert_eq!(
        worker.history(1),
        [
            "SCHEDULED_NODE -> RUNNING at 0: started",
            "RUNNING -> FAILED at 0: exited",
            "FAILED -> RUNNING at 1000: restarted",
        ]
    );
    let order = |decision: node_core::Decision| -> Vec<&str> {
        let actions = decision.actions.iter();
        let words = actions.filter_map(|action| match action {
            Action::Tell(_) => Some("tell"),
            Action::Report { report, .. } if report.tells => Some("report"),
            _ => None,
        });
        words.collect()
    };
    // Who hears of a change sees it.
    assert_eq!(order(worker.decide([exited(1, 3)])), ["report", "tell"]);
    worker.turn([Input::Disconnected]);
    worker.pass(Duration::from_secs(2));
    worker.turn([started(1)]);
    assert_eq!(order(worker.decide([Input::Connected])), ["tell", "report"]);
    worker.told.pop();
    let said = &worker.told.last().unwrap().event.message;
    assert_eq!(
        said,
        "the application ended (exit code 3) and is started again"
    );
}

#[test]
fn nothing_is_told_while_nothing_happens() {
    let mut worker = Worker::running(Restart::Always);
    let told = worker.told.len();
    for _ in 0..100 {
        assert_eq!(worker.decide([]).actions, []);
        worker.pass(Duration::from_secs(30));
    }
    worker.turn([Input::Disconnected]);
    worker.turn([Input::Connected]);
    worker.turn([Input::AskWhole]);
    assert_eq!(worker.told.len(), told);
}

#[test]
fn what_happened_without_a_link_is_told_with_its_times_when_it_is_back() {
    let mut worker = Worker::running(Restart::Always);
    worker.told.clear();
    worker.turn([Input::Disconnected]);
    worker.pass(Duration::from_secs(10));
    crash(&mut worker);
    worker.pass(Duration::from_mins(30));
    assert_eq!(worker.told.len(), 0);
    worker.turn([Input::Connected]);
    assert_eq!(
        worker.history(1),
        [
            "RUNNING -> FAILED at 10000: exited",
            "FAILED -> RUNNING at 11000: restarted",
        ]
    );
    assert_eq!(worker.state.untold().count(), 0);
}

#[test]
fn what_is_not_confirmed_outlives_the_engine_and_is_told_again() {
    let mut worker = Worker::running(Restart::Always);
    worker.told.clear();
    worker.confirms = false;
    worker.turn([exited(1, 1)]);
    let first = worker.told[0].clone();
    worker.restart();
    worker.turn([listed(&[(1, FoundStatus::Created)])]);
    worker.turn([started(1), Input::Connected]);
    let stamps: Vec<_> = worker.told.iter().map(|told| told.stamp).collect();
    assert_eq!(
        worker.told[1], first,
        "the same event, under the same stamp"
    );
    assert_eq!(
        worker.history(1),
        [
            "RUNNING -> FAILED at 0: exited",
            "RUNNING -> FAILED at 0: exited",
            "FAILED -> RUNNING at 0: started",
        ]
    );
    assert!(stamps[2].line != stamps[1].line && stamps[2].number > stamps[1].number);
    worker.turn([Input::Confirmed(stamps[2])]);
    assert_eq!(worker.state.untold().count(), 0);
}

#[test]
fn without_a_confirmation_all_is_sent_again_by_and_by_and_never_on_a_link_that_is_down() {
    let mut worker = Worker::running(Restart::Always);
    worker.confirms = false;
    worker.turn([exited(1, 1)]);
    worker.pass(Duration::from_secs(1));
    assert_eq!(tellings(&mut worker, [started(1)]), [1]);
    // The first of the two is due to be sent again a second later.
    worker.now.steady = worker.now.steady.plus(Duration::from_secs(1));
    assert_eq!(tellings(&mut worker, []), [2]);
    worker.turn([Input::Disconnected]);
    assert_eq!(worker.deadline(), None);
    worker.now.steady = worker.now.steady.plus(Duration::from_mins(1));
    assert_eq!(tellings(&mut worker, []), [0_usize; 0]);
    assert_eq!(tellings(&mut worker, [Input::Connected]), [2]);
    assert_eq!(
        tellings(&mut worker, [Input::Room(false)]),
        [0_usize; 0],
        "sent, and not due yet"
    );
}

#[test]
fn a_restart_of_the_engine_is_no_event_of_what_runs_on() {
    let mut worker = Worker::running(Restart::Always);
    worker.told.clear();
    worker.restart();
    worker.turn([Input::Connected]);
    worker.turn([listed(&[(1, running())])]);
    assert_eq!(worker.history(1), Vec::<String>::new());
}

#[test]
fn a_reboot_is_told_as_what_it_is() {
    let mut worker = Worker::running(Restart::Always);
    worker.told.clear();
    worker.restart();
    worker.turn([Input::Connected, listed(&[])]);
    worker.turn([started(1)]);
    assert_eq!(
        worker.history(1),
        [
            "RUNNING -> SCHEDULED_NODE at 0: starting",
            "SCHEDULED_NODE -> RUNNING at 0: started",
        ]
    );
}

#[test]
fn a_crash_that_comes_with_its_start_in_one_turn_is_told() {
    let mut worker = Worker::running(Restart::Always);
    worker.turn([exited(1, 1)]);
    worker.pass(Duration::from_secs(1));
    worker.told.clear();
    worker.turn([started(1), exited(1, 9)]);
    assert_eq!(
        worker.history(1),
        [
            "FAILED -> RUNNING at 1000: restarted",
            "RUNNING -> FAILED at 1000: exited",
        ]
    );
}

#[test]
fn ends_that_stay_and_starts_that_fail_are_told_with_their_causes() {
    for (code, end) in [(0, "TERMINATED"), (2, "FAILED")] {
        let mut worker = Worker::running(Restart::Never);
        worker.turn([exited(1, code)]);
        let last = worker.history(1).pop().unwrap();
        assert_eq!(last, format!("RUNNING -> {end} at 0: exited"));
        // An engine that starts again finds it so.
        worker.told.clear();
        worker.restart();
        worker.turn([
            Input::Connected,
            listed(&[(1, FoundStatus::Exited(exit(code)))]),
        ]);
        assert_eq!(worker.history(1), Vec::<String>::new());
    }
    let mut worker = Worker::ready();
    worker.want_web(1);
    worker.sync();
    let reason = Reason::new(ReasonCode::ImagePullFailed, "there is no such image");
    let instance = id(1);
    worker.turn([Input::StartFailed { instance, reason }]);
    assert_eq!(
        worker.history(1),
        ["SCHEDULED_NODE -> FAILED at 0: image_pull_failed"]
    );
}

#[test]
fn what_leaves_is_not_told_any_more() {
    let mut worker = Worker::running(Restart::Always);
    worker.told.clear();
    worker.drop_web(1);
    worker.sync();
    worker.turn([exited(1, 137)]);
    worker.turn([stopped(1)]);
    assert_eq!(worker.told, []);
    let said = |write: &Write| matches!(write, Write::Said { .. });
    assert!(!worker.state.snapshot().iter().any(said));
}

#[test]
fn a_disk_of_an_earlier_version_makes_no_events_of_what_it_has() {
    let mut worker = Worker::running(Restart::Always);
    worker.told.clear();
    worker.forget_said();
    worker.restart();
    worker.turn([Input::Connected, listed(&[(1, running())])]);
    assert_eq!(worker.told, []);
    worker.turn([exited(1, 1)]);
    assert_eq!(worker.history(1), ["RUNNING -> FAILED at 0: exited"]);
}

#[test]
fn what_is_too_much_is_left_out_and_counted_also_on_the_disk() {
    let mut worker = Worker::running(Restart::Always);
    worker.want(desired(2, 1, workload(RuntimeKind::Noop, Restart::Always)));
    worker.sync();
    worker.turn([started(2)]);
    worker.turn([Input::Disconnected]);
    worker.told.clear();
    for _ in 0..600 {
        worker.turn([exited(1, 1)]);
        let wait = worker.deadline().unwrap().since(worker.now.steady);
        worker.pass(wait);
        worker.turn([started(1)]);
    }
    assert_eq!(worker.state.untold().count(), 1_000);
    worker.restart();
    assert_eq!(worker.state.untold().count(), 1_000);
    worker.turn([listed(&[(1, running()), (2, running())]), Input::Connected]);
    assert_eq!(worker.told.len(), 1_000);
    let counts: u32 = worker.told.iter().map(|told| told.count).sum();
    assert_eq!(counts, 1_200);
    let first = &worker.told[0];
    assert_eq!((first.count, first.event.cause.as_str()), (201, LEFT_OUT));
    assert!(worker.told[1..].iter().all(|told| told.count == 1));
}
