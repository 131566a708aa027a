//! Orchestrators whose state is in a real `MongoDB`, and what happens when that dies, or moves.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use edgeio_tests::harness::{
    Client, Copy, Done, Mongod, Program, Redis, Settings, System, alone, edgeio, required,
    together, wait_until,
};

use crate::broker::{Mosquitto, files_of};
use crate::documents::sleeper;
use crate::joining::{join_token, worker};
use crate::stores::faults::{Disk, large};

const LIMIT: Duration = Duration::from_mins(1);
/// Jobs that arrive while everything dies once.
const JOBS: usize = 200;

/// A server, and the URL of one database each for the root and the cluster.
fn databases(directory: &Path) -> (Mongod, String, String) {
    let data = directory.join("mongod");
    std::fs::create_dir(&data).unwrap();
    let server = Mongod::start(&data);
    let (root, cluster) = (server.url("root"), server.url("cluster"));
    (server, root, cluster)
}

fn name(number: usize) -> String {
    format!("job-{number}")
}

/// Submits a job until it is known that it is accepted.
fn submit(root: &Client, name: &str) {
    wait_until(&format!("{name} is accepted"), LIMIT, || {
        let answer = root.post(
            "/api/v1/jobs",
            &sleeper(name, "requirements: {memory: 1}\n"),
        )?;
        match answer.status {
            // 409: an attempt was, whose answer was lost.
            202 | 409 => Ok(()),
            _ => Err(answer.body.to_string()),
        }
    });
}

/// All jobs run at both levels, and each has one copy.
fn wait_all_once(system: &System, number: usize) -> BTreeSet<Copy> {
    for client in [system.root(), system.cluster(0)] {
        wait_until("all run", LIMIT * 2, || {
            let rows = client.list("/api/v1/jobs")?;
            let running = rows.iter().filter(|row| row["state"] == "RUNNING").count();
            (running == number)
                .then_some(())
                .ok_or_else(|| format!("{running} of {number}"))
        });
    }
    wait_until("each runs once", LIMIT, || {
        let copies = edgeio_tests::harness::copies_in(system.directory());
        let instances: BTreeSet<&String> = copies.iter().map(|copy| &copy.instance).collect();
        if copies.len() == number && instances.len() == number {
            return Ok(copies.iter().cloned().collect());
        }
        Err(format!(
            "{} copies of {} instances",
            copies.len(),
            instances.len()
        ))
    })
}

/// `edgeio-scheduler` at the queue in that Redis.
fn scheduler(directory: &Path, name: &str, redis: &str) -> Program {
    let args = ["--http", "127.0.0.1:0", "--redis", redis].map(str::to_owned);
    Program::start("edgeio-scheduler", name, directory, &args, None)
}

#[test]
fn two_hundred_jobs_run_once_each_on_mongodb_redis_and_mosquitto_though_each_part_dies_meanwhile() {
    if ["mongod", "redis", "mosquitto"]
        .iter()
        .any(|part| !required(part))
    {
        return;
    }
    let _turn = alone();
    let scratch = tempfile::tempdir().unwrap();
    let (mut server, of_root, of_cluster) = databases(scratch.path());
    let mut redis = Redis::start(scratch.path());
    let url = redis.url();
    // Both tiers ask elsewhere, and nobody chooses in place of that.
    let queues = ["--redis", &url, "--scheduler", "queue:edgeio fallback=none"];
    let queues = [&queues[..], &["--scheduler-pause", "500ms"]].concat();
    let of_root = [&queues[..], &["--store", &of_root]].concat();
    let mut system = System::start_with(Settings::QUICK, "127.0.0.1", None, &of_root);
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let broker = format!("mqtts://127.0.0.1:{port}");
    let of_cluster = ["--store", &of_cluster, "--broker", &broker];
    system.add_cluster("munich", &[&queues[..], &of_cluster].concat());
    let directory = system.directory().to_owned();
    let mut schedulers = ["one", "another"].map(|name| scheduler(&directory, name, &url));
    let folder = directory.join("mosquitto");
    files_of(&directory.join("munich"), &folder, port);
    let mut mosquitto = Some(Mosquitto::start(&folder));
    let cluster = system.cluster(0);
    let mut workers: Vec<_> = ["first", "second"]
        .map(|name| worker(&directory, name, &join_token(&cluster, 1, "1h")))
        .into();
    for worker in &mut workers {
        worker.again();
    }
    wait_until("the workers are heard", LIMIT, || {
        let nodes = cluster.list("/api/v1/nodes")?;
        let alive = nodes.iter().filter(|node| node["state"] == "ALIVE").count();
        (alive == 2)
            .then_some(())
            .ok_or_else(|| format!("{nodes:?}"))
    });

    let root = system.root();
    for number in 0..JOBS {
        submit(&root, &name(number));
        match number {
            // Its data with it: it keeps none, by our configuration.
            50 => drop(mosquitto.take()),
            70 => mosquitto = Some(Mosquitto::start(&folder)),
            100 => {
                server.kill();
                server.restart();
            }
            130 => {
                system.root.kill();
                system.root.again();
            }
            // All that it has in memory with it.
            150 => redis.kill(),
            155 => redis.restart(),
            160 => {
                system.clusters[0].kill();
                system.clusters[0].again();
            }
            170 => schedulers[0].kill(),
            180 => {
                schedulers[1].kill();
                schedulers[0].again();
            }
            _ => {}
        }
    }
    let before = wait_all_once(&system, JOBS);

    // Once more, with everything there is: what runs is not touched.
    system.root.kill();
    system.clusters[0].kill();
    drop(mosquitto.take());
    server.kill();
    server.restart();
    let _mosquitto = Mosquitto::start(&folder);
    system.clusters[0].again();
    system.root.again();
    assert_eq!(wait_all_once(&system, JOBS), before);
}

fn wait_ready(root: &Client) {
    wait_until("it is ready again", LIMIT, || {
        let answer = root.get("/readyz")?;
        (answer.status == 200)
            .then_some(())
            .ok_or_else(|| answer.body.to_string())
    });
}

#[test]
fn a_database_that_is_away_is_told_and_comes_back_by_itself() {
    if !required("mongod") {
        return;
    }
    let _turn = together();
    let scratch = tempfile::tempdir().unwrap();
    let (mut server, of_root, _) = databases(scratch.path());
    let system = System::start_with(Settings::QUICK, "127.0.0.1", None, &["--store", &of_root]);
    let root = system.root();
    submit(&root, "before");
    server.kill();
    // Though nothing was to be stored meanwhile.
    wait_until("it is not ready", LIMIT, || {
        let answer = root.get("/readyz")?;
        let missing = answer.body["missing"][0] == "the store";
        (answer.status == 503 && missing)
            .then_some(())
            .ok_or_else(|| answer.body.to_string())
    });
    // Nothing is accepted that is only in memory.
    let refused = wait_until("it is refused", LIMIT, || {
        let answer = root.post("/api/v1/jobs", &sleeper("lost", ""));
        match answer {
            Ok(answer) if answer.status == 503 => Ok(answer.body),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(refused["detail"].is_string(), "{refused}");
    server.restart();
    wait_ready(&root);
    submit(&root, "after");
    let names: BTreeSet<String> = root
        .list("/api/v1/jobs")
        .unwrap()
        .iter()
        .filter_map(|row| row["job_name"].as_str().map(str::to_owned))
        .collect();
    assert!(
        names.contains("before") && names.contains("after"),
        "{names:?}"
    );
}

/// As large as a mongod needs, and some.
const DISK: &str = "600m";

#[test]
fn a_database_whose_disk_is_full_has_all_that_was_accepted_when_there_is_room_again() {
    if !required("mongod") || !required("netns") {
        return;
    }
    let _turn = alone();
    let scratch = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&scratch.path().join("mongod"), DISK);
    let mut server = Mongod::start(&scratch.path().join("mongod"));
    let store = ["--store", &server.url("root")];
    let system = System::start_with(Settings::QUICK, "127.0.0.1", None, &store);
    let root = system.root();
    submit(&root, "before");
    disk.fill();
    let mut accepted = vec!["before".to_owned()];
    let refused = loop {
        let name = format!("large-{}", accepted.len());
        let answer = root.post("/api/v1/jobs", &large(&name));
        match answer {
            Ok(answer) if answer.status == 202 => accepted.push(name),
            Ok(answer) => break answer,
            Err(error) => panic!("{error}"),
        }
        assert!(accepted.len() < 2_000, "it is never full");
    };
    assert_eq!(refused.status, 503, "{}", refused.body);
    eprintln!("{} jobs were accepted on a full disk", accepted.len() - 1);
    disk.free();
    // It ends itself where it cannot write; whoever watches it starts it again.
    server.restart();
    wait_ready(&root);
    for job in &accepted {
        assert!(root.job(job).is_ok(), "{job}: {:?}", root.job(job));
    }
    submit(&root, "after");
    drop((system, server, disk));
}

fn migrate(tier: &str, dir: &str, from: &str, to: &str) -> Done {
    let what = ["store", "migrate", "--tier", tier, "--data-dir", dir];
    edgeio(&[&what[..], &["--from", from, "--to", to]].concat())
}

/// A second cluster with the same database, which is told by whom that is used.
fn a_twin_is_refused(database: &str, scratch: &Path) {
    let data = scratch.join("twin").display().to_string();
    let args = [
        "--name",
        "twin",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ];
    let args = [&args[..], &["--store", database, "--data-dir", &data]].concat();
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let mut twin = Program::prepare("cluster-orchestrator", "twin", scratch, &args);
    assert_eq!(twin.fails().code(), Some(78));
    let log = twin.log();
    assert!(log.contains("in use by cluster-orchestrator on"), "{log}");
}

#[test]
fn a_store_moves_into_a_database_and_back_and_nothing_that_runs_notices() {
    if !required("mongod") {
        return;
    }
    let _turn = together();
    let scratch = tempfile::tempdir().unwrap();
    let (_server, of_root, of_cluster) = databases(scratch.path());
    let mut system = System::of_one(Settings::QUICK, "cpu=8,memory=8000");
    for number in 0..3 {
        submit(&system.root(), &name(number));
    }
    let before = wait_all_once(&system, 3);
    let place = |tier: &str| system.directory().join(tier).display().to_string();
    let (root_dir, cluster_dir) = (place("root"), place("cluster-1"));
    // While the program runs it has its store, and nothing happens.
    let refused = migrate("root", &root_dir, "embedded", &of_root);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.complained.contains("in use"), "{refused:?}");

    assert!(system.root.stop().success());
    assert!(system.clusters[0].stop().success());
    for (tier, dir, url) in [
        ("root", &root_dir, &of_root),
        ("cluster", &cluster_dir, &of_cluster),
    ] {
        let moved = migrate(tier, dir, "embedded", url);
        assert_eq!(moved.code, Some(0), "{moved:?}");
        assert!(moved.said.contains("moved"), "{moved:?}");
        // The former one is of no use any more, and a second attempt says so.
        assert_eq!(migrate(tier, dir, "embedded", url).code, Some(1));
    }
    system.root.set_argument("--store", &of_root);
    system.clusters[0].set_argument("--store", &of_cluster);
    system.root.again();
    system.clusters[0].again();
    assert_eq!(wait_all_once(&system, 3), before);
    submit(&system.root(), &name(3));
    let before = wait_all_once(&system, 4);

    a_twin_is_refused(&of_cluster, scratch.path());

    assert!(system.root.stop().success());
    let back = migrate("root", &root_dir, &of_root, "embedded");
    assert_eq!(back.code, Some(0), "{back:?}");
    system.root.set_argument("--store", "embedded");
    system.root.again();
    assert_eq!(wait_all_once(&system, 4), before);
    let why = migrate("root", &root_dir, &of_root, "embedded").complained;
    assert!(why.contains("was moved to"), "{why}");
}

#[test]
fn a_url_that_is_none_is_a_wrong_option() {
    let _turn = together();
    let scratch = tempfile::tempdir().unwrap();
    for (store, says) in [
        ("mongodb+srv://x/y", "mongodb+srv:// is not supported"),
        ("mongodb://u:secret@/x", "names no host"),
        ("redis://x", "write embedded, memory, or mongodb://"),
    ] {
        let args = ["--http", "127.0.0.1:0", "--store", store].map(str::to_owned);
        let mut root = Program::prepare("root-orchestrator", "root", scratch.path(), &args);
        assert_eq!(root.fails().code(), Some(64));
        let log = root.log();
        assert!(log.contains(says), "{store}: {log}");
    }
}
