//! A store that was restored from a backup, and one that was put back by hand; the same of a cluster's.

use model::book::JobAnswer;
use model::id::ClusterId;
use model::location::Location;
use model::slot::Slot;
use root_core::{Answer, Input, Registration};
use sync::{Incarnation, Term};

use crate::support::{Document, World, name};

/// What all clusters run: cluster, slot, instance.
fn running(world: &World) -> Vec<String> {
    let clusters = world.clusters.values();
    let of_one = clusters.flat_map(|cluster| {
        let rows = cluster.running.iter();
        rows.map(|(slot, desired): (&Slot, _)| {
            let (service, instance) = (&slot.service, desired.instance);
            format!("{} {service}/{} {instance}", cluster.name, slot.index)
        })
    });
    of_one.collect()
}

#[test]
fn an_older_copy_of_the_store_is_fenced_by_what_its_clusters_know() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 2));
    let copy = world.copy_of_store();
    world.restart();
    world.pass(30);
    world.run(&Document::new("later", 10, 1));
    assert!(matches!(world.delete("web"), JobAnswer::Deleting(_)));
    world.deliver();
    let before = running(&world);
    world.put_back(&copy);
    assert!(world.state.is_fenced());
    world.deliver();
    world.pass(120);
    assert_eq!(running(&world), before);
    assert_eq!(world.delete("web"), JobAnswer::Fenced);
    let answer = world.register(1, Some(world.clusters[&1].id));
    assert_eq!(answer, Answer::Job(JobAnswer::Fenced));
    world.cut(1);
    world.cut(2);
    world.restart();
    assert!(world.state.is_fenced(), "another start changes nothing");
}

#[test]
fn a_restored_store_learns_what_was_decided_after_the_backup() {
    let mut world = World::of(&[200, 200]);
    world.run(&Document::new("scaled", 10, 1));
    world.run(&Document::new("changed", 10, 2));
    world.run(&Document::new("deleted", 10, 1));
    world.run(&Document::new("same", 10, 1));
    let copy = world.copy_of_store();
    world.restart();
    world.pass(30);
    world.put(&Document::new("scaled", 10, 3));
    world.put(&Document::new("changed", 20, 2));
    world.delete("deleted");
    world.run(&Document::new("added", 10, 2));
    world.pass(30);
    let before = running(&world);
    assert_eq!(before.len(), 8);

    world.restore(&copy);
    world.deliver();
    world.pass(120);
    let after = running(&world);
    let stopped: Vec<&String> = before.iter().filter(|row| !after.contains(row)).collect();
    assert_eq!(stopped, [] as [&String; 0], "{after:#?}");
    // The deleted one is there again: nobody who was asked knew of its end.
    assert_eq!(after.len(), before.len() + 1);
    for (job, replicas) in [("scaled", 3), ("changed", 2), ("added", 2), ("same", 1)] {
        assert_eq!(world.job(job).job.slots().count(), replicas, "{job}");
        assert_eq!(world.job(job).instances.len(), replicas, "{job}");
    }
    world.put(&Document::new("changed", 30, 2));
    world.delete("deleted");
    world.pass(30);
    assert_eq!(running(&world).len(), 8);
}

#[test]
fn a_number_of_replicas_that_was_changed_survives_an_emptied_store() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 1));
    world.put(&Document::new("web", 10, 4));
    world.pass(5);
    let before = running(&world);
    assert_eq!(before.len(), 4);
    world.empty_store();
    world.deliver();
    world.pass(120);
    assert_eq!(running(&world), before);
    assert_eq!(world.job("web").job.slots().count(), 4);
}

/// The answer to a cluster whose store is in this run.
fn registers(world: &mut World, incarnation: u128, term: &Term) -> Answer {
    let registration = Box::new(Registration {
        name: name("north"),
        location: Location::default(),
        http: None,
        saved: Some(ClusterId::from_bits(7)),
        fresh: ClusterId::from_bits(8),
        boot: term.number,
        start: term.nonce,
        store: Some((Incarnation(incarnation), term.clone())),
    });
    world.ask(|request| Input::Register {
        request,
        registration,
    })
}

#[test]
fn an_older_copy_of_a_clusters_store_is_not_let_in_before_it_is_restored() {
    let mut world = World::new();
    let first = Term::default().next(11);
    let second = first.next(12);
    let copy = first.next(13);
    let let_in = Answer::Registered(ClusterId::from_bits(7));
    let refused = Answer::ClusterOvertaken(name("north"));
    assert_eq!(registers(&mut world, 1, &first), let_in);
    assert_eq!(registers(&mut world, 1, &second), let_in);
    assert_eq!(
        registers(&mut world, 1, &second),
        let_in,
        "it connects again"
    );
    for older in [&first, &copy, &copy.next(14)] {
        assert_eq!(registers(&mut world, 1, older), refused, "{older:?}");
    }
    world.restart();
    assert_eq!(
        registers(&mut world, 1, &copy),
        refused,
        "the root remembers"
    );
    assert_eq!(registers(&mut world, 1, &second.next(15)), let_in);
    assert_eq!(registers(&mut world, 2, &copy.next(16)), let_in, "restored");
    // Too long ago to be named.
    let late = (100..130).fold(copy.next(16), |term, nonce| term.next(nonce));
    assert_eq!(registers(&mut world, 2, &late), let_in);
}
