//! More replicas and fewer: they spread, and what need not move does not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Copy, Settings, System, alone, wait_until};
use serde_json::{Value, json};

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_mins(1);
const WORKERS: usize = 5;

/// What runs when a job has settled.
struct Settled {
    copies: Vec<Copy>,
    /// Instances of each worker by name; one that has none is in it too.
    spread: BTreeMap<String, usize>,
    /// Since when each instance runs, by its worker's clock.
    since: BTreeMap<String, Value>,
}

impl Settled {
    /// The job with so many replicas, if all agree that they run.
    fn read(system: &System, job: &str, replicas: usize) -> Result<Self, String> {
        let (body, copies) = (system.root().job(job)?, system.copies(job));
        let rows = body["instances"].as_array().unwrap();
        let running = rows.iter().filter(|row| row["state"] == "RUNNING").count();
        if [copies.len(), rows.len(), running] != [replicas; 3] || body["state"] != "RUNNING" {
            return Err(format!(
                "{} copies, {running} of {} rows run",
                copies.len(),
                rows.len()
            ));
        }
        let name = |worker: &edgeio_tests::harness::Worker| (worker.name.clone(), 0);
        let mut spread: BTreeMap<String, usize> = system.workers.iter().map(name).collect();
        let mut since = BTreeMap::new();
        for row in rows {
            let text = |field: &str| row[field].as_str().unwrap().to_owned();
            *spread.entry(text("worker_node")).or_default() += 1;
            since.insert(text("instance_id"), row["since"].clone());
        }
        Ok(Self {
            copies,
            spread,
            since,
        })
    }

    /// Each worker has within one of its even share.
    #[track_caller]
    fn assert_even(&self) {
        let even = self.copies.len() / WORKERS;
        let fair = |count: &usize| (even.saturating_sub(1)..=even + 1).contains(count);
        assert!(self.spread.values().all(fair), "{:?}", self.spread);
    }

    /// All of these are the processes that they were, and say that they run since then.
    #[track_caller]
    fn assert_were_in(&self, before: &Self) {
        for copy in &self.copies {
            assert!(before.copies.contains(copy), "{copy:?} is another process");
            assert_eq!(
                self.since[&copy.instance], before.since[&copy.instance],
                "{copy:?}"
            );
        }
    }
}

#[test]
fn from_1_to_50_to_5_replicas_on_5_workers() {
    let _turn = alone();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    for number in 1..=WORKERS {
        let options = ["--runtimes", "native", "--capacity", "cpu=100,memory=10000"];
        system.add_worker(&format!("worker-{number}"), 0, &options);
    }
    let root = system.root();
    root.submit(&sleeper("many", "requirements: {cpu: 0.1, memory: 10}\n"));
    let settled = |replicas: usize| {
        let begun = Instant::now();
        let settled = wait_until(&format!("{replicas} run"), LIMIT, || {
            Settled::read(&system, "many", replicas)
        });
        eprintln!(
            "{replicas} run after {:?}: {:?}",
            begun.elapsed(),
            settled.spread
        );
        settled
    };
    let scale = |replicas: usize| {
        let body = json!({"replicas": replicas}).to_string();
        let answer = root.post("/api/v1/jobs/many/scale", &body).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        let operation = &answer.body["operation"];
        assert_eq!(operation["kind"], "scale", "{}", answer.body);
        let settled = settled(replicas);
        wait_until("the operation is done", LIMIT, || {
            let job = root.job("many")?;
            let operation = &job["operation"];
            (operation["state"] == "done")
                .then_some(())
                .ok_or_else(|| job.to_string())
        });
        settled
    };
    let one = settled(1);
    let fifty = scale(50);
    fifty.assert_even();
    for copy in &one.copies {
        assert!(fifty.copies.contains(copy), "{copy:?} is another process");
        assert_eq!(fifty.since[&copy.instance], one.since[&copy.instance]);
    }
    let five = scale(5);
    five.assert_even();
    five.assert_were_in(&fifty);
    let again = scale(5);
    assert_eq!(again.copies, five.copies);
}
