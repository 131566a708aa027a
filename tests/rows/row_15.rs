//! Row 15: MQTT messages are lost behind their acknowledgement, and old ones come instead.

use std::time::Duration;

use edgeio_tests::harness::{pause, wait_until};
use edgeio_tests::proxy::{Direction, Fate, Rules, Way};
use edgeio_tests::simulation::Rng;

use crate::documents::sleeper;
use crate::messages::{Churn, Post, WORKERS};
use crate::stage::{LIMIT, delete, judge, seed, submit, wait_agreed};

#[test]
fn row_15_messages_are_lost() {
    let post = Post::open();
    let recorder = post.record();
    let rules = |number| {
        let percent = *[1, 10].get(number).unwrap_or(&50);
        recorder.control("messages are lost");
        eprintln!("{percent} % of the messages are lost");
        if number == 1 {
            // Several messages in a row are lost now and then, and nobody can tell that from a worker that is away.
            for worker in WORKERS {
                recorder.lossy(worker);
            }
        }
        Rules::both(&Way::default().fate("#", percent, Fate::Lose))
    };
    let all = post.churn(&recorder, LIMIT * 3, rules, |counts| {
        counts.up.lost > 10 && counts.down.lost > 5
    });
    for worker in WORKERS {
        recorder.mended(worker);
    }
    let wanted: Vec<_> = all.iter().flat_map(Churn::wanted).collect();
    judge("row_15_lost", &post.system, recorder, &wanted, |_| {});
}

/// A broker whose disk was restored hands a worker what its cluster said long ago.
#[test]
fn row_15_a_stale_control_comes_from_a_restored_broker() {
    let post = Post::open();
    let recorder = post.record();
    let mut rng = Rng::new(seed());
    let mut names = Vec::new();
    for number in 0..6 {
        let name = format!("job-{number}");
        submit(&recorder, "root", &name, &sleeper(&name, ""));
        names.push(name);
    }
    let mut wanted: Vec<_> = names
        .iter()
        .map(|name| ("root", name.as_str(), 1))
        .collect();
    wait_agreed(&post.system, &wanted, LIMIT);
    for (number, name) in names.iter().enumerate().take(3) {
        delete(&recorder, "root", name);
        wanted[number].2 = 0;
    }
    let (before, _) = wait_agreed(&post.system, &wanted, LIMIT);
    let mut old = post.proxy.tape();
    old.retain(|taped| taped.direction == Direction::Down && taped.topic().ends_with("/control"));
    assert!(old.len() >= 4, "{} old sets", old.len());
    for round in 0..10 {
        recorder.control("an old control comes, right after a connection too");
        if round % 3 == 0 {
            let connections = post.proxy.counts().connections;
            post.proxy.reset();
            wait_until("the workers are back", LIMIT, || {
                let now = post.proxy.counts().connections;
                (now >= connections + 2)
                    .then_some(())
                    .ok_or_else(|| now.to_string())
            });
        }
        let stale = rng.pick(&old).unwrap();
        let times = usize::try_from(rng.between(1, 5)).unwrap();
        post.proxy.inject(stale, times);
        let (copies, _) = wait_agreed(&post.system, &wanted, LIMIT);
        assert_eq!(copies, before, "round {round}");
    }
    judge("row_15_stale", &post.system, recorder, &wanted, |_| {});
}

/// Resets what is there; a worker that is between two connections is waited for, if both are.
fn reset(post: &Post) {
    wait_until("there is a connection to reset", LIMIT, || {
        let there = post.proxy.reset();
        (there > 0).then_some(()).ok_or_else(|| there.to_string())
    });
}

/// Named regression: commands lost at QoS 0 while a node reconnects.
#[test]
fn row_15_no_command_is_lost_while_a_worker_reconnects() {
    let post = Post::open();
    let recorder = post.record();
    let mut rng = Rng::new(seed());
    let names: Vec<String> = (0..20).map(|number| format!("job-{number}")).collect();
    for name in &names {
        recorder.control("the workers' connections are reset");
        // Before, while and after the command is on its way.
        let order = rng.below(3);
        if order == 0 {
            reset(&post);
        }
        submit(&recorder, "root", name, &sleeper(name, ""));
        pause(Duration::from_millis(rng.between(0, 40)));
        if order > 0 {
            reset(&post);
        }
        pause(Duration::from_millis(rng.between(0, 300)));
    }
    let wanted: Vec<_> = names
        .iter()
        .map(|name| ("root", name.as_str(), 1))
        .collect();
    judge("row_15_reconnects", &post.system, recorder, &wanted, |_| {});
    let resets = post.proxy.counts().resets;
    eprintln!("{resets} connections were reset");
    assert!(resets >= 20, "{resets}");
}

/// Named regression: duplicates after an agent restart from an incomplete sync message (KubeEdge #6559).
#[test]
fn row_15_an_engine_killed_within_a_set_of_many_parts_makes_no_duplicates() {
    let mut post = Post::open();
    let recorder = post.record();
    submit(&recorder, "root", "before", &sleeper("before", ""));
    let (first, _) = wait_agreed(&post.system, &[("root", "before", 1)], LIMIT);
    // Each has a part of its own: one of 16 KiB does not hold two of them.
    let text = "x".repeat(9_000);
    let names: Vec<String> = (0..8).map(|number| format!("large-{number}")).collect();
    let mut wanted = vec![("root", "before", 1)];
    wanted.extend(names.iter().map(|name| ("root", name.as_str(), 1)));
    let mut rng = Rng::new(seed());
    recorder.control("connections break within a set, and engines are killed then");
    for (round, names) in names.chunks(4).enumerate() {
        // What was staged survives a connection, so that a later one needs less. Of four jobs one of the two workers gets two
        // at least, and more bytes than this.
        let down = Way {
            cap: Some(rng.between(8_000, 17_000)),
            ..Way::default()
        };
        let before = post.proxy.counts().resets;
        post.proxy.set(Rules {
            down,
            ..Rules::default()
        });
        let mut broken = before + post.proxy.reset() as u64;
        for name in names {
            let document = sleeper(name, &format!("environment: {{TEXT: {text}}}\n"));
            submit(&recorder, "root", name, &document);
        }
        broken += 1;
        wait_until("a connection breaks within a set", LIMIT, || {
            let resets = post.proxy.counts().resets;
            (resets >= broken)
                .then_some(())
                .ok_or_else(|| format!("{resets} of {broken}"))
        });
        for worker in &mut post.system.workers {
            worker.program.kill();
        }
        pause(Duration::from_millis(rng.between(0, 200)));
        for worker in &mut post.system.workers {
            worker.program.again();
        }
        eprintln!("round {round}: {:?}", post.proxy.counts());
    }
    post.proxy.set(Rules::default());
    post.proxy.reset();
    let after = judge("row_15_parts", &post.system, recorder, &wanted, |_| {});
    assert_eq!(after[..1], first);
}
