//! Engines that stop in an orderly way and say what comes next.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Settings, System, pause, required, together, wait_until};

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than `lost_after` and all that comes before it, as `Settings::QUICK` has them.
const AWAY: Duration = Duration::from_secs(6);

const NATIVE: [&str; 4] = ["--runtimes", "native", "--capacity", "cpu=2,memory=500"];

/// A cluster, maybe behind a broker, with two workers; `web` runs on the first.
fn two_workers(settings: Settings, cluster: &[&str], first: &[&str]) -> System {
    let mut system = System::start(settings);
    system.add_cluster("cluster-1", cluster);
    system.add_worker("worker-1", 0, &[NATIVE.as_slice(), first].concat());
    system.add_worker("worker-2", 0, &NATIVE);
    system
        .root()
        .submit(&sleeper("web", "worker_node: worker-1\n"));
    system.wait_state("web", "RUNNING", LIMIT);
    system
}

fn node_state(system: &System, name: &str, field: &str) -> Result<String, String> {
    let node = system.cluster(0).get(&format!("/api/v1/nodes/{name}"))?;
    let value = node.body[field].as_str().map(str::to_owned);
    value.ok_or_else(|| node.body.to_string())
}

fn an_engine_that_restarts_keeps_its_work(cluster: &[&str]) {
    let mut system = two_workers(Settings::QUICK, cluster, &[]);
    let before = system.copies("web");
    assert!(system.workers[0].program.stop().success());
    wait_until("the cluster has heard it", LIMIT, || {
        let state = node_state(&system, "worker-1", "state")?;
        (state == "SUSPECT").then_some(()).ok_or(state)
    });
    // Without its word it would be lost after two seconds.
    pause(AWAY);
    let job = system.root().job("web").unwrap();
    assert_eq!(job["instances"].as_array().unwrap().len(), 1, "{job}");
    assert_eq!(job["instances"][0]["state"], "RUNNING", "{job}");
    assert_eq!(system.copies("web"), before);

    system.workers[0].program.again();
    wait_until("it is heard again", LIMIT, || {
        let state = node_state(&system, "worker-1", "state")?;
        (state == "ALIVE").then_some(()).ok_or(state)
    });
    let job = system.wait_state("web", "RUNNING", LIMIT);
    let row = &job["instances"][0];
    assert_eq!(job["instances"].as_array().unwrap().len(), 1, "{job}");
    assert_eq!(row["worker_node"], "worker-1", "{job}");
    assert_eq!(row["restarts"], 0, "{job}");
    assert_eq!(system.copies("web"), before, "the same process");
    assert_eq!(
        node_state(&system, "worker-1", "scheduling").unwrap(),
        "OPEN"
    );
}

/// The pin is lifted first: the copy must be able to go elsewhere.
fn what_a_worker_had_that_is_gone_runs_elsewhere_at_once(cluster: &[&str]) {
    // Long enough that nothing but the worker's word can be the cause.
    let settings = Settings {
        lost_after: Some(Duration::from_mins(10)),
        ..Settings::QUICK
    };
    let mut system = two_workers(settings, cluster, &["--on-stop", "gone"]);
    system
        .root()
        .put("/api/v1/jobs/web", &sleeper("web", ""))
        .unwrap();
    system.wait_state("web", "RUNNING", LIMIT);
    let job = system.root().job("web").unwrap();
    assert_eq!(job["instances"][0]["worker_node"], "worker-1", "{job}");
    let begun = Instant::now();
    assert!(system.workers[0].program.stop().success());
    wait_until("it runs on the other worker", LIMIT, || {
        let job = system.root().job("web")?;
        let rows = job["instances"].as_array().cloned().unwrap_or_default();
        let is = rows
            .iter()
            .any(|row| row["worker_node"] == "worker-2" && row["state"] == "RUNNING");
        is.then_some(()).ok_or_else(|| job.to_string())
    });
    eprintln!(
        "the work of a worker that is gone runs elsewhere {:?} after the signal",
        begun.elapsed()
    );
    let [copy] = system.copies("web").try_into().unwrap();
    assert!(
        std::fs::read_link(format!("/proc/{}/cwd", copy.pid))
            .unwrap()
            .starts_with(&system.workers[1].directory),
        "the former one was stopped: {copy:?}"
    );
    assert_eq!(
        node_state(&system, "worker-1", "scheduling").unwrap(),
        "CORDONED"
    );
}

#[test]
fn a_restarted_engine_says_so_and_nothing_is_replaced() {
    let _turn = together();
    an_engine_that_restarts_keeps_its_work(&[]);
}

#[test]
fn a_worker_that_is_gone_says_so_and_is_replaced_at_once() {
    let _turn = together();
    what_a_worker_had_that_is_gone_runs_elsewhere_at_once(&[]);
}

/// A Mosquitto that ends with the test.
struct Mosquitto {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Mosquitto {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mosquitto.conf");
        let lines = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
        std::fs::write(&file, lines).unwrap();
        drop(free);
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            url: format!("mqtt://127.0.0.1:{port}"),
            _directory: directory,
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn both_words_arrive_through_a_foreign_broker_too() {
    if !required("mosquitto") {
        return;
    }
    let _turn = together();
    let broker = Mosquitto::start();
    an_engine_that_restarts_keeps_its_work(&["--broker", &broker.url]);
    what_a_worker_had_that_is_gone_runs_elsewhere_at_once(&["--broker", &broker.url]);
}
