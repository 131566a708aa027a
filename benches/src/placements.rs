//! Placements a second through all three tiers, with a runtime that runs nothing.
//!
//! # Flow
//! In each round: the disk's floor, the HTTP floor, then a fresh system that gets single documents over many
//! connections, and another that gets one document of many replicas. The figures are medians over the rounds.
//!
//! # What counts
//! A placement is an instance that the root shows RUNNING, which it does when the worker has said so. The time goes from
//! the first byte of the first request to the moment at which the root counts all of them RUNNING.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::figure::{Figure, Goal, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::floor;
use crate::http::{Connection, request};
use crate::load::{Load, Sent};
use crate::options::{Only, Placements};
use crate::profile::Profile;
use crate::program::{Program, Programs};
use crate::samples::Samples;
use crate::usage;

/// How long the disk's floor is measured in each round.
const SYNCS: Duration = Duration::from_secs(1);
/// How long it may take until all are RUNNING.
const LIMIT: Duration = Duration::from_mins(2);
/// A count, which costs the root as much as a page of views, is followed by a pause of so many times its length.
const PATIENCE: u32 = 3;
/// Between two counts, at least.
const LOOK: Duration = Duration::from_millis(10);
/// The goals of issue 3.
const JOBS_GOAL: f64 = 2_500.0;
const REPLICAS_GOAL: f64 = 10_000.0;

/// Of each round, one value.
#[derive(Debug, Default)]
struct Rounds {
    syncs: Samples,
    floor_posts: Samples,
    floor_p50: Samples,
    floor_p99: Samples,
    posts: Samples,
    p50: Samples,
    p99: Samples,
    jobs: Half,
    replicas: Half,
    answer: Samples,
}

/// Of each round of one half, one value.
#[derive(Debug, Default)]
struct Half {
    /// Placements a second.
    rate: Samples,
    /// CPU microseconds of a placement: root, clusters, workers, this client.
    cpu: [Samples; 4],
    /// Commits of the root for each thousand placements.
    commits: Samples,
}

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Placements) -> anyhow::Result<Section> {
    let mut section = Section::new("placements");
    let mut rounds = Rounds::default();
    for round in 1..=options.rounds {
        tell(&format!("placements: round {round} of {}", options.rounds));
        measure_floors(options, &mut rounds).await?;
        if options.only != Some(Only::Replicas) {
            measure_jobs(programs, options, &mut rounds).await?;
        }
        if options.only != Some(Only::Jobs) {
            measure_replicas(programs, options, &mut rounds).await?;
        }
    }
    if options.only != Some(Only::Replicas) {
        show_jobs(&mut section, &rounds);
    }
    if options.only != Some(Only::Jobs) {
        show_replicas(&mut section, &rounds);
    }
    section.push(Figure::new(
        "floor: fdatasync of 4 KiB",
        rounds.syncs.median(),
        "/s",
    ));
    let Placements {
        clusters,
        workers,
        jobs,
        connections,
        replicas,
        rounds,
        ..
    } = options;
    section.note(format!(
        "1 root, {clusters} clusters of {workers} workers each, a fresh system for each half of each round; medians of {rounds} rounds"
    ));
    section.note(format!(
        "{jobs} documents (YAML, replicas: 1) over {connections} kept connections; one document of {replicas} replicas"
    ));
    section.note("a placement counts when the root shows it RUNNING; all programs and this client share the cores");
    section.note("what the cores would allow: all of them, with nothing else to do and never waiting, at that CPU of a placement");
    section.note("HTTP floor: a bare hyper server on two threads that parses a small JSON body, asked by the same client");
    Ok(section)
}

fn show_jobs(section: &mut Section, rounds: &Rounds) {
    let rate = rounds.jobs.rate.median();
    section.push(
        Figure::new("single documents: RUNNING", rate, "/s")
            .floor(rounds.floor_posts.median())
            .goal(Goal::AtLeast(JOBS_GOAL)),
    );
    let floors = [
        ("accepted", &rounds.posts, &rounds.floor_posts, "/s"),
        ("POST p50", &rounds.p50, &rounds.floor_p50, "ms"),
        ("POST p99", &rounds.p99, &rounds.floor_p99, "ms"),
    ];
    for (what, ours, floor, unit) in floors {
        let what = format!("single documents: {what}");
        section.push(Figure::new(what, ours.median(), unit).floor(floor.median()));
    }
    show_half(section, "single documents", &rounds.jobs);
}

fn show_replicas(section: &mut Section, rounds: &Rounds) {
    let rate = rounds.replicas.rate.median();
    section
        .push(Figure::new("one document: RUNNING", rate, "/s").goal(Goal::AtLeast(REPLICAS_GOAL)));
    section.push(Figure::new(
        "one document: POST answered",
        rounds.answer.median(),
        "ms",
    ));
    show_half(section, "one document", &rounds.replicas);
}

fn show_half(section: &mut Section, of: &str, half: &Half) {
    for (tier, samples) in ["root", "clusters", "workers", "this client"]
        .into_iter()
        .zip(&half.cpu)
    {
        let what = format!("{of}: CPU of a placement, {tier}");
        section.push(Figure::new(what, samples.median(), "us"));
    }
    let all: f64 = half.cpu.iter().map(Samples::median).sum();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    section.push(Figure::new(
        format!("{of}: what the cores would allow"),
        cores as f64 * 1e6 / all,
        "/s",
    ));
    section.push(Figure::new(
        format!("{of}: root's commits for 1,000 placements"),
        half.commits.median(),
        "",
    ));
}

async fn measure_floors(options: &Placements, rounds: &mut Rounds) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    rounds
        .syncs
        .push(floor::syncs_per_second(directory.path(), SYNCS)?);
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let args = ["floor-server".to_owned()];
    let server = Program::start(&own, "floor", directory.path(), &args).await?;
    let load = Load {
        count: options.jobs,
        connections: options.connections,
    };
    let of = |number| {
        let body = format!(
            "{{\"api_version\":\"v0.1\",\"job_name\":\"bench-{number}\",\"image_runtime\":\"noop\"}}"
        );
        request(
            "POST",
            "/api/v1/jobs",
            Some(("application/json", body.as_bytes())),
        )
    };
    let sent = load.send(server.said("http"), of).await?;
    rounds.floor_posts.push(rate(load.count, sent.took));
    rounds.floor_p50.push(sent.latencies.median());
    rounds.floor_p99.push(sent.latencies.quantile(0.99));
    Ok(())
}

async fn measure_jobs(
    programs: &Programs,
    options: &Placements,
    rounds: &mut Rounds,
) -> anyhow::Result<()> {
    let fleet = start(programs, options).await?;
    let load = Load {
        count: options.jobs,
        connections: options.connections,
    };
    let profile = Profile::start(options.perf.as_deref(), "jobs", &fleet).await?;
    let before = Before::read(&fleet).await?;
    let begun = Instant::now();
    let sent = load.send(fleet.url(), |number| document(number, 1)).await?;
    // The last of each connection first, which costs the root next to nothing; then all are counted.
    wait_last(&fleet, &sent).await?;
    let end = wait_running(&fleet, options.jobs).await?;
    let took = end.duration_since(begun);
    profile.finish().await;
    before
        .into_half(&fleet, options.jobs, took, &mut rounds.jobs)
        .await?;
    rounds.posts.push(rate(load.count, sent.took));
    rounds.p50.push(sent.latencies.median());
    rounds.p99.push(sent.latencies.quantile(0.99));
    tell(&format!(
        "  single documents: {:.0}/s RUNNING, {:.0}/s accepted",
        rate(options.jobs, took),
        rate(options.jobs, sent.took)
    ));
    Ok(())
}

async fn measure_replicas(
    programs: &Programs,
    options: &Placements,
    rounds: &mut Rounds,
) -> anyhow::Result<()> {
    let fleet = start(programs, options).await?;
    let mut root = Connection::tcp(fleet.url()).await?;
    let profile = Profile::start(options.perf.as_deref(), "replicas", &fleet).await?;
    let before = Before::read(&fleet).await?;
    let begun = Instant::now();
    root.send(&document(0, options.replicas)).await?;
    root.answer().await?.good()?;
    let answered = begun.elapsed();
    let end = wait_running(&fleet, options.replicas).await?;
    let took = end.duration_since(begun);
    profile.finish().await;
    let half = &mut rounds.replicas;
    before
        .into_half(&fleet, options.replicas, took, half)
        .await?;
    rounds.answer.push_time(answered);
    tell(&format!(
        "  one document: {:.0}/s RUNNING, answered in {answered:.1?}",
        rate(options.replicas, took)
    ));
    Ok(())
}

async fn start(programs: &Programs, options: &Placements) -> anyhow::Result<Fleet> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let shape = Shape {
        clusters: options.clusters,
        workers: options.workers,
        orchestrators: words(&["--allow-noop"]),
        engines: words(&[
            "--runtimes",
            "noop",
            "--capacity",
            "cpu=100000,memory=100000000",
        ]),
        locked: false,
    };
    Fleet::start(programs, &shape).await
}

/// A document as a user writes it, in a request.
fn document(number: u32, replicas: u32) -> Vec<u8> {
    let text = format!(
        "api_version: v0.1\njob_name: bench-{number}\nimage: bench\nimage_runtime: noop\nreplicas: {replicas}\n"
    );
    request(
        "POST",
        "/api/v1/jobs",
        Some(("application/yaml", text.as_bytes())),
    )
}

/// Waits until the last job of each connection runs.
async fn wait_last(fleet: &Fleet, sent: &Sent) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut root = Connection::tcp(fleet.url()).await?;
    for number in &sent.last {
        loop {
            let job = root.get(&format!("/api/v1/jobs/bench-{number}")).await?;
            if job.get("state").is_some_and(|state| state == "RUNNING") {
                break;
            }
            if Instant::now() > deadline {
                bail!("not RUNNING within {LIMIT:?}: {job}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Waits until the root counts so many RUNNING, and says when it did.
pub(crate) async fn wait_running(fleet: &Fleet, count: u32) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + LIMIT;
    let mut root = Connection::tcp(fleet.url()).await?;
    loop {
        let asked = Instant::now();
        let text = metrics(&mut root).await?;
        let running = series(&text, "edgeio_instances{state=\"RUNNING\"}");
        let now = Instant::now();
        if running >= f64::from(count) {
            return Ok(now);
        }
        if now > deadline {
            bail!("{running} of {count} run after {LIMIT:?}");
        }
        tokio::time::sleep((asked.elapsed() * PATIENCE).max(LOOK)).await;
    }
}

async fn metrics(root: &mut Connection<tokio::net::TcpStream>) -> anyhow::Result<String> {
    let answer = root.ask("GET", "/metrics", None).await?.good()?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// The value of a series; zero where there is none.
pub(crate) fn series(text: &str, name: &str) -> f64 {
    let of_line = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(of_line).unwrap_or(0.0)
}

pub(crate) fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

/// What was used before it began.
struct Before {
    cpu: [Duration; 4],
    commits: f64,
}

impl Before {
    async fn read(fleet: &Fleet) -> anyhow::Result<Self> {
        let of_tier = |pids: &[u32]| pids.iter().copied().map(usage::cpu).sum();
        let [root, clusters, workers] = fleet.tiers().map(|(_, pids)| of_tier(&pids));
        let mut connection = Connection::tcp(fleet.url()).await?;
        let text = metrics(&mut connection).await?;
        Ok(Self {
            cpu: [root, clusters, workers, usage::cpu(std::process::id())],
            commits: series(&text, "edgeio_commit_seconds_count"),
        })
    }

    async fn into_half(
        self,
        fleet: &Fleet,
        count: u32,
        took: Duration,
        half: &mut Half,
    ) -> anyhow::Result<()> {
        let after = Self::read(fleet).await?;
        let each = |before: Duration, after: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(count)
        };
        for ((samples, before), after) in half.cpu.iter_mut().zip(self.cpu).zip(after.cpu) {
            samples.push(each(before, after));
        }
        let commits = (after.commits - self.commits) * 1e3 / f64::from(count);
        half.commits.push(commits);
        half.rate.push(rate(count, took));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# HELP a x\na_sum 4\na{state=\"RUNNING\"} 12\na 3\n";
        assert!((series(text, "a{state=\"RUNNING\"}") - 12.0).abs() < 1e-9);
        assert!((series(text, "a ") - 3.0).abs() < 1e-9);
        assert!(series(text, "b").abs() < 1e-9);
    }
}
