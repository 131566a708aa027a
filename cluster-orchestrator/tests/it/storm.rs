//! Thousands of workers that come back at once: row 24 of the table of faults.
//!
//! `EDGEIO_WORKERS` says how many; 200 where it is not set. Each is a connection and a task of this process, which says all
//! that an engine says and waits between its attempts as one does. The orchestrator is a process of its own, so that its memory is its own: that of
//! this build, or the one in the directory that `EDGEIO_TEST_PROGRAMS` names. For 5,000 both need 20,000 open files.

#![expect(clippy::print_stderr, reason = "it says what it measured")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mqtt::backoff::Backoff;
use serde_json::Value;

use crate::site::{Reply, document, request};
use crate::worker::{Disk, Worker};

/// Workers that have something to do.
const STEADY: usize = 10;
/// How long they may take to be back.
const BACK: Duration = Duration::from_mins(1);
/// How long they may take to join the first time, on a busy machine.
const JOIN: Duration = Duration::from_mins(5);
/// The most memory, in MiB: half of what ten thousand may cost.
const MEMORY: u64 = 512;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// A cluster-orchestrator with the times that it has by default.
struct Orchestrator {
    child: Child,
    http: String,
    mqtt: String,
    /// The header of an administrator.
    administrator: String,
}

impl Orchestrator {
    /// Starts it; at these addresses, or at free ones (port 0).
    fn start(directory: &Path, http: &str, mqtt: &str) -> Self {
        let named = std::env::var_os("EDGEIO_TEST_PROGRAMS").map(PathBuf::from);
        let own = || PathBuf::from(env!("CARGO_BIN_EXE_cluster-orchestrator"));
        let program = named.map_or_else(own, |named| named.join("cluster-orchestrator"));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"));
        let mut child = Command::new(program)
            .args(["--name", "storm", "--http", http, "--mqtt", mqtt])
            .arg("--data-dir")
            .arg(directory.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        let said = |field: &str| {
            let text = ready[field].as_str().unwrap();
            text.split_once("://").unwrap().1.to_owned()
        };
        let token = std::fs::read_to_string(directory.join("data/admin.token")).unwrap();
        Self {
            child,
            http: said("http"),
            mqtt: said("mqtt"),
            administrator: format!("Authorization: Bearer {}\r\n", token.trim()),
        }
    }

    /// Kills it, and starts it again at once where it was.
    fn again(self, directory: &Path) -> Self {
        let (http, mqtt) = (self.http.clone(), self.mqtt.clone());
        drop(self);
        Self::start(directory, &http, &mqtt)
    }

    async fn get(&self, path: &str) -> Reply {
        request(&self.http, &format!("GET {path}"), &self.administrator, "").await
    }

    /// The most memory that it ever had, in MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() / 1024
    }

    /// Waits until each of these workers had so many connections, and the orchestrator says that all are up.
    async fn until_up(&self, disks: &[Arc<Mutex<Disk>>], links: u64, limit: Duration) {
        let begun = Instant::now();
        loop {
            let linked = |disk: &&Arc<Mutex<Disk>>| disk.lock().unwrap().links() >= links;
            let linked = disks.iter().filter(linked).count();
            let mut up = 0;
            if linked == disks.len() {
                let metrics = self.get("/metrics").await.text;
                let is_up =
                    |line: &&str| line.starts_with("edgeio_node_up{") && line.ends_with(" 1");
                up = metrics.lines().filter(is_up).count();
                if up == disks.len() + STEADY {
                    return;
                }
            }
            assert!(
                begun.elapsed() < limit,
                "{linked} connected, {up} up after {limit:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client saw that asked all the while.
#[derive(Debug, Default)]
struct Seen {
    asked: usize,
    slowest: Duration,
    /// Answers in which the steady job was not as it should be.
    wrong: Vec<String>,
}

/// Asks for the steady job until it is told to end.
fn watch(site: &Orchestrator, done: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Seen> {
    let (http, headers) = (site.http.clone(), site.administrator.clone());
    let done = Arc::clone(done);
    tokio::spawn(async move {
        let mut seen = Seen::default();
        while !done.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let reply = request(&http, "GET /api/v1/jobs/steady", &headers, "").await;
            seen.slowest = seen.slowest.max(begun.elapsed());
            seen.asked += 1;
            if reply.status != 200 || reply.json()["state"] != "RUNNING" {
                seen.wrong.push(reply.text);
            }
            tokio::time::sleep(LOOK).await;
        }
        seen
    })
}

/// Starts a worker for each disk, all at once.
fn begin(http: &str, disks: &[Arc<Mutex<Disk>>]) -> Vec<Worker> {
    let url = format!("http://{http}");
    let begin = |(number, disk): (usize, &Arc<Mutex<Disk>>)| {
        let name = format!("storm-{number}");
        Worker::waiting(&url, (&name, 10), Arc::clone(disk), Backoff::default())
    };
    disks.iter().enumerate().map(begin).collect()
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_24_workers_that_come_back_at_once_are_all_back_within_a_minute() {
    let named = std::env::var("EDGEIO_WORKERS").ok();
    // One that is no number fails the test, and says so.
    let count: usize = named.map_or(200, |named| named.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let site = Orchestrator::start(directory.path(), "127.0.0.1:0", "127.0.0.1:0");
    let url = format!("http://{}", site.http);
    let steady: Vec<Worker> = (0..STEADY)
        .map(|number| Worker::start(&url, &format!("steady-{number}"), 1_000))
        .collect();
    // Of the others, none has so much memory.
    let job = document("steady", 500) + &format!("replicas: {STEADY}\n");
    let reply = request(&site.http, "POST /api/v1/jobs", &site.administrator, &job).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let runs = async |site: &Orchestrator| {
        let begun = Instant::now();
        loop {
            let job = site.get("/api/v1/jobs/steady").await.json();
            if job["state"] == "RUNNING" {
                return;
            }
            assert!(begun.elapsed() < BACK, "{job:#}");
            tokio::time::sleep(LOOK).await;
        }
    };
    runs(&site).await;
    let starts = || -> usize {
        let started = |worker: &Worker| worker.disk.lock().unwrap().started.len();
        steady.iter().map(started).sum()
    };
    assert_eq!(starts(), STEADY);

    let disks: Vec<Arc<Mutex<Disk>>> = (0..count).map(|_| Arc::default()).collect();
    let begun = Instant::now();
    let workers = begin(&site.http, &disks);
    site.until_up(&disks, 1, JOIN).await;
    eprintln!(
        "{count} joined in {:?}, {} MiB; load {}",
        begun.elapsed(),
        site.peak(),
        load()
    );

    // All of them lose their connections, and come at once, as after a power cut; the steady ones know nothing of it.
    let done = Arc::new(AtomicBool::new(false));
    let watcher = watch(&site, &done);
    for worker in workers {
        worker.kill().await;
    }
    let begun = Instant::now();
    let _workers = begin(&site.http, &disks);
    site.until_up(&disks, 2, BACK).await;
    let took = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    let seen = watcher.await.unwrap();
    eprintln!(
        "{count} were back {took:?} after they were cut off; {} MiB; REST: {} asked, slowest {:?}; load {}",
        site.peak(),
        seen.asked,
        seen.slowest,
        load()
    );
    assert!(took < BACK, "{took:?}");
    assert_eq!(seen.wrong, [""; 0]);
    assert_eq!(starts(), STEADY);
    assert!(site.peak() < MEMORY, "{} MiB", site.peak());

    // The orchestrator dies and comes back: everybody comes at once, the steady ones too.
    let site = site.again(directory.path());
    let begun = Instant::now();
    site.until_up(&disks, 3, BACK).await;
    let took = begun.elapsed();
    runs(&site).await;
    eprintln!(
        "{count} were back {took:?} after the orchestrator was; {} MiB; load {}",
        site.peak(),
        load()
    );
    assert!(took < BACK, "{took:?}");
    assert_eq!(starts(), STEADY);
    assert!(site.peak() < MEMORY, "{} MiB", site.peak());
}
