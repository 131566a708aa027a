//! What each shipped program weighs: its file, its memory, its CPU.
//!
//! Every program is measured while no second copy of it runs, since copies share pages and each would seem smaller:
//! the node-engine in a system of one worker, the orchestrators in one of ten too.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::docker::{COMMAND, Engine, Image};
use crate::figure::{Figure, Goal, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::http::{self, Connection};
use crate::options::Programs as Options;
use crate::program::Programs;
use crate::samples::Samples;
use crate::usage::{self, Memory};

/// After everybody has joined, or everything runs: what that caused is over by then.
const SETTLE: Duration = Duration::from_secs(5);
/// How long applications may take to run, or to end.
const LIMIT: Duration = Duration::from_mins(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Workers of the cluster whose orchestrators are measured.
const WORKERS: u32 = 10;

/// What a program may use when it is idle.
struct Allowance {
    pss: f64,
    anonymous: Option<f64>,
    cpu: Option<f64>,
    binary: Option<f64>,
}

const ENGINE: Allowance = Allowance {
    pss: 5.0,
    anonymous: Some(2.0),
    cpu: Some(0.1),
    binary: Some(5.0),
};
const ORCHESTRATOR: Allowance = Allowance {
    pss: 15.0,
    anonymous: None,
    cpu: None,
    binary: None,
};

/// One program over one window.
#[derive(Debug, Clone, Copy)]
struct Use {
    memory: Memory,
    /// Percent of one core.
    cpu: f64,
}

/// Measures it.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<Section> {
    let programs = shipped(options)?;
    let mut section = Section::new("programs");
    show_files(&mut section, &programs);
    let engine = match Engine::find(&options.docker_host).await {
        Ok(engine) => Some(engine),
        Err(error) => {
            section.note(format!("without containers: {error:#}"));
            None
        }
    };
    measure_one(&mut section, options, &programs, engine.as_ref()).await?;
    measure_ten(&mut section, options, &programs).await?;
    section.note(format!(
        "CPU over {} s, memory at its end; {} applications on one worker; default settings",
        options.seconds, options.applications
    ));
    section.note("PSS from smaps_rollup, while no second copy of a program runs (but the parents of native applications are copies of the node-engine)");
    Ok(section)
}

/// `target/dist`, beside the profile that this program was built in.
fn shipped(options: &Options) -> anyhow::Result<Programs> {
    let directory = if let Some(named) = &options.dist {
        named.clone()
    } else {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let target = own.ancestors().nth(2).map(PathBuf::from);
        target.unwrap_or_default().join("dist")
    };
    Programs::within(&directory, "--profile dist ")
        .context("each shipped program is built by a cargo command of its own, so that none gets the features of another")
}

fn show_files(section: &mut Section, programs: &Programs) {
    for name in Programs::TIERS.into_iter().chain(["edgeio"]) {
        let Ok(file) = std::fs::metadata(programs.path(name)) else {
            continue;
        };
        let size = file.len() as f64 / f64::from(1 << 20);
        let figure = Figure::new(format!("{name}: binary"), size, "MiB");
        section.push(match ENGINE.binary {
            Some(bound) if name == "node-engine" => figure.goal(Goal::AtMost(bound)),
            Some(_) | None => figure,
        });
    }
}

/// A system of one worker: idle, then with applications of each kind.
async fn measure_one(
    section: &mut Section,
    options: &Options,
    programs: &Programs,
    engine: Option<&Engine>,
) -> anyhow::Result<()> {
    let runtimes = if engine.is_some() {
        "docker,native"
    } else {
        "native"
    };
    // Before the fleet, so that it is dropped after it.
    let image = match engine {
        Some(engine) if options.applications > 0 => Some(engine.image().await?),
        Some(_) | None => None,
    };
    let shape = Shape {
        clusters: 1,
        workers: 1,
        engines: [
            "--runtimes",
            runtimes,
            "--docker-host",
            &options.docker_host,
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Shape::default()
    };
    let fleet = Fleet::start(programs, &shape).await?;
    tokio::time::sleep(SETTLE).await;
    tell("programs: one idle worker");
    let uses = watch(&fleet, options.window()).await;
    let [root, cluster, worker] = uses;
    show(
        section,
        &format!("node-engine, idle ({runtimes})"),
        worker,
        Some(&ENGINE),
    );
    show(section, "cluster-orchestrator, 1 worker", cluster, None);
    show(section, "root-orchestrator, 1 worker", root, None);
    if options.applications == 0 {
        return Ok(());
    }
    with_applications(section, options, &fleet, None).await?;
    if let Some(image) = &image {
        with_applications(section, options, &fleet, Some(image)).await?;
    }
    Ok(())
}

/// The same system while so many applications run: native ones, or containers of an image.
async fn with_applications(
    section: &mut Section,
    options: &Options,
    fleet: &Fleet,
    image: Option<&Image>,
) -> anyhow::Result<()> {
    let count = options.applications;
    let kind = if image.is_some() { "docker" } else { "native" };
    tell(&format!("programs: {count} {kind} applications"));
    let runs = match image {
        Some(image) => format!(
            "image: {}\nimage_runtime: docker\ncommand: {}",
            image.name,
            json!(COMMAND)
        ),
        None => "image_runtime: native\ncommand: [/bin/sleep, \"1000000\"]".to_owned(),
    };
    let document = format!("api_version: v0.1\njob_name: {kind}\nreplicas: {count}\n{runs}\n");
    let mut root = Connection::tcp(fleet.url()).await?;
    let body = Some(("application/yaml", document.as_bytes()));
    root.ask("POST", "/api/v1/jobs", body).await?.good()?;
    let path = format!("/api/v1/jobs/{kind}");
    let job = wait(fleet, &path, "RUNNING").await?;
    tokio::time::sleep(SETTLE).await;
    let [root_use, cluster, worker] = watch(fleet, options.window()).await;
    let with = format!("{count} {kind} applications");
    show(section, &format!("node-engine, {with}"), worker, None);
    if image.is_none() {
        let parents = parents(fleet);
        let pss: Samples = parents.iter().map(|memory| memory.pss).collect();
        section.push(Figure::new(
            format!(
                "parent of a native application ({}): PSS, median",
                pss.len()
            ),
            pss.median(),
            "MiB",
        ));
    }
    show(
        section,
        &format!("cluster-orchestrator, {with}"),
        cluster,
        None,
    );
    show(
        section,
        &format!("root-orchestrator, {with}"),
        root_use,
        None,
    );
    let mut root = Connection::tcp(fleet.url()).await?;
    root.ask("DELETE", &path, None).await?.good()?;
    let id = job.get("job_id").and_then(Value::as_str);
    let id = id.context("a job without an id")?;
    wait(fleet, &format!("/api/v1/jobs/{id}"), "TERMINATED").await?;
    Ok(())
}

/// The orchestrators of ten workers.
async fn measure_ten(
    section: &mut Section,
    options: &Options,
    programs: &Programs,
) -> anyhow::Result<()> {
    let shape = Shape {
        clusters: 1,
        workers: WORKERS,
        engines: ["--runtimes", "native"].map(str::to_owned).to_vec(),
        ..Shape::default()
    };
    let fleet = Fleet::start(programs, &shape).await?;
    tokio::time::sleep(SETTLE).await;
    tell(&format!("programs: {WORKERS} idle workers"));
    let [root, cluster, _] = watch(&fleet, options.window()).await;
    let of = |name: &str| format!("{name}, {WORKERS} workers");
    show(
        section,
        &of("cluster-orchestrator"),
        cluster,
        Some(&ORCHESTRATOR),
    );
    show(section, &of("root-orchestrator"), root, Some(&ORCHESTRATOR));
    Ok(())
}

/// Root, first cluster and first worker over a window.
async fn watch(fleet: &Fleet, window: Duration) -> [Use; 3] {
    let pids = fleet
        .tiers()
        .map(|(_, pids)| pids.first().copied().unwrap_or_default());
    let before = pids.map(usage::Cpu::of);
    let begun = Instant::now();
    tokio::time::sleep(window).await;
    let passed = begun.elapsed().as_secs_f64();
    let mut uses = pids.map(|pid| Use {
        memory: usage::memory(pid),
        cpu: 0.0,
    });
    for ((one, before), pid) in uses.iter_mut().zip(before).zip(pids) {
        one.cpu = usage::Cpu::of(pid).since(before).as_secs_f64() / passed * 100.0;
    }
    uses
}

fn show(section: &mut Section, what: &str, use_: Use, allowance: Option<&Allowance>) {
    let at_most = |figure: Figure, bound: Option<f64>| match bound {
        Some(bound) => figure.goal(Goal::AtMost(bound)),
        None => figure,
    };
    let Use { memory, cpu } = use_;
    let pss = Figure::new(format!("{what}: PSS"), memory.pss, "MiB");
    section.push(at_most(pss, allowance.map(|it| it.pss)));
    let anonymous = Figure::new(format!("{what}: anonymous"), memory.anonymous, "MiB");
    section.push(at_most(anonymous, allowance.and_then(|it| it.anonymous)));
    let cpu = Figure::new(format!("{what}: CPU of one core"), cpu, "%");
    section.push(at_most(cpu, allowance.and_then(|it| it.cpu)));
}

/// Memory of the native applications' parents.
fn parents(fleet: &Fleet) -> Vec<Memory> {
    let is_parent = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"shim")
    };
    let pids = fleet.applications().into_iter().filter(is_parent);
    pids.map(usage::memory).collect()
}

async fn wait(fleet: &Fleet, path: &str, state: &str) -> anyhow::Result<Value> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let job = http::get(fleet.url(), path).await?;
        if job.get("state").is_some_and(|it| it == state) {
            return Ok(job);
        }
        if Instant::now() > deadline {
            bail!(
                "{path} is not {state} within {LIMIT:?}: {}",
                job.get("state").unwrap_or(&job)
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}
