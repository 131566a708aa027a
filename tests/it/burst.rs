//! Many documents at once.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Client, Settings, System, alone, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_mins(1);
/// How many requests are on their way at once.
const CLIENTS: usize = 50;

/// Sends documents from many clients that begin together; gives how often each status came.
fn burst(root: &Client, documents: &[String]) -> BTreeMap<u16, usize> {
    let barrier = Barrier::new(CLIENTS);
    let send = |of_one: &[String]| {
        // A client keeps its connection; one for all would send one after another.
        let client = root.another();
        barrier.wait();
        let send = |document: &String| client.post("/api/v1/jobs", document).unwrap().status;
        of_one.iter().map(send).collect::<Vec<u16>>()
    };
    let share = documents.len() / CLIENTS;
    assert_eq!(share * CLIENTS, documents.len());
    let mut counts = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = documents
            .chunks(share)
            .map(|of_one| scope.spawn(|| send(of_one)))
            .collect();
        for status in threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
        {
            *counts.entry(status).or_default() += 1;
        }
    });
    counts
}

#[test]
fn of_500_documents_with_one_name_exactly_one_is_accepted() {
    let _turn = alone();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let documents = vec![sleeper("wanted", ""); 500];
    let begun = Instant::now();
    let counts = burst(&system.root(), &documents);
    eprintln!(
        "500 documents with one name: {counts:?} in {:?}",
        begun.elapsed()
    );
    assert_eq!(counts, BTreeMap::from([(202, 1), (409, 499)]));
    system.wait_state("wanted", "RUNNING", Duration::from_secs(20));
    assert_eq!(system.copies("wanted").len(), 1);
}

#[test]
fn of_100_documents_60_find_room_and_40_say_that_memory_is_missing() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=100,memory=6000");
    let root = system.root();
    let of = |number| sleeper(&format!("job-{number}"), "requirements: {memory: 100}\n");
    let documents: Vec<String> = (0..100).map(of).collect();
    let begun = Instant::now();
    assert_eq!(burst(&root, &documents), BTreeMap::from([(202, 100)]));
    let accepted = begun.elapsed();
    let wait = |running: usize| {
        let waiting = 100 - running;
        wait_until(&format!("{running} run, {waiting} wait"), LIMIT, || {
            let jobs = root.list("/api/v1/jobs")?;
            let of = |state: &str| jobs.iter().filter(|job| job["state"] == state).count();
            let now = (of("RUNNING"), of("NOT_DEPLOYED"));
            (now == (running, waiting))
                .then_some(jobs)
                .ok_or_else(|| format!("{now:?}"))
        })
    };
    let jobs = wait(60);
    eprintln!(
        "100 documents: accepted in {accepted:?}, 60 run after {:?}",
        begun.elapsed()
    );
    for job in jobs.iter().filter(|job| job["state"] == "NOT_DEPLOYED") {
        let job = root.job(job["job_id"].as_str().unwrap()).unwrap();
        assert_eq!(job["reason_code"], "insufficient_memory", "{job}");
        assert!(
            job["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("memory")),
            "{job}"
        );
        assert!(
            job["rejections"]["insufficient_memory"].as_u64() >= Some(1),
            "{job}"
        );
    }

    // Room by deletion, then by a worker.
    let running = jobs.iter().filter(|job| job["state"] == "RUNNING").take(10);
    let gone: Vec<&str> = running.filter_map(|job| job["job_id"].as_str()).collect();
    for id in &gone {
        assert_eq!(
            root.delete(&format!("/api/v1/jobs/{id}")).unwrap().status,
            202
        );
    }
    let begun = Instant::now();
    let of = |jobs: &[Value], state: &str| jobs.iter().filter(|job| job["state"] == state).count();
    wait_until("ten more run", LIMIT, || {
        let mut jobs = root.list("/api/v1/jobs")?;
        jobs.retain(|job| job["job_id"].as_str().is_none_or(|id| !gone.contains(&id)));
        let now = (of(&jobs, "RUNNING"), of(&jobs, "NOT_DEPLOYED"));
        (now == (60, 30))
            .then_some(())
            .ok_or_else(|| format!("{now:?}"))
    });
    eprintln!("10 deleted: 10 others run after {:?}", begun.elapsed());
    let begun = Instant::now();
    system.add_worker(
        "worker-2",
        0,
        &["--runtimes", "native", "--capacity", "cpu=100,memory=4000"],
    );
    wait_until("all run", LIMIT, || {
        let mut jobs = root.list("/api/v1/jobs")?;
        jobs.retain(|job| job["job_id"].as_str().is_none_or(|id| !gone.contains(&id)));
        let now = (of(&jobs, "RUNNING"), jobs.len());
        (now == (90, 90))
            .then_some(())
            .ok_or_else(|| format!("{now:?}"))
    });
    eprintln!("a second worker: all run after {:?}", begun.elapsed());
}
