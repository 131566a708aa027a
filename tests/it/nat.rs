//! A worker behind NAT with all inbound dropped, in network namespaces.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Settings, System, alone, listening, pause, required, wait_until};
use edgeio_tests::lab::{CLUSTER_A, GATE_A, Lab, ROOT};

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(30);
/// `lost_after` of the settings below.
const LOST: Duration = Duration::from_secs(2);
/// What may pass beyond it until a replacement runs.
const GRACE: Duration = Duration::from_secs(3);

/// Root and cluster in namespaces, and the worker `far` behind a gate.
fn system(lab: &Lab) -> System {
    let mut system = System::start_at(Settings::QUICK, ROOT, Some(&lab.namespace("root")));
    system.add_cluster_at(
        "cluster-1",
        CLUSTER_A,
        Some(&lab.namespace("cluster-a")),
        &[],
    );
    let options = ["--runtimes", "native"];
    system.add_worker_in("far", 0, Some(&lab.namespace("far-a")), &options);
    system
}

#[test]
fn a_worker_behind_nat_runs_what_it_is_sent_and_listens_on_nothing() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let lab = Lab::make();
    let knock = |from, at| lab.knock(from, at).map_err(|error| error.kind());
    assert_eq!(
        knock("far-a", CLUSTER_A),
        Err(ErrorKind::ConnectionRefused),
        "the way out works"
    );
    assert_eq!(
        knock("cluster-a", GATE_A),
        Err(ErrorKind::TimedOut),
        "nothing comes in"
    );
    let system = system(&lab);
    system.root().submit(&sleeper("behind", ""));
    let job = system.wait_state("behind", "RUNNING", LIMIT);
    assert_eq!(job["instances"][0]["worker_node"], "far");
    assert_eq!(system.copies("behind").len(), 1);
    assert_eq!(listening(system.workers[0].program.pid()), [""; 0]);
    assert_eq!(
        system.root().delete("/api/v1/jobs/behind").unwrap().status,
        202
    );
    wait_until("it ended", LIMIT, || {
        let copies = system.copies("behind");
        copies
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{copies:?}"))
    });
}

#[test]
fn a_link_that_is_cut_and_mended_leaves_one_copy() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let lab = Lab::make();
    let mut system = system(&lab);
    system.root().submit(&sleeper("moved", ""));
    system.wait_state("moved", "RUNNING", LIMIT);
    let before = system.copies("moved");
    system.add_worker_in(
        "near",
        0,
        Some(&lab.namespace("near-a")),
        &["--runtimes", "native"],
    );

    // Just after it was heard, so that the cut is at most one look after the last proof of life.
    let cluster = system.cluster(0);
    let seen = || Ok::<_, String>(cluster.get("/api/v1/nodes/far")?.body["last_seen"].clone());
    let last = seen().unwrap();
    wait_until("it is heard once more", LIMIT, || {
        let now = seen()?;
        (now != last).then_some(()).ok_or_else(|| now.to_string())
    });
    lab.cut("far-a", "cluster-a");
    let begun = Instant::now();
    let root = system.root();
    wait_until("a replacement runs", LIMIT, || {
        let (job, copies) = (root.job("moved")?, system.copies("moved"));
        let instances = job["instances"].as_array().unwrap();
        let there = |instance: &serde_json::Value| {
            instance["worker_node"] == "near" && instance["state"] == "RUNNING"
        };
        (copies.len() == 2 && instances.iter().any(there))
            .then_some(())
            .ok_or_else(|| format!("{copies:?} {job}"))
    });
    let took = begun.elapsed();
    eprintln!("replaced {took:?} after the last proof of life, with lost_after 2 s");
    assert!(took < LOST + GRACE, "{took:?}");

    lab.mend("far-a", "cluster-a");
    let begun = Instant::now();
    let one = || {
        let (job, copies) = (root.job("moved")?, system.copies("moved"));
        let instances = job["instances"].as_array().unwrap();
        let [copy] = copies.as_slice() else {
            return Err(format!("{copies:?} {job}"));
        };
        let shown =
            instances.len() == 1 && instances[0]["instance_id"].as_str() == Some(&copy.instance);
        (shown && job["state"] == "RUNNING")
            .then(|| copy.clone())
            .ok_or_else(|| format!("{copies:?} {job}"))
    };
    let kept = wait_until("one copy is left", LIMIT, one);
    eprintln!(
        "one copy {:?} after the mending; the original stayed: {}",
        begun.elapsed(),
        before.contains(&kept)
    );
    pause(Duration::from_secs(3));
    assert_eq!(one(), Ok(kept));
}
