//! The main job: a document sent to the root becomes a process on a worker, three tiers down.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use edgeio_tests::harness::{Settings, System, listening, together, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_document_becomes_a_process_and_a_delete_ends_it() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let root = system.root();
    let job = root.submit(&sleeper("hello", ""));
    assert!(job["job_id"].as_str().unwrap().starts_with("job_"), "{job}");

    let job = system.wait_state("hello", "RUNNING", LIMIT);
    let instance = &job["instances"][0];
    assert_eq!(instance["state"], "RUNNING");
    assert_eq!(instance["cluster"], "cluster-1");
    assert_eq!(instance["worker_node"], "worker-1");
    assert_eq!(
        instance["worker_id"].as_str(),
        Some(system.workers[0].node_id.as_str())
    );
    let copies = system.copies("hello");
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(
        instance["instance_id"].as_str(),
        Some(copies[0].instance.as_str())
    );

    assert_eq!(listening(system.workers[0].program.pid()), [""; 0]);
    assert!(
        !listening(system.root.pid()).is_empty(),
        "or it looks in the wrong place"
    );

    let deleted = root.delete("/api/v1/jobs/hello").unwrap();
    assert_eq!(deleted.status, 202, "{}", deleted.body);
    assert_eq!(root.get("/api/v1/jobs/hello").unwrap().status, 404);
    let id = job["job_id"].as_str().unwrap();
    system.wait_state(id, "TERMINATED", LIMIT);
    assert_eq!(system.copies("hello"), []);
    assert_eq!(
        root.delete(&format!("/api/v1/jobs/{id}")).unwrap().status,
        202
    );
}

#[test]
fn a_put_touches_only_what_differs() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let root = system.root();
    let scale = |replicas: usize| {
        let answer = root.put(
            "/api/v1/jobs/many",
            &sleeper("many", &format!("replicas: {replicas}\n")),
        );
        let answer = answer.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        wait_until(&format!("{replicas} run"), LIMIT, || {
            let (job, copies) = (root.job("many")?, system.copies("many"));
            let listed = job["instances"].as_array().map_or(0, Vec::len);
            if job["state"] == "RUNNING" && copies.len() == replicas && listed == replicas {
                Ok(copies)
            } else {
                Err(format!("{copies:?} {job}"))
            }
        })
    };
    let three = scale(3);
    let five = scale(5);
    assert!(
        three.iter().all(|copy| five.contains(copy)),
        "{three:?} {five:?}"
    );
    assert_eq!(scale(5), five);
    let two = scale(2);
    assert!(
        two.iter().all(|copy| three.contains(copy)),
        "{three:?} {two:?}"
    );

    let other = root
        .put("/api/v1/jobs/another", &sleeper("many", ""))
        .unwrap();
    assert_eq!(other.status, 422, "{}", other.body);
}

#[test]
fn lists_events_and_explanations_answer_at_both_orchestrators() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    system
        .root()
        .submit(&sleeper("hello", "requirements: {cpu: 1, memory: 100}\n"));
    system.wait_state("hello", "RUNNING", LIMIT);
    for client in [system.root(), system.cluster(0)] {
        let jobs = client.list("/api/v1/jobs").unwrap();
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0]["job_name"], "hello");
        let job = client.job(jobs[0]["job_id"].as_str().unwrap()).unwrap();
        assert_eq!(job["state"], "RUNNING", "{job}");
        let id = job["job_id"].as_str().unwrap();

        let events = client.list(&format!("/api/v1/jobs/{id}/events")).unwrap();
        let states: Vec<&str> = events
            .iter()
            .filter_map(|event| event["to"].as_str())
            .collect();
        assert!(states.contains(&"RUNNING"), "{events:?}");
        assert!(!client.list("/api/v1/events").unwrap().is_empty());

        let explained = client.get(&format!("/api/v1/jobs/{id}/explain")).unwrap();
        assert_eq!(explained.status, 200);
        assert!(
            explained.body.to_string().contains("worker-1"),
            "{}",
            explained.body
        );

        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(client.get(path).unwrap().status, 200, "{path}");
        }
    }
    let nodes = system
        .root()
        .list("/api/v1/clusters/cluster-1/nodes")
        .unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0]["name"], "worker-1");
    assert_eq!(nodes[0]["free_cores"], 3.0, "{nodes:?}");
    assert_eq!(nodes[0]["memory_free_in_mb"], 900);
    assert_eq!(nodes[0]["instances"], 1);
    wait_until("the root sees the room", LIMIT, || {
        let clusters = system.root().list("/api/v1/clusters")?;
        let free = clusters
            .first()
            .and_then(|row| row["memory_free_in_mb"].as_u64());
        (free == Some(900))
            .then_some(())
            .ok_or_else(|| format!("{clusters:?}"))
    });
}

#[test]
fn what_cannot_be_placed_says_why_and_runs_when_it_can() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    system
        .root()
        .submit(&sleeper("big", "requirements: {memory: 900}\n"));
    let job = system.wait_state("big", "NOT_DEPLOYED", LIMIT);
    assert_eq!(job["reason_code"], "insufficient_memory", "{job}");
    assert!(job["reason"].as_str().unwrap().contains("memory"), "{job}");
    let explained = system.root().get("/api/v1/jobs/big/explain").unwrap();
    assert!(
        explained.body.to_string().contains("insufficient_memory"),
        "{}",
        explained.body
    );
    system.add_worker(
        "worker-2",
        0,
        &["--runtimes", "native", "--capacity", "cpu=2,memory=1000"],
    );
    let job = system.wait_state("big", "RUNNING", LIMIT);
    assert_eq!(job["instances"][0]["worker_node"], "worker-2");
}

#[test]
fn what_waits_says_what_is_missing_now() {
    let _turn = together();
    let mut system = System::start(Settings::QUICK);
    system
        .root()
        .submit(&sleeper("big", "requirements: {memory: 900}\n"));
    let code = |system: &System, code: &str| {
        let root = system.root();
        wait_until(&format!("the reason is {code}"), LIMIT, || {
            let job = root.job("big")?;
            (job["reason_code"] == code)
                .then_some(())
                .ok_or_else(|| job.to_string())
        });
    };
    code(&system, "no_cluster");
    system.add_cluster("cluster-1", &[]);
    code(&system, "no_worker");
    system.add_worker(
        "worker-1",
        0,
        &["--runtimes", "native", "--capacity", "memory=500"],
    );
    code(&system, "insufficient_memory");
}

#[test]
fn an_application_that_crashes_is_started_again_and_says_how_it_ended() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    let root = system.root();
    root.submit("api_version: v0.1\njob_name: crash\nimage_runtime: native\ncommand: [/bin/sh, -c, \"echo last words; exit 3\"]\n");
    let instance = wait_until("it failed and is tried again", LIMIT, || {
        let job = root.job("crash")?;
        let instance = job["instances"][0].clone();
        let again = instance["restarts"].as_u64() >= Some(1) && !instance["last_exit"].is_null();
        again.then_some(instance).ok_or_else(|| job.to_string())
    });
    assert_eq!(instance["last_exit"]["code"], 3, "{instance}");
    let tail = instance["last_exit"]["log_tail"].as_array().unwrap();
    assert!(tail.contains(&Value::from("last words")), "{instance}");
}

#[test]
fn two_services_spread_over_workers_and_a_bad_document_names_all_its_faults() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    system.add_worker(
        "worker-2",
        0,
        &["--runtimes", "native", "--capacity", "cpu=2,memory=500"],
    );
    let document = include_str!("../../sla-examples/two-services.yaml");
    system.root().submit(document);
    let job = system.wait_state("pipeline", "RUNNING", LIMIT);
    let of_source = job["instances"].as_array().unwrap().iter();
    let mut workers: Vec<&str> = of_source
        .filter(|instance| instance["service"] == "source")
        .filter_map(|instance| instance["worker_node"].as_str())
        .collect();
    workers.sort_unstable();
    assert_eq!(workers, ["worker-1", "worker-2"], "{job}");

    let bad = "api_version: v0.1\njob_name: ''\nimage_runtime: native\ncommand: [sleep]\nreplicas: '2'\ntypo: 1\n";
    let answer = system.root().post("/api/v1/jobs", bad).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.body);
    let errors = answer.body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(
        errors.iter().all(|error| error["line"].is_u64()),
        "{errors:?}"
    );
}

#[test]
fn every_native_example_runs_as_it_stands() {
    let _turn = together();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    let worker = ["--runtimes", "native", "--capacity", "cpu=8,memory=1000"];
    system.add_worker(
        "worker-1",
        0,
        &[worker.as_slice(), &["--label", "zone=lab"]].concat(),
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sla-examples");
    let mut jobs = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        // Containers need images: the listing of the seed has a test of its own.
        if text.contains("image_runtime: native") {
            let job = system.root().submit(&text);
            jobs.insert(job["job_name"].as_str().unwrap().to_owned());
        }
    }
    let all = [
        "health",
        "hello",
        "pinned",
        "pipeline",
        "rolling",
        "with-files",
    ];
    assert_eq!(jobs, all.map(str::to_owned).into());
    for job in &jobs {
        system.wait_state(job, "RUNNING", LIMIT);
    }
    wait_until("its check said that it is well", LIMIT, || {
        let job = system.root().job("health")?;
        let well = job["instances"][0]["health"] == "healthy";
        well.then_some(()).ok_or_else(|| job.to_string())
    });

    // The shell of its command, and what the shell is running for a moment.
    let copies = system.copies("with-files");
    let read = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cwd/conf/greeting.txt")).ok();
    let greeting = copies.iter().find_map(|copy| read(copy.pid));
    assert_eq!(
        greeting.as_deref(),
        Some("Good morning from a file of the document.\n"),
        "{copies:?}"
    );
}
