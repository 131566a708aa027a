//! A root, its clusters and their workers, in a directory that goes with them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http;
use crate::program::{Program, Programs};

/// How long joining may take, until the root knows of everybody.
const JOIN: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long native applications may take to end at last.
const END: Duration = Duration::from_secs(5);

/// How many, and what they are told beside their addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    pub(crate) clusters: u32,
    /// Workers of each cluster.
    pub(crate) workers: u32,
    /// Arguments of the root and of each cluster.
    pub(crate) orchestrators: Vec<String>,
    /// Arguments of each worker.
    pub(crate) engines: Vec<String>,
    /// Clusters and workers join by tokens, and speak TLS from then on.
    pub(crate) locked: bool,
}

/// What runs.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) workers: Vec<Program>,
    pub(crate) clusters: Vec<Program>,
    pub(crate) root: Program,
    /// The last of the fields, since it is removed when it is dropped.
    directory: tempfile::TempDir,
}

impl Fleet {
    /// Starts all of it on the loopback address, and waits until the root knows of every worker.
    pub(crate) async fn start(programs: &Programs, shape: &Shape) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("edgeio-bench-").tempdir();
        let directory = directory.context("cannot make a directory")?;
        let root = {
            let mut args = arguments(&["--http", "127.0.0.1:0"], directory.path(), "root");
            args.extend_from_slice(&shape.orchestrators);
            let path = programs.path("root-orchestrator");
            Program::start(&path, "root", directory.path(), &args).await?
        };
        let mut this = Self {
            workers: Vec::new(),
            clusters: Vec::new(),
            root,
            directory,
        };
        for number in 1..=shape.clusters {
            this.add_cluster(programs, shape, number).await?;
        }
        this.joined(shape).await?;
        Ok(this)
    }

    async fn add_cluster(
        &mut self,
        programs: &Programs,
        shape: &Shape,
        number: u32,
    ) -> anyhow::Result<()> {
        let directory = self.directory.path();
        let name = format!("cluster-{number}");
        let above = parent(shape, "--root", self.root.said("http")).await?;
        let fixed = ["--name", &name, &above[0], &above[1]];
        let mut args = arguments(&fixed, directory, &name);
        args.extend(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"].map(str::to_owned));
        args.extend_from_slice(&shape.orchestrators);
        let path = programs.path("cluster-orchestrator");
        let cluster = Program::start(&path, &name, directory, &args).await?;
        for _ in 0..shape.workers {
            let name = format!("worker-{}", self.workers.len() + 1);
            let above = parent(shape, "--cluster", cluster.said("http")).await?;
            let fixed = ["--name", &name, &above[0], &above[1]];
            let mut args = arguments(&fixed, directory, &name);
            args.extend_from_slice(&shape.engines);
            let path = programs.path("node-engine");
            let worker = Program::start(&path, &name, directory, &args).await?;
            self.workers.push(worker);
        }
        self.clusters.push(cluster);
        Ok(())
    }

    /// Waits until the root counts as many workers as there are, in each cluster.
    async fn joined(&self, shape: &Shape) -> anyhow::Result<()> {
        let deadline = Instant::now() + JOIN;
        loop {
            let clusters = http::get(self.root.said("http"), "/api/v1/clusters").await?;
            let rows = clusters.get("items").and_then(Value::as_array);
            let has_all = |row: &&Value| {
                let nodes = row.get("number_of_nodes").and_then(Value::as_u64);
                nodes == Some(u64::from(shape.workers))
            };
            let whole = rows.map_or(0, |rows| rows.iter().filter(has_all).count());
            if whole == shape.clusters as usize {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the workers did not join within {JOIN:?}: {clusters}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The root's address.
    pub(crate) fn url(&self) -> &str {
        self.root.said("http")
    }

    /// Everybody, tier after tier.
    pub(crate) fn tiers(&self) -> [(&'static str, Vec<u32>); 3] {
        let pids = |programs: &[Program]| programs.iter().map(|program| program.pid).collect();
        [
            ("root", vec![self.root.pid]),
            ("clusters", pids(&self.clusters)),
            ("workers", pids(&self.workers)),
        ]
    }

    /// A file or directory below that of the fleet.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// The processes that work in, or name, a part of the fleet's directory and are none of the programs: native
    /// applications and their parents.
    pub(crate) fn applications(&self) -> Vec<u32> {
        let own: Vec<u32> = self
            .tiers()
            .into_iter()
            .flat_map(|(_, pids)| pids)
            .collect();
        let mut found = belonging(self.directory.path());
        found.retain(|pid| !own.contains(pid));
        found
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Programs first: an engine would start again what is killed below.
        let programs = self.workers.drain(..).chain(self.clusters.drain(..));
        programs.for_each(drop);
        kill(self.root.pid);
        let deadline = Instant::now() + END;
        loop {
            let left = belonging(self.directory.path());
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            left.into_iter().for_each(kill);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// The option by which a program finds the one above it.
async fn parent(shape: &Shape, option: &str, url: &str) -> anyhow::Result<[String; 2]> {
    if shape.locked {
        return Ok(["--join-token".to_owned(), http::join_token(url).await?]);
    }
    Ok([option.to_owned(), url.to_owned()])
}

pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that is gone is what is wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Processes that work below a directory or name a path there on their command line.
pub(crate) fn belonging(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let belongs = |pid: &u32| {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        cwd.is_ok_and(|cwd| cwd.starts_with(directory))
            || words.any(|word| Path::new(word.as_ref()).starts_with(directory))
    };
    pids.filter(|pid| *pid != std::process::id())
        .filter(belongs)
        .collect()
}

fn arguments(fixed: &[&str], directory: &Path, data: &str) -> Vec<String> {
    let data = directory.join(data).to_string_lossy().into_owned();
    let all = fixed.iter().copied().chain(["--data-dir", &data]);
    all.map(str::to_owned).collect()
}
