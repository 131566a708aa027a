//! What a cluster offers back, and who a cluster is.

use model::id::ClusterId;
use model::job::JobState;
use model::reason::ReasonCode;
use root_core::Answer;

use crate::support::{Cluster, Document, World, name};

/// A cluster that claims more than it has.
fn boasting(memories: &[u64]) -> World {
    let mut world = World::of(memories);
    let first = world.clusters.get_mut(&1).unwrap();
    first.claims = 1_000;
    first.aggregate_due = true;
    world.deliver();
    world
}

#[test]
fn an_offer_is_taken_where_another_cluster_fits() {
    let mut world = boasting(&[10, 100]);
    world.run(&Document::new("web", 50, 1));
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (0, 1));
    assert_eq!(world.slots().values().next().unwrap().holdings.len(), 1);
}

#[test]
fn an_offer_that_nobody_else_can_take_stays_and_shows_the_clusters_count() {
    let mut world = boasting(&[10, 20]);
    world.run(&Document::new("web", 50, 1));
    let stays = ["0 Holder NOT_DEPLOYED insufficient_memory c1 1.0"];
    assert_eq!(world.rows("web"), stays);
    let view = world.job("web");
    assert_eq!(view.state, JobState::NotDeployed);
    assert_eq!(view.reason.unwrap().code, ReasonCode::InsufficientMemory);
    let rejections = view.rejections.unwrap();
    let examples: Vec<_> = rejections.iter().flat_map(|(.., names)| names).collect();
    assert_eq!(examples, ["w1"], "counted over the cluster's workers");
    world.pass(120);
    assert_eq!(world.rows("web"), stays, "and is not sent around");
    world.clusters.get_mut(&2).unwrap().grow(50);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
}

#[test]
fn a_cluster_that_can_place_what_it_offered_keeps_it() {
    let mut world = boasting(&[10, 20]);
    world.run(&Document::new("web", 50, 1));
    world.clusters.get_mut(&1).unwrap().grow(50);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert_eq!(world.job("web").reason, None);
}

#[test]
fn a_cluster_that_refused_is_asked_again_only_when_it_has_more() {
    let mut world = boasting(&[10, 100]);
    world.run(&Document::new("web", 50, 1));
    assert_eq!(world.runs(2), 1);
    // The second cluster shrinks under it: whatever is offered must not go back to the one that boasts.
    let second = world.clusters.get_mut(&2).unwrap();
    second.running.clear();
    second.memory = 10;
    second.capacity_revision += 1;
    second.aggregate_due = true;
    world.deliver();
    world.pass(60);
    assert_eq!(
        world.rows("web"),
        ["0 Holder NOT_DEPLOYED insufficient_memory c2 2.0"]
    );
    world.clusters.get_mut(&1).unwrap().grow(50);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 3.1"]);
}

#[test]
fn a_cluster_with_a_restored_disk_is_asked_again_though_it_counts_less() {
    let mut world = World::of(&[10, 20]);
    for cluster in world.clusters.values_mut() {
        cluster.claims = 1_000;
        cluster.capacity_revision = 50;
        cluster.aggregate_due = true;
    }
    world.deliver();
    world.run(&Document::new("web", 50, 1));
    let rows = world.rows("web");
    assert_eq!(rows.len(), 1);
    let other = if rows[0].contains(" c1 ") { 2 } else { 1 };
    world.cut(other);
    let restored = world.clusters.get_mut(&other).unwrap();
    restored.restored += 1;
    restored.capacity_revision = 2;
    restored.memory = 100;
    restored.claims = 0;
    world.back(other);
    world.deliver();
    let rows = world.rows("web");
    assert!(
        rows[0].starts_with(&format!("0 Holder RUNNING c{other} ")),
        "{rows:?}"
    );
}

#[test]
fn two_boasting_clusters_are_each_asked_once() {
    let mut world = boasting(&[10, 10]);
    let second = world.clusters.get_mut(&2).unwrap();
    second.claims = 1_000;
    second.aggregate_due = true;
    world.deliver();
    world.run(&Document::new("web", 50, 1));
    world.pass(120);
    let record = world.slots().into_values().next().unwrap();
    assert_eq!(record.assignment, 2);
    assert_eq!(world.job("web").state, JobState::NotDeployed);
}

#[test]
fn the_name_of_a_cluster_that_is_there_is_in_use_and_of_an_absent_one_brings_its_id() {
    let mut world = World::of(&[100]);
    let id = ClusterId::from_bits(1);
    let register = |world: &mut World, saved| {
        let mut stranger = Cluster::new(9, 100);
        stranger.name = name("c1");
        world.clusters.insert(9, stranger);
        let answer = world.register(9, saved);
        world.clusters.remove(&9);
        answer
    };
    let in_use = Answer::ClusterNameInUse(name("c1"));
    assert_eq!(register(&mut world, None), in_use);
    assert_eq!(register(&mut world, Some(ClusterId::from_bits(44))), in_use);
    assert_eq!(register(&mut world, Some(id)), Answer::Registered(id));
    world.cut(1);
    assert_eq!(register(&mut world, None), Answer::Registered(id));
}

#[test]
fn an_id_that_this_root_does_not_know_is_kept_with_a_new_name() {
    let mut world = World::of(&[100]);
    world.clusters.insert(2, Cluster::new(2, 100));
    let saved = ClusterId::from_bits(44);
    assert_eq!(world.register(2, Some(saved)), Answer::Registered(saved));
}

#[test]
fn of_two_clusters_that_offer_a_replica_each_one_that_grows_gets_both() {
    for growing in [1, 2] {
        let mut world = boasting(&[10, 10]);
        let second = world.clusters.get_mut(&2).unwrap();
        second.claims = 1_000;
        second.aggregate_due = true;
        world.deliver();
        world.run(&Document::new("web", 50, 2));
        world.pass(60);
        assert_eq!(world.job("web").state, JobState::NotDeployed);
        world.clusters.get_mut(&growing).unwrap().grow(200);
        world.pass(60);
        assert_eq!(world.runs(growing), 2, "{:?}", world.rows("web"));
    }
}
