//! What others shipped, by name: each must never come to be here.
//!
//! Beside these: an instance that stays SCHEDULED_NODE with a worker that died (Oakestra #419) in `crashes`, applications
//! that are not recovered after a reboot offline (KubeEdge #4210) in `outages`.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Settings, System, alone, wait_until};

use crate::documents::{container, sleeper};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn regression_a_failed_placement_is_tried_again() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=100");
    let root = system.root();
    let large = sleeper("large", "requirements: {memory: 500}\n");
    let own = large.replace("large", "own");
    root.submit(&large);
    root.submit(&sleeper("pinned", "worker_node: worker-2\n"));
    system.cluster(0).submit(&own);
    let waits = |system: &System| {
        for (client, job, code) in [
            (system.root(), "large", "insufficient_memory"),
            (system.root(), "pinned", "no_such_worker"),
            (system.cluster(0), "own", "insufficient_memory"),
        ] {
            wait_until(&format!("{job} says what is missing"), LIMIT, || {
                let body = client.job(job)?;
                let says = body["state"] == "NOT_DEPLOYED" && body["reason_code"] == code;
                says.then_some(()).ok_or_else(|| body.to_string())
            });
        }
    };
    waits(&system);
    // Who waits is remembered by what was started again.
    system.clusters[0].kill();
    system.clusters[0].again();
    system.root.kill();
    system.root.again();
    waits(&system);

    let begun = Instant::now();
    let room = ["--runtimes", "native", "--capacity", "cpu=4,memory=2000"];
    system.add_worker("worker-2", 0, &room);
    for job in ["large", "pinned"] {
        system.wait_state(job, "RUNNING", LIMIT);
    }
    let cluster = system.cluster(0);
    wait_until("the cluster's own runs", LIMIT, || {
        let body = cluster.job("own")?;
        (body["state"] == "RUNNING")
            .then_some(())
            .ok_or_else(|| body.to_string())
    });
    eprintln!(
        "what waited runs {:?} after there was room",
        begun.elapsed()
    );
    for job in ["large", "pinned", "own"] {
        assert_eq!(system.copies(job).len(), 1, "{job}");
    }
}

#[test]
fn regression_greengrass_807_one_stuck_deployment_does_not_block_the_next() {
    let _turn = alone();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    // A container engine that takes every call and never answers.
    let socket = system.directory().join("hangs.sock");
    let _hangs = UnixListener::bind(&socket).unwrap();
    let host = format!("unix://{}", socket.display());
    system.add_worker(
        "worker-1",
        0,
        &["--runtimes", "docker,native", "--docker-host", &host],
    );
    let root = system.root();
    for job in ["stuck-1", "stuck-2"] {
        root.submit(&container(job, "example.com/never:1"));
        system.wait_state(job, "SCHEDULED_NODE", LIMIT);
    }
    let begun = Instant::now();
    root.submit(&sleeper("next", ""));
    system.wait_state("next", "RUNNING", Duration::from_secs(5));
    eprintln!("the next deployment runs after {:?}", begun.elapsed());
    // It can be changed and ended, and so can the stuck ones be told to.
    let answer = root.post("/api/v1/jobs/next/scale", "replicas: 2").unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    wait_until("two copies run", LIMIT, || {
        let copies = system.copies("next");
        (copies.len() == 2)
            .then_some(())
            .ok_or_else(|| format!("{copies:?}"))
    });
    let answer = root.delete("/api/v1/jobs/stuck-1").unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    root.submit(&sleeper("last", ""));
    system.wait_state("last", "RUNNING", Duration::from_secs(5));
    // A restarted engine is not kept by them either.
    let before = (system.copies("next"), system.copies("last"));
    system.workers[0].program.kill();
    system.workers[0].program.again();
    root.submit(&sleeper("after", ""));
    system.wait_state("after", "RUNNING", LIMIT);
    assert_eq!((system.copies("next"), system.copies("last")), before);
}
