//! The engine accepts connections and answers nothing.

use std::time::Instant;

use edgeio_tests::fake_engine::Route;
use edgeio_tests::harness::{together, wait_until};

use crate::documents::sleeper;

use super::rig::{CONVERGED, IMAGE, NOTICED, Rig, code, running};

#[test]
fn row_20_a_hung_engine_degrades_its_worker_gets_no_new_work_and_claims_nothing() {
    let _turn = together();
    let rig = Rig::of(2);
    rig.submit("here", IMAGE, "worker_node: worker-1\n");
    let job = rig.runs("here");
    assert_eq!(job["instances"][0]["stale"], false, "{job}");
    let before = running(&rig.engines[0], &["here"]);
    rig.engines[0].freeze();
    let begun = Instant::now();
    rig.wait_degraded(&["docker"]);
    eprintln!("known at the cluster {:?} after it hung", begun.elapsed());
    // What it runs is shown as it was last known, and marked so, at both tiers.
    for client in [rig.system.cluster(0), rig.system.root()] {
        wait_until("it is stale", NOTICED, || {
            let job = client.job("here")?;
            let instance = &job["instances"][0];
            (instance["state"] == "RUNNING" && instance["stale"] == true)
                .then_some(())
                .ok_or_else(|| job.to_string())
        });
    }
    let root = rig.system.root();
    wait_until("the root knows of it", NOTICED, || {
        let shown = root.get("/api/v1/clusters/cluster-1")?.body;
        (shown["runtimes_degraded"] == serde_json::json!(["docker"]))
            .then_some(())
            .ok_or_else(|| shown.to_string())
    });
    // New work goes elsewhere, or waits with a counted reason; another runtime of that worker is not concerned.
    rig.submit("three", IMAGE, "replicas: 3\n");
    let three = rig.runs("three");
    for instance in three["instances"].as_array().unwrap() {
        assert_eq!(instance["worker_node"], "worker-2", "{three}");
    }
    rig.submit("pinned", IMAGE, "worker_node: worker-1\n");
    let pinned = rig.system.wait_state("pinned", "NOT_DEPLOYED", NOTICED);
    assert_eq!(code(&pinned), "runtime_degraded", "{pinned}");
    let reason = pinned["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("1 with a runtime that does not answer"),
        "{pinned}"
    );
    rig.system
        .root()
        .submit(&sleeper("native", "worker_node: worker-1\n"));
    rig.runs("native");
    let made = rig.engines[0].count(Route::Create);
    assert_eq!(made, 1, "nothing was asked of the silent engine");

    rig.engines[0].thaw();
    let begun = Instant::now();
    rig.wait_degraded(&[]);
    rig.runs("pinned");
    eprintln!("all as wanted {:?} after it went on", begun.elapsed());
    assert_eq!(running(&rig.engines[0], &["here"]), before, "I6");
    wait_until("nothing is stale", NOTICED, || {
        let job = root.job("here")?;
        (job["instances"][0]["stale"] == false)
            .then_some(())
            .ok_or_else(|| job.to_string())
    });
    assert_eq!(root.job("here").unwrap()["instances"][0]["restarts"], 0);
}

#[test]
fn row_20_what_was_being_started_when_the_engine_hung_runs_once_when_it_goes_on() {
    let _turn = together();
    let rig = Rig::of(1);
    rig.submit("first", IMAGE, "");
    rig.runs("first");
    rig.engines[0].freeze();
    // Assigned before anybody knows that it hangs. It says its user, so that its image is not asked first.
    rig.submit("caught", IMAGE, "replicas: 4\nsecurity: {user: 1000}\n");
    let engine = &rig.engines[0];
    let made = engine.count(Route::Create);
    wait_until("its making was asked for", NOTICED, || {
        let asked = engine.count(Route::Create) - made;
        (asked > 0)
            .then_some(())
            .ok_or_else(|| "not asked".to_owned())
    });
    rig.wait_degraded(&["docker"]);
    rig.system.wait_state("caught", "FAILED", 2 * NOTICED);
    engine.thaw();
    let begun = Instant::now();
    rig.runs("caught");
    eprintln!("it runs {:?} after the engine went on", begun.elapsed());
    assert!(begun.elapsed() < CONVERGED);
    let all = engine.of_job("caught");
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all.iter().all(|seen| seen.starts == 1), "{all:?}");
    running(engine, &["first"]);
}
