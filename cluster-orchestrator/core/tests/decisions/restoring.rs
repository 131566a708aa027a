//! A store that was restored from a backup, and one that was put back by hand.

use cluster_core::Input;
use model::book::JobAnswer;

use crate::support::{Document, Site};

/// The instances that all workers run, by job.
fn running(site: &Site) -> Vec<String> {
    let workers = site.workers.values();
    let mut all: Vec<String> = workers
        .flat_map(|worker| worker.observer.states().keys())
        .map(ToString::to_string)
        .collect();
    all.sort();
    all
}

#[test]
fn an_older_copy_of_the_store_is_fenced_by_what_its_workers_know() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 2));
    let copy = site.copy_of_store();
    site.restart();
    site.pass(30);
    site.run(&Document::new("later", 10, 1));
    site.delete("web");
    site.deliver();
    let before = running(&site);

    site.put_back(&copy);
    assert!(site.state.is_fenced());
    site.deliver();
    site.pass(120);
    assert_eq!(running(&site), before);
    assert_eq!(site.delete("web"), JobAnswer::Fenced);
    assert_eq!(
        site.submit(&[Document::new("new", 1, 1)]),
        JobAnswer::Fenced
    );
    let answer = site.register(2, Some(site.workers[&2].id));
    assert_eq!(answer, cluster_core::Answer::Job(JobAnswer::Fenced));
    // It stays so, whoever is heard.
    site.cut(1);
    site.cut(2);
    site.restart();
    assert!(site.state.is_fenced());
    assert_eq!(running(&site), before);
}

#[test]
fn what_was_fenced_takes_over_what_its_workers_run_once_it_is_restored() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 2));
    let copy = site.copy_of_store();
    site.restart();
    site.pass(30);
    site.run(&Document::new("later", 10, 1));
    site.put_back(&copy);
    let before = running(&site);
    assert_eq!(before.len(), 3);

    let fenced = site.copy_of_store();
    site.restore(&fenced);
    assert!(!site.state.is_fenced());
    site.deliver();
    site.pass(60);
    assert_eq!(running(&site), before);
    assert_eq!(site.count("web", "RUNNING"), 2);
    assert_eq!(site.count("later", "RUNNING"), 1);
    site.run(&Document::new("new", 10, 1));
    assert_eq!(site.count("new", "RUNNING"), 1);
}

#[test]
fn a_restored_store_learns_what_was_decided_after_the_backup() {
    let mut site = Site::of(&[200, 200]);
    site.run(&Document::new("scaled", 10, 1));
    site.run(&Document::new("changed", 10, 2));
    site.run(&Document::new("deleted", 10, 1));
    site.run(&Document::new("same", 10, 1));
    let copy = site.copy_of_store();
    site.restart();
    site.pass(30);
    site.put(&Document::new("scaled", 10, 3));
    site.put(&Document::new("changed", 20, 2));
    site.delete("deleted");
    site.run(&Document::new("added", 10, 2));
    site.pass(30);
    let before = running(&site);
    assert_eq!(before.len(), 8);

    site.restore(&copy);
    site.deliver();
    site.pass(60);
    let after = running(&site);
    let stopped: Vec<&String> = before.iter().filter(|id| !after.contains(id)).collect();
    assert_eq!(stopped, [] as [&String; 0]);
    // The deleted one is there again: nobody who was asked knew of its end.
    assert_eq!(after.len(), before.len() + 1);
    for (job, replicas) in [("scaled", 3), ("changed", 2), ("added", 2), ("same", 1)] {
        assert_eq!(site.count(job, "RUNNING"), replicas, "{job}");
        assert_eq!(site.job(job).job.slots().count(), replicas, "{job}");
    }
    // Requests go on from there.
    site.put(&Document::new("changed", 30, 2));
    site.pass(30);
    assert_eq!(site.count("changed", "RUNNING"), 2);
    site.delete("deleted");
    site.pass(30);
    assert_eq!(running(&site).len(), 8);
}

#[test]
fn a_number_of_replicas_that_was_changed_survives_an_emptied_store() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 1));
    site.put(&Document::new("web", 10, 4));
    site.pass(5);
    let before = running(&site);
    assert_eq!(before.len(), 4);
    site.empty_store();
    site.deliver();
    site.pass(60);
    assert_eq!(running(&site), before);
    assert_eq!(site.job("web").job.slots().count(), 4);
}

#[test]
fn a_restored_store_keeps_what_the_root_assigned_after_the_backup_until_the_root_has_answered() {
    let (old, new) = (Document::new("old", 10, 1), Document::new("new", 10, 2));
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.root.assign(&old, 0, 1);
    site.sync_root();
    site.pass(20);
    let copy = site.copy_of_store();
    site.restart();
    site.meet_root();
    site.sync_root();
    site.pass(20);
    site.root.take_back(&old, 0);
    site.root.assign(&new, 0, 2);
    site.sync_root();
    site.pass(20);
    let before = running(&site);
    assert_eq!(before.len(), 1);

    // The root is away: what it took back does not start, what it assigned goes on.
    site.restore(&copy);
    site.deliver();
    site.pass(300);
    assert_eq!(running(&site), before);
    site.meet_root();
    site.sync_root();
    site.pass(60);
    assert_eq!(running(&site), before);
    site.root.take_back(&new, 0);
    site.sync_root();
    site.pass(30);
    assert_eq!(running(&site), [] as [String; 0]);
}

#[test]
fn a_restored_store_that_has_what_the_root_wants_hears_so_and_goes_on() {
    let old = Document::new("old", 10, 1);
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.root.assign(&old, 0, 1);
    site.sync_root();
    site.pass(20);
    let (copy, before) = (site.copy_of_store(), running(&site));
    site.restore(&copy);
    site.meet_root();
    site.sync_root();
    site.pass(60);
    assert_eq!(running(&site), before);
    // Its copy is lost: now that the root has answered, it may be placed anew.
    site.join(2, 100);
    site.cut(1);
    site.pass(60);
    assert_eq!(site.runs(2), 1);
}

#[test]
fn the_root_may_say_that_this_store_is_an_older_copy() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    site.turn([Input::RootKnowsLater]);
    assert!(site.state.is_fenced());
    assert_eq!(site.delete("web"), JobAnswer::Fenced);
}

#[test]
fn what_awaits_the_roots_answer_is_not_woken_by_room() {
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.sync_root();
    let document = Document::new("web", 10, 1);
    site.root.assign(&document, 0, 1);
    site.sync_root();
    let copy = site.copy_of_store();
    site.restore(&copy);
    site.cut(1);
    site.pass(120);
    let record = site.slots().into_values().next().unwrap();
    assert_eq!(record.copies.len(), 1, "its worker is lost");
    site.join(2, 100);
    site.pass(3);
    assert_eq!(site.runs(2), 0);
    site.meet_root();
    site.sync_root();
    site.pass(3);
    assert_eq!(site.runs(2), 1);
}
