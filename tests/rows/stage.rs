//! Where the rows happen: programs, links that can be broken, and the history that judges the run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Client, Copy, Settings, System, Turn, alone, pause, required, wait_until,
};
use edgeio_tests::history::{self, Bounds, Fault, History, Recorder};
use edgeio_tests::lab::{CLUSTER_A, CLUSTER_B, Lab, ROOT};
use serde_json::Value;

use crate::documents::sleeper;

/// What a deploy may take here, debug builds on a busy machine included.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// How long after the last fault all views must agree (I3).
pub(crate) const AGREE: Duration = Duration::from_secs(10);
/// What 99 of 100 answers of a server take at most that has nothing to do with a fault (I9), debug builds included.
pub(crate) const UNDISTURBED: Duration = Duration::from_secs(2);
/// An uplink's ping and the time for its answer, as a root has them by default.
pub(crate) const UPLINK_SILENCE: Duration = Duration::from_millis(7_500);
/// For how long nothing may change afterwards.
const QUIET: Duration = Duration::from_secs(2);
/// What runs beside a link that is broken: one that can move between the workers, and one that never was on the worker that
/// is cut off.
pub(crate) const JOBS: [Wanted<'static>; 2] = [("root", "moved", 1), ("root", "steady", 1)];
/// A worker that has room for all that a row runs.
pub(crate) const ROOMY: [&str; 4] = ["--runtimes", "native", "--capacity", "cpu=64,memory=64000"];

/// The part of the true durations at which the rows run: `EDGEIO_SCALE`, a tenth if it is not set.
pub(crate) fn scale() -> f64 {
    let text = std::env::var("EDGEIO_SCALE").ok();
    text.map_or(0.1, |text| {
        text.parse().expect("EDGEIO_SCALE is a number, as 0.1 or 1")
    })
}

/// `EDGEIO_SEED`, always the same if it is not set.
pub(crate) fn seed() -> u64 {
    let text = std::env::var("EDGEIO_SEED").ok();
    text.map_or(1, |text| text.parse().expect("EDGEIO_SEED is a number"))
}

/// A true duration of the design, at the scale of this run.
pub(crate) fn of(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds * scale())
}

/// The settings at that scale.
pub(crate) fn settings() -> Settings {
    Settings::scaled(scale())
}

pub(crate) fn lost_after() -> Duration {
    settings().lost_after.unwrap()
}

pub(crate) fn cluster_lost_after() -> Duration {
    settings().cluster_lost_after.unwrap()
}

/// For so long a new member cannot be lost: twice the longest back-off, and an uplink's silence.
pub(crate) fn grace() -> Duration {
    settings().reconnect_max.unwrap() * 2 + UPLINK_SILENCE
}

pub(crate) fn keep_alive() -> Duration {
    settings().keep_alive.unwrap()
}

/// A root and its clusters, each in a network namespace, with links that can be broken.
pub(crate) struct Stage {
    pub(crate) system: System,
    pub(crate) lab: Lab,
    _turn: Turn,
}

impl Stage {
    /// A root and `cluster-a`, if this machine is asked to make namespaces.
    pub(crate) fn open() -> Option<Self> {
        Self::open_with(settings())
    }

    /// The same with other times than those of the scale.
    pub(crate) fn open_with(settings: Settings) -> Option<Self> {
        if !required("netns") {
            return None;
        }
        let turn = alone();
        let lab = Lab::make();
        let mut system = System::start_at(settings, ROOT, Some(&lab.namespace("root")));
        let place = lab.namespace("cluster-a");
        system.add_cluster_at("cluster-a", CLUSTER_A, Some(&place), &[]);
        Some(Self {
            system,
            lab,
            _turn: turn,
        })
    }

    /// The second cluster.
    pub(crate) fn and_cluster_b(&mut self) {
        let place = self.lab.namespace("cluster-b");
        self.system
            .add_cluster_at("cluster-b", CLUSTER_B, Some(&place), &[]);
    }

    /// A worker at its place in the network, under the name of that place.
    pub(crate) fn worker(&mut self, place: &str, cluster: usize) {
        let namespace = self.lab.namespace(place);
        self.system
            .add_worker_in(place, cluster, Some(&namespace), &ROOMY);
    }

    pub(crate) fn record(&self) -> Recorder {
        record(&self.system)
    }

    /// With these times: `moved` runs on `far-a`, behind NAT, with `near-a` beside it; `steady` runs on `near-a`.
    pub(crate) fn two_workers(settings: Settings) -> Option<(Self, Recorder)> {
        let mut stage = Self::open_with(settings)?;
        let recorder = stage.record();
        stage.worker("far-a", 0);
        submit(&recorder, "root", "moved", &sleeper("moved", ""));
        wait_agreed(&stage.system, &JOBS[..1], LIMIT);
        stage.worker("near-a", 0);
        let pinned = sleeper("steady", "worker_node: near-a\n");
        submit(&recorder, "root", "steady", &pinned);
        wait_agreed(&stage.system, &JOBS, LIMIT);
        Some((stage, recorder))
    }
}

/// Starts to write down what happens in a system.
pub(crate) fn record(system: &System) -> Recorder {
    let test = std::thread::current();
    let test = test.name().unwrap_or("row").replace("::", "-");
    let keep = kept(&format!("{test}-unfinished"), seed());
    let root = [("root".to_owned(), system.root())];
    let clusters = system.clusters.iter().enumerate();
    let clusters =
        clusters.map(|(index, program)| (program.name().to_owned(), system.cluster(index)));
    let servers = root.into_iter().chain(clusters).collect();
    let recorder = Recorder::start(system.directory(), servers, &keep);
    use_of(&recorder, system);
    recorder
}

fn use_of(recorder: &Recorder, system: &System) {
    let workers = system.workers.iter().map(|worker| &worker.program);
    for program in system.clusters.iter().chain([&system.root]).chain(workers) {
        recorder.used(program);
    }
}

/// Submits a job that must be accepted.
#[track_caller]
pub(crate) fn submit(recorder: &Recorder, server: &str, name: &str, document: &str) {
    let answer = recorder.submit(server, name, document).unwrap();
    assert_eq!(answer.status, 202, "{name}: {}", answer.body);
}

/// Deletes a job, which must be accepted.
#[track_caller]
pub(crate) fn delete(recorder: &Recorder, server: &str, name: &str) {
    let answer = recorder.delete(server, name).unwrap();
    assert_eq!(answer.status, 202, "{name}: {}", answer.body);
}

/// What should be there: a job by the server that owns it, and how many copies it has.
pub(crate) type Wanted<'a> = (&'a str, &'a str, usize);

/// The copies of these jobs if root, clusters and kernel say the same of each.
pub(crate) fn agreed(system: &System, wanted: &[Wanted<'_>]) -> Result<Vec<Copy>, String> {
    let servers = servers(system);
    let mut views = Vec::new();
    for (name, client) in &servers {
        views.push((name.as_str(), client.list("/api/v1/jobs")?));
    }
    let mut all = Vec::new();
    for (owner, job, count) in wanted {
        let copies = system.copies(job);
        let really: Vec<&str> = copies.iter().map(|copy| copy.instance.as_str()).collect();
        for (server, rows) in &views {
            let row = rows.iter().find(|row| row["job_name"] == *job);
            let mut shown = row.map(running).unwrap_or_default();
            shown.sort_unstable();
            let mut really = really.clone();
            really.sort_unstable();
            let decides = server == owner;
            let says_so = match row {
                None => *count == 0 || !decides,
                Some(row) => {
                    shown.len() == rows_of(row) && (row["state"] == "RUNNING" || *count == 0)
                }
            };
            let complete = !decides || shown == really;
            let true_words = shown.iter().all(|id| really.contains(id));
            if really.len() != *count || !says_so || !complete || !true_words {
                let row = row.map_or_else(|| "nothing".to_owned(), short);
                return Err(format!(
                    "{server} says of {job} {row}; there are {copies:?}"
                ));
            }
        }
        all.extend(copies);
    }
    Ok(all)
}

fn servers(system: &System) -> Vec<(String, Client)> {
    let clusters = system.clusters.iter().enumerate();
    let clusters =
        clusters.map(|(index, program)| (program.name().to_owned(), system.cluster(index)));
    [("root".to_owned(), system.root())]
        .into_iter()
        .chain(clusters)
        .collect()
}

/// The instances that a row says run.
fn running(row: &Value) -> Vec<&str> {
    let instances = row["instances"].as_array().into_iter().flatten();
    instances
        .filter(|instance| instance["state"] == "RUNNING" && instance["stale"] == false)
        .filter_map(|instance| instance["instance_id"].as_str())
        .collect()
}

fn rows_of(row: &Value) -> usize {
    row["instances"].as_array().map_or(0, Vec::len)
}

/// A job's row without what nobody needs to know here.
pub(crate) fn short(row: &Value) -> String {
    let instances = row["instances"].as_array().into_iter().flatten();
    let instances: Vec<String> = instances
        .map(|instance| {
            format!(
                "{} {} {} on {} stale {}",
                instance["instance_id"],
                instance["role"],
                instance["state"],
                instance["worker_node"],
                instance["stale"]
            )
        })
        .collect();
    format!("{} {} {instances:?}", row["state"], row["reason"])
}

/// Waits until root, clusters and kernel agree; gives the copies and how long that took.
#[track_caller]
pub(crate) fn wait_agreed(
    system: &System,
    wanted: &[Wanted<'_>],
    limit: Duration,
) -> (Vec<Copy>, Duration) {
    let begun = Instant::now();
    let copies = wait_until("root, clusters and kernel agree", limit, || {
        agreed(system, wanted)
    });
    (copies, begun.elapsed())
}

/// The last fault is mended: all must agree in time, and stay so; then the history is held against the invariants.
#[track_caller]
pub(crate) fn judge(
    row: &str,
    system: &System,
    recorder: Recorder,
    wanted: &[Wanted<'_>],
    change: impl FnOnce(&mut Bounds),
) -> Vec<Copy> {
    recorder.fault(Fault::Healed);
    let (copies, took) = wait_agreed(system, wanted, AGREE);
    eprintln!("{row}: all agree {took:?} after the last mending");
    pause(QUIET);
    assert_eq!(agreed(system, wanted).as_ref(), Ok(&copies), "it stays so");
    use_of(&recorder, system);
    let mut bounds = bounds(&system.settings(), took);
    change(&mut bounds);
    hold(row, &recorder.finish(), &bounds);
    copies
}

/// The bounds of a run with these times that agreed so soon.
fn bounds(settings: &Settings, took: Duration) -> Bounds {
    let report = settings.report_interval.unwrap();
    Bounds {
        // Views are written down a little after they were true.
        converge: took + Duration::from_millis(700),
        settle: AGREE,
        stop_grace: Duration::from_secs(5),
        // Two and a half intervals at each of two tiers, and what a busy machine needs.
        staleness: report.mul_f64(2.5) * 2 + Duration::from_secs(1),
        undisturbed: Vec::new(),
        memory: 400_000,
        descriptors: 24,
    }
}

/// Holds all invariants against a history; keeps one that breaks any.
#[track_caller]
fn hold(row: &str, history: &History, bounds: &Bounds) {
    let wrong = history::check(history, bounds);
    let (seed, scale) = (seed(), scale());
    let lines = history.lines.len();
    eprintln!(
        "{row}: seed {seed}, scale {scale}, {lines} lines of history, {} violations",
        wrong.len()
    );
    if wrong.is_empty() {
        return;
    }
    let path = kept(row, seed);
    history.write(&path).unwrap();
    let first: Vec<String> = wrong.iter().take(5).map(ToString::to_string).collect();
    panic!(
        "{} violations, kept in {}; run it again with EDGEIO_SEED={seed} EDGEIO_SCALE={scale}:\n{}",
        wrong.len(),
        path.display(),
        first.join("\n")
    );
}

/// Where a history is kept: beside the programs that made it.
fn kept(row: &str, seed: u64) -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let folder = executable.ancestors().nth(2).unwrap().join("histories");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{row}-{seed}.jsonl"))
}

/// A job's instances as a server shows them.
pub(crate) fn instances(client: &Client, job: &str) -> Result<Vec<Value>, String> {
    let body = client.job(job)?;
    Ok(body["instances"].as_array().cloned().unwrap_or_default())
}

/// Waits until a job's holder runs on another worker, in time; gives how long it took.
#[track_caller]
pub(crate) fn wait_replaced(system: &System, job: &str, to: &str, limit: Duration) -> Duration {
    let (root, begun) = (system.root(), Instant::now());
    wait_until(&format!("{job} runs on {to}"), limit, || {
        let rows = instances(&root, job)?;
        let there = |row: &Value| {
            row["role"] == "holder" && row["worker_node"] == to && row["state"] == "RUNNING"
        };
        rows.iter()
            .any(there)
            .then_some(())
            .ok_or_else(|| format!("{rows:?}"))
    });
    begun.elapsed()
}
