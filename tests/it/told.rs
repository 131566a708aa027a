//! What happened while somebody was away is told afterwards: each event once, at each tier, with its own time.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{Client, Settings, System, alone, end_all_in, pause, wait_until};
use jiff::Timestamp;
use serde_json::Value;

use crate::documents::sleeper;
use crate::outages::{kill, one, outage, restarted};

const LIMIT: Duration = Duration::from_secs(20);
/// How long after the return all must be told.
const TOLD: Duration = Duration::from_secs(10);
/// How often the application crashes meanwhile.
const CRASHES: usize = 3;
/// A worker that starts again soon what crashed.
const WORKER: [&str; 4] = ["--runtimes", "native", "--crash-backoff", "200ms"];

/// An event, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    at: Timestamp,
    tier: String,
    instance: String,
    from: String,
    to: String,
}

fn seen(row: &Value) -> Seen {
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    Seen {
        at: text("at").parse().unwrap(),
        tier: text("tier"),
        instance: text("instance_id"),
        from: text("from"),
        to: text("to"),
    }
}

/// The events of a job since a moment, in the order in which they are listed; their ids grow and none comes twice.
fn events(client: &Client, job: &str, since: Timestamp) -> Result<Vec<Seen>, String> {
    let rows = client.list(&format!("/api/v1/jobs/{job}/events"))?;
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(format!("ids that do not grow: {ids:?}"));
    }
    Ok(rows
        .iter()
        .map(seen)
        .filter(|event| event.at >= since)
        .collect())
}

fn of_worker(events: &[Seen]) -> Vec<(&str, &str)> {
    let told = events.iter().filter(|event| event.tier == "worker");
    told.map(|event| (event.from.as_str(), event.to.as_str()))
        .collect()
}

/// Waits until the crashes are told, and a while longer, in which nothing may come twice.
fn all_told(client: &Client, since: Timestamp, crashes: usize) -> Vec<Seen> {
    let cycle = [("RUNNING", "FAILED"), ("FAILED", "RUNNING")];
    let expected: Vec<(&str, &str)> = cycle.into_iter().cycle().take(2 * crashes).collect();
    let told = || {
        let events = events(client, "crashing", since)?;
        if of_worker(&events) == expected {
            Ok(events)
        } else {
            Err(format!("{events:#?}"))
        }
    };
    wait_until("each crash and each restart is told once", TOLD, told);
    pause(Duration::from_secs(3));
    told().unwrap()
}

/// Lets the application crash, and waits until its worker has started it again.
fn crash(system: &System) {
    let former = one(system, "crashing").unwrap();
    kill(&former);
    restarted(system, "crashing", &former);
}

/// A root, a cluster and a worker, and a job whose first start is told to everybody.
fn begun() -> System {
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &WORKER);
    system
        .root()
        .submit(&sleeper("crashing", "restart: always\n"));
    system.wait_state("crashing", "RUNNING", LIMIT);
    for client in [system.root(), system.cluster(0)] {
        wait_until("its start is told", TOLD, || {
            let events = events(&client, "crashing", Timestamp::UNIX_EPOCH)?;
            let start = [("SCHEDULED_NODE", "RUNNING")];
            (of_worker(&events) == start)
                .then_some(())
                .ok_or_else(|| format!("{events:?}"))
        });
    }
    system
}

#[test]
fn row_04_a_cluster_that_is_away_hears_what_happened_once() {
    let _turn = alone();
    let mut system = begun();

    let gone = Instant::now();
    system.clusters[0].kill();
    let since = Timestamp::now();
    for _ in 0..CRASHES {
        crash(&system);
    }
    // The engine tells of starts that it has heard of.
    pause(Duration::from_millis(500));
    let until = Timestamp::now();
    pause(outage(30).saturating_sub(gone.elapsed()));

    system.clusters[0].again();
    let back = Instant::now();
    let told = [system.cluster(0), system.root()].map(|client| all_told(&client, since, CRASHES));
    eprintln!("all was told {:?} after the return", back.elapsed());
    let [cluster, root] = told.map(|mut events| {
        events.retain(|event| event.tier == "worker");
        events
    });
    assert_eq!(cluster, root, "the same events with the same times");
    for event in &root {
        assert!(event.at <= until, "{event:?} is not of the outage");
    }
    let restarts = system.root().job("crashing").unwrap()["instances"][0]["restarts"].clone();
    assert_eq!(restarts, CRASHES);

    // Nothing is told again when everybody is started again.
    system.clusters[0].kill();
    system.root.kill();
    system.workers[0].program.kill();
    for program in [
        &mut system.root,
        &mut system.clusters[0],
        &mut system.workers[0].program,
    ] {
        program.again();
    }
    system.wait_state("crashing", "RUNNING", LIMIT);
    for client in [system.cluster(0), system.root()] {
        all_told(&client, since, CRASHES);
    }
}

#[test]
fn row_01_a_root_that_is_away_hears_what_happened_once() {
    let _turn = alone();
    let mut system = begun();
    system.add_worker("worker-2", 0, &WORKER);

    let gone = Instant::now();
    system.root.kill();
    let since = Timestamp::now();
    crash(&system);
    all_told(&system.cluster(0), since, 1);
    // The cluster itself heals the loss of a worker.
    system.workers[0].program.kill();
    end_all_in(&system.workers[0].directory);
    let replaced = wait_until("a copy runs on the other worker", LIMIT, || {
        let events = events(&system.cluster(0), "crashing", since)?;
        let start = ("SCHEDULED_NODE", "RUNNING");
        (of_worker(&events).last() == Some(&start))
            .then_some(events.clone())
            .ok_or_else(|| format!("{events:?}"))
    });
    pause(outage(10).saturating_sub(gone.elapsed()));

    system.root.again();
    let root = system.root();
    let told = || {
        let events = events(&root, "crashing", since)?;
        let below: Vec<Seen> = events
            .into_iter()
            .filter(|event| event.tier != "root")
            .collect();
        (below == replaced)
            .then_some(())
            .ok_or_else(|| format!("{below:#?} is not {replaced:#?}"))
    };
    wait_until("the root is told all of it, in its order", TOLD, told);
    pause(Duration::from_secs(3));
    told().unwrap();
    let causes: Vec<Value> = root.list("/api/v1/jobs/crashing/events").unwrap();
    let count = |cause: &str| causes.iter().filter(|row| row["cause"] == cause).count();
    assert_eq!(
        (count("worker_lost"), count("placed")),
        (1, 2),
        "{causes:#?}"
    );
}
