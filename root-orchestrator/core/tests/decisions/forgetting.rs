//! Clusters that are given up, and that come back all the same.

use model::access::TenantPath;
use model::job::{JobState, OnPartition};
use model::node::Liveness;
use root_core::{Answer, Input, Write};

use crate::support::{Document, World, name};

fn forget(world: &mut World, key: &str) -> Answer {
    let key = key.to_owned();
    world.ask(|request| Input::Forget { request, key })
}

/// A job that stays where it is, on `c1`, with `c2` free beside it.
fn two_clusters() -> World {
    let mut world = World::of(&[100, 100]);
    world.run(&Document {
        on_partition: OnPartition::Stay,
        ..Document::new("web", 10, 1)
    });
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    world
}

#[test]
fn who_is_heard_or_expected_is_not_forgotten() {
    let mut world = two_clusters();
    let there = |liveness| Answer::ClusterIsThere(name("c1"), liveness);
    assert_eq!(forget(&mut world, "c1"), there(Liveness::Alive));
    world.cut(1);
    world.restart();
    assert_eq!(forget(&mut world, "c1"), there(Liveness::Reconnecting));
    assert_eq!(
        forget(&mut world, "nobody"),
        Answer::NoSuchCluster("nobody".to_owned())
    );
    assert_eq!(world.runs(2), 0);
}

#[test]
fn what_a_forgotten_cluster_had_is_assigned_elsewhere_at_once_whatever_the_policy() {
    let mut world = two_clusters();
    let id = world.clusters[&1].id;
    world.cut(1);
    assert_eq!(forget(&mut world, "c1"), Answer::Forgotten(id));
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
    assert!(world.state.cluster("c1").is_none());
    let of_it = |write: &Write| match write {
        Write::Cluster { cluster, .. } | Write::Revision { cluster, .. } => *cluster == id,
        _ => false,
    };
    assert!(!world.state.snapshot().iter().any(of_it));
    let events = world.state.history().after(&TenantPath::root(), None);
    let told: Vec<_> = events
        .filter(|event| event.cause == "cluster_forgotten")
        .map(|event| event.message.clone())
        .collect();
    assert_eq!(told, ["cluster c1 was forgotten"]);
    world.restart();
    world.pass(30);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
}

#[test]
fn a_forgotten_cluster_that_returns_is_a_new_one_and_stops_what_it_had() {
    for restart in [false, true] {
        let mut world = two_clusters();
        let id = world.clusters[&1].id;
        // Its set has had more revisions than a new one's.
        for round in 0..5 {
            let extra = format!("extra-{round}");
            world.run(&Document {
                cluster: Some("c1".to_owned()),
                ..Document::new(&extra, 10, 1)
            });
            world.delete(&extra);
            world.deliver();
        }
        world.cut(1);
        forget(&mut world, "c1");
        world.deliver();
        assert_eq!((world.runs(1), world.runs(2)), (1, 1));
        if restart {
            world.restart();
            world.pass(30);
        }
        assert_eq!(world.register(1, Some(id)), Answer::Registered(id));
        world.back(1);
        world.pass(5);
        assert_eq!((world.runs(1), world.runs(2)), (0, 1));
        assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
        assert_eq!(world.job("web").state, JobState::Running);
        world.run(&Document {
            cluster: Some("c1".to_owned()),
            ..Document::new("fresh", 80, 1)
        });
        assert_eq!(world.rows("fresh"), ["0 Holder RUNNING c1 1.1"]);
    }
}

#[test]
fn a_deleted_job_ends_with_the_cluster_that_could_not_confirm_it() {
    let mut world = two_clusters();
    world.cut(1);
    let key = world.job("web").job.id.to_string();
    world.delete("web");
    assert_eq!(world.job(&key).unconfirmed, 1);
    forget(&mut world, "c1");
    assert_eq!(world.job(&key).unconfirmed, 0);
    assert_eq!(world.job(&key).state, JobState::Terminated);
}
