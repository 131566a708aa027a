//! What a scheduler elsewhere costs a root: asked over HTTP, and by a queue in Redis, beside its own.
//!
//! # Flow
//! One system of three tiers with a runtime that runs nothing, an `edgeio-scheduler`, and a Redis of this benchmark's own. The root's
//! scheduler is exchanged before each deploy, in turn; then before many at once.

use std::time::Instant;

use anyhow::Context as _;

use crate::figure::{Figure, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::options::Schedulers;
use crate::placements::{rate, wait_running};
use crate::program::{Program, Programs};
use crate::samples::Samples;
use crate::secured::{WARM, Way, deploy, over_tcp};
use crate::stores::submit;

#[path = "../../tests/support/redis.rs"]
#[expect(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "tests use all of it, and from elsewhere; what does not start ends the benchmark"
)]
mod queue;

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Schedulers) -> anyhow::Result<Section> {
    let mut section = Section::new("schedulers");
    let data = tempfile::tempdir().context("cannot make a directory for redis-server")?;
    let path = data.path().to_owned();
    let starting = tokio::task::spawn_blocking(move || queue::Redis::start(&path));
    let server = starting.await.context("redis-server did not start")?;
    let args = ["--http", "127.0.0.1:0", "--redis", &server.url()];
    let args: Vec<String> = args.map(str::to_owned).to_vec();
    let program = programs.path("edgeio-scheduler");
    let scheduler = Program::start(&program, "scheduler", data.path(), &args).await?;
    let fleet = Fleet::start(programs, &shape(&server.url())).await?;
    let ways = [
        ("its own", "first-fit".to_owned()),
        ("over HTTP", scheduler.said("http").to_owned()),
        ("by a queue", "queue:edgeio".to_owned()),
    ];
    tell("schedulers: deploys in turn");
    let mut way = over_tcp(fleet.url()).await?;
    let mut alone = [(); 3].map(|()| Samples::default());
    for number in 0..WARM + options.deploys {
        for ((_, scheduler), samples) in ways.iter().zip(&mut alone) {
            exchange(&mut way, scheduler).await?;
            let took = deploy(&mut way, &format!("alone-{number}")).await?;
            if number >= WARM {
                samples.push_time(took);
            }
        }
    }
    let mut sent = 0;
    let mut rates = [(); 3].map(|()| Samples::default());
    for round in 0..options.rounds {
        tell(&format!(
            "schedulers: round {} of {}",
            round + 1,
            options.rounds
        ));
        for (index, ((_, scheduler), rates)) in ways.iter().zip(&mut rates).enumerate() {
            exchange(&mut way, scheduler).await?;
            rates.push(many(&fleet, options, &format!("many-{round}-{index}"), &mut sent).await?);
        }
    }
    let [own, others @ ..] = &alone;
    let [own_rate, other_rates @ ..] = &rates;
    for (((how, _), samples), rates) in ways.iter().skip(1).zip(others).zip(other_rates) {
        for (which, part) in [("p50", 0.5), ("p99", 0.99)] {
            let what = format!("deploy, the scheduler asked {how}, {which}");
            let figure = Figure::new(what, samples.quantile(part), "ms");
            section.push(figure.floor(own.quantile(part)));
        }
        let what = format!("many deploys, the scheduler asked {how}");
        let figure = Figure::new(what, rates.median(), "/s");
        section.push(figure.floor(own_rate.median()));
    }
    section.note("the floor is the root's own first-fit, in the same system and in turn with the others; the cluster has its own");
    section.note(format!(
        "{} deploys one at a time; {} over {} connections, medians of {} rounds; noop runtime, one worker, all on this machine",
        options.deploys, options.many, options.connections, options.rounds
    ));
    Ok(section)
}

fn shape(redis: &str) -> Shape {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Shape {
        clusters: 1,
        workers: 1,
        orchestrators: words(&["--allow-noop", "--redis", redis]),
        engines: words(&[
            "--runtimes",
            "noop",
            "--capacity",
            "cpu=100000,memory=10000000",
        ]),
        locked: false,
    }
}

async fn exchange(way: &mut Way, scheduler: &str) -> anyhow::Result<()> {
    let wanted = format!("{{\"scheduler\": \"{scheduler}\", \"fallback\": \"none\"}}");
    let wanted = if scheduler == "first-fit" {
        "{\"scheduler\": \"first-fit\"}".to_owned()
    } else {
        wanted
    };
    let body = Some(("application/json", wanted.as_bytes()));
    way.ask("PUT", "/api/v1/scheduler", body).await?.good()?;
    Ok(())
}

/// Deploys a second, until all run; `sent` is how many were sent before.
async fn many(
    fleet: &Fleet,
    options: &Schedulers,
    name: &str,
    sent: &mut u32,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    submit(fleet, name, options.many, options.connections).await?;
    *sent += options.many;
    let done = wait_running(fleet, *sent).await?;
    Ok(rate(options.many, done.duration_since(begun)))
}
