//! Rows of the table of faults that are about programs that are away for long, and what must go on without them.
//!
//! The durations of the table are true ones; here they are `EDGEIO_SCALE` of that, a tenth where it is not set, and then
//! never longer than [`ENOUGH`]: every timer of the system has passed by then.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Client, Container, Copy, Engine, Image, Program, Settings, System, alone, end_all_in, pause,
    required, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::documents::{container, sleeper};

const LIMIT: Duration = Duration::from_secs(20);
/// How long after the return all must agree.
const AGREE: Duration = Duration::from_secs(10);
/// The longest outage where `EDGEIO_SCALE` is not set.
const ENOUGH: Duration = Duration::from_secs(12);

/// An outage of the table, scaled.
pub(crate) fn outage(minutes: u64) -> Duration {
    let truly = Duration::from_mins(minutes);
    let scale = std::env::var("EDGEIO_SCALE").ok();
    // A scale that is no number fails the test, and says so.
    let scale = scale.map(|scale| scale.parse::<f64>().unwrap());
    let outage = scale.map_or_else(
        || truly.mul_f64(0.1).min(ENOUGH),
        |scale| truly.mul_f64(scale),
    );
    eprintln!("an outage of {truly:?} is one of {outage:?} here");
    outage
}

pub(crate) fn kill(copy: &Copy) {
    kill_process(Pid::from_raw(copy.pid).unwrap(), Signal::KILL).unwrap();
}

pub(crate) fn one(system: &System, job: &str) -> Result<Copy, String> {
    match system.copies(job).as_slice() {
        [copy] => Ok(copy.clone()),
        other => Err(format!("{job}: {other:?}")),
    }
}

/// Waits until a job's one copy is another process than `former`.
pub(crate) fn restarted(system: &System, job: &str, former: &Copy) -> Copy {
    wait_until(&format!("{job} is started again"), LIMIT, || {
        one(system, job).and_then(|copy| {
            (copy.pid != former.pid)
                .then_some(copy)
                .ok_or_else(|| "it is the same".to_owned())
        })
    })
}

/// The only instance of a job, if it runs and its tier has just heard so.
fn runs(client: &Client, job: &str) -> Result<Value, String> {
    let body = client.job(job)?;
    let row = body["instances"][0].clone();
    let fine = body["state"] == "RUNNING" && row["stale"] == false;
    fine.then_some(row).ok_or_else(|| body.to_string())
}

/// How often workers registered at any of the clusters.
fn registrations(system: &System) -> usize {
    let logs = system.clusters.iter().map(Program::log);
    logs.map(|log| log.matches("a worker registered").count())
        .sum()
}

/// How often clusters connected to the root.
fn connections(system: &System) -> usize {
    system.root.log().matches("a cluster connected").count()
}

/// A cluster whose root is away takes jobs of its own, changes them and ends them, and leaves those of its root alone.
fn goes_on_alone(system: &System) {
    let cluster = system.cluster(0);
    cluster.submit(&sleeper("own", ""));
    wait_until("the cluster runs a job of its own", LIMIT, || {
        runs(&cluster, "own")
    });
    let answer = cluster.post("/api/v1/jobs/own/scale", "replicas: 2");
    assert_eq!(answer.unwrap().status, 202);
    wait_until("two copies run", LIMIT, || {
        let copies = system.copies("own");
        (copies.len() == 2)
            .then_some(())
            .ok_or_else(|| format!("{copies:?}"))
    });
    cluster.submit(&sleeper("brief", ""));
    wait_until("it runs", LIMIT, || one(system, "brief"));
    assert_eq!(cluster.delete("/api/v1/jobs/brief").unwrap().status, 202);
    let answer = cluster.delete("/api/v1/jobs/steady").unwrap();
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[test]
fn row_01_a_root_that_is_away_for_ten_minutes() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=8,memory=1000");
    for number in 2..=3 {
        let cluster = system.add_cluster(&format!("cluster-{number}"), &[]);
        let name = format!("worker-{number}");
        system.add_worker(&name, cluster, &["--runtimes", "native"]);
    }
    for job in ["steady", "crashing"] {
        let document = sleeper(job, "cluster_location: cluster-1\n");
        system.root().submit(&document);
        system.wait_state(job, "RUNNING", LIMIT);
    }
    let steady = one(&system, "steady").unwrap();
    let crashing = one(&system, "crashing").unwrap();
    let registered = registrations(&system);
    system.root.kill();
    let gone = Instant::now();
    goes_on_alone(&system);
    // Workers start again what crashes.
    kill(&crashing);
    let crashed = restarted(&system, "crashing", &crashing);
    pause(outage(10).saturating_sub(gone.elapsed()));

    let connected = connections(&system);
    let begun = Instant::now();
    system.root.again();
    let root = system.root();
    wait_until("the root's statuses catch up", AGREE, || {
        let row = runs(&root, "steady")?;
        let again = runs(&root, "crashing")?;
        (row["restarts"] == 0 && again["restarts"] == 1)
            .then_some(())
            .ok_or_else(|| format!("{row} {again}"))
    });
    wait_until("all clusters are back", AGREE, || {
        let clusters = root.list("/api/v1/clusters")?;
        clusters
            .iter()
            .all(|row| row["state"] == "ACTIVE")
            .then_some(())
            .ok_or_else(|| format!("{clusters:?}"))
    });
    let took = begun.elapsed();
    eprintln!("all statuses caught up {took:?} after the root's return");
    // No storm: each cluster came once, and no worker noticed.
    pause(Duration::from_secs(2));
    assert_eq!(connections(&system) - connected, system.clusters.len());
    assert_eq!(registrations(&system), registered);
    assert_eq!(one(&system, "steady"), Ok(steady));
    assert_eq!(one(&system, "crashing"), Ok(crashed));
    assert_eq!(system.copies("own").len(), 2);
    assert_eq!(system.copies("brief"), []);
}

/// A process that has the number which another one had before the machine was started again.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes what a worker's disk says be of an earlier boot, in which a stranger's number was that of the application.
fn reboot(instances: &std::path::Path, stranger: &Stranger) -> usize {
    let mut changed = 0;
    for entry in fs::read_dir(instances).unwrap() {
        let path = entry.unwrap().path().join("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let pid = stranger.0.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        let start: u64 = fields.split_whitespace().nth(19).unwrap().parse().unwrap();
        state["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
        for (number, began) in [("pid", "pid_start"), ("shim_pid", "shim_start")] {
            state[number] = pid.into();
            state[began] = start.into();
        }
        // An application that the machine's end took has left no record of its own end.
        let _ = fs::remove_file(path.with_file_name("exit.json"));
        fs::write(&path, state.to_string()).unwrap();
        changed += 1;
    }
    changed
}

/// A worker with native jobs, and one container where there is an engine.
struct Machine {
    system: System,
    docker: Option<(Engine, Image)>,
    native: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        let docker = required("docker").then(|| {
            let engine = Engine::connect();
            let image = Image::sleeper(&engine);
            (engine, image)
        });
        let mut system = System::start(Settings::QUICK);
        system.add_cluster("cluster-1", &[]);
        let kinds = match docker {
            Some(_) => "docker,native",
            None => "native",
        };
        system.add_worker("worker-1", 0, &["--runtimes", kinds]);
        let native = (0..3).map(|number| format!("native-{number}")).collect();
        let this = Self {
            system,
            docker,
            native,
        };
        for job in &this.native {
            this.system.root().submit(&sleeper(job, ""));
        }
        if let Some((_, image)) = &this.docker {
            this.system
                .root()
                .submit(&container("contained", &image.name));
        }
        this.wait_running();
        this
    }

    fn wait_running(&self) {
        let contained = self.docker.as_ref().map(|_| "contained");
        for job in self.native.iter().map(String::as_str).chain(contained) {
            self.system.wait_state(job, "RUNNING", LIMIT);
        }
    }

    fn containers(&self) -> Vec<Container> {
        let of_node =
            |(engine, _): &(Engine, Image)| engine.containers_of(&self.system.workers[0].node_id);
        self.docker.as_ref().map(of_node).unwrap_or_default()
    }

    /// All that runs, one process or container for each job.
    fn running(&self) -> Result<BTreeSet<String>, String> {
        let mut found = BTreeSet::new();
        for job in &self.native {
            found.insert(format!("{:?}", one(&self.system, job)?));
        }
        for container in self.containers() {
            if container.state != "running" {
                return Err(format!("{container:?}"));
            }
            found.insert(container.id);
        }
        let expected = self.native.len() + usize::from(self.docker.is_some());
        (found.len() == expected)
            .then_some(found)
            .ok_or_else(|| "some are missing".to_owned())
    }

    /// The link goes first, then all that the machine runs.
    fn ends(&mut self) {
        self.system.clusters[0].kill();
        self.system.root.kill();
        self.system.workers[0].program.kill();
        end_all_in(&self.system.workers[0].directory);
        for container in self.containers() {
            if let Some((engine, _)) = &self.docker {
                engine.kill(&container.id);
            }
        }
    }
}

#[test]
fn row_09_regression_kubeedge_4210_applications_of_a_worker_that_reboots_offline() {
    let _turn = alone();
    let mut machine = Machine::new();
    machine.ends();
    let stranger = Stranger(Command::new("sleep").arg("1000").spawn().unwrap());
    let instances = machine.system.workers[0].directory.join("instances");
    assert_eq!(reboot(&instances, &stranger), machine.native.len());

    let begun = Instant::now();
    machine.system.workers[0].program.spawn();
    let running = wait_until("all run again with nobody to ask", AGREE, || {
        machine.running()
    });
    eprintln!(
        "{} applications run {:?} after the start of their engine",
        running.len(),
        begun.elapsed()
    );
    let lives = fs::read_link(format!("/proc/{}/exe", stranger.0.id())).is_ok();
    assert!(
        lives,
        "a process of this boot was taken for one of the last"
    );
    machine.system.workers[0].program.wait_ready();

    // When the others are back, what runs is theirs again, untouched.
    machine.system.clusters[0].again();
    machine.system.root.again();
    machine.wait_running();
    pause(Duration::from_secs(3));
    assert_eq!(machine.running(), Ok(running));
}
