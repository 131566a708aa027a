//! Programs that die at any time and come back, with the times that they have by default.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Container, Copy, Engine, Image, Program, Sampler, Settings, System, alone, pause, required,
    wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::documents::{container, sleeper};

const LIMIT: Duration = Duration::from_secs(20);
/// How long after the last restart all views must agree.
const AGREE: Duration = Duration::from_secs(10);
/// How long a program stays dead.
const AWAY: Duration = Duration::from_millis(1_200);
/// For longer than any tier takes to give up what it has not heard since a restart.
const LONG: Duration = Duration::from_secs(20);
/// For how long nothing may change afterwards.
const QUIET: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    Root,
    Cluster,
    Worker,
}

/// Each alone, each two, all.
const GROUPS: [&[Tier]; 7] = [
    &[Tier::Root],
    &[Tier::Cluster],
    &[Tier::Worker],
    &[Tier::Root, Tier::Cluster],
    &[Tier::Cluster, Tier::Worker],
    &[Tier::Root, Tier::Worker],
    &[Tier::Root, Tier::Cluster, Tier::Worker],
];

fn kill(system: &mut System, tiers: &[Tier]) {
    for tier in tiers {
        match tier {
            Tier::Root => system.root.kill(),
            Tier::Cluster => system.clusters[0].kill(),
            Tier::Worker => system.workers[0].program.kill(),
        }
    }
}

/// Starts them again; gives when the last was started.
fn start(system: &mut System, tiers: &[Tier]) -> Instant {
    for tier in tiers {
        match tier {
            Tier::Root => system.root.spawn(),
            Tier::Cluster => system.clusters[0].spawn(),
            Tier::Worker => system.workers[0].program.spawn(),
        }
    }
    let started = Instant::now();
    for tier in tiers {
        match tier {
            Tier::Root => system.root.wait_ready(),
            Tier::Cluster => system.clusters[0].wait_ready(),
            Tier::Worker => system.workers[0].program.wait_ready(),
        }
    }
    started
}

/// The one instance of a job that runs, as root and cluster and the machine say in accord.
fn agreed(system: &System, job: &str) -> Result<Copy, String> {
    let copies = system.copies(job);
    let [copy] = copies.as_slice() else {
        return Err(format!("really there: {copies:?}"));
    };
    for (tier, client) in [("root", system.root()), ("cluster", system.cluster(0))] {
        let jobs = client.list("/api/v1/jobs")?;
        let row = jobs.iter().find(|row| row["job_name"] == job);
        let id = row.and_then(|row| row["job_id"].as_str()).unwrap_or(job);
        let body = client.job(id)?;
        let instances = body["instances"].as_array().map(Vec::as_slice);
        let same = |instance: &Value| {
            instance["instance_id"].as_str() == Some(&copy.instance)
                && instance["state"] == "RUNNING"
                && instance["stale"] == false
        };
        let agrees = matches!(instances, Some([instance]) if same(instance));
        if body["state"] != "RUNNING" || !agrees {
            return Err(format!("the {tier} says {body}, but {copy:?}"));
        }
    }
    Ok(copy.clone())
}

/// Waits for accord and for it to last; gives the copy and how long it took since `begun`.
fn wait_agreed(system: &System, job: &str, begun: Instant) -> (Copy, Duration) {
    let left = (begun + AGREE).saturating_duration_since(Instant::now());
    let copy = wait_until(&format!("all agree about {job}"), left, || {
        agreed(system, job)
    });
    let took = begun.elapsed();
    pause(QUIET);
    assert_eq!(agreed(system, job).as_ref(), Ok(&copy));
    (copy, took)
}

fn sampler(system: &System, job: &str) -> Sampler {
    let (directory, job) = (system.directory().to_owned(), job.to_owned());
    Sampler::start(move || {
        let copies = edgeio_tests::harness::copies(&directory, &job);
        copies.iter().map(|copy| format!("{copy:?}")).collect()
    })
}

#[test]
fn what_runs_survives_the_death_of_any_tiers_untouched() {
    let _turn = alone();
    let mut system = System::of_one(Settings::default(), "cpu=4,memory=1000");
    system.root().submit(&sleeper("steady", ""));
    system.wait_state("steady", "RUNNING", LIMIT);
    let before = system.copies("steady");
    for tiers in GROUPS {
        let sampler = sampler(&system, "steady");
        kill(&mut system, tiers);
        pause(AWAY);
        let started = start(&mut system, tiers);
        let (copy, took) = wait_agreed(&system, "steady", started);
        let sampling = sampler.finish();
        assert_eq!(vec![copy], before, "{tiers:?}");
        assert_eq!(sampling.ever.len(), 1, "{tiers:?}: {:?}", sampling.ever);
        eprintln!(
            "after a deploy, {tiers:?} killed: all agree {took:?} after the restart ({} looks)",
            sampling.looks
        );
    }
    let sampler = sampler(&system, "steady");
    pause(LONG);
    assert_eq!(agreed(&system, "steady").as_ref(), Ok(&before[0]));
    let sampling = sampler.finish();
    assert_eq!(sampling.ever.len(), 1, "{:?}", sampling.ever);
}

#[test]
fn a_deploy_survives_the_death_of_any_tiers_and_makes_one_copy() {
    let _turn = alone();
    let mut system = System::of_one(Settings::default(), "cpu=4,memory=1000");
    // From before the first message to after the start of the application.
    for (round, delay) in [0, 4, 12, 40].into_iter().enumerate() {
        for (group, tiers) in GROUPS.iter().enumerate() {
            let job = format!("during-{round}-{group}");
            let sampler = sampler(&system, &job);
            system.root().submit(&sleeper(&job, ""));
            pause(Duration::from_millis(delay));
            kill(&mut system, tiers);
            pause(Duration::from_millis(300));
            let started = start(&mut system, tiers);
            let (_, took) = wait_agreed(&system, &job, started);
            let sampling = sampler.finish();
            assert_eq!(
                sampling.ever.len(),
                1,
                "{tiers:?} after {delay} ms: {:?}",
                sampling.ever
            );
            eprintln!(
                "{delay} ms into a deploy, {tiers:?} killed: all agree {took:?} after the restart"
            );
        }
    }
}

/// Waits until root and cluster say of a container's job what the engine says; gives the container and how long it took.
fn wait_container(
    system: &System,
    engine: &Engine,
    job: &str,
    begun: Instant,
) -> (Container, Duration) {
    let node = &system.workers[0].node_id;
    let look = || {
        let mut containers = engine.containers_of(node);
        containers.retain(|container| container.job == job);
        let [container] = containers.as_slice() else {
            return Err(format!("really there: {containers:?}"));
        };
        // A start that failed removes its container, and the next one makes another.
        let Some(label) = engine.label(&container.id, "edgeio.instance") else {
            return Err(format!("it just went: {container:?}"));
        };
        for client in [system.root(), system.cluster(0)] {
            let jobs = client.list("/api/v1/jobs")?;
            let row = jobs.iter().find(|row| row["job_name"] == job);
            let id = row.and_then(|row| row["job_id"].as_str()).unwrap_or(job);
            let body = client.job(id)?;
            let instance = &body["instances"][0];
            let fresh = instance["instance_id"] == *label && instance["stale"] == false;
            if body["state"] != "RUNNING" || container.state != "running" || !fresh {
                return Err(format!("{container:?} {body}"));
            }
        }
        Ok(container.clone())
    };
    let left = (begun + AGREE).saturating_duration_since(Instant::now());
    let container = wait_until(&format!("all agree about {job}"), left, look);
    let took = begun.elapsed();
    pause(QUIET);
    assert_eq!(look().as_ref(), Ok(&container));
    (container, took)
}

/// A cluster with a worker that has containers alone.
fn system_of_containers() -> System {
    let mut system = System::start(Settings::default());
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--runtimes", "docker"]);
    system
}

/// Looks at the ids of a job's containers.
fn container_sampler(system: &System, engine: &Engine, job: &str) -> Sampler {
    let (engine, job) = (engine.clone(), job.to_owned());
    let node = system.workers[0].node_id.clone();
    Sampler::start(move || {
        let found = engine.containers_of(&node).into_iter();
        let found = found.filter(|container| container.job == job);
        found.map(|container| container.id).collect()
    })
}

#[test]
fn a_container_survives_the_death_of_any_tiers_untouched() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = system_of_containers();
    system.root().submit(&container("steady", &image.name));
    let (before, _) = wait_container(&system, &engine, "steady", Instant::now());
    let since = || engine.inspect(&before.id)["State"]["StartedAt"].clone();
    let started_at = since();
    for tiers in GROUPS {
        let sampler = container_sampler(&system, &engine, "steady");
        kill(&mut system, tiers);
        pause(AWAY);
        let started = start(&mut system, tiers);
        let (after, took) = wait_container(&system, &engine, "steady", started);
        let sampling = sampler.finish();
        assert_eq!(after, before, "{tiers:?}");
        assert_eq!(sampling.ever.len(), 1, "{tiers:?}: {:?}", sampling.ever);
        assert_eq!(since(), started_at, "{tiers:?}");
        eprintln!(
            "a container runs, {tiers:?} killed: all agree {took:?} after the restart ({} looks)",
            sampling.looks
        );
    }
}

#[test]
fn a_deploy_of_a_container_survives_the_death_of_any_tiers_and_makes_one() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = system_of_containers();
    // Making and starting one takes about 300 ms; the worker dies at several points of that.
    for (group, (tiers, delay)) in GROUPS
        .iter()
        .zip([20, 60, 10, 150, 70, 130, 200])
        .enumerate()
    {
        let job = format!("during-{group}");
        let sampler = container_sampler(&system, &engine, &job);
        system.root().submit(&container(&job, &image.name));
        pause(Duration::from_millis(delay));
        kill(&mut system, tiers);
        pause(AWAY);
        let started = start(&mut system, tiers);
        let (_, took) = wait_container(&system, &engine, &job, started);
        let sampling = sampler.finish();
        assert_eq!(sampling.most.len(), 1, "{tiers:?}: {:?}", sampling.most);
        eprintln!(
            "{delay} ms into the deploy of a container, {tiers:?} killed: all agree {took:?} after the restart, {} made",
            sampling.ever.len()
        );
    }
}

#[test]
fn regression_oakestra_419_a_worker_that_dies_before_it_started_anything_is_replaced_or_missed() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    // It is connected, and hears nothing.
    system.workers[0].program.signal(Signal::STOP);
    system.root().submit(&sleeper("free", ""));
    system
        .root()
        .submit(&sleeper("pinned", "worker_node: worker-1\n"));
    for job in ["free", "pinned"] {
        let job = system.wait_state(job, "SCHEDULED_NODE", LIMIT);
        assert_eq!(job["instances"][0]["worker_node"], "worker-1", "{job}");
    }
    system.workers[0].program.kill();
    let begun = Instant::now();
    let root = system.root();
    let code = |job: &str| -> Result<String, String> {
        let body = root.job(job)?;
        let waits = body["state"] == "NOT_DEPLOYED";
        let reason = body["reason"]
            .as_str()
            .filter(|reason| waits && !reason.is_empty());
        reason.map(str::to_owned).ok_or_else(|| body.to_string())
    };
    for job in ["free", "pinned"] {
        let reason = wait_until("it says what is missing", LIMIT, || code(job));
        eprintln!(
            "{job}: {reason:?}, {:?} after the worker died",
            begun.elapsed()
        );
    }
    system.add_worker("worker-2", 0, &["--runtimes", "native"]);
    let job = system.wait_state("free", "RUNNING", LIMIT);
    let holder = job["instances"].as_array().unwrap().iter();
    let holder: Vec<&Value> = holder
        .filter(|instance| instance["role"] == "holder")
        .collect();
    assert_eq!(holder.len(), 1, "{job}");
    assert_eq!(holder[0]["worker_node"], "worker-2", "{job}");
    assert_eq!(system.copies("free").len(), 1);
    assert!(code("pinned").is_ok(), "{:?}", code("pinned"));
    assert_eq!(system.copies("pinned"), []);
}

#[test]
fn the_share_of_a_worker_that_dies_before_it_started_it_goes_to_the_other() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    system.add_worker("worker-2", 0, &["--runtimes", "native"]);
    system.workers[0].program.signal(Signal::STOP);
    system.root().submit(&sleeper("pair", "replicas: 2\n"));
    let root = system.root();
    let on = |worker: &str, state: &str| -> Result<usize, String> {
        let job = root.job("pair")?;
        let instances = job["instances"].as_array().unwrap().iter();
        let is = |instance: &&Value| {
            instance["role"] == "holder"
                && instance["worker_node"] == worker
                && instance["state"] == state
        };
        Ok(instances.filter(is).count())
    };
    wait_until("one runs, one is on its way", LIMIT, || {
        let seen = (
            on("worker-1", "SCHEDULED_NODE")?,
            on("worker-2", "RUNNING")?,
        );
        (seen == (1, 1))
            .then_some(())
            .ok_or_else(|| format!("{seen:?}"))
    });
    system.workers[0].program.kill();
    let begun = Instant::now();
    wait_until("both run on the other", LIMIT, || {
        let seen = on("worker-2", "RUNNING")?;
        (seen == 2).then_some(()).ok_or_else(|| format!("{seen}"))
    });
    eprintln!(
        "the other worker runs both {:?} after the first died",
        begun.elapsed()
    );
    assert_eq!(system.copies("pair").len(), 2);
}

#[test]
fn programs_that_are_asked_to_stop_end_with_0_and_leave_applications_to_their_next_start() {
    let _turn = alone();
    let mut system = System::of_one(Settings::default(), "cpu=4,memory=1000");
    system.root().submit(&sleeper("steady", ""));
    system.wait_state("steady", "RUNNING", LIMIT);
    let before = system.copies("steady");
    let sampler = sampler(&system, "steady");
    let stop = |program: &mut Program| {
        let begun = Instant::now();
        let status = program.stop();
        assert_eq!(status.code(), Some(0), "{}: {status}", program.name());
        eprintln!("{} stopped within {:?}", program.name(), begun.elapsed());
    };
    stop(&mut system.workers[0].program);
    stop(&mut system.clusters[0]);
    stop(&mut system.root);
    assert_eq!(system.copies("steady"), before);
    let started = start(&mut system, &[Tier::Root, Tier::Cluster, Tier::Worker]);
    let (copy, took) = wait_agreed(&system, "steady", started);
    assert_eq!(vec![copy], before);
    assert_eq!(sampler.finish().ever.len(), 1);
    eprintln!("all stopped: all agree {took:?} after the restart");
}
