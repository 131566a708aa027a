//! Who a worker is: its saved id, the name of one that is not there, a name in use.

use cluster_core::{Answer, Input};
use model::id::NodeId;
use model::node::{Liveness, Scheduling};

use crate::support::{Document, Site, Worker, name};

fn node(number: u128) -> NodeId {
    NodeId::from_bits(number)
}

/// Registers a new machine that says it is `w1`.
fn stranger(site: &mut Site, saved: Option<NodeId>) -> Answer {
    let mut worker = Worker::new(9, 100);
    worker.facts.name = name("w1");
    site.workers.insert(9, worker);
    let answer = site.register(9, saved);
    site.workers.remove(&9);
    answer
}

#[test]
fn a_worker_without_an_id_gets_the_fresh_one() {
    let mut site = Site::new();
    site.workers.insert(1, Worker::new(1, 100));
    assert_eq!(site.register(1, None), Answer::Registered(node(1)));
    assert_eq!(site.liveness(1), Liveness::Reconnecting);
}

#[test]
fn a_worker_keeps_the_id_on_its_disk() {
    let mut site = Site::of(&[100]);
    assert_eq!(site.register(1, Some(node(1))), Answer::Registered(node(1)));
    let unknown = Some(node(44));
    site.workers.insert(2, Worker::new(2, 100));
    assert_eq!(site.register(2, unknown), Answer::Registered(node(44)));
}

#[test]
fn the_name_of_a_worker_that_is_there_is_in_use() {
    let mut site = Site::of(&[100]);
    let in_use = Answer::NodeNameInUse(name("w1"));
    assert_eq!(stranger(&mut site, None), in_use);
    assert_eq!(stranger(&mut site, Some(node(44))), in_use);
}

#[test]
fn the_name_of_an_absent_worker_brings_its_id_to_an_emptied_disk() {
    let mut site = Site::of(&[100]);
    site.cut(1);
    assert_eq!(stranger(&mut site, None), Answer::Registered(node(1)));
}

#[test]
fn a_worker_may_change_its_name_and_keeps_what_an_operator_set() {
    let mut site = Site::of(&[100]);
    site.schedule_on(1, Scheduling::Cordoned);
    site.workers.get_mut(&1).unwrap().facts.name = name("renamed");
    assert_eq!(site.register(1, Some(node(1))), Answer::Registered(node(1)));
    let view = site.state.node("renamed").unwrap();
    assert_eq!((view.id, view.scheduling), (node(1), Scheduling::Cordoned));
    assert!(site.state.node("w1").is_none());
}

#[test]
fn what_an_unknown_worker_says_changes_nothing() {
    let mut site = Site::of(&[100]);
    let stray = Worker::new(9, 100);
    let before = site.state.snapshot();
    site.turn([
        Input::Connected {
            node: stray.id,
            session: 1,
        },
        stray.beat(),
        Input::Closed {
            node: stray.id,
            session: 1,
            silent: false,
            leaving: None,
        },
    ]);
    assert_eq!(site.state.snapshot(), before);
}

#[test]
fn a_cordoned_worker_keeps_what_it_has_and_gets_nothing_new() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("old", 10, 1));
    site.schedule_on(1, Scheduling::Cordoned);
    site.run(&Document::new("new", 10, 1));
    assert_eq!(site.rows("old"), ["0 Holder RUNNING w1 1.1"]);
    assert_eq!(site.rows("new"), ["0 Holder NOT_DEPLOYED cordoned - 1.0"]);
    site.schedule_on(1, Scheduling::Open);
    site.deliver();
    assert_eq!(site.rows("new"), ["0 Holder RUNNING w1 1.1"]);
}
