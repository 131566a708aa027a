//! Row 14: MQTT messages overtake each other.

use std::time::Duration;

use edgeio_tests::harness::wait_until;
use edgeio_tests::proxy::{Fate, Rules, Way};
use edgeio_tests::simulation::Rng;

use crate::documents::sleeper;
use crate::messages::{Churn, Post};
use crate::stage::{LIMIT, delete, judge, seed, submit};

#[test]
fn row_14_messages_overtake_each_other() {
    let post = Post::open();
    let recorder = post.record();
    let mut rng = Rng::new(seed());
    let rules = |number| {
        let percent = *[20, 50].get(number).unwrap_or(&90);
        let most = Duration::from_millis(rng.between(100, 1_500));
        let fate = Fate::Late(Duration::ZERO, most);
        recorder.control("messages overtake each other");
        eprintln!("{percent} % of the messages are up to {most:?} late");
        Rules::both(&Way::default().fate("#", percent, fate))
    };
    let all = post.churn(&recorder, LIMIT * 2, rules, |counts| {
        counts.up.late > 20 && counts.down.late > 10
    });
    let wanted: Vec<_> = all.iter().flat_map(Churn::wanted).collect();
    judge("row_14", &post.system, recorder, &wanted, |_| {});
}

/// The end of a job overtakes its beginning: nothing of it may run when both have come.
#[test]
fn row_14_the_end_overtakes_the_beginning() {
    let post = Post::open();
    let recorder = post.record();
    submit(&recorder, "root", "other", &sleeper("other", ""));
    let late = Duration::from_millis(1_500);
    for round in 0..5 {
        let name = format!("brief-{round}");
        recorder.control("what the cluster says first comes last");
        let way = Way::default().fate("nodes/+/control", 100, Fate::Late(late, late));
        post.proxy.set(Rules {
            down: way,
            ..Rules::default()
        });
        let before = post.proxy.counts().down.late;
        submit(&recorder, "root", &name, &sleeper(&name, ""));
        wait_until("its beginning is on the way", LIMIT, || {
            let counts = post.proxy.counts();
            (counts.down.late > before)
                .then_some(())
                .ok_or_else(|| format!("{counts:?}"))
        });
        post.proxy.set(Rules::default());
        delete(&recorder, "root", &name);
        wait_until("its end was said", LIMIT, || {
            let rows = post.system.root().list("/api/v1/jobs")?;
            let row = rows.iter().find(|row| row["job_name"] == name.as_str());
            row.is_none_or(|row| row["terminating"] == true || row["state"] == "TERMINATED")
                .then_some(())
                .ok_or_else(|| format!("{row:?}"))
        });
    }
    let names: Vec<String> = (0..5).map(|round| format!("brief-{round}")).collect();
    let mut wanted = vec![("root", "other", 1)];
    wanted.extend(names.iter().map(|name| ("root", name.as_str(), 0)));
    judge("row_14_end_first", &post.system, recorder, &wanted, |_| {});
}
