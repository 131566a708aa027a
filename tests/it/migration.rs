//! Instances move to other workers: nobody who uses them notices, and what cannot move stays.
//!
//! `EDGEIO_MIGRATED` says how many instances move under traffic; 6 where it is not set.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Engine, Image, Sampler, Settings, System, alone, required, together, wait_until,
};
use serde_json::{Value, json};

use crate::documents::sleeper;
use crate::traffic::Traffic;

/// How long one instance may take to move, with its drain delay, on a busy machine.
const EACH: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(30);

/// How many instances move under traffic.
fn replicas() -> u32 {
    let named = std::env::var("EDGEIO_MIGRATED").ok();
    // One that is no number fails the test, and says so.
    named.map_or(6, |named| named.parse().unwrap())
}

/// Containers that answer over HTTP, and end at once when they are asked to: what is still sent to them then fails.
fn server(name: &str, image: &str, replicas: u32) -> String {
    let script = "/bin/busybox httpd -f -p 80 -h /www & trap 'kill $!; exit 0' TERM; wait";
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: docker\nimage: {image}\n\
         command: [/bin/busybox, sh, -c, \"{script}\"]\nfiles: {{/www/index.html: \"here\\n\"}}\n\
         ports: [\"80\"]\nreplicas: {replicas}\ndrain_delay: 1s\nstop_grace: 1s\nupdate: {{max_surge: 2}}\n"
    )
}

/// The worker of each replica that holds its place, by the rows.
fn places(job: &Value) -> BTreeMap<u64, String> {
    let rows = job["instances"].as_array().unwrap().iter();
    let holders = rows.filter(|row| row["role"] == "holder" && row["state"] == "RUNNING");
    let place = |row: &Value| {
        let worker = row["worker_node"].as_str().unwrap();
        (row["index"].as_u64().unwrap(), worker.to_owned())
    };
    holders.map(place).collect()
}

/// Asks for a migration, and gives the job when that has ended so.
fn migrate(system: &System, job: &str, wanted: &Value, state: &str, limit: Duration) -> Value {
    let root = system.root();
    let path = format!("/api/v1/jobs/{job}");
    let answer = root.post(&format!("{path}/migrate"), &wanted.to_string());
    let answer = answer.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(
        answer.body["operation"]["kind"], "migrate",
        "{}",
        answer.body
    );
    wait_until(&format!("the migration is {state}"), limit, || {
        let job = root.job(job)?;
        let is = job["operation"]["state"] == state;
        is.then(|| job.clone()).ok_or_else(|| job.to_string())
    })
}

/// Moves all replicas of a job under traffic; every one must end on one of the workers.
fn move_under_traffic(system: &System, engine: &Engine, wanted: &Value, to: &[&str]) {
    let replicas = replicas();
    let root = system.root();
    let job = root.job("web").unwrap();
    let id = job["job_id"].as_str().unwrap().to_owned();
    let before = places(&job);
    assert_eq!(before.len(), replicas as usize, "{job}");
    let (asked, looked) = (engine.clone(), id.clone());
    let sampler = Sampler::start(move || {
        let Some(running) = asked.running(&looked) else {
            return vec!["the engine does not answer".to_owned()];
        };
        let running: BTreeSet<u32> = running.iter().map(|replica| replica.index).collect();
        let missing = (0..replicas).filter(|index| !running.contains(index));
        missing
            .map(|index| format!("no copy of {index} runs"))
            .collect()
    });
    let traffic = Traffic::start(&root, system.root.said("http"), "web", replicas);
    let begun = Instant::now();
    let job = migrate(system, "web", wanted, "done", EACH * replicas);
    let took = begun.elapsed();
    wait_until("the old copies are gone", LIMIT, || {
        let running = engine.running(&id).ok_or("the engine does not answer")?;
        (running.len() == replicas as usize)
            .then_some(())
            .ok_or_else(|| format!("{running:?}"))
    });
    let (outcome, sampling) = (traffic.finish(), sampler.finish());
    eprintln!(
        "{replicas} moved in {took:?}: {} requests answered, {} failed; {} looks",
        outcome.answered, outcome.failed, sampling.looks
    );
    assert_eq!(outcome.failed, 0, "{:#?}", outcome.first);
    assert!(outcome.answered > u64::from(replicas));
    assert_eq!(
        sampling.ever,
        BTreeSet::new(),
        "of {} looks",
        sampling.looks
    );
    let after = wait_until("every replica has one row", LIMIT, || {
        let job = root.job("web")?;
        let rows = job["instances"].as_array().unwrap().len();
        let fine = rows == replicas as usize && job["state"] == "RUNNING";
        fine.then(|| places(&job)).ok_or_else(|| job.to_string())
    });
    assert_eq!(after.len(), replicas as usize, "{job}");
    for (index, worker) in &after {
        assert_ne!(
            Some(worker),
            before.get(index),
            "{index}: {before:?} {after:?}"
        );
        assert!(to.contains(&worker.as_str()), "{after:?}");
    }
}

#[test]
fn instances_migrate_under_traffic_and_no_request_fails() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    for worker in ["worker-1", "worker-2", "worker-3"] {
        system.add_worker(worker, 0, &["--runtimes", "docker"]);
    }
    system
        .root()
        .submit(&server("web", &image.name, replicas()));
    system.wait_state("web", "RUNNING", EACH * replicas());
    let to = ["worker-1", "worker-2", "worker-3"];
    move_under_traffic(&system, &engine, &json!({"strategy": "start_first"}), &to);
}

#[test]
fn instances_migrate_to_another_cluster_under_traffic_and_no_request_fails() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--runtimes", "docker"]);
    system.add_worker("worker-2", 0, &["--runtimes", "docker"]);
    system
        .root()
        .submit(&server("web", &image.name, replicas()));
    system.wait_state("web", "RUNNING", EACH * replicas());
    system.add_cluster("cluster-2", &[]);
    system.add_worker("far-1", 1, &["--runtimes", "docker"]);
    system.add_worker("far-2", 1, &["--runtimes", "docker"]);
    let wanted = json!({"cluster": "cluster-2", "strategy": "start_first"});
    move_under_traffic(&system, &engine, &wanted, &["far-1", "far-2"]);
}

/// A migration that fails: its reason, after which the source is the process that it was.
fn fails(system: &System, job: &str, wanted: &Value) -> String {
    let before = system.copies(job);
    assert_eq!(before.len(), 1, "{before:?}");
    let body = migrate(system, job, wanted, "failed", LIMIT);
    let operation = &body["operation"];
    let reason = operation["reason"].as_str().unwrap();
    assert!(operation["reason_code"].is_string(), "{operation}");
    let after = wait_until("the source alone is there", LIMIT, || {
        let copies = system.copies(job);
        (copies.len() == 1)
            .then_some(copies.clone())
            .ok_or_else(|| format!("{copies:?}"))
    });
    assert_eq!(after, before);
    let row = wait_until("the source alone is shown", LIMIT, || {
        let body = system.root().job(job)?;
        let rows = body["instances"].as_array().unwrap();
        let fine = rows.len() == 1 && body["state"] == "RUNNING";
        fine.then(|| rows[0].clone())
            .ok_or_else(|| body.to_string())
    });
    assert_eq!(
        row["instance_id"].as_str(),
        Some(before[0].instance.as_str())
    );
    assert_eq!(row["state"], "RUNNING", "{row}");
    eprintln!("{reason}");
    reason.to_owned()
}

#[test]
fn a_target_without_room_leaves_the_source_untouched_and_says_so() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let options = ["--runtimes", "native", "--capacity", "cpu=4,memory=100"];
    system
        .root()
        .submit(&sleeper("big", "requirements: {memory: 500}\n"));
    system.wait_state("big", "RUNNING", LIMIT);
    system.add_worker("small", 0, &options);
    let reason = fails(&system, "big", &json!({"worker_node": "small"}));
    assert!(reason.contains("memory"), "{reason}");
    let reason = fails(&system, "big", &json!({"instance": "big/0"}));
    assert!(reason.contains("memory"), "{reason}");

    system.add_cluster("cluster-2", &[]);
    system.add_worker("small-2", 1, &options);
    wait_until("the root sees its room", LIMIT, || {
        let body = system.root().get("/api/v1/clusters/cluster-2")?.body;
        let sees = body["memory_free_in_mb"] == 100;
        sees.then_some(()).ok_or_else(|| body.to_string())
    });
    let reason = fails(&system, "big", &json!({"cluster": "cluster-2"}));
    assert!(reason.contains("memory"), "{reason}");
}

#[test]
fn a_target_that_has_not_the_program_leaves_the_source_untouched_and_says_so() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    // A path that each worker sees for itself: its applications work three folders below its own.
    let program = "/proc/self/cwd/../../../app";
    symlink("/bin/sleep", system.workers[0].directory.join("app")).unwrap();
    let document = sleeper("one", "").replace("/bin/sleep", program);
    system.root().submit(&document);
    system.wait_state("one", "RUNNING", LIMIT);
    system.add_worker("bare", 0, &["--runtimes", "native"]);
    let reason = fails(&system, "one", &json!({"worker_node": "bare"}));
    assert!(reason.contains("bare"), "{reason}");
    assert!(reason.contains("app"), "{reason}");
}
