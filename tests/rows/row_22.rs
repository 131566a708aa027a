//! Row 22: a worker behind a link of 20 kbit/s.

use std::time::Instant;

use edgeio_tests::harness::{Sampler, pause};

use crate::documents::sleeper;
use crate::stage::{LIMIT, Stage, judge, keep_alive, of, submit, wait_agreed};

/// In true times; where the keep-alive is a part of the true one, the link is faster by as much.
const KBIT: f64 = 20.0;
const KEEP_ALIVE: f64 = 5.0;

#[test]
fn row_22_slow_worker() {
    let Some(mut stage) = Stage::open() else {
        return;
    };
    let recorder = stage.record();
    stage.worker("far-a", 0);
    submit(&recorder, "root", "before", &sleeper("before", ""));
    wait_agreed(&stage.system, &[("root", "before", 1)], LIMIT);
    let cluster = stage.system.cluster(0);
    let sampler = Sampler::start(move || {
        let nodes = cluster.list("/api/v1/nodes").unwrap_or_default();
        let states = nodes.iter().map(|node| node["state"].to_string());
        states.collect()
    });
    recorder.control("the link of far-a is slow");
    let kbit = KBIT * KEEP_ALIVE / keep_alive().as_secs_f64();
    eprintln!(
        "a link of {kbit} kbit/s with a keep-alive of {:?}",
        keep_alive()
    );
    stage.lab.slow("far-a", kbit as u32);
    pause(of(100.0));
    let begun = Instant::now();
    for number in 0..3 {
        let name = format!("slow-{number}");
        // Several parts of a set, so that a part stands before the ping.
        let text = "x".repeat(4_000);
        let document = sleeper(&name, &format!("environment: {{TEXT: {text}}}\n"));
        submit(&recorder, "root", &name, &document);
    }
    let wanted = [
        ("root", "before", 1),
        ("root", "slow-0", 1),
        ("root", "slow-1", 1),
        ("root", "slow-2", 1),
    ];
    wait_agreed(&stage.system, &wanted, LIMIT);
    eprintln!(
        "three jobs of 4 kB each run {:?} after the first request",
        begun.elapsed()
    );
    pause(of(100.0));
    let seen = sampler.finish();
    assert!(!seen.ever.contains("\"LOST\""), "{:?}", seen.ever);
    stage.lab.quicken("far-a");
    judge("row_22", &stage.system, recorder, &wanted, |_| {});
}
