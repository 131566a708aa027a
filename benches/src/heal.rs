//! How long until what a lost machine ran runs elsewhere, beside Docker Swarm.
//!
//! # What is measured
//! In each round three machines (`machines`) with engines of their own are made, twice: for a swarm, and for edgeIO, both at
//! their defaults. All replicas run on the second machine, which is then killed: engine, containers, and in ours the
//! worker. Time goes from there to the moment at which the other machines' engines say that so many containers run. The
//! swarm's manager is the first machine; edgeIO's root and cluster stand outside, its workers on the second and third.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::docker::COMMAND;
use crate::figure::{Figure, Goal, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::http::{self, Connection};
use crate::machines::{Machine, Machines};
use crate::options::Heal;
use crate::program::{Program, Programs};
use crate::samples::Samples;
use crate::swarm;

/// How many machines.
const MACHINES: u8 = 3;
/// How long one step may take, and the healing.
const LIMIT: Duration = Duration::from_mins(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// After everything runs, so that what that caused is over.
const SETTLE: Duration = Duration::from_secs(3);
/// The default `lost_after`, and what may pass beyond it, in seconds.
const GOAL: f64 = 10.0 + 3.0;

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Heal) -> anyhow::Result<Section> {
    let mut section = Section::new("heal");
    let (mut ours, mut swarms) = (Samples::default(), Samples::default());
    let mut version = String::new();
    for round in 1..=options.rounds {
        tell(&format!("heal: round {round} of {}", options.rounds));
        let machines = Machines::start(MACHINES).await?;
        if let Some(machine) = machines.all.first() {
            version = machine.engine.version().await?;
        }
        let took = heal_swarm(&machines, options.replicas).await?;
        tell(&format!("heal: swarm {took:?}"));
        swarms.push(took.as_secs_f64());
        drop(machines);
        let machines = Machines::start(MACHINES).await?;
        let took = heal_own(programs, &machines, options.replicas).await?;
        tell(&format!("heal: edgeIO {took:?}"));
        ours.push(took.as_secs_f64());
    }
    for (what, part) in [("median", 0.5), ("longest", 1.0)] {
        section.push(
            Figure::new(
                format!("all run elsewhere, {what}"),
                ours.quantile(part),
                "s",
            )
            .floor(swarms.quantile(part))
            .goal(Goal::AtMost(GOAL)),
        );
    }
    section.note(format!(
        "{} containers on one of {MACHINES} machines, which is killed with them; {} rounds; {version}",
        options.replicas, options.rounds
    ));
    section.note("floor: Docker Swarm at its defaults, on engines made the same way in the same round, which need not pull the image");
    section.note("machines are network namespaces of this one; the time ends when the other engines list all containers as running");
    Ok(section)
}

async fn heal_swarm(machines: &Machines, replicas: u32) -> anyhow::Result<Duration> {
    let [_, lost, _] = machines.all.as_slice() else {
        bail!("not {MACHINES} machines");
    };
    let image = images(machines).await?;
    swarm::form(machines).await?;
    swarm::deploy(machines, lost, (&image, replicas)).await?;
    tokio::time::sleep(SETTLE).await;
    let begun = Instant::now();
    lost.lose()?;
    healed(machines, lost, replicas, begun).await
}

async fn heal_own(
    programs: &Programs,
    machines: &Machines,
    replicas: u32,
) -> anyhow::Result<Duration> {
    let [_, lost, other] = machines.all.as_slice() else {
        bail!("not {MACHINES} machines");
    };
    let image = images(machines).await?;
    let shape = Shape {
        clusters: 1,
        ..Shape::default()
    };
    let mut fleet = Fleet::start(programs, &shape).await?;
    add_worker(&mut fleet, programs, ("lost", lost)).await?;
    let document = format!(
        "api_version: v0.1\njob_name: bench\nimage: {image}\nimage_runtime: docker\nreplicas: {replicas}\ncommand: {}\n",
        json!(COMMAND)
    );
    let mut root = Connection::tcp(fleet.url()).await?;
    let body = Some(("application/yaml", document.as_bytes()));
    root.ask("POST", "/api/v1/jobs", body).await?.good()?;
    until("the job runs", async || {
        let job = http::get(fleet.url(), "/api/v1/jobs/bench").await?;
        Ok(job.get("state").is_some_and(|state| state == "RUNNING"))
    })
    .await?;
    add_worker(&mut fleet, programs, ("other", other)).await?;
    tokio::time::sleep(SETTLE).await;
    let begun = Instant::now();
    drop(fleet.workers.remove(0));
    lost.lose()?;
    healed(machines, lost, replicas, begun).await
}

/// Starts a worker on a machine's engine, and waits until its cluster hears it.
async fn add_worker(
    fleet: &mut Fleet,
    programs: &Programs,
    (name, machine): (&str, &Machine),
) -> anyhow::Result<()> {
    let cluster = fleet.clusters.first().context("no cluster")?;
    let server = cluster.said("http").to_owned();
    let data = fleet.path(name).to_string_lossy().into_owned();
    let args = [
        "--name",
        name,
        "--cluster",
        &server,
        "--runtimes",
        "docker",
        "--docker-host",
        &machine.host,
        "--data-dir",
        &data,
    ]
    .map(str::to_owned);
    let path = programs.path("node-engine");
    let worker = Program::start(&path, name, &fleet.path(""), &args).await?;
    fleet.workers.push(worker);
    until("the worker joins", async || {
        let nodes = http::get(&server, "/api/v1/nodes").await?;
        let rows = nodes.get("items").and_then(Value::as_array);
        let is = |row: &Value| {
            let field = |field: &str| row.get(field).and_then(Value::as_str);
            field("name") == Some(name) && field("state") == Some("ALIVE")
        };
        Ok(rows.is_some_and(|rows| rows.iter().any(is)))
    })
    .await
}

/// Makes the image on each engine, under one name.
async fn images(machines: &Machines) -> anyhow::Result<String> {
    let mut name = String::new();
    for machine in &machines.all {
        name = machine.engine.make_image().await?;
    }
    Ok(name)
}

/// Waits until as many containers as were lost run on the other machines.
async fn healed(
    machines: &Machines,
    lost: &Machine,
    replicas: u32,
    begun: Instant,
) -> anyhow::Result<Duration> {
    until("all run elsewhere", async || {
        let mut running = 0;
        for machine in &machines.all {
            if machine.address != lost.address {
                running += machine.engine.running().await?;
            }
        }
        Ok(running >= replicas as usize)
    })
    .await?;
    Ok(begun.elapsed())
}

async fn until(what: &str, is: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !is().await? {
        if Instant::now() > deadline {
            bail!("not within {LIMIT:?}: {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
