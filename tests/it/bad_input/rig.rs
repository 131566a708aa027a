//! The system that all rows are sent to, and whether it is well.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use edgeio_tests::harness::{Client, Settings, System, wait_until};
use serde_json::Value;

use super::exchange::{Answer, exchange, request};
use super::refusal::{ask, fine};
use super::row::Verdict;
use crate::documents::sleeper;

/// What a program may have grown over all rows, in KiB.
const GROWTH: u64 = 32 * 1024;
/// What it may have grown for a moment.
const PEAK: u64 = 64 * 1024;
/// The job that is there all the time.
pub(crate) const KEPT: &str = "kept";
/// Where good jobs go: rows bring workers and clusters that run nothing.
const HERE: &str = "cluster_location: cluster-1\nworker_node: worker-1\n";

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Root,
    Cluster,
}

impl Tier {
    pub(crate) const BOTH: [Self; 2] = [Self::Root, Self::Cluster];
}

/// A program at the beginning.
struct Process {
    name: &'static str,
    pid: i32,
    resident: u64,
}

/// A root, a cluster and a worker with one job.
pub(crate) struct Rig {
    system: System,
    processes: Vec<Process>,
    kept: Value,
}

impl Rig {
    pub(crate) fn start() -> Self {
        // In the open, as rows do that register: names of those who joined are not told apart.
        let mut system = System::start(Settings::QUICK);
        let root = system.root.said("http").to_owned();
        system.add_cluster("cluster-1", &["--root", &root]);
        let cluster = system.clusters[0].said("http").to_owned();
        let capacity = "cpu=100,memory=100000";
        let options = [
            "--cluster",
            &cluster,
            "--runtimes",
            "native",
            "--capacity",
            capacity,
        ];
        system.add_worker("worker-1", 0, &options);
        system.root().submit(&sleeper(KEPT, HERE));
        let limit = Duration::from_secs(20);
        system.wait_state(KEPT, "RUNNING", limit);
        let kept = kept(&system.root()).unwrap();
        let pids = [
            ("root", system.root.pid()),
            ("cluster", system.clusters[0].pid()),
            ("worker", system.workers[0].program.pid()),
        ];
        let process = |(name, pid)| Process {
            name,
            pid,
            resident: resident(pid).unwrap(),
        };
        Self {
            processes: pids.map(process).into(),
            system,
            kept,
        }
    }

    /// Where a tier serves REST.
    pub(crate) fn http(&self, tier: Tier) -> SocketAddr {
        let program = match tier {
            Tier::Root => &self.system.root,
            Tier::Cluster => &self.system.clusters[0],
        };
        address(program.said("http"))
    }

    /// Where the cluster serves MQTT.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        address(self.system.clusters[0].said("mqtt"))
    }

    /// The worker's id.
    pub(crate) fn worker(&self) -> &str {
        &self.system.workers[0].node_id
    }

    /// The id of the instance of the job that is there all the time.
    pub(crate) fn instance(&self) -> String {
        self.kept["instance_id"].as_str().unwrap().to_owned()
    }

    /// The directory of all that belongs to the system.
    pub(crate) fn directory(&self) -> &Path {
        self.system.directory()
    }

    /// A client of one tier.
    pub(crate) fn client(&self, tier: Tier) -> Client {
        match tier {
            Tier::Root => self.system.root(),
            Tier::Cluster => self.system.cluster(0),
        }
    }

    /// The present value of one metric of a tier.
    pub(crate) fn metric(&self, tier: Tier, name: &str) -> Result<f64, String> {
        let bytes = request("GET /metrics", "", b"");
        let Answer::Http(reply) = exchange(self.http(tier), &bytes)? else {
            return Err("no metrics".to_owned());
        };
        let line = reply.text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| format!("there is no metric {name}"))
    }

    /// Whether a good request is answered by both tiers, and the worker lives.
    pub(crate) fn answers(&self) -> Verdict {
        let bytes = request("GET /api/v1/jobs/kept", "", b"");
        for tier in Tier::BOTH {
            ask(self.http(tier), &bytes, &fine(200))
                .map_err(|why| format!("afterwards {tier:?} did not answer: {why}"))?;
        }
        self.processes.iter().try_for_each(|process| {
            resident(process.pid)
                .map(drop)
                .map_err(|why| format!("the {} is gone: {why}", process.name))
        })
    }

    /// Whether a good job is deployed, nothing else came to be, and what was there is as it was.
    pub(crate) fn runs_a_good_job(&mut self, kind: &str) -> Verdict {
        let root = self.system.root();
        let name = format!("good-{kind}");
        let answer = root.post("/api/v1/jobs", &sleeper(&name, HERE))?;
        if answer.status != 202 {
            return Err(format!("a good job: {} {}", answer.status, answer.body));
        }
        self.system
            .wait_state(&name, "RUNNING", Duration::from_secs(10));
        let id = answer.body["job_id"].as_str().unwrap_or_default();
        root.delete(&format!("/api/v1/jobs/{id}"))?;
        wait_until("the good job is gone", Duration::from_secs(10), || {
            let job = root.job(id)?;
            (job["state"] == "TERMINATED")
                .then_some(())
                .ok_or_else(|| job.to_string())
        });
        let jobs = root.list("/api/v1/jobs")?;
        let others: BTreeSet<&str> = jobs
            .iter()
            .filter_map(|job| job["job_name"].as_str())
            .filter(|name| *name != KEPT && !name.starts_with("good-"))
            .collect();
        if !others.is_empty() {
            return Err(format!("there are jobs that nobody wanted: {others:?}"));
        }
        let now = kept(&root)?;
        if now != self.kept {
            return Err(format!("{KEPT} was {} and is {now}", self.kept));
        }
        let copies = self.system.copies(KEPT).len();
        (copies == 1)
            .then_some(())
            .ok_or_else(|| format!("{copies} copies of {KEPT} run"))
    }

    /// Whether the programs are as small as they were, and none panicked.
    pub(crate) fn is_as_before(&self) -> Verdict {
        let mut wrong = Vec::new();
        for Process {
            name,
            pid,
            resident: was,
        } in &self.processes
        {
            let (is, peak) = (resident(*pid)?, memory(*pid, "VmHWM:")?);
            eprintln!("the {name}: {was} KiB, then {is} KiB, and {peak} KiB at most");
            if peak > was + PEAK {
                wrong.push(format!("the {name} had {peak} KiB for a moment"));
            }
            if is > was + GROWTH {
                wrong.push(format!("the {name} grew from {was} to {is} KiB"));
            }
            let log = if *name == "root" {
                "root"
            } else {
                &format!("{name}-1")
            };
            let log = self.directory().join(format!("{log}.log"));
            let log = fs::read_to_string(log).map_err(|error| error.to_string())?;
            let panics = log.lines().filter(|line| line.contains("panicked"));
            wrong.extend(panics.map(|line| format!("the {name}: {line}")));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }
}

/// What must not change of the job that is there all the time.
fn kept(root: &Client) -> Result<Value, String> {
    let mut row = root.job(KEPT)?["instances"][0].take();
    if let Some(row) = row.as_object_mut() {
        // These are of the last report.
        row.remove("observed_at");
        row.remove("stale");
    }
    Ok(row)
}

fn address(url: &str) -> SocketAddr {
    let (_, address) = url.split_once("://").unwrap_or(("", url));
    address.parse().unwrap()
}

/// Memory of a process in KiB.
fn resident(pid: i32) -> Result<u64, String> {
    memory(pid, "VmRSS:")
}

fn memory(pid: i32, field: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    // One that only waits to be reaped has none.
    line.and_then(|text| text.trim().split(' ').next()?.parse().ok())
        .ok_or_else(|| "it has ended".to_owned())
}
