//! The link to the cluster: settings, changes that are refused, another store's set.

use std::time::Duration;

use expect_test::expect;
use model::id::NodeId;
use model::workload::Restart;
use node_core::Input;
use sync::Term;

use crate::support::{Cluster, Worker, exited, started};

#[test]
fn the_clusters_interval_is_taken_over_and_kept_over_a_restart() {
    let mut worker = Worker::ready();
    assert_eq!(worker.state.report_interval(), Duration::from_secs(15));
    worker.want_interval(3);
    expect![[r#"
        acknowledge 1
        report every 3s
    "#]]
    .assert_eq(&worker.sync());
    worker.restart();
    assert_eq!(worker.state.report_interval(), Duration::from_secs(3));
}

#[test]
fn the_same_change_again_is_acknowledged_and_changes_nothing() {
    let mut worker = Worker::running(Restart::Always);
    let held = worker.state.held();
    let whole = worker.cluster.due(sync::Held::default());
    let again = worker.turn(whole.into_iter().map(Input::Control));
    assert_eq!(again, "acknowledge 1\n");
    assert_eq!(worker.state.held(), held);
}

#[test]
fn another_stores_set_changes_nothing_before_it_has_taken_over_what_is_held() {
    let mut worker = Worker::running(Restart::Always);
    let before = worker.state.snapshot();
    let mut foreign = Cluster::new(2);
    let change = foreign.due(sync::Held::default());
    let answer = worker.turn(change.into_iter().map(Input::Control));
    assert_eq!(answer, "acknowledge 1\n");
    assert_eq!(worker.state.snapshot(), before);
    expect![[r#"
        adopt 1
        report all at 1: 1 running
    "#]]
    .assert_eq(&worker.turn([Input::AskAdopt]));

    // Taken over: from here on its set decides, and here it does not want the instance.
    foreign.set.adopt(worker.state.held().desired_digest);
    let change = foreign.due(worker.state.held());
    expect![[r#"
        acknowledge 0
        stop 1 within 5s
    "#]]
    .assert_eq(&worker.turn(change.into_iter().map(Input::Control)));
}

#[test]
fn a_superseded_run_of_the_cluster_is_told_so_and_changes_nothing() {
    let mut worker = Worker::running(Restart::Always);
    let old = worker.cluster.term.clone();
    worker.cluster.term = old.next(8);
    worker.want_interval(3);
    worker.sync();
    let before = worker.state.snapshot();
    worker.cluster.term = old;
    let mut late = worker.cluster.due(sync::Held::default());
    for change in &mut late {
        change.revision += 10;
    }
    let answer = worker.turn(late.into_iter().map(Input::Control));
    assert_eq!(answer, "acknowledge 2, superseded\n");
    assert_eq!(worker.state.snapshot(), before);
}

#[test]
fn a_copy_of_the_clusters_store_counts_as_another_store() {
    let mut worker = Worker::running(Restart::Always);
    let before = worker.state.snapshot();
    worker.cluster.term = Term::default().next(99);
    worker.drop_web(1);
    let change = worker.cluster.due(sync::Held::default());
    let answer = worker.turn(change.into_iter().map(Input::Control));
    assert_eq!(answer, "acknowledge 1\n");
    assert_eq!(worker.state.snapshot(), before);
}

#[test]
fn a_change_that_does_not_give_the_promised_digest_is_refused_whole() {
    let mut worker = Worker::running(Restart::Always);
    worker.want_web(2);
    let mut changes = worker.cluster.due(worker.state.held());
    for change in &mut changes {
        change.put.clear();
    }
    let answer = worker.turn(changes.into_iter().map(Input::Control));
    assert_eq!(answer, "acknowledge 1, wants the whole\n");
    assert!(worker.sync().starts_with("acknowledge 2\nstart 2"));
}

#[test]
fn a_change_in_parts_is_applied_only_when_its_last_part_is_there() {
    let mut worker = Worker::ready();
    (1..=120).for_each(|number| worker.want_web(number));
    let mut changes = worker.cluster.due(worker.state.held());
    assert!(changes.len() > 1, "120 instances need several parts");
    let last = changes.pop().unwrap();
    let staged = worker.turn(changes.into_iter().map(Input::Control));
    assert!(!staged.contains("start"), "{staged}");
    assert_eq!(worker.state.desired_instances().count(), 0);
    let applied = worker.turn([Input::Control(last)]);
    let starts = applied.lines().filter(|line| line.starts_with("start"));
    assert_eq!(starts.count(), 120);
}

#[test]
fn the_id_that_the_cluster_gave_is_kept() {
    let mut worker = Worker::ready();
    let node = NodeId::from_bits(5);
    worker.turn([Input::Registered(node)]);
    worker.restart();
    assert_eq!(worker.state.node(), Some(node));
    assert!(
        worker
            .decide([Input::Registered(node)])
            .writes
            .iter()
            .all(|write| !write.is_durable())
    );
}

#[test]
fn a_question_for_everything_is_answered_once() {
    let mut worker = Worker::running(Restart::Always);
    expect![[r#"
        report all at 1: 1 running
    "#]]
    .assert_eq(&worker.turn([Input::AskWhole, Input::AskWhole]));
}

#[test]
fn a_link_without_room_gets_one_report_of_all_that_gathered() {
    let mut worker = Worker::running(Restart::Always);
    assert_eq!(worker.turn([Input::Room(false)]), "");
    assert_eq!(worker.turn([exited(1, 1)]), "");
    assert_eq!(worker.pass(Duration::from_secs(1)), "start 1 1.1\n");
    assert_eq!(worker.turn([started(1)]), "");
    assert_eq!(
        worker.turn([Input::Room(true)]),
        "report news at 1: 1 running\n"
    );
}
