//! A worker in quarantine: it reports, and gets nothing.

use std::time::Duration;

use edgeio_tests::harness::{Settings, System, alone, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_mins(1);

/// A worker as its cluster shows it.
fn node(system: &System, name: &str) -> Result<Value, String> {
    let nodes = system.cluster(0).list("/api/v1/nodes")?;
    let found = nodes.iter().find(|node| node["name"] == name);
    found.cloned().ok_or_else(|| format!("{nodes:?}"))
}

/// Waits until all instances of a job run, on workers other than the first.
fn runs_elsewhere(system: &System, job: &str) {
    let root = system.root();
    wait_until("it runs elsewhere", LIMIT, || {
        let job = root.job(job)?;
        let rows = job["instances"].as_array().cloned().unwrap_or_default();
        let good = |row: &Value| row["worker_node"] == "worker-2" && row["state"] == "RUNNING";
        let all = !rows.is_empty() && rows.iter().all(good);
        all.then_some(()).ok_or_else(|| job.to_string())
    });
}

#[test]
fn a_worker_in_quarantine_reports_and_gets_nothing() {
    let _turn = alone();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--runtimes", "native"]);
    system.root().submit(&sleeper("web", ""));
    system.wait_state("web", "RUNNING", LIMIT);
    system.add_worker("worker-2", 0, &["--runtimes", "native"]);

    // By the root, as `edgeio quarantine worker-1` asks for it.
    let path = "/api/v1/clusters/cluster-1/nodes/worker-1";
    let root = system.root();
    let answer = root.post(&format!("{path}/quarantine"), "").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["scheduling"], "QUARANTINED");
    runs_elsewhere(&system, "web");
    let [copy] = system.copies("web").try_into().unwrap();
    let folder = std::fs::read_link(format!("/proc/{}/cwd", copy.pid)).unwrap();
    assert!(folder.starts_with(&system.workers[1].directory), "{copy:?}");

    // It is heard, also by a cluster that was started again, and gets nothing.
    system.clusters[0].kill();
    system.clusters[0].again();
    wait_until("it is heard again", LIMIT, || {
        let node = node(&system, "worker-1")?;
        let heard = node["state"] == "ALIVE" && node["cpu_percent"].is_number();
        heard.then_some(()).ok_or_else(|| node.to_string())
    });
    assert_eq!(
        node(&system, "worker-1").unwrap()["scheduling"],
        "QUARANTINED"
    );
    root.submit(&sleeper("more", "replicas: 4\n"));
    system.wait_state("more", "RUNNING", LIMIT);
    runs_elsewhere(&system, "more");
    root.submit(&sleeper("pinned", "worker_node: worker-1\n"));
    let pinned = system.wait_state("pinned", "NOT_DEPLOYED", LIMIT);
    assert!(pinned.to_string().contains("cordoned"), "{pinned}");

    let answer = root.post(&format!("{path}/uncordon"), "").unwrap();
    assert_eq!(answer.body["scheduling"], "OPEN", "{}", answer.body);
    system.wait_state("pinned", "RUNNING", LIMIT);
}
