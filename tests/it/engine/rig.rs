//! A cluster whose workers have fake engines.

use std::ops::RangeInclusive;
use std::time::Duration;

use edgeio_tests::fake_engine::{FakeEngine, Status};
use edgeio_tests::harness::{Settings, System, wait_until};
use serde_json::Value;

/// The image that every engine has.
pub(crate) const IMAGE: &str = "edgeio-test/app:1";
/// Between two looks of a worker at its engine; 15 s by default.
pub(crate) const CHECK: Duration = Duration::from_millis(1_500);
/// A worker has noticed, and its cluster knows.
pub(crate) const NOTICED: Duration = Duration::from_secs(10);
/// Everything is as it should be, after the last fault is healed (I3).
pub(crate) const CONVERGED: Duration = Duration::from_secs(10);

/// Workers `worker-1`, … of `cluster-1`, each with an engine of its own.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) system: System,
    pub(crate) engines: Vec<FakeEngine>,
    _folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn of(workers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut system = System::start(Settings::QUICK);
        system.add_cluster("cluster-1", &[]);
        let mut engines = Vec::new();
        for number in 1..=workers {
            let name = format!("worker-{number}");
            let place = folder.path().join(&name);
            std::fs::create_dir(&place).unwrap();
            let engine = FakeEngine::start(&place);
            engine.has_image(IMAGE);
            let host = engine.host();
            let options = [
                "--runtimes",
                "docker,native",
                "--docker-host",
                &host,
                "--docker-check",
                "1500ms",
                "--docker-timeout",
                "6s",
                "--crash-backoff",
                "100ms",
                "--capacity",
                "cpu=64,memory=64000",
            ];
            system.add_worker(&name, 0, &options);
            engines.push(engine);
        }
        Self {
            system,
            engines,
            _folder: folder,
        }
    }

    pub(crate) fn engine(&mut self) -> &mut FakeEngine {
        &mut self.engines[0]
    }

    /// Submits a docker job, with more fields at its top level, one a line.
    pub(crate) fn submit(&self, name: &str, image: &str, more: &str) {
        let document = format!(
            "api_version: v0.1\njob_name: {name}\nimage_runtime: docker\nimage: {image}\nstop_grace: 1s\n{more}"
        );
        self.system.root().submit(&document);
    }

    /// Submits a job of each name, and waits until all run.
    pub(crate) fn run_all(&self, jobs: &[&str]) {
        for job in jobs {
            self.submit(job, IMAGE, "");
        }
        for job in jobs {
            self.runs(job);
        }
    }

    pub(crate) fn runs(&self, job: &str) -> Value {
        self.system.wait_state(job, "RUNNING", CONVERGED)
    }

    /// A worker as its cluster shows it.
    pub(crate) fn node(&self, name: &str) -> Result<Value, String> {
        let path = format!("/api/v1/nodes/{name}");
        Ok(self.system.cluster(0).get(&path)?.body)
    }

    /// Waits until the cluster says which runtimes of `worker-1` do not answer.
    #[track_caller]
    pub(crate) fn wait_degraded(&self, runtimes: &[&str]) {
        wait_until("the worker's runtimes are known", NOTICED, || {
            let node = self.node("worker-1")?;
            assert_eq!(node["state"], "ALIVE", "a silent engine is no dead worker");
            (node["runtimes_degraded"] == serde_json::json!(runtimes))
                .then_some(())
                .ok_or_else(|| node.to_string())
        });
    }

    /// Waits until the only instance of a job has been restarted so often and runs.
    #[track_caller]
    pub(crate) fn wait_restarts(&self, job: &str, restarts: u64) {
        self.wait_restarts_of(job, restarts..=restarts);
    }

    /// Waits until it runs after one of these numbers of restarts.
    #[track_caller]
    pub(crate) fn wait_restarts_of(&self, job: &str, restarts: RangeInclusive<u64>) {
        let root = self.system.root();
        wait_until(
            &format!("{job} runs after {restarts:?} restarts"),
            CONVERGED,
            || {
                let body = root.job(job)?;
                let instance = &body["instances"][0];
                let count = instance["restarts"].as_u64();
                let right = count.is_some_and(|count| restarts.contains(&count));
                (body["state"] == "RUNNING" && right)
                    .then_some(())
                    .ok_or_else(|| body.to_string())
            },
        );
    }
}

/// When each running container of an engine was started, and how often; asserts that there is one for each slot.
#[track_caller]
pub(crate) fn running(engine: &FakeEngine, jobs: &[&str]) -> Vec<(String, String, u32)> {
    let one = |job: &&str| {
        let seen = engine.only(job);
        assert_eq!(seen.status, Status::Running, "{seen:?}");
        (seen.id, seen.started_at, seen.starts)
    };
    jobs.iter().map(one).collect()
}

pub(crate) fn code(body: &Value) -> &str {
    let code = &body["instances"][0]["reason_code"];
    code.as_str().unwrap_or_default()
}
