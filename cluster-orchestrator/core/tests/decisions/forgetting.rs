//! Workers that are given up, and that come back all the same.

use cluster_core::{Answer, Input, Write};
use model::access::TenantPath;
use model::job::JobState;
use model::node::{Liveness, Scheduling};

use crate::support::{Document, Site, name};

fn forget(site: &mut Site, key: &str) -> Answer {
    let key = key.to_owned();
    site.ask(|request| Input::Forget { request, key })
}

/// A job of two on `w1` and `w2`, with `w3` free beside them.
fn three_workers() -> Site {
    let mut site = Site::of(&[100, 100, 0]);
    site.run(&Document::new("web", 60, 2));
    assert_eq!((site.runs(1), site.runs(2)), (1, 1));
    site.join(4, 100);
    site
}

#[test]
fn who_is_heard_or_expected_is_not_forgotten() {
    let mut site = Site::of(&[100]);
    let there = |liveness| Answer::NodeIsThere(name("w1"), liveness);
    assert_eq!(forget(&mut site, "w1"), there(Liveness::Alive));
    // Nobody tells that the connection is gone: it is suspect, and still connected.
    site.workers.get_mut(&1).unwrap().up = false;
    site.pass(40);
    assert_eq!(forget(&mut site, "w1"), there(site.liveness(1)));
    site.restart();
    assert_eq!(forget(&mut site, "w1"), there(Liveness::Reconnecting));
    assert_eq!(
        forget(&mut site, "nobody"),
        Answer::NoSuchNode("nobody".to_owned())
    );
}

#[test]
fn what_a_forgotten_worker_had_is_placed_elsewhere_at_once_and_nothing_of_it_is_left() {
    let mut site = three_workers();
    let id = site.workers[&1].id;
    site.cut(1);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    assert_eq!(forget(&mut site, "w1"), Answer::Forgotten(id));
    site.deliver();
    assert_eq!(site.count("web", "RUNNING"), 2);
    assert_eq!((site.runs(2), site.runs(4)), (1, 1));
    assert_eq!(site.rows("web").len(), 2, "no copy of it is remembered");
    assert!(site.state.node("w1").is_none());
    let of_it = |write: &Write| match write {
        Write::Node { node, .. } | Write::Revision { node, .. } => *node == id,
        _ => false,
    };
    assert!(!site.state.snapshot().iter().any(of_it));
    let events = site.state.history().after(&TenantPath::root(), None);
    let told: Vec<_> = events
        .filter(|event| event.cause == "worker_forgotten")
        .map(|event| event.message.clone())
        .collect();
    assert_eq!(told, ["worker w1 was forgotten"]);
    site.restart();
    site.pass(30);
    assert_eq!(site.count("web", "RUNNING"), 2);
    assert_eq!(forget(&mut site, "w1"), Answer::NoSuchNode("w1".to_owned()));
}

#[test]
fn a_forgotten_worker_that_returns_is_a_new_one_and_stops_what_it_still_runs() {
    for restart in [false, true] {
        let mut site = three_workers();
        let id = site.workers[&1].id;
        // Its set has had more revisions than a new one's.
        for round in 0..5 {
            let extra = Document {
                worker: Some("w1".to_owned()),
                ..Document::new(&format!("extra-{round}"), 5, 1)
            };
            site.run(&extra);
            site.delete(&format!("extra-{round}"));
            site.deliver();
        }
        site.schedule_on(1, Scheduling::Cordoned);
        site.cut(1);
        forget(&mut site, "w1");
        site.deliver();
        assert_eq!(site.runs(1), 1, "it does not know yet");
        if restart {
            site.restart();
            site.pass(30);
        }
        let before = site.job("web");
        assert_eq!(site.register(1, Some(id)), Answer::Registered(id));
        site.back(1);
        site.pass(5);
        assert_eq!(site.liveness(1), Liveness::Alive);
        assert_eq!(site.runs(1), 0, "what it still ran");
        let node = site.state.node("w1").unwrap();
        assert_eq!(node.scheduling, Scheduling::Open);
        assert_eq!(node.room.memory.mb(), 100);
        let instances = |view: &model::view::JobView| {
            let rows = view.instances.iter();
            rows.map(|row| row.instance).collect::<Vec<_>>()
        };
        let after = site.job("web");
        assert_eq!(instances(&after), instances(&before), "nothing moves back");
        assert_eq!(after.state, JobState::Running);
        site.run(&Document {
            worker: Some("w1".to_owned()),
            ..Document::new("fresh", 80, 1)
        });
        assert_eq!(site.rows("fresh"), ["0 Holder RUNNING w1 1.1"]);
    }
}

#[test]
fn with_nowhere_to_go_what_a_forgotten_worker_had_waits_until_it_returns() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    let id = site.workers[&1].id;
    let first = site.job("web").instances[0].instance;
    site.cut(1);
    forget(&mut site, "w1");
    assert_eq!(site.rows("web"), ["0 Holder NOT_DEPLOYED no_worker - 1.1"]);
    site.register(1, Some(id));
    site.back(1);
    site.pass(5);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.2"]);
    assert_ne!(site.job("web").instances[0].instance, first);
    assert_eq!(site.runs(1), 1);
}

#[test]
fn a_deleted_job_ends_with_the_worker_that_could_not_confirm_it() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    site.cut(1);
    let key = site.job("web").job.id.to_string();
    site.delete("web");
    assert_eq!(site.job(&key).unconfirmed, 1);
    forget(&mut site, "w1");
    let view = site.job(&key);
    assert_eq!((view.state, view.unconfirmed), (JobState::Terminated, 0));
}
