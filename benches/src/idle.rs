//! What an idle worker costs its network and the disks.
//!
//! Bytes are those that the kernel counts on the worker's TCP connections; the wire is payload and the IP and TCP headers
//! of each segment. Syncs are the system calls `fsync` and `fdatasync`, which `perf` counts for each process; where
//! that is not there or not permitted, the commits of the orchestrators alone are told.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::figure::{Figure, Goal, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::http::Connection;
use crate::options::Idle;
use crate::placements::series;
use crate::program::{Program, Programs};
use crate::sockets::{self, Socket, Traffic};
use crate::usage;

/// After everybody has joined: what joining caused is over by then.
const SETTLE: Duration = Duration::from_secs(5);
/// The default keep-alive, which the floor keeps too.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// MQTT 3.1.1: CONNECT with a clean session, that keep-alive and no name.
const CONNECT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 5, 0, 0];
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];
/// The goal of the design for what a worker sends.
const UPLINK_KBITS: f64 = 0.1;

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Idle) -> anyhow::Result<Section> {
    let shape = Shape {
        clusters: 1,
        workers: 1,
        engines: ["--runtimes", "native"].map(str::to_owned).to_vec(),
        ..Shape::default()
    };
    let fleet = Fleet::start(programs, &shape).await?;
    let (Some(worker), Some(cluster)) = (fleet.workers.first(), fleet.clusters.first()) else {
        bail!("nobody to look at");
    };
    tokio::time::sleep(SETTLE).await;
    let window = Duration::from_secs(options.seconds);
    tell(&format!("idle: watching for {window:?}"));
    let broker = cluster.said("mqtt");
    let (_, broker) = broker.split_once("://").unwrap_or(("", broker));
    let (mut pinger, local) = Pinger::connect(broker).await?;
    let watched = [
        ("worker", worker),
        ("cluster", cluster),
        ("root", &fleet.root),
    ];
    let counters: Vec<Option<Child>> = watched
        .iter()
        .map(|(_, program)| count_syncs(program.pid, window))
        .collect();
    let before = Look::take(&fleet, worker, cluster, &local).await?;
    let written: Vec<u64> = watched
        .iter()
        .map(|(_, it)| usage::written(it.pid))
        .collect();
    let changed = changed(&fleet.path("worker-1/node.store"));
    let begun = Instant::now();
    pinger.keep_alive(window).await?;
    let passed = begun.elapsed();
    let after = Look::take(&fleet, worker, cluster, &local).await?;
    let mut section = Section::new("idle");
    let hours = passed.as_secs_f64() / 3600.0;
    show_traffic(&mut section, &before, &after, passed);
    for ((name, program), (counter, written)) in
        watched.iter().zip(counters.into_iter().zip(written))
    {
        if let Some(syncs) = syncs(counter).await {
            section.push(Figure::new(
                format!("{name}: syncs of the disk"),
                syncs / hours,
                "/h",
            ));
        }
        let more = usage::written(program.pid).saturating_sub(written);
        let kilobytes = more as f64 / 1024.0 / hours;
        section.push(Figure::new(format!("{name}: written"), kilobytes, "KiB/h"));
    }
    for (name, before, after) in [
        ("cluster", before.cluster_commits, after.cluster_commits),
        ("root", before.root_commits, after.root_commits),
    ] {
        let commits = (after - before) / hours;
        section.push(Figure::new(format!("{name}: commits"), commits, "/h"));
    }
    section.note(format!(
        "1 root, 1 cluster, 1 worker with nothing to run, default settings, watched for {:.0} s and extrapolated",
        passed.as_secs_f64()
    ));
    section
        .note("floor: an MQTT client on the same endpoint that only keeps its keep-alive of 5 s");
    section.note(
        "wire: payload and 52 bytes of IPv4 and TCP headers for each segment, acknowledgements too",
    );
    section.note(
        if changed == self::changed(&fleet.path("worker-1/node.store")) {
            "the worker's store was not touched meanwhile"
        } else {
            "the worker's store was changed meanwhile"
        },
    );
    Ok(section)
}

/// What has gone over each connection, and how often was committed.
struct Look {
    worker: (Traffic, Traffic),
    cluster: (Traffic, Traffic),
    floor: (Traffic, Traffic),
    cluster_commits: f64,
    root_commits: f64,
}

impl Look {
    async fn take(
        fleet: &Fleet,
        worker: &Program,
        cluster: &Program,
        floor: &str,
    ) -> anyhow::Result<Self> {
        let root = fleet.url().trim_start_matches("http://").to_owned();
        let own = sockets::of_process(std::process::id()).await?;
        let of_cluster = sockets::of_process(cluster.pid).await?;
        Ok(Self {
            worker: sum(&sockets::of_process(worker.pid).await?, |_| true),
            cluster: sum(&of_cluster, |socket| socket.peer == root),
            floor: sum(&own, |socket| socket.local == floor),
            cluster_commits: commits(cluster.said("http")).await?,
            root_commits: commits(fleet.url()).await?,
        })
    }
}

fn sum(sockets: &[Socket], is: impl Fn(&Socket) -> bool) -> (Traffic, Traffic) {
    let mut all = (Traffic::default(), Traffic::default());
    for socket in sockets.iter().filter(|socket| is(socket)) {
        for (all, one) in [(&mut all.0, socket.sent), (&mut all.1, socket.received)] {
            all.payload += one.payload;
            all.segments += one.segments;
        }
    }
    all
}

async fn commits(server: &str) -> anyhow::Result<f64> {
    let mut connection = Connection::tcp(server).await?;
    let answer = connection.ask("GET", "/metrics", None).await?.good()?;
    let text = String::from_utf8_lossy(&answer.body);
    Ok(series(&text, "edgeio_commit_seconds_count"))
}

fn show_traffic(section: &mut Section, before: &Look, after: &Look, passed: Duration) {
    let kilobits = |bytes: u64| bytes as f64 * 8.0 / 1000.0 / passed.as_secs_f64();
    let of = |after: Traffic, before: Traffic| {
        let went = after.since(before);
        (kilobits(went.payload), kilobits(went.on_the_wire()))
    };
    let floor = [
        of(after.floor.0, before.floor.0),
        of(after.floor.1, before.floor.1),
    ];
    let rows = [
        (
            "worker to cluster",
            of(after.worker.0, before.worker.0),
            Some(floor[0]),
        ),
        (
            "cluster to worker",
            of(after.worker.1, before.worker.1),
            Some(floor[1]),
        ),
        (
            "cluster to root",
            of(after.cluster.0, before.cluster.0),
            None,
        ),
        (
            "root to cluster",
            of(after.cluster.1, before.cluster.1),
            None,
        ),
    ];
    for (index, (what, (payload, wire), floor)) in rows.into_iter().enumerate() {
        let mut figures = [
            Figure::new(format!("{what}: payload"), payload, "kbit/s"),
            Figure::new(format!("{what}: on the wire"), wire, "kbit/s"),
        ];
        if let Some((payload, wire)) = floor {
            let [one, other] = figures;
            figures = [one.floor(payload), other.floor(wire)];
        }
        let [one, other] = figures;
        section.push(if index == 0 {
            one.goal(Goal::AtMost(UPLINK_KBITS))
        } else {
            one
        });
        section.push(other);
    }
}

/// A client that keeps its connection and nothing else.
struct Pinger {
    stream: TcpStream,
}

impl Pinger {
    async fn connect(broker: &str) -> anyhow::Result<(Self, String)> {
        let stream = TcpStream::connect(broker).await;
        let mut stream = stream.with_context(|| format!("cannot connect to {broker}"))?;
        stream
            .write_all(&CONNECT)
            .await
            .context("cannot send CONNECT")?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.context("no CONNACK")?;
        if answer != CONNACK {
            bail!("the endpoint refuses a reader: {answer:?}");
        }
        let local = stream.local_addr().context("no address")?.to_string();
        Ok((Self { stream }, local))
    }

    async fn keep_alive(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.stream
                .write_all(&PINGREQ)
                .await
                .context("cannot ping")?;
            let mut answer = [0; 2];
            self.stream
                .read_exact(&mut answer)
                .await
                .context("no PINGRESP")?;
            if answer != PINGRESP {
                bail!("no PINGRESP: {answer:?}");
            }
            tokio::time::sleep(left.min(KEEP_ALIVE)).await;
        }
        Ok(())
    }
}

/// `perf`, counting for a time.
fn count_syncs(pid: u32, time: Duration) -> Option<Child> {
    Command::new("perf")
        .args(["stat", "-x", ",", "-p", &pid.to_string(), "-e"])
        .arg("syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync")
        .args(["--", "sleep", &time.as_secs().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()
}

async fn syncs(counter: Option<Child>) -> Option<f64> {
    let output = counter?.wait_with_output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counts = text.lines().filter(|line| line.contains("sys_enter_f"));
    let counts: Option<Vec<f64>> = counts
        .map(|line| line.split(',').next()?.parse().ok())
        .collect();
    counts
        .filter(|counts| counts.len() == 2)
        .map(|counts| counts.iter().sum())
}

fn changed(file: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}
