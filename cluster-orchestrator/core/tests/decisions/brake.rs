//! Most workers vanish at once, and workers that come and go.

use cluster_core::{Answer, Input};
use model::node::Liveness;

use crate::support::{Document, Site};

/// Ten workers with one copy each, and room for another one.
fn ten() -> Site {
    let mut site = Site::of(&[100; 10]);
    site.run(&Document::new("web", 40, 10));
    assert_eq!(site.count("web", "RUNNING"), 10);
    site
}

fn replaced(site: &Site) -> usize {
    let rows = site.rows("web");
    let survivors = |row: &&String| row.contains("Holder RUNNING") && row.ends_with("1.2");
    rows.iter().filter(survivors).count()
}

#[test]
fn when_most_workers_vanish_replacement_pauses_for_a_grace_and_goes_on_one_a_second() {
    let mut site = ten();
    for number in 1..=6 {
        site.cut(number);
    }
    site.pass(15);
    assert_eq!(replaced(&site), 0, "lost for 5 s, and held back");
    let (engaged, waiting) = site.state.brake().unwrap();
    assert_eq!((engaged.vanished, engaged.of, waiting), (6, 10, 6));
    let view = site.job("web");
    let held = view.instances.iter().filter(|row| {
        let reason = row.reason.as_ref();
        reason.is_some_and(|reason| {
            reason.code.as_str() == "brake" && reason.message.contains("DELETE /api/v1/brake")
        })
    });
    assert_eq!(held.count(), 6);
    site.pass(3);
    let begun = replaced(&site);
    assert!((1..=2).contains(&begun), "{begun}");
    site.pass(2);
    assert_eq!(replaced(&site), begun + 2, "one a second");
    site.pass(10);
    assert_eq!(replaced(&site), 4, "there is no room for more");
    assert!(site.state.brake().is_none());
}

#[test]
fn an_operator_releases_the_brake() {
    let mut site = ten();
    for number in 1..=6 {
        site.cut(number);
    }
    site.pass(11);
    assert_eq!(replaced(&site), 0);
    let answer = site.ask(|request| Input::ReleaseBrake { request });
    assert_eq!(answer, Answer::Released(true));
    site.deliver();
    assert_eq!(replaced(&site), 4);
    let answer = site.ask(|request| Input::ReleaseBrake { request });
    assert!(matches!(answer, Answer::Released(_)));
}

#[test]
fn half_of_the_workers_is_no_storm_and_what_is_new_never_waits() {
    let mut site = ten();
    for number in 1..=5 {
        site.cut(number);
    }
    site.pass(10);
    assert_eq!(replaced(&site), 5);
    let mut site = ten();
    for number in 1..=6 {
        site.cut(number);
    }
    site.run(&Document::new("new", 10, 1));
    assert_eq!(site.count("new", "RUNNING"), 1);
}

#[test]
fn whoever_returns_within_the_grace_keeps_everything() {
    let mut site = ten();
    let before = site.rows("web");
    for number in 1..=9 {
        site.cut(number);
    }
    site.pass(14);
    for number in 1..=9 {
        site.back(number);
    }
    site.pass(5);
    assert_eq!(site.rows("web"), before, "not one copy was replaced");
    site.pass(20);
    assert!(site.state.brake().is_none());
}

#[test]
fn a_worker_that_was_lost_and_returned_gets_twice_the_time() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 1));
    for time in [10, 20, 40] {
        site.cut(1);
        site.pass(time - 1);
        assert_eq!(site.liveness(1), Liveness::Suspect, "{time} s");
        site.pass(2);
        assert_eq!(site.liveness(1), Liveness::Lost, "{time} s");
        site.back(1);
        site.pass(3);
    }
    site.pass(3_700);
    site.cut(1);
    site.pass(11);
    assert_eq!(
        site.liveness(1),
        Liveness::Lost,
        "an hour later all is forgotten"
    );
}
