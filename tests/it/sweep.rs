//! Programs that die at each of their crash points, and come back.
//!
//! Each program names its points itself (`--crash-points`). While one is armed a user deploys, scales, changes, migrates or deletes
//! a job, or something else happens that leads there; the program dies, is started again, and within 10 s every accepted
//! job is there once, with one copy for each slot; root, cluster and kernel agree; nothing is left over; and what ran
//! before runs on in the same process. That every point was visited is asserted.
//!
//! `EDGEIO_SEED` lets some orders wait for a later time than the first at which a point is reached.

mod containers;
mod stage;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{System, crash_points, end_all_in, together, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use stage::{Op, Stage, Tier};

/// The points of a program; `None` where it was built without.
fn points_of(program: &str) -> Option<Vec<String>> {
    let points = crash_points(program);
    if points.is_none() {
        assert!(std::env::var_os("EDGEIO_TEST_PROGRAMS").is_some());
        eprintln!("ignored: the programs of EDGEIO_TEST_PROGRAMS have no crash points");
    }
    points
}

fn seed() -> usize {
    let seed = std::env::var("EDGEIO_SEED").ok();
    seed.and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// The operations during which a point is reached.
fn leads_to(point: &str) -> &'static [Op] {
    if point.contains(".stop.") {
        &[Op::Update, Op::Delete]
    } else if [
        "native.start",
        "node.start",
        "node.events",
        "cluster.confirm",
    ]
    .iter()
    .any(|start| point.starts_with(start))
    {
        // What ends as it was told to is no news of the worker's.
        &[Op::Deploy, Op::Scale, Op::Update]
    } else {
        &Op::LIFE
    }
}

/// Visits each point during each operation that leads there, in the lives of jobs of a tier; under a seed not the first
/// time that it is reached.
fn live_through(stage: &mut Stage, points: &[&str], at: Tier) {
    let mut due: BTreeMap<Op, Vec<String>> = BTreeMap::new();
    for (number, point) in points.iter().enumerate() {
        let ops = leads_to(point);
        let mut times: Vec<usize> = ops
            .iter()
            .map(|op| 1 + (number + *op as usize) * seed() % 4)
            .collect();
        // A later time may never come, and each point is to be visited.
        if !times.contains(&1) {
            times[0] = 1;
        }
        for (op, time) in ops.iter().zip(times) {
            let order = match time {
                1 => (*point).to_owned(),
                later => format!("{point}:{later}"),
            };
            due.entry(*op).or_default().push(order);
        }
    }
    let lives = due.values().map(Vec::len).max().unwrap_or_default();
    for life in 0..lives {
        let job = format!("{at:?}-{life}").to_lowercase();
        for op in Op::LIFE {
            if op == Op::Migrate && stage.system.workers.len() < 2 {
                continue;
            }
            let order = due.get(&op).and_then(|orders| orders.get(life));
            stage.live(order.map(String::as_str), op, (at, &job));
        }
    }
}

/// Says what was seen, and that it was all.
fn done(stage: &Stage, program: &str, points: &[String], begun: Instant) {
    let missed: Vec<&String> = points
        .iter()
        .filter(|point| !stage.visited.contains(*point))
        .collect();
    assert!(missed.is_empty(), "{program} never died at {missed:?}");
    let mut healed = stage.healed.clone();
    healed.sort();
    eprintln!(
        "{program}: {} of {} points visited by {} deaths (seed {}) in {:?}; all agreed {:?} after a restart in the median, {:?} at most",
        stage.visited.len(),
        points.len(),
        stage.deaths,
        seed(),
        begun.elapsed(),
        healed[healed.len() / 2],
        healed[healed.len() - 1],
    );
}

#[test]
fn row_02_the_root_dies_at_each_of_its_points() {
    let Some(points) = points_of("root-orchestrator") else {
        return;
    };
    let _turn = together();
    let begun = Instant::now();
    let mut stage = Stage::new(Tier::Root, 2);
    let mut lived = Vec::new();
    for point in &points {
        match point.as_str() {
            // Its cluster registers again as soon as it is back.
            "start.loaded"
            | "start.committed"
            | "root.register.admitted"
            | "root.register.answered" => stage.start_at(point),
            "sweep.before_commit" | "sweep.after_commit" => {}
            point => lived.push(point),
        }
    }
    live_through(&mut stage, &lived, Tier::Root);
    // The jobs that were deleted are forgotten when their time is up, which nobody asks for.
    stage.program().kill();
    stage.program().add_arguments(&["--retention", "500ms"]);
    stage.program().arm("sweep.before_commit");
    stage.revive();
    stage.fall("sweep.before_commit", "forgetting");
    stage.program().arm("sweep.after_commit");
    stage.revive();
    stage.fall("sweep.after_commit", "forgetting");
    stage.revive();
    stage.settle();
    done(&stage, "root-orchestrator", &points, begun);
}

#[test]
fn row_03_the_cluster_dies_at_each_of_its_points() {
    let Some(points) = points_of("cluster-orchestrator") else {
        return;
    };
    let _turn = together();
    let begun = Instant::now();
    let mut stage = Stage::new(Tier::Cluster, 2);
    let mut lived = Vec::new();
    for point in &points {
        match point.as_str() {
            "start.loaded" | "start.committed" | "cluster.uplink.registered" => {
                stage.start_at(point);
            }
            "cluster.worker.registered" | "cluster.worker.answered" => {
                worker_joins(&mut stage, point);
            }
            "cluster.part.staged" => large_change(&mut stage, point),
            "sweep.before_commit" | "sweep.after_commit" => {}
            point => lived.push(point),
        }
    }
    let is_answer = |point: &&str| point.ends_with("_answer");
    // A cluster answers its own users, and does what its root says.
    let (own, of_root): (Vec<&str>, Vec<&str>) = lived.iter().copied().partition(is_answer);
    live_through(&mut stage, &of_root, Tier::Root);
    let turns = lived
        .iter()
        .copied()
        .filter(|point| point.starts_with("turn."));
    live_through(&mut stage, &turns.collect::<Vec<_>>(), Tier::Cluster);
    assert!(own.iter().all(|point| stage.visited.contains(*point)));
    lost_worker(&mut stage);
    done(&stage, "cluster-orchestrator", &points, begun);
}

#[test]
fn row_08_the_engine_dies_at_each_of_its_points() {
    let Some(points) = points_of("node-engine") else {
        return;
    };
    let _turn = together();
    let begun = Instant::now();
    let mut stage = Stage::new(Tier::Worker, 1);
    let mut lived = Vec::new();
    let (containers, points): (Vec<String>, Vec<String>) = points
        .into_iter()
        .partition(|point| point.starts_with("docker."));
    assert!(!containers.is_empty(), "the next test visits those");
    for point in &points {
        match point.as_str() {
            "node.start.loaded"
            | "node.start.committed"
            | "node.adopting"
            | "node.adopted"
            | "node.register.answered"
            | "node.register.saved" => stage.start_at(point),
            "node.part.staged" => large_change(&mut stage, point),
            "node.exit.heard" => application_dies(&mut stage, point),
            "node.exit.recorded" => one_shot(&mut stage, point),
            point => lived.push(point),
        }
    }
    live_through(&mut stage, &lived, Tier::Root);
    done(&stage, "node-engine", &points, begun);
}

/// A worker that registers again finds a cluster that dies of it.
fn worker_joins(stage: &mut Stage, point: &str) {
    stage.system.workers[1].program.kill();
    stage.program().arm(point);
    stage.system.workers[1].program.spawn();
    stage.fall(point, "a registration");
    stage.revive();
    stage.system.workers[1].program.wait_ready();
    stage.settle();
}

/// A change that goes down in parts.
fn large_change(stage: &mut Stage, point: &str) {
    // Each service says something else, or it would go down once for all.
    let variables = |service: usize| -> String {
        let text = service.to_string().repeat(3_000);
        let line = |number: usize| format!("      V{number}: \"{text}\"\n");
        (0..4).map(line).collect()
    };
    let service = |number: usize| {
        format!(
            "- name: part-{number}\n  image_runtime: native\n  command: [/bin/sleep, \"100000\"]\n  environment:\n{}",
            variables(number)
        )
    };
    let services: String = (0..4).map(service).collect();
    let document = format!("api_version: v1\njob_name: large\nservices:\n{services}");
    stage.program().arm(point);
    let id = stage.system.root().submit(&document)["job_id"].clone();
    stage.fall(point, "a change in parts");
    stage.revive();
    let limit = Duration::from_secs(10);
    let job = stage.system.wait_state("large", "RUNNING", limit);
    assert_eq!(job["job_id"], id);
    assert_eq!(stage.system.copies("large").len(), 4);
    let answer = stage.system.root().delete("/api/v1/jobs/large").unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    stage.settle();
}

/// An application dies, and its engine with it before it could do anything about that.
fn application_dies(stage: &mut Stage, point: &str) {
    stage.live(None, Op::Deploy, (Tier::Root, "crashing"));
    let before = stage.one_copy("crashing");
    stage.program().arm(point);
    kill_process(Pid::from_raw(before.pid).unwrap(), Signal::KILL).unwrap();
    stage.fall(point, "the end of an application");
    stage.forget_processes("crashing");
    stage.revive();
    stage.settle();
    assert_ne!(stage.one_copy("crashing").pid, before.pid);
    stage.live(None, Op::Delete, (Tier::Root, "crashing"));
}

/// What ends for good is not started again by an engine that died when it had just noted that.
fn one_shot(stage: &mut Stage, point: &str) {
    let runs = stage.system.directory().join("runs");
    let document = format!(
        "api_version: v0.1\njob_name: once\nimage_runtime: native\nrestart: never\ncommand: [/bin/sh, -c, \"echo ran >> {}\"]\n",
        runs.display()
    );
    stage.program().arm(point);
    let id = stage.system.root().submit(&document)["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    stage.fall(point, "the end of a job that runs once");
    stage.revive();
    stage
        .system
        .wait_state(&id, "TERMINATED", Duration::from_secs(10));
    let answer = stage
        .system
        .root()
        .delete(&format!("/api/v1/jobs/{id}"))
        .unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    stage.settle();
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "ran\n");
}

/// A worker is lost while nobody asks for anything: the cluster dies before it has noted the replacement, and again when
/// it has. Where something came in at the same moment, the replacement was noted with that, and the worker is lost again.
fn lost_worker(stage: &mut Stage) {
    let steady = stage.one_copy("steady");
    let victim = usize::from(copies_below(stage, 0).contains(&steady.pid));
    let directory = stage.system.workers[victim].directory.clone();
    let mut jobs = (0..).map(|number| format!("moving-{number}"));
    for point in ["sweep.before_commit", "sweep.after_commit"] {
        let fell = jobs.by_ref().take(5).any(|job| {
            // A job each time: what was replaced is all on the other worker.
            stage.live(None, Op::Deploy, (Tier::Root, &job));
            stage.live(None, Op::Scale, (Tier::Root, &job));
            assert!(
                !copies_below(stage, victim).is_empty(),
                "the replicas are spread"
            );
            let replaced = |system: &System| system.copies(&job).len() == 3;
            stage.program().arm(point);
            stage.system.workers[victim].program.kill();
            end_all_in(&directory);
            let fell = stage.falls(point, replaced);
            if fell {
                stage.revive();
            } else {
                stage.program().disarm();
            }
            wait_until("the other worker runs all", Duration::from_secs(15), || {
                let copies = stage.system.copies(&job);
                (copies.len() == 3)
                    .then_some(())
                    .ok_or_else(|| format!("{copies:?}"))
            });
            stage.system.workers[victim].program.again();
            stage.forget_processes("moving-");
            stage.settle();
            fell
        });
        assert!(fell, "five losses of a worker, and never {point}");
    }
    assert_eq!(stage.one_copy("steady"), steady);
}

/// The processes of a worker's applications.
fn copies_below(stage: &Stage, worker: usize) -> Vec<i32> {
    let directory = &stage.system.workers[worker].directory;
    let copies = edgeio_tests::harness::copies_in(directory);
    copies.into_iter().map(|copy| copy.pid).collect()
}
