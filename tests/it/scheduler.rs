//! Row 28 of the table of faults: what a scheduler fails on waits with the reason, and nothing else does.

use std::time::Duration;

use edgeio_tests::harness::{Settings, System, together, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at what the scheduler failed on; a minute by default.
const PAUSE: Duration = Duration::from_secs(1);
/// Each way that the test scheduler fails, and the words of the reason.
const FAULTS: [(&str, &str); 3] = [
    ("panic", "it panicked: a document asked for it"),
    ("garbage", "it chose number"),
    ("misfit", "which will not do (label_mismatch)"),
];

fn poison(name: &str, how: &str, more: &str) -> String {
    sleeper(
        name,
        &format!("placement: {{labels: {{scheduler-fault: {how}}}}}\n{more}"),
    )
}

fn system() -> System {
    let mut system = System::start(Settings::QUICK);
    let options = [
        "--scheduler",
        "faulty",
        "--allow-noop",
        "--scheduler-pause",
        "1s",
    ];
    system.add_cluster("cluster-1", &options);
    system.add_worker(
        "worker-1",
        0,
        &["--runtimes", "native", "--capacity", "cpu=64,memory=64000"],
    );
    system
}

#[track_caller]
fn wait_fault(system: &System, job: &str, words: &str) -> Value {
    let root = system.root();
    wait_until(&format!("{job} waits for the scheduler"), LIMIT, || {
        let body = root.job(job)?;
        let instance = &body["instances"][0];
        let reason = instance["reason"].as_str().unwrap_or_default();
        let is = body["state"] == "NOT_DEPLOYED"
            && instance["reason_code"] == "scheduler_fault"
            && reason.contains(words)
            && reason.contains("no fault of the document");
        if is { Ok(body) } else { Err(body.to_string()) }
    })
}

/// How often the test scheduler panicked, by the cluster's log.
fn panics(system: &System) -> usize {
    let log = std::fs::read_to_string(system.directory().join("cluster-1.log")).unwrap_or_default();
    log.matches("a document asked for it").count()
}

#[test]
fn row_28_what_the_scheduler_fails_on_waits_with_the_reason_and_the_rest_is_scheduled() {
    let _turn = together();
    let mut system = system();
    let before = system.clusters[0].pid();
    for (how, _) in FAULTS {
        system.root().submit(&poison(how, how, ""));
        system.root().submit(&sleeper(&format!("good-{how}"), ""));
    }
    for (how, words) in FAULTS {
        system.wait_state(&format!("good-{how}"), "RUNNING", LIMIT);
        wait_fault(&system, how, words);
    }
    let explained = system
        .root()
        .get("/api/v1/jobs/panic/explain")
        .unwrap()
        .body;
    assert!(explained.to_string().contains("it panicked"), "{explained}");
    assert_eq!(system.clusters[0].pid(), before);
    let runs = system.copies("good-panic");
    assert_eq!(runs.len(), 1);

    // A restart meets it again, and neither loses nor repeats anything.
    system.clusters[0].kill();
    system.clusters[0].again();
    for (how, words) in FAULTS {
        wait_fault(&system, how, words);
        system.wait_state(&format!("good-{how}"), "RUNNING", LIMIT);
    }
    assert_eq!(system.copies("good-panic"), runs, "I6");
    system.root().submit(&sleeper("after", ""));
    system.wait_state("after", "RUNNING", LIMIT);

    // It can be taken back.
    let answer = system.root().delete("/api/v1/jobs/panic").unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let root = system.root();
    wait_until("its name is free", LIMIT, || {
        root.job("panic")
            .err()
            .map(drop)
            .ok_or_else(|| "it is there".to_owned())
    });
}

#[test]
fn row_28_a_thousand_replicas_of_a_poison_fail_once_and_are_looked_at_again_in_a_while() {
    let _turn = together();
    let system = system();
    system
        .root()
        .submit(&poison("poison", "panic", "replicas: 1000\n"));
    wait_fault(&system, "poison", "it panicked");
    let first = panics(&system);
    // On a slow machine a pause is over before the last of them is looked at.
    assert!(
        (1..=10).contains(&first),
        "{first} panics for a thousand replicas"
    );
    // Room that comes and goes does not make it fail again and again.
    for number in 0..10 {
        let name = format!("short-{number}");
        system.root().submit(&sleeper(&name, ""));
        system.wait_state(&name, "RUNNING", LIMIT);
        let answer = system
            .root()
            .delete(&format!("/api/v1/jobs/{name}"))
            .unwrap();
        assert_eq!(answer.status, 202);
    }
    let begun = std::time::Instant::now();
    wait_until("the scheduler is asked again", LIMIT, || {
        let more = panics(&system) - first;
        (more >= 2)
            .then_some(())
            .ok_or_else(|| format!("{more} more"))
    });
    let all = panics(&system);
    let most = 4 + 2 * (begun.elapsed() + LIMIT).as_secs() as usize / PAUSE.as_secs() as usize;
    assert!(all <= most, "{all} panics");
    eprintln!("{first} panics at first, {all} in all");
}

#[test]
fn row_28_another_cluster_with_a_scheduler_that_works_takes_it() {
    let _turn = together();
    let mut system = system();
    system.root().submit(&poison("poison", "panic", ""));
    wait_fault(&system, "poison", "it panicked");
    system.add_cluster("cluster-2", &[]);
    let labelled = ["--runtimes", "native", "--label", "scheduler-fault=panic"];
    system.add_worker("worker-2", 1, &labelled);
    let job = system.wait_state("poison", "RUNNING", LIMIT);
    assert_eq!(job["instances"][0]["cluster"], "cluster-2", "{job}");
}
