//! Workers that cannot be heard, and that come back.

use cluster_core::Input;
use model::book::JobAnswer;
use model::id::JobId;
use model::job::JobState;
use model::node::Liveness;
use model::slot::Role;

use crate::support::{Document, Site};

/// A job on `w1`, with `w2` free beside it.
fn two_workers(lost_after: Option<u64>) -> Site {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document {
        lost_after,
        ..Document::new("web", 10, 1)
    });
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site
}

#[test]
fn a_closed_connection_is_suspect_at_once_and_lost_after_ten_seconds() {
    let mut site = two_workers(None);
    site.cut(1);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    site.pass(9);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site.pass(1);
    assert_eq!(site.liveness(1), Liveness::Lost);
}

#[test]
fn one_that_was_heard_since_it_came_or_we_did_is_not_spared_any_more() {
    let mut site = Site::of(&[]);
    site.join(1, 100);
    site.pass(1);
    site.cut(1);
    site.pass(10);
    assert_eq!(site.liveness(1), Liveness::Lost, "it has just joined");
    let mut site = two_workers(None);
    site.restart();
    site.pass(1);
    site.cut(1);
    site.pass(10);
    assert_eq!(site.liveness(1), Liveness::Lost, "we have just started");
    let mut site = two_workers(None);
    site.cut(1);
    site.restart();
    site.pass(10);
    assert_ne!(site.liveness(1), Liveness::Lost, "we have not heard it");
}

#[test]
fn what_was_on_a_lost_worker_is_replaced_exactly_once() {
    let mut site = two_workers(None);
    site.cut(1);
    site.pass(10);
    let replaced = ["0 Dangling UNKNOWN w1 1.1", "0 Holder RUNNING w2 1.2"];
    assert_eq!(site.rows("web"), replaced);
    site.pass(120);
    assert_eq!(site.rows("web"), replaced);
    assert_eq!(site.job("web").state, JobState::Running);
    assert_eq!(site.memory_left(1), 90, "it may still run there");
}

/// A broker that is not ours starts again, and takes its time.
#[test]
fn nobody_is_lost_for_the_silence_of_a_broker() {
    let mut site = two_workers(None);
    site.turn([Input::Broker { reachable: false }]);
    site.cut(1);
    site.cut(2);
    site.pass(300);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    // It is back, and so is one of the two; the other one has its time from now on.
    site.turn([Input::Broker { reachable: true }]);
    site.back(2);
    site.deliver();
    site.pass(9);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site.pass(20);
    assert_eq!(site.liveness(1), Liveness::Lost);
    let replaced = ["0 Dangling UNKNOWN w1 1.1", "0 Holder RUNNING w2 1.2"];
    assert_eq!(site.rows("web"), replaced);
}

#[test]
fn when_a_lost_worker_returns_the_original_stays_and_the_replacement_stops() {
    let mut site = two_workers(None);
    let original = site.job("web").instances[0].instance;
    site.cut(1);
    site.pass(10);
    site.back(1);
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.3"]);
    assert_eq!(site.job("web").instances[0].instance, original);
    assert_eq!((site.runs(1), site.runs(2)), (1, 0));
    assert_eq!(site.memory_left(2), 100);
}

#[test]
fn an_original_that_does_not_run_gives_way_to_its_replacement() {
    let mut site = two_workers(None);
    site.cut(1);
    site.pass(10);
    let worker = site.workers.get_mut(&1).unwrap();
    worker.never_starts = true;
    worker.reboot();
    site.register(1, Some(site.workers[&1].id));
    site.back(1);
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.3"]);
    assert_eq!((site.runs(1), site.runs(2)), (0, 1));
}

#[test]
fn nothing_is_decided_between_two_copies_before_all_is_heard() {
    let mut site = two_workers(None);
    site.cut(1);
    site.pass(10);
    site.back(1);
    // Connected, but its report has not come: both stay.
    let roles: Vec<Role> = site
        .job("web")
        .instances
        .iter()
        .map(|row| row.role)
        .collect();
    assert_eq!(roles.len(), 2);
    assert!(!roles.contains(&Role::Leaving));
}

#[test]
fn a_job_may_say_itself_how_long_it_waits_for_a_worker() {
    let mut site = two_workers(Some(60));
    site.run(&Document {
        worker: Some("w1".to_owned()),
        ..Document::new("other", 10, 1)
    });
    site.cut(1);
    site.pass(30);
    assert_eq!(site.liveness(1), Liveness::Lost);
    assert_eq!(site.rows("web").len(), 1, "its own option");
    assert_eq!(site.rows("other").len(), 2, "the cluster's");
    site.pass(30);
    assert_eq!(site.count("web", "RUNNING"), 1);
    assert_eq!(site.rows("web").len(), 2);
}

#[test]
fn silence_alone_makes_a_worker_suspect_after_two_and_a_half_reports() {
    let mut site = two_workers(None);
    // Nobody tells that the connection is gone.
    site.workers.get_mut(&1).unwrap().up = false;
    site.pass(37);
    assert_eq!(site.liveness(1), Liveness::Alive);
    site.pass(1);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    // Long after `lost_after`, it is lost after one and a half keep-alives more.
    site.pass(7);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    assert_eq!(site.rows("web").len(), 1);
    site.pass(1);
    assert_eq!(site.liveness(1), Liveness::Lost);
    assert_eq!(site.rows("web").len(), 2, "and so its work is replaced");
}

/// Three messages in a row are lost now and then, and the fourth says that all is well.
#[test]
fn a_worker_that_is_heard_while_it_is_suspect_keeps_everything() {
    let mut site = two_workers(None);
    let before = site.slots();
    site.workers.get_mut(&1).unwrap().up = false;
    site.pass(42);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    site.workers.get_mut(&1).unwrap().up = true;
    site.pass(16);
    assert_eq!(site.liveness(1), Liveness::Alive);
    site.pass(60);
    assert_eq!(site.slots(), before);
}

#[test]
fn a_gap_between_our_own_turns_spares_everybody() {
    let mut site = two_workers(None);
    site.cut(1);
    site.pass(2);
    site.jump(100);
    site.turn([]);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    site.pass(16);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site.pass(2);
    assert_eq!(site.rows("web").len(), 2, "after one grace");
}

#[test]
fn a_worker_that_is_back_in_time_keeps_everything() {
    let mut site = two_workers(None);
    let before = site.slots();
    site.cut(1);
    site.pass(9);
    site.back(1);
    site.deliver();
    site.pass(60);
    assert_eq!(site.slots(), before);
    assert_eq!(site.liveness(1), Liveness::Alive);
}

#[test]
fn the_end_of_a_displaced_connection_says_nothing_about_the_present_one() {
    let mut site = two_workers(None);
    let (node, old) = (site.workers[&1].id, site.workers[&1].session);
    site.back(1);
    site.deliver();
    site.turn([Input::Closed {
        node,
        session: old,
        silent: true,
        leaving: None,
    }]);
    assert_eq!(site.liveness(1), Liveness::Alive);
}

#[test]
fn a_job_deleted_while_its_worker_is_lost_is_confirmed_when_it_returns() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    site.cut(1);
    site.pass(20);
    let key = JobId::from_bits(1).to_string();
    assert_eq!(site.delete("web"), JobAnswer::Deleting(JobId::from_bits(1)));
    site.pass(60);
    let view = site.job(&key);
    assert_eq!(view.unconfirmed, 1);
    assert_ne!(view.state, JobState::Terminated);
    site.back(1);
    site.deliver();
    let view = site.job(&key);
    assert_eq!((view.state, view.unconfirmed), (JobState::Terminated, 0));
    assert_eq!(site.runs(1), 0);
}

#[test]
fn with_nowhere_to_go_the_slot_waits_and_says_why() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    site.cut(1);
    site.pass(20);
    assert_eq!(
        site.rows("web"),
        [
            "0 Dangling UNKNOWN w1 1.1",
            "0 Holder NOT_DEPLOYED unreachable - 1.1"
        ]
    );
    site.back(1);
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
}
