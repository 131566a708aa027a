//! A worker that starts with nobody to ask.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Engine, Image, Settings, System, alone, end_all_in, pause, required, wait_until,
};

use crate::documents::{container, sleeper};

const LIMIT: Duration = Duration::from_secs(30);
/// How long it may take until all applications run again.
const FIVE_SECONDS: Duration = Duration::from_secs(5);
const EACH: usize = 5;

/// Starts the cluster and the root again; whoever ran must still run, once each.
fn come_back(system: &mut System, jobs: &[String], still: impl Fn(&System)) {
    system.clusters[0].again();
    system.root.again();
    for job in jobs {
        system.wait_state(job, "RUNNING", LIMIT);
    }
    still(system);
    // Longer than it takes to take somebody for lost.
    pause(Duration::from_secs(4));
    still(system);
}

#[test]
fn five_processes_run_again_without_a_cluster() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=8,memory=1000");
    let jobs: Vec<String> = (0..EACH).map(|number| format!("native-{number}")).collect();
    for job in &jobs {
        system.root().submit(&sleeper(job, ""));
    }
    for job in &jobs {
        system.wait_state(job, "RUNNING", LIMIT);
    }
    system.root.kill();
    system.clusters[0].kill();
    system.workers[0].program.kill();
    end_all_in(&system.workers[0].directory);

    let begun = Instant::now();
    system.workers[0].program.again();
    let running = wait_until("all run again", FIVE_SECONDS, || one_each(&system, &jobs));
    eprintln!(
        "{EACH} processes run {:?} after the start of their engine",
        begun.elapsed()
    );
    come_back(&mut system, &jobs, |system| {
        assert_eq!(one_each(system, &jobs), Ok(running.clone()));
    });
}

#[test]
fn five_processes_and_five_containers_run_again_without_a_cluster() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--runtimes", "docker,native"]);
    let jobs = |kind: &str| -> Vec<String> {
        (0..EACH).map(|number| format!("{kind}-{number}")).collect()
    };
    let (native, docker) = (jobs("native"), jobs("docker"));
    let all = [native.clone(), docker.clone()].concat();
    for job in &native {
        system.root().submit(&sleeper(job, ""));
    }
    for job in &docker {
        system.root().submit(&container(job, &image.name));
    }
    for job in &all {
        system.wait_state(job, "RUNNING", LIMIT);
    }
    let node = system.workers[0].node_id.clone();
    system.root.kill();
    system.clusters[0].kill();
    system.workers[0].program.kill();
    end_all_in(&system.workers[0].directory);
    for container in engine.containers_of(&node) {
        engine.kill(&container.id);
    }
    let bare = bare(&engine, &image.name);

    let begun = Instant::now();
    system.workers[0].program.spawn();
    let containers = || one_container_each(&engine, &node, &docker);
    let running = wait_until("all run again", FIVE_SECONDS, || {
        Ok((one_each(&system, &native)?, containers()?))
    });
    eprintln!(
        "{EACH} processes and {EACH} containers run {:?} after the start of their engine; the bare engine takes {bare:?} for the containers",
        begun.elapsed()
    );
    system.workers[0].program.wait_ready();
    come_back(&mut system, &all, |system| {
        assert_eq!(one_each(system, &native), Ok(running.0.clone()));
        assert_eq!(containers(), Ok(running.1.clone()));
    });
}

/// The processes of these jobs, if each has one.
fn one_each(system: &System, jobs: &[String]) -> Result<BTreeSet<i32>, String> {
    let mut pids = BTreeSet::new();
    for job in jobs {
        match system.copies(job).as_slice() {
            [copy] => pids.insert(copy.pid),
            other => return Err(format!("{job}: {other:?}")),
        };
    }
    Ok(pids)
}

/// The containers of these jobs, if each has one and all run.
fn one_container_each(
    engine: &Engine,
    node: &str,
    jobs: &[String],
) -> Result<BTreeSet<String>, String> {
    let found = engine.containers_of(node);
    let named: Vec<&String> = found.iter().map(|container| &container.job).collect();
    let is = named == jobs.iter().collect::<Vec<_>>()
        && found.iter().all(|container| container.state == "running");
    if is {
        Ok(found.into_iter().map(|container| container.id).collect())
    } else {
        Err(format!("{found:?}"))
    }
}

/// How long the engine takes to make and start as many containers, two at once.
fn bare(engine: &Engine, image: &str) -> Duration {
    let begun = Instant::now();
    let numbers: Vec<usize> = (0..EACH).collect();
    let made: Vec<String> = std::thread::scope(|scope| {
        let start = |half: &[usize]| half.iter().map(|_| engine.run(image)).collect::<Vec<_>>();
        let halves: Vec<_> = numbers
            .chunks(EACH.div_ceil(2))
            .map(|half| scope.spawn(move || start(half)))
            .collect();
        halves
            .into_iter()
            .flat_map(|half| half.join().unwrap())
            .collect()
    });
    let took = begun.elapsed();
    for id in &made {
        engine.remove(id);
    }
    took
}
