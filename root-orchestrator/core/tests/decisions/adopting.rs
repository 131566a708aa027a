//! Another incarnation of the store, and a run that is superseded.

use model::book::Asked;
use model::book::JobAnswer;
use model::job::JobState;
use root_core::Input;

use crate::support::{Document, World};

#[test]
fn after_an_emptied_store_the_clusters_keep_everything_and_the_jobs_are_back() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 3));
    world.run(&Document::new("db", 10, 1));
    let before = [world.runs(1), world.runs(2)];
    let instances = world.job("web").instances;
    world.empty_store();
    assert!(world.state.job(&Asked::default(), "web").is_none());
    world.deliver();
    world.pass(120);
    assert_eq!([world.runs(1), world.runs(2)], before);
    let view = world.job("web");
    assert_eq!(view.instances.len(), 3);
    assert_eq!(view.state, JobState::Running);
    let ids = |rows: &[model::view::InstanceView]| {
        let mut ids: Vec<_> = rows.iter().map(|row| row.instance).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&view.instances), ids(&instances), "none was made anew");
}

#[test]
fn the_number_of_replicas_survives_an_emptied_store() {
    let mut world = World::of(&[100]);
    world.run(&Document::new("web", 10, 3));
    world.empty_store();
    world.deliver();
    // Not asked for its set in the seconds after it was asked for a whole report.
    world.pass(5);
    let view = world.job("web");
    assert_eq!(view.job.slots().count(), 3);
}

#[test]
fn a_cluster_that_comes_later_brings_its_part() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 2));
    world.cut(2);
    world.empty_store();
    world.deliver();
    assert_eq!(world.runs(1), 1);
    world.back(2);
    world.deliver();
    world.pass(120);
    assert_eq!(world.job("web").state, JobState::Running);
    assert_eq!(world.runs(1) + world.runs(2), 2, "two slots, two copies");
}

#[test]
fn a_superseded_run_changes_nothing_any_more() {
    let mut world = World::of(&[100]);
    world.run(&Document::new("web", 10, 1));
    let Input::Held {
        cluster,
        mut held,
        beat,
    } = world.clusters[&1].beat()
    else {
        panic!("a beat is an acknowledgement");
    };
    held.superseded = true;
    held.term += 1;
    held.nonce += 1;
    world.turn([Input::Held {
        cluster,
        held,
        beat,
    }]);
    assert!(world.state.is_fenced());
    assert_eq!(
        world.submit(&[Document::new("new", 1, 1)]),
        JobAnswer::Fenced
    );
    assert_eq!(world.delete("web"), JobAnswer::Fenced);
    assert_eq!(world.put(&Document::new("web", 10, 2)), JobAnswer::Fenced);
    world.jump(3);
    world.turn([]);
    assert!(world.last.actions.is_empty(), "{:?}", world.last.actions);
}
