//! Clusters that cannot be heard, and that come back.

use model::job::{JobState, OnPartition};

use crate::support::{Document, World};

fn web(on_partition: OnPartition) -> Document {
    Document {
        on_partition,
        ..Document::new("web", 10, 1)
    }
}

/// A job on `c1`, with `c2` free beside it.
fn two_clusters(on_partition: OnPartition) -> World {
    let mut world = World::of(&[100, 100]);
    world.run(&web(on_partition));
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    world
}

#[test]
fn what_runs_on_a_lost_cluster_stays_there_by_default() {
    let mut world = two_clusters(OnPartition::Stay);
    world.cut(1);
    world.pass(300);
    assert_eq!(world.rows("web"), ["0 Dangling UNKNOWN c1 1.1"]);
    assert_eq!(world.job("web").state, JobState::Unknown);
    assert_eq!(world.runs(2), 0);
    world.back(1);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
}

#[test]
fn what_may_move_is_assigned_elsewhere_after_a_minute_exactly_once() {
    let mut world = two_clusters(OnPartition::Move);
    world.cut(1);
    world.pass(59);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    world.pass(1);
    let moved = ["0 Dangling UNKNOWN c1 1.1", "0 Holder RUNNING c2 2.1"];
    assert_eq!(world.rows("web"), moved);
    world.pass(300);
    assert_eq!(world.rows("web"), moved);
    assert_eq!(world.job("web").state, JobState::Running);
}

/// The minute counts from the last proof of life, which the end of a silent connection is not.
#[test]
fn an_uplink_that_is_given_up_for_its_silence_proves_no_life() {
    let mut world = two_clusters(OnPartition::Move);
    let silence = root_core::Config::default().silence.as_secs();
    world.pause(1, silence);
    world.end(1, true);
    world.pass(60 - silence - 1);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    world.pass(1);
    let moved = ["0 Dangling UNKNOWN c1 1.1", "0 Holder RUNNING c2 2.1"];
    assert_eq!(world.rows("web"), moved);
}

/// Long silence makes a cluster lost while its connection is still open; the end of that changes nothing.
#[test]
fn the_silent_end_of_a_lost_cluster_makes_it_no_less_lost() {
    let mut world = two_clusters(OnPartition::Move);
    world.pause(1, 60);
    let moved = ["0 Dangling UNKNOWN c1 1.1", "0 Holder RUNNING c2 2.1"];
    assert_eq!(world.rows("web"), moved);
    world.end(1, true);
    assert_eq!(world.rows("web"), moved);
}

#[test]
fn when_the_cluster_returns_the_original_stays_under_a_new_generation() {
    let mut world = two_clusters(OnPartition::Move);
    world.cut(1);
    world.pass(60);
    world.back(1);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 3.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (1, 0));
    assert_eq!(
        world.slots().into_values().next().unwrap().holdings.len(),
        1
    );
}

#[test]
fn an_original_that_does_not_run_gives_way_to_its_replacement() {
    let mut world = two_clusters(OnPartition::Move);
    world.cut(1);
    world.pass(60);
    world.clusters.get_mut(&1).unwrap().never_starts = true;
    world.clusters.get_mut(&1).unwrap().follow();
    world.back(1);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 3.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (0, 1));
}

#[test]
fn what_was_never_seen_running_is_assigned_elsewhere_whatever_the_policy() {
    let mut world = World::of(&[100, 100]);
    world.clusters.get_mut(&1).unwrap().never_starts = true;
    world.run(&web(OnPartition::Stay));
    assert_eq!(world.rows("web"), ["0 Holder SCHEDULED_NODE c1 1.1"]);
    world.cut(1);
    world.pass(61);
    assert_eq!(world.job("web").state, JobState::Running);
    assert_eq!(world.runs(2), 1);
}

#[test]
fn an_assignment_that_its_cluster_never_heard_of_is_assigned_elsewhere() {
    let mut world = World::of(&[100, 100]);
    world.submit(&[web(OnPartition::Stay)]);
    world.cut(1);
    world.pass(61);
    assert_eq!(world.runs(2), 1);
    world.back(1);
    world.deliver();
    assert_eq!(world.runs(1) + world.runs(2), 1);
    assert_eq!(world.rows("web").len(), 1);
}

#[test]
fn a_gap_between_our_own_turns_spares_every_cluster() {
    let mut world = two_clusters(OnPartition::Move);
    world.cut(1);
    world.pass(50);
    world.jump(100);
    world.turn([]);
    world.pass(59);
    assert_eq!(world.runs(2), 0);
    world.pass(1);
    assert_eq!(world.runs(2), 1);
}

#[test]
fn a_job_deleted_while_its_cluster_is_lost_is_confirmed_when_it_returns() {
    let mut world = two_clusters(OnPartition::Stay);
    world.cut(1);
    world.pass(120);
    let key = world.job("web").job.id.to_string();
    world.delete("web");
    world.pass(60);
    assert_eq!(world.job(&key).unconfirmed, 1);
    assert_ne!(world.job(&key).state, JobState::Terminated);
    world.back(1);
    world.deliver();
    assert_eq!(world.job(&key).state, JobState::Terminated);
    assert_eq!(world.runs(1), 0);
}
