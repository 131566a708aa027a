//! A worker that dies with all that it runs: how long until it all runs elsewhere.
//!
//! What may pass beyond `lost_after` is 3 s, or twice as long as the same containers took the first time, on a machine
//! on which that is more.
//!
//! With `EDGEIO_SCALE=1` the times are the defaults; else `lost_after` is 2 s.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{Engine, Image, Settings, System, alone, required, wait_until};

use crate::documents::container;

const LIMIT: Duration = Duration::from_mins(1);
/// What may pass beyond `lost_after`, on a machine that does nothing else.
const GRACE: Duration = Duration::from_secs(3);
const REPLICAS: usize = 5;

/// The settings, and their `lost_after`.
fn settings() -> (Settings, Duration) {
    let scale = std::env::var("EDGEIO_SCALE").ok();
    // A scale that is no number fails the test, and says so.
    match scale.map(|scale| scale.parse::<f64>().unwrap()) {
        Some(scale) if scale >= 1.0 => (Settings::default(), Duration::from_secs(10)),
        Some(_) | None => (Settings::QUICK, Duration::from_secs(2)),
    }
}

#[test]
fn five_containers_of_a_killed_worker_run_elsewhere_in_time() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let (settings, lost_after) = settings();
    let mut system = System::start(settings);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--runtimes", "docker"]);
    let more = format!("replicas: {REPLICAS}\n");
    let document = container("five", &image.name) + &more;
    let begun = Instant::now();
    let job = system.root().submit(&document);
    let id = job["job_id"].as_str().unwrap();
    system.wait_state("five", "RUNNING", LIMIT);
    let first = begun.elapsed();
    let before = engine.running(id).unwrap();
    assert_eq!(before.len(), REPLICAS, "{before:?}");
    system.add_worker("worker-2", 0, &["--runtimes", "docker"]);
    let other = system.workers[1].node_id.clone();

    let begun = Instant::now();
    system.workers[0].program.kill();
    for replica in &before {
        engine.kill(&replica.container);
    }
    let root = system.root();
    wait_until("all run on the other worker", LIMIT, || {
        let running = engine.running(id).ok_or("the engine does not answer")?;
        let there = running.iter().filter(|replica| replica.worker == other);
        let job = root.job("five")?;
        let rows = job["instances"].as_array().unwrap().iter();
        let shown = rows.filter(|row| {
            row["worker_node"] == "worker-2" && row["state"] == "RUNNING" && row["role"] == "holder"
        });
        (there.count() == REPLICAS && shown.count() == REPLICAS)
            .then_some(())
            .ok_or_else(|| format!("{running:?} {job}"))
    });
    let took = begun.elapsed();
    eprintln!(
        "{REPLICAS} containers ran {first:?} after they were asked for, and elsewhere {took:?} after the kill, with lost_after {lost_after:?}"
    );
    assert!(took < lost_after + GRACE.max(first * 2), "{took:?}");
}
