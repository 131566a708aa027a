//! Workers that are not trusted: they may report, and get nothing.

use cluster_core::Input;
use model::book::Asked;
use model::id::NodeId;
use model::node::{Leaving, Scheduling};
use model::operation::Progress;

use crate::support::{Document, Site, progress};

/// A job on `w1` and `w2`, of which `w1` is in quarantine.
fn quarantined(memories: &[u64]) -> Site {
    let mut site = Site::of(memories);
    site.run(&Document::new("web", 10, 2));
    assert_eq!((site.runs(1), site.runs(2)), (1, 1));
    site.schedule_on(1, Scheduling::Quarantined);
    site
}

#[test]
fn its_copies_are_replaced_elsewhere_and_it_gets_none() {
    let mut site = quarantined(&[100, 100]);
    site.pass(3);
    assert_eq!((site.runs(1), site.runs(2)), (0, 2));
    assert_eq!(site.count("web", "RUNNING"), 2);
    site.run(&Document::new("more", 10, 3));
    assert_eq!(site.runs(1), 0);
    site.run(&Document {
        worker: Some("w1".to_owned()),
        ..Document::new("pinned", 10, 1)
    });
    let rows = ["0 Holder NOT_DEPLOYED cordoned - 1.0"];
    assert_eq!(site.rows("pinned"), rows);
    let id = site.job("pinned").job.id;
    let told = site.state.explain(site.now, id);
    assert!(
        told[0].message.contains("cordoned"),
        "{:?}",
        told[0].message
    );
}

#[test]
fn it_stays_there_through_restarts_and_goodbyes_until_it_is_lifted() {
    let mut site = quarantined(&[100, 100]);
    site.pass(3);
    let scheduling = |site: &Site| site.state.node("w1").unwrap().scheduling;
    site.restart();
    assert_eq!(scheduling(&site), Scheduling::Quarantined);
    let saved = Some(site.workers[&1].id);
    site.register(1, saved);
    site.close(1, Some(Leaving::Gone));
    assert_eq!(scheduling(&site), Scheduling::Quarantined);
    site.register(1, saved);
    site.back(1);
    site.pass(30);
    site.run(&Document::new("more", 10, 2));
    assert_eq!(site.runs(1), 0);
    site.schedule_on(1, Scheduling::Open);
    site.run(&Document::new("again", 10, 2));
    assert!(site.runs(1) > 0);
}

#[test]
fn what_has_no_room_elsewhere_stays_and_is_not_changed_there() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 60, 1));
    site.schedule_on(1, Scheduling::Quarantined);
    site.pass(5);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site.put(&Document {
        version: 2,
        ..Document::new("web", 60, 1)
    });
    site.pass(5);
    let rows = site.rows("web");
    assert!(rows.iter().all(|row| row.contains(" 1.1")), "{rows:?}");
    assert_ne!(progress(&site, "web"), Progress::Done);
    // What nobody wants ends there.
    site.delete("web");
    site.pass(5);
    assert_eq!(site.runs(1), 0);
}

#[test]
fn what_it_says_of_itself_is_no_capacity_of_the_cluster() {
    let mut site = Site::of(&[100, 50]);
    let all = site.state.aggregate();
    site.schedule_on(1, Scheduling::Quarantined);
    let rest = site.state.aggregate();
    assert_eq!((all.schedulable_nodes, rest.schedulable_nodes), (2, 1));
    let left = all.allocatable.minus(rest.allocatable);
    assert_eq!(left, crate::support::megabytes(100));
}

#[test]
fn the_set_of_another_store_is_not_taken_over_from_it() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 1));
    assert_eq!(site.runs(1), 1);
    // The store is emptied, and somebody is faster than the worker.
    for worker in site.workers.values_mut() {
        worker.up = false;
    }
    site.empty_store();
    site.schedule_on(1, Scheduling::Quarantined);
    site.back(1);
    site.back(2);
    site.pass(60);
    assert!(site.state.job(site.now, &Asked::default(), "web").is_none());
    assert_eq!(site.runs(1), 0, "what it has no right to run ends");
}

#[test]
fn two_machines_with_its_identity_are_told_of() {
    let mut site = Site::of(&[100]);
    let cloned_at = |site: &Site| site.state.node("w1").unwrap().cloned_at;
    assert_eq!(cloned_at(&site), None);
    site.turn([Input::Cloned(NodeId::from_bits(1))]);
    assert_eq!(cloned_at(&site), Some(site.now.wall));
    site.turn([Input::Cloned(NodeId::from_bits(77))]);
    let unknown = NodeId::from_bits(77).to_string();
    assert_eq!(site.state.node(&unknown), None, "nobody is made of it");
}
