//! Images that are not to be had, or not soon.

use std::time::{Duration, Instant};

use edgeio_tests::fake_engine::{Pulling, Route};
use edgeio_tests::harness::{
    Engine, Image, Settings, System, alone, required, together, wait_until,
};

use crate::documents::{container, sleeper};

use super::rig::{CONVERGED, IMAGE, NOTICED, Rig, code, running};

const LIMIT: Duration = Duration::from_secs(20);

/// What a registry does, and the words of the reason that a user reads.
const FAILURES: [(&str, Pulling, [&str; 2]); 5] = [
    (
        "absent",
        Pulling::NotFound,
        ["manifest unknown", "name and tag"],
    ),
    (
        "secret",
        Pulling::Unauthorized,
        ["unauthorized", "logged in"],
    ),
    ("silent", Pulling::Silent, ["", "can reach"]),
    (
        "broken",
        Pulling::BadDigest,
        ["verification failed", "push the image"],
    ),
    ("full", Pulling::NoSpace, ["no space left", "free disk"]),
];

#[test]
fn row_21_each_way_a_pull_fails_is_told_with_its_cause_retried_and_hurts_nobody_else() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.submit("other", IMAGE, "");
    rig.runs("other");
    let before = running(rig.engine(), &["other"]);
    for (name, pulling, _) in FAILURES {
        let image = format!("registry.invalid/{name}:1");
        rig.engine().registry(&image, pulling);
        rig.submit(name, &image, "");
    }
    for (name, _, words) in FAILURES {
        // The silent one is given up after twice the engine's time.
        let failed = rig.system.wait_state(name, "FAILED", 2 * LIMIT);
        assert_eq!(code(&failed), "image_pull_failed", "{name}: {failed}");
        let instance = &failed["instances"][0];
        assert!(instance["next_attempt_at"].is_string(), "{name}: {failed}");
        let reason = instance["reason"].as_str().unwrap_or_default();
        for word in words {
            assert!(reason.contains(word), "{name} without {word:?}: {reason}");
        }
    }
    let engine = &rig.engines[0];
    let pulls = engine.count(Route::Pull);
    wait_until("they are tried again", LIMIT, || {
        let more = engine.count(Route::Pull) - pulls;
        (more >= 4)
            .then_some(())
            .ok_or_else(|| format!("{more} pulls"))
    });
    assert_eq!(running(engine, &["other"]), before, "I6");
    // Nothing of any of them is left at the engine.
    assert_eq!(engine.containers().len(), 1, "{:?}", engine.containers());
    // The registries are repaired: the next attempt finds the image, with no hand of anybody.
    for (name, ..) in FAILURES {
        let image = format!("registry.invalid/{name}:1");
        engine.registry(&image, Pulling::Takes(Duration::ZERO));
    }
    for (name, ..) in FAILURES {
        // Attempts double from 0.1 s, so what failed for 20 s waits 25 s at most.
        rig.system.wait_state(name, "RUNNING", 2 * LIMIT);
    }
    assert_eq!(running(engine, &["other"]), before, "I6");
}

#[test]
fn row_21_pulls_that_take_for_ever_block_no_start_of_what_is_there() {
    let _turn = together();
    let rig = Rig::of(1);
    let engine = &rig.engines[0];
    // More than are fetched at once, 10 GiB each, at 1 MiB a second.
    let huge = Pulling::Huge {
        bytes: 10 << 30,
        rate: 1 << 20,
    };
    for number in 0..24 {
        let image = format!("registry.invalid/huge-{number}:1");
        engine.registry(&image, huge);
        rig.submit(&format!("huge-{number}"), &image, "");
    }
    engine.registry("registry.invalid/same:1", huge);
    rig.submit("same", "registry.invalid/same:1", "replicas: 20\n");
    wait_until("they are being fetched", NOTICED, || {
        let pulls = engine.count(Route::Pull);
        (pulls >= 16)
            .then_some(())
            .ok_or_else(|| format!("{pulls} pulls"))
    });
    let begun = Instant::now();
    rig.submit("small", IMAGE, "");
    rig.system.root().submit(&sleeper("native", ""));
    rig.runs("small");
    rig.runs("native");
    eprintln!("both run {:?} after they were sent", begun.elapsed());
    let partial = engine.partial_bytes();
    assert!(partial > 0, "something was fetched meanwhile");
    // Whoever is deleted gives its pull up, and what it had is gone.
    for number in 0..24 {
        let answer = rig
            .system
            .root()
            .delete(&format!("/api/v1/jobs/huge-{number}"));
        assert_eq!(answer.unwrap().status, 202);
    }
    wait_until("only one is being fetched", CONVERGED, || {
        let lines = engine.calls();
        let same = lines
            .iter()
            .filter(|call| call.line.contains("same"))
            .count();
        // A container's making is asked for once for each replica; the image once for all.
        let pulls = lines
            .iter()
            .filter(|call| call.route == Route::Pull && call.line.contains("same"));
        (pulls.count() == 1)
            .then_some(())
            .ok_or_else(|| format!("{same} calls name it"))
    });
    let answer = rig.system.root().delete("/api/v1/jobs/same").unwrap();
    assert_eq!(answer.status, 202);
    wait_until(
        "nothing is left of what was fetched in part",
        CONVERGED,
        || {
            let left = engine.partial_bytes();
            (left == 0)
                .then_some(())
                .ok_or_else(|| format!("{left} bytes"))
        },
    );
    assert_eq!(engine.containers().len(), 1, "{:?}", engine.containers());
}

#[test]
fn row_21_a_slow_pull_is_waited_for_and_shared() {
    let _turn = together();
    let rig = Rig::of(1);
    let engine = &rig.engines[0];
    let image = "registry.invalid/slow:1";
    // Longer than the engine may be silent, which it is not.
    engine.registry(image, Pulling::Takes(Duration::from_secs(15)));
    rig.submit("slow", image, "replicas: 5\n");
    let job = rig.system.wait_state("slow", "RUNNING", 2 * LIMIT);
    let instances = job["instances"].as_array().unwrap();
    assert!(instances.iter().all(|one| one["restarts"] == 0), "{job}");
    assert_eq!(engine.count(Route::Pull), 1);
    assert_eq!(engine.of_job("slow").len(), 5);
}

#[test]
fn row_21_a_pull_that_fails_at_the_real_engine_leaves_nothing_and_hurts_nobody() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--capacity", "cpu=64,memory=64000"]);
    let node = system.workers[0].node_id.clone();
    system.root().submit(&container("other", &image.name));
    system.wait_state("other", "RUNNING", LIMIT);
    let started = |id: &str| engine.inspect(id)["State"]["StartedAt"].clone();
    let other = engine.containers_of(&node).remove(0).id;
    let before = started(&other);
    // A name that nobody can have (RFC 6761): a document may not name a registry of the worker's own machine.
    system.root().submit(&container(
        "absent",
        "registry.invalid/edgeio-test/absent:1",
    ));
    let failed = system.wait_state("absent", "FAILED", LIMIT);
    assert_eq!(code(&failed), "image_pull_failed", "{failed}");
    let reason = failed["instances"][0]["reason"]
        .as_str()
        .unwrap_or_default();
    assert!(
        reason.contains("registry.invalid") && reason.contains("can reach"),
        "{reason}"
    );
    let begun = Instant::now();
    system.root().submit(&container("second", &image.name));
    system.wait_state("second", "RUNNING", LIMIT);
    eprintln!("another one ran {:?} after it was sent", begun.elapsed());
    assert_eq!(engine.containers_of(&node).len(), 2);
    assert_eq!(started(&other), before, "I6");
}
