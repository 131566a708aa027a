//! A changed document rolls through the replicas, and stops where it does not run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Copy, Sampler, Sampling, Settings, System, alone, copies, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_mins(1);
const REPLICAS: usize = 6;

/// A document of six replicas that change one at a time; what else it says is `more`.
fn document(version: u32) -> String {
    let update = "{max_surge: 1, max_unavailable: 0}";
    sleeper(
        "web",
        &format!(
            "replicas: {REPLICAS}\nenvironment: {{VERSION: \"{version}\"}}\nupdate: {update}\n"
        ),
    )
}

/// The same, but what it names is on no worker.
fn broken(version: u32) -> String {
    let command = "command: [/nonexistent/edgeio-test]";
    document(version).replace("command: [/bin/sleep, \"1000000\"]", command)
}

/// The same, but what runs ends soon after it has begun.
fn short_lived(version: u32) -> String {
    document(version).replace("1000000", "0.3")
}

/// All six run, as the kernel and the root's rows say.
fn all_run(system: &System) -> Result<Vec<Copy>, String> {
    let (job, copies) = (system.root().job("web")?, system.copies("web"));
    let rows = job["instances"].as_array().unwrap();
    let run = rows.len() == REPLICAS && rows.iter().all(|row| row["state"] == "RUNNING");
    (run && copies.len() == REPLICAS)
        .then_some(copies)
        .ok_or_else(|| format!("{copies:?} {job}", copies = system.copies("web")))
}

/// Puts a document; gives the job when its operation has ended so.
fn put(system: &System, document: &str, kind: &str, state: &str) -> Value {
    let root = system.root();
    let answer = root.put("/api/v1/jobs/web", document).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let begun = Instant::now();
    let job = wait_until(&format!("the {kind} is {state}"), LIMIT, || {
        let job = root.job("web")?;
        let operation = &job["operation"];
        let is = operation["kind"] == kind && operation["state"] == state;
        is.then(|| job.clone()).ok_or_else(|| job.to_string())
    });
    eprintln!(
        "the {kind} is {state} {:?} after the document",
        begun.elapsed()
    );
    job
}

/// Looks for moments at which fewer than six run, or more than one beside them.
fn sampler(system: &System) -> Sampler {
    let (directory, root) = (system.directory().to_owned(), system.root());
    Sampler::start(move || {
        let copies = copies(&directory, "web").len();
        let mut wrong = Vec::new();
        if !(REPLICAS..=REPLICAS + 1).contains(&copies) {
            wrong.push(format!("{copies} copies"));
        }
        if let Ok(job) = root.job("web") {
            let rows = job["instances"].as_array().unwrap().iter();
            let running = rows.filter(|row| row["state"] == "RUNNING").count();
            if running < REPLICAS {
                wrong.push(format!("{running} rows are RUNNING"));
            }
        }
        wrong
    })
}

fn assert_never_wrong(sampling: &Sampling) {
    eprintln!("{} looks", sampling.looks);
    assert_eq!(
        sampling.ever,
        BTreeSet::new(),
        "of {} looks",
        sampling.looks
    );
}

/// The instances that ever failed.
fn failed(system: &System) -> BTreeSet<String> {
    let events = system.root().list("/api/v1/jobs/web/events").unwrap();
    let failed = events.iter().filter(|event| event["to"] == "FAILED");
    let ids = failed.filter_map(|event| event["instance_id"].as_str());
    ids.map(str::to_owned).collect()
}

fn system() -> System {
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    for number in 1..=2 {
        let options = ["--runtimes", "native", "--capacity", "cpu=100,memory=10000"];
        system.add_worker(&format!("worker-{number}"), 0, &options);
    }
    system.root().submit(&document(1));
    wait_until("six run", LIMIT, || all_run(&system));
    system
}

#[test]
fn a_changed_document_rolls_one_at_a_time_and_the_same_one_changes_nothing() {
    let _turn = alone();
    let system = system();
    let root = system.root();
    let first = all_run(&system).unwrap();
    let before = root.job("web").unwrap();
    let answer = root.put("/api/v1/jobs/web", &document(1)).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.body["generation"], before["generation"]);
    assert_eq!(answer.body["operation"], Value::Null);

    let sampler = sampler(&system);
    put(&system, &document(2), "update", "done");
    let second = wait_until("six run", LIMIT, || all_run(&system));
    assert_never_wrong(&sampler.finish());
    assert!(
        second.iter().all(|copy| !first.contains(copy)),
        "{first:?} {second:?}"
    );

    let before = root.job("web").unwrap();
    let answer = root.put("/api/v1/jobs/web", &document(2)).unwrap();
    assert_eq!(answer.body["generation"], before["generation"]);
    assert_eq!(answer.body["operation"], before["operation"]);
    assert_eq!(all_run(&system).unwrap(), second);
}

#[test]
fn an_update_that_does_not_run_stops_at_the_first() {
    stops_at_the_first(&broken(2));
}

#[test]
fn an_update_that_runs_and_ends_at_once_stops_at_the_first() {
    stops_at_the_first(&short_lived(2));
}

fn stops_at_the_first(document: &str) {
    let _turn = alone();
    let system = system();
    let before = all_run(&system).unwrap();
    let sampler = sampler(&system);
    let job = put(&system, document, "update", "failed");
    let reason = job["operation"]["reason"].as_str().unwrap();
    eprintln!("{reason}");
    assert!(
        !reason.is_empty() && job["operation"]["reason_code"].is_string(),
        "{job}"
    );
    let after = wait_until("six run", LIMIT, || all_run(&system));
    assert_never_wrong(&sampler.finish());
    assert_eq!(after, before);
    assert_eq!(failed(&system).len(), 1, "one was tried");
}

#[test]
fn an_update_that_is_to_be_rolled_back_is_and_says_why() {
    let _turn = alone();
    let system = system();
    let before = all_run(&system).unwrap();
    let update = "max_unavailable: 0, on_failure: rollback}";
    let document = short_lived(2).replace("max_unavailable: 0}", update);
    let job = put(&system, &document, "rollback", "done");
    eprintln!("{}", job["operation"]["reason"]);
    assert_eq!(job["operation"]["reason_code"], "crash_loop", "{job}");
    let after = wait_until("six run", LIMIT, || all_run(&system));
    assert_eq!(after, before, "the old copies were never touched");
}
