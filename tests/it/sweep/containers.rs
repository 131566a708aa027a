//! The points of containers: between the calls that make, start, stop and remove one.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Container, Engine, Image, Settings, System, crash_points, required, together, wait_until,
};
use serde_json::Value;

use crate::documents::container;

/// How long after the restart all must agree; stopping a container takes its grace of a second.
const AGREE: Duration = Duration::from_secs(10);

/// A worker with containers alone, and one that runs from the beginning to the end.
struct Bed {
    system: System,
    engine: Engine,
    image: Image,
    steady: Value,
    visited: Vec<String>,
}

impl Bed {
    fn new() -> Self {
        let engine = Engine::connect();
        let image = Image::sleeper(&engine);
        let mut system = System::start(Settings::QUICK);
        system.add_cluster("cluster-1", &[]);
        system.add_worker("worker-1", 0, &["--runtimes", "docker"]);
        system.workers[0].program.let_crash();
        system.workers[0].program.kill();
        system.workers[0].program.again();
        system.root().submit(&container("steady", &image.name));
        system.wait_state("steady", "RUNNING", AGREE);
        let mut this = Self {
            system,
            engine,
            image,
            steady: Value::Null,
            visited: Vec::new(),
        };
        this.steady = this.started_at("steady").unwrap();
        this
    }

    fn containers(&self, job: &str) -> Vec<Container> {
        let mut all = self.engine.containers_of(&self.system.workers[0].node_id);
        all.retain(|container| container.job == job);
        all
    }

    fn started_at(&self, job: &str) -> Result<Value, String> {
        let containers = self.containers(job);
        let [container] = containers.as_slice() else {
            return Err(format!("{job}: {containers:?}"));
        };
        Ok(self.engine.inspect(&container.id)["State"]["StartedAt"].clone())
    }

    /// The engine dies at a point while that is done, comes back, and what should be there is.
    fn die(&mut self, points: &[&str], what: &str, act: impl FnOnce(&Self), job: Option<&str>) {
        let mut act = Some(act);
        for point in points {
            let program = &mut self.system.workers[0].program;
            program.arm(point);
            match act.take() {
                Some(act) => act(self),
                None => self.system.workers[0].program.spawn(),
            }
            let program = &mut self.system.workers[0].program;
            let status = wait_until(&format!("it dies at {point} during {what}"), AGREE, || {
                program.ended().ok_or_else(|| "it runs".to_owned())
            });
            assert_eq!(status.signal(), Some(9), "{point}: {status}");
            assert!(program.log().contains(&format!("crash point {point}:")));
            program.disarm();
            self.visited.push((*point).to_owned());
        }
        let restarted = Instant::now();
        self.system.workers[0].program.again();
        wait_until(
            &format!("all agree after {points:?} in {what}"),
            AGREE,
            || self.agreed(job),
        );
        assert_eq!(
            self.started_at("steady"),
            Ok(self.steady.clone()),
            "{points:?}"
        );
        eprintln!(
            "{points:?} in {what}: all agree {:?} after the restart",
            restarted.elapsed()
        );
    }

    /// One container for the job that is there, one for the steady one, and no other.
    fn agreed(&self, job: Option<&str>) -> Result<(), String> {
        let all = self.engine.containers_of(&self.system.workers[0].node_id);
        let names: Vec<&str> = all.iter().map(|container| container.job.as_str()).collect();
        let expected: Vec<&str> = job.into_iter().chain(["steady"]).collect();
        if names != expected || all.iter().any(|container| container.state != "running") {
            return Err(format!("{all:?}"));
        }
        for job in expected {
            for client in [self.system.root(), self.system.cluster(0)] {
                let rows = client.list("/api/v1/jobs")?;
                let row = rows.iter().find(|row| row["job_name"] == job);
                let id = row.and_then(|row| row["job_id"].as_str()).unwrap_or(job);
                let body = client.job(id)?;
                let container = &self.containers(job)[0];
                let inspected = self.engine.inspect(&container.id);
                let label = &inspected["Config"]["Labels"]["edgeio.instance"];
                let instances = body["instances"].as_array().map(Vec::as_slice);
                let fresh = |row: &Value| {
                    row["instance_id"] == *label
                        && row["state"] == "RUNNING"
                        && row["stale"] == false
                };
                if body["state"] != "RUNNING" || !matches!(instances, Some([row]) if fresh(row)) {
                    return Err(format!("{inspected} {body}"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn row_08_the_engine_dies_at_each_point_of_a_container() {
    if !required("docker") {
        return;
    }
    let Some(points) = crash_points("node-engine") else {
        assert!(std::env::var_os("EDGEIO_TEST_PROGRAMS").is_some());
        eprintln!("ignored: the programs of EDGEIO_TEST_PROGRAMS have no crash points");
        return;
    };
    let _turn = together();
    let begun = Instant::now();
    let mut bed = Bed::new();
    let starts: [&[&str]; 3] = [
        &["docker.start.uncreated"],
        // The name is taken by what the dead engine left, which the next one finds, and dies of.
        &["docker.start.created", "docker.start.taken"],
        &["docker.start.started"],
    ];
    let stops = [
        "docker.stop.asked",
        "docker.stop.stopped",
        "docker.stop.removed",
    ];
    for (number, (start, stop)) in starts.into_iter().zip(stops).enumerate() {
        let job = format!("a-{number}");
        let deploy = |bed: &Bed| {
            bed.system.root().submit(&container(&job, &bed.image.name));
        };
        bed.die(start, "a deploy", deploy, Some(&job));
        let delete = |bed: &Bed| {
            let answer = bed
                .system
                .root()
                .delete(&format!("/api/v1/jobs/{job}"))
                .unwrap();
            assert_eq!(answer.status, 202, "{}", answer.body);
        };
        bed.die(&[stop], "a delete", delete, None);
    }
    let points: Vec<&String> = points
        .iter()
        .filter(|point| point.starts_with("docker."))
        .collect();
    let missed: Vec<&&String> = points
        .iter()
        .filter(|point| !bed.visited.contains(point))
        .collect();
    assert!(missed.is_empty(), "it never died at {missed:?}");
    eprintln!(
        "containers: {} points visited in {:?}",
        points.len(),
        begun.elapsed()
    );
}
