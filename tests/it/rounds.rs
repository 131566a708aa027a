//! Root and cluster are stopped and started again, again and again, while jobs are submitted.
//!
//! `EDGEIO_ROUNDS` says how often; 8 times where it is not set.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Client, Settings, System, alone, pause, wait_until};
use serde_json::Value;

/// How long after the last restart everything must run, and how much longer for each round: what a root could not assign
/// between two of them waits for the last.
const RUN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(2));
/// How long one submission is tried again at most.
const TAKEN: Duration = Duration::from_secs(20);
/// Between two submissions.
const PACE: Duration = Duration::from_millis(20);

fn rounds() -> usize {
    let rounds = std::env::var("EDGEIO_ROUNDS").ok();
    // A text that is no number fails the test, and says so.
    rounds.map_or(8, |rounds| rounds.parse().unwrap())
}

fn document(name: &str) -> String {
    format!("api_version: v0.1\njob_name: {name}\nimage_runtime: noop\nimage: nothing\n")
}

/// What was accepted, and how often a submission had to be sent again.
#[derive(Debug, Default)]
struct Accepted {
    ids: BTreeMap<String, String>,
    again: usize,
}

/// Submits jobs under keys, each until it is accepted, until there are enough rounds.
fn submit(client: &Client, owner: &str, done: &AtomicBool) -> Accepted {
    let mut accepted = Accepted::default();
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{owner}-{number}");
        let answer = wait_until(&format!("{name} is accepted"), TAKEN, || {
            let sent = client.post_under(&name, "/api/v1/jobs", &document(&name));
            let sent = sent.and_then(|answer| match answer.status {
                202 => Ok(answer.body),
                status => Err(format!("{status} {}", answer.body)),
            });
            sent.inspect_err(|_| accepted.again += 1)
        });
        let id = answer["job_id"].as_str().unwrap().to_owned();
        accepted.ids.insert(name, id);
        pause(PACE);
    }
    accepted
}

/// Each accepted job is listed once under its id, and runs in one instance.
fn complete(client: &Client, accepted: &Accepted, owner: &str) -> Result<usize, String> {
    let rows = client.list("/api/v1/jobs")?;
    let mut seen: BTreeMap<&str, &Value> = BTreeMap::new();
    for row in &rows {
        let name = row["job_name"].as_str().unwrap_or_default();
        if name.starts_with(owner) && seen.insert(name, row).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    if seen.len() != accepted.ids.len() {
        return Err(format!(
            "{} of {} are there",
            seen.len(),
            accepted.ids.len()
        ));
    }
    for (name, id) in &accepted.ids {
        let row = seen
            .get(name.as_str())
            .ok_or_else(|| format!("{name} is missing"))?;
        let instances = row["instances"].as_array().map_or(0, Vec::len);
        if row["job_id"] != **id || row["state"] != "RUNNING" || instances != 1 {
            return Err(format!("{id}: {row}"));
        }
    }
    Ok(seen.len())
}

#[test]
fn root_and_cluster_restart_again_and_again_while_jobs_are_submitted() {
    let _turn = alone();
    let mut system = System::start(Settings::QUICK);
    system.root.add_arguments(&["--allow-noop"]);
    system.root.kill();
    system.root.again();
    system.add_cluster("cluster-1", &["--allow-noop"]);
    let capacity = "cpu=1000000,memory=1000000000";
    system.add_worker(
        "worker-1",
        0,
        &["--runtimes", "noop", "--capacity", capacity],
    );
    let (root, cluster) = (system.root(), system.cluster(0));
    let (rounds, done, begun) = (rounds(), AtomicBool::new(false), Instant::now());
    let (of_root, of_cluster) = std::thread::scope(|scope| {
        let of_root = scope.spawn(|| submit(&root.another(), "root", &done));
        let of_cluster = scope.spawn(|| submit(&cluster.another(), "own", &done));
        for round in 0..rounds {
            pause(Duration::from_millis(100 + (round as u64 * 37) % 200));
            // One, the other, both; asked to, or killed.
            let polite = round % 2 == 0;
            let both = [&mut system.root, &mut system.clusters[0]];
            for (place, program) in both.into_iter().enumerate() {
                if round % 3 == place {
                    continue;
                }
                if polite {
                    let status = program.stop();
                    assert_eq!(status.code(), Some(0), "{}: {status}", program.name());
                } else {
                    program.kill();
                }
            }
            for (place, program) in [&mut system.root, &mut system.clusters[0]]
                .into_iter()
                .enumerate()
            {
                if round % 3 != place {
                    program.again();
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        (of_root.join().unwrap(), of_cluster.join().unwrap())
    });
    let took = begun.elapsed();
    let limit = RUN.0 + RUN.1 * u32::try_from(rounds).unwrap();
    let begun = Instant::now();
    for (client, accepted, owner) in [
        (&root, &of_root, "root-"),
        (&cluster, &of_root, "root-"),
        (&cluster, &of_cluster, "own-"),
    ] {
        wait_until("every accepted job runs, once", limit, || {
            complete(client, accepted, owner)
        });
    }
    eprintln!(
        "{rounds} rounds in {took:?}: {} jobs of the root ({} sent again), {} of the cluster ({} sent again); all run {:?} after the last",
        of_root.ids.len(),
        of_root.again,
        of_cluster.ids.len(),
        of_cluster.again,
        begun.elapsed()
    );
}
