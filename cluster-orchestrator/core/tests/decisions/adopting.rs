//! Another incarnation of the store, and a run that is superseded.

use cluster_core::Input;
use model::book::Asked;
use model::book::JobAnswer;
use model::node::Liveness;

use crate::support::{Document, Site};

#[test]
fn after_an_emptied_store_nothing_is_stopped_and_the_jobs_are_back() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 3));
    let before: Vec<usize> = vec![site.runs(1), site.runs(2)];
    site.empty_store();
    assert!(site.state.job(site.now, &Asked::default(), "web").is_none());
    site.deliver();
    site.pass(60);
    assert_eq!(vec![site.runs(1), site.runs(2)], before);
    assert_eq!(site.count("web", "RUNNING"), 3);
    let instances = site.job("web").instances;
    assert_eq!(instances.len(), 3, "none was placed again");
}

#[test]
fn what_the_root_owns_is_provisional_until_the_root_has_answered() {
    let web = Document::new("web", 10, 1);
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.root.assign(&web, 0, 1);
    site.sync_root();
    site.pass(20);
    assert_eq!(site.runs(1), 1);
    site.empty_store();
    site.deliver();
    site.pass(60);
    let records: Vec<bool> = site
        .slots()
        .values()
        .map(|record| record.provisional)
        .collect();
    assert_eq!(records, [true]);
    assert_eq!(site.runs(1), 1);

    site.meet_root();
    site.sync_root();
    site.pass(30);
    let records: Vec<bool> = site
        .slots()
        .values()
        .map(|record| record.provisional)
        .collect();
    assert_eq!(records, [false]);
    assert_eq!(site.runs(1), 1);
    assert_eq!(site.root.heard(&web, 0).unwrap().copies.len(), 1);
}

#[test]
fn what_the_root_no_longer_wants_ends_once_it_has_answered() {
    let (web, other) = (Document::new("web", 10, 1), Document::new("web", 10, 2));
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.root.assign(&web, 0, 1);
    site.root.assign(&other, 1, 1);
    site.sync_root();
    site.pass(20);
    assert_eq!(site.runs(1), 2);
    site.empty_store();
    site.deliver();
    site.root.take_back(&other, 1);
    site.meet_root();
    site.sync_root();
    site.pass(30);
    assert_eq!(site.runs(1), 1);
}

#[test]
fn a_superseded_run_changes_nothing_any_more() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 1));
    let mut held = site.workers[&1].held.held();
    held.superseded = true;
    held.term += 1;
    held.nonce += 1;
    let Input::Held { node, beat, .. } = site.workers[&1].beat() else {
        panic!("a beat is an acknowledgement");
    };
    site.turn([Input::Held {
        node,
        held,
        beat,
        usage: None,
    }]);
    assert!(site.state.is_fenced());
    assert_eq!(
        site.submit(&[Document::new("new", 1, 1)]),
        JobAnswer::Fenced
    );
    assert_eq!(site.delete("web"), JobAnswer::Fenced);
    assert_eq!(site.put(&Document::new("web", 10, 2)), JobAnswer::Fenced);
    site.cut(1);
    site.jump(4);
    site.turn([]);
    assert!(site.last.is_empty(), "{:?}", site.last);
    assert_eq!(site.liveness(1), Liveness::Suspect);
}
