//! What a root's store in MongoDB costs beside the embedded one.
//!
//! # Flow
//! Two roots stand side by side, without clusters, so that a submission is parsed, decided, committed and answered, and nothing
//! else: one with its file, one with a MongoDB of this benchmark's own on the same disk. They are asked in turn: over one
//! kept connection, where each request waits for a commit of its own, and over many, whose requests share commits.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::figure::{Figure, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::http::request;
use crate::load::Load;
use crate::options::Stores;
use crate::program::Programs;
use crate::samples::Samples;

#[path = "../../tests/support/mongod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "tests use all of it, and from elsewhere; what does not start ends the benchmark"
)]
mod mongod;

/// Of one store, one value a round.
#[derive(Debug, Default)]
struct Rounds {
    /// Milliseconds of a submission alone.
    p50: Samples,
    p99: Samples,
    /// Submissions a second over many connections.
    rate: Samples,
}

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Stores) -> anyhow::Result<Section> {
    if program().is_none() {
        bail!("there is no mongod in the path; name one in EDGEIO_MONGOD");
    }
    let mut section = Section::new("stores");
    let data = tempfile::tempdir().context("cannot make a directory for mongod")?;
    let path = data.path().to_owned();
    let starting = tokio::task::spawn_blocking(move || mongod::Mongod::start(&path));
    let server = starting.await.context("mongod did not start")?;
    let mut rounds = [Rounds::default(), Rounds::default()];
    for round in 1..=options.rounds {
        tell(&format!("stores: round {round} of {}", options.rounds));
        let database = server.url(&format!("round-{round}"));
        for (store, rounds) in ["embedded", &database].into_iter().zip(&mut rounds) {
            let shape = Shape {
                orchestrators: ["--allow-noop", "--store", store]
                    .map(str::to_owned)
                    .to_vec(),
                ..Shape::default()
            };
            let root = Fleet::start(programs, &shape).await?;
            let alone = submit(&root, "alone", options.alone, 1).await?;
            rounds.p50.push(alone.latencies.quantile(0.5));
            rounds.p99.push(alone.latencies.quantile(0.99));
            let many = submit(&root, "many", options.submissions, options.connections).await?;
            let rate = f64::from(options.submissions) / many.took.as_secs_f64();
            rounds.rate.push(rate);
        }
    }
    let [embedded, mongodb] = rounds;
    for (what, of, unit) in [
        ("one at a time, p50", (&mongodb.p50, &embedded.p50), "ms"),
        ("one at a time, p99", (&mongodb.p99, &embedded.p99), "ms"),
        (
            "over many connections",
            (&mongodb.rate, &embedded.rate),
            "/s",
        ),
    ] {
        let figure = Figure::new(
            format!("submissions on MongoDB, {what}"),
            of.0.median(),
            unit,
        );
        section.push(figure.floor(of.1.median()));
    }
    section.note(
        "the floor is the same root with its embedded store, in the same run and in turn with it",
    );
    section.note(format!(
        "a root alone; {} submissions over one connection, {} over {}; medians of {} rounds",
        options.alone, options.submissions, options.connections, options.rounds
    ));
    section.note("MongoDB is one mongod that is a replica set of its own, on this machine; commits are by majority, in its journal");
    Ok(section)
}

/// Submits so many documents of jobs with that name and a number.
pub(crate) async fn submit(
    root: &Fleet,
    name: &str,
    count: u32,
    connections: u32,
) -> anyhow::Result<crate::load::Sent> {
    let load = Load { count, connections };
    let (server, name) = (root.url().to_owned(), name.to_owned());
    load.send(&server, move |number| {
        let document =
            format!("api_version: v0.1\njob_name: {name}-{number}\nimage_runtime: noop\n");
        request(
            "POST",
            "/api/v1/jobs",
            Some(("application/yaml", document.as_bytes())),
        )
    })
    .await
}

/// Where mongod is.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("EDGEIO_MONGOD") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|place| place.join("mongod"));
    places.find(|place| place.exists())
}
