//! Row 13: MQTT messages come twice to fifty-one times, at once and much later.

use std::time::Duration;

use edgeio_tests::history::Fault;
use edgeio_tests::proxy::{Fate, Rules, Way};
use edgeio_tests::simulation::Rng;

use crate::documents::sleeper;
use crate::messages::{Churn, Post};
use crate::stage::{LIMIT, delete, judge, seed, submit, wait_agreed};

/// The most that one message comes again.
const MOST: u64 = 50;

#[test]
fn row_13_messages_come_up_to_fifty_times_more() {
    let post = Post::open();
    let recorder = post.record();
    let mut rng = Rng::new(seed());
    let rules = [1, rng.between(2, MOST - 1), MOST].map(|times| {
        let apart = Duration::from_micros(rng.between(0, 40_000));
        let times = u32::try_from(times).unwrap();
        let fate = Fate::Double { times, apart };
        Rules::both(&Way::default().fate("#", 100, fate))
    });
    let mut wanted = Vec::new();
    let mut all = Vec::new();
    for (number, rules) in rules.into_iter().enumerate() {
        recorder.control("every message comes again");
        eprintln!("{:?}", rules.up.packets);
        post.proxy.set(rules);
        let churn = Churn::make(&recorder, &format!("round-{number}"), 4);
        let took = churn.wait_done(&post.system, LIMIT);
        eprintln!("done {took:?} after the last request");
        all.push(churn);
    }
    post.proxy.set(Rules::default());
    for churn in &all {
        wanted.extend(churn.wanted());
    }
    judge("row_13_doubled", &post.system, recorder, &wanted, |_| {});
    let counts = post.proxy.counts();
    eprintln!(
        "doubled {} up and {} down",
        counts.up.doubled, counts.down.doubled
    );
    assert!(
        counts.up.doubled > 100 && counts.down.doubled > 100,
        "{counts:?}"
    );
}

#[test]
fn row_13_old_messages_come_again_much_later() {
    let mut post = Post::open();
    let recorder = post.record();
    for name in ["kept", "ended"] {
        submit(&recorder, "root", name, &sleeper(name, ""));
    }
    wait_agreed(
        &post.system,
        &[("root", "kept", 1), ("root", "ended", 1)],
        LIMIT,
    );
    delete(&recorder, "root", "ended");
    let wanted = [("root", "kept", 1), ("root", "ended", 0)];
    let (before, _) = wait_agreed(&post.system, &wanted, LIMIT);
    let mut rng = Rng::new(seed());
    // Once while the same programs run, once after all of them have started again.
    for round in 0..2 {
        let tape = post.proxy.tape();
        recorder.control("all that was ever said comes again");
        let mut sent = 0;
        // In the order of their first coming, and then in any.
        for taped in &tape {
            sent += post.proxy.inject(taped, 1);
        }
        for _ in 0..tape.len() {
            if let Some(taped) = rng.pick(&tape) {
                sent += post.proxy.inject(taped, 1);
            }
        }
        assert!(sent > 20, "{sent} messages came again");
        let (copies, took) = wait_agreed(&post.system, &wanted, LIMIT);
        eprintln!("round {round}: {sent} old messages came again, all agree {took:?} later");
        assert_eq!(copies, before);
        if round == 0 {
            restart(&mut post, &recorder);
            wait_agreed(&post.system, &wanted, LIMIT);
        }
    }
    let after = judge("row_13_later", &post.system, recorder, &wanted, |_| {});
    assert_eq!(after, before);
}

/// Kills the cluster and the engines, and starts them again: new terms, new connections.
fn restart(post: &mut Post, recorder: &edgeio_tests::history::Recorder) {
    recorder.fault(Fault::Control {
        what: "cluster-a and both engines are killed".to_owned(),
    });
    post.system.clusters[0].kill();
    for worker in &mut post.system.workers {
        worker.program.kill();
    }
    post.system.clusters[0].again();
    for worker in &mut post.system.workers {
        worker.program.again();
    }
}
