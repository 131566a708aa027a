//! Workers whose engines stop and say so.

use model::node::{Leaving, Liveness, Scheduling};

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

fn scheduling(site: &Site, number: u32) -> Scheduling {
    let view = site.state.node(&format!("w{number}"));
    view.unwrap().scheduling
}

#[test]
fn a_worker_that_restarts_has_a_minute_whatever_a_job_says() {
    for lost_after in [None, Some(2), Some(30)] {
        let mut site = two_workers(lost_after);
        site.close(1, Some(Leaving::Restart));
        assert_eq!(site.liveness(1), Liveness::Suspect);
        site.pass(59);
        assert_eq!(
            site.rows("web"),
            ["0 Holder RUNNING w1 1.1"],
            "{lost_after:?}"
        );
        site.pass(1);
        assert_eq!(site.liveness(1), Liveness::Lost);
        let replaced = ["0 Dangling UNKNOWN w1 1.1", "0 Holder RUNNING w2 1.2"];
        assert_eq!(site.rows("web"), replaced, "{lost_after:?}");
    }
}

#[test]
fn a_job_that_waits_for_longer_still_does() {
    let mut site = two_workers(Some(120));
    site.close(1, Some(Leaving::Restart));
    site.pass(119);
    assert_eq!(site.rows("web").len(), 1);
    site.pass(1);
    assert_eq!(site.rows("web").len(), 2);
}

#[test]
fn what_it_said_holds_until_it_is_heard_again() {
    let mut site = two_workers(None);
    site.close(1, Some(Leaving::Restart));
    site.pass(30);
    site.back(1);
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    assert_eq!(scheduling(&site, 1), Scheduling::Open);
    // Now it is cut off like any other.
    site.cut(1);
    site.pass(10);
    assert_eq!(site.liveness(1), Liveness::Lost);
    assert_eq!(site.rows("web").len(), 2);
}

#[test]
fn a_worker_that_is_gone_is_replaced_at_once_and_gets_no_work_when_it_comes_back() {
    let mut site = two_workers(Some(600));
    site.close(1, Some(Leaving::Gone));
    site.deliver();
    assert_eq!(site.liveness(1), Liveness::Lost);
    let replaced = ["0 Dangling UNKNOWN w1 1.1", "0 Holder RUNNING w2 1.2"];
    assert_eq!(site.rows("web"), replaced);
    assert_eq!(scheduling(&site, 1), Scheduling::Cordoned);
    site.back(1);
    site.deliver();
    assert_eq!(scheduling(&site, 1), Scheduling::Cordoned);
    assert_eq!(site.rows("web").len(), 1, "one of the two stays");
    site.run(&Document::new("next", 10, 2));
    let rows = site.rows("next");
    assert!(rows.iter().all(|row| row.contains(" w2 ")), "{rows:?}");
}

#[test]
fn the_word_of_a_displaced_connection_says_nothing() {
    let mut site = two_workers(None);
    site.back(1);
    let worker = &site.workers[&1];
    let (node, session) = (worker.id, worker.session - 1);
    site.turn([cluster_core::Input::Closed {
        node,
        session,
        silent: false,
        leaving: Some(Leaving::Gone),
    }]);
    site.deliver();
    assert_eq!(scheduling(&site, 1), Scheduling::Open);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
}
