//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Measures edgeIO as real processes on this machine, each figure beside a floor of the same run.
///
/// It prints a table to standard output. Build the programs first, in the same profile as this one:
/// cargo build --release -p root-orchestrator -p cluster-orchestrator -p node-engine
#[derive(Debug, Parser)]
#[command(name = "edgeio-bench", version)]
pub(crate) struct Options {
    /// Writes the figures to a file, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where the programs are; beside this one if it is not given.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// What is measured.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// From a request to a started container, in turn with the container engine alone.
    Deploy(Deploy),
    /// Placements a second through all three tiers, with a runtime that runs nothing.
    Placements(Placements),
    /// Size, memory and CPU of each shipped program, idle and with applications.
    Programs(Programs),
    /// Bytes on the wire and commits of an idle worker.
    Idle(Idle),
    /// How long until what a lost machine ran runs elsewhere, beside Docker Swarm.
    Heal(Heal),
    /// What TLS, tokens and the audit log cost a deploy and a request.
    Secured(Secured),
    /// What a store in MongoDB costs beside the embedded one.
    Stores(Stores),
    /// What a scheduler elsewhere costs, over HTTP and by a queue in Redis.
    Schedulers(Schedulers),
    /// All of them, with their defaults.
    All,
    /// The floor of `placements`: a bare HTTP server.
    #[command(hide = true)]
    FloorServer,
}

/// Options of `deploy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Deploy {
    /// How many deploys, and as many containers straight through the engine.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
    /// Where the container engine listens: unix:///PATH.
    #[arg(
        long,
        env = "DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) docker_host: String,
}

/// Options of `placements`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Placements {
    /// Cluster-orchestrators.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) clusters: u32,
    /// Workers of each cluster.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
    /// Documents that are sent one by one, in each round.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) jobs: u32,
    /// Connections that send them.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) connections: u32,
    /// Replicas of the one document.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) replicas: u32,
    /// Rounds; the floor is measured before each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
    /// One half alone.
    #[arg(long)]
    pub(crate) only: Option<Only>,
    /// Writes profiles of each tier to a directory, with perf; they cost the tiers some of their speed.
    #[arg(long, value_name = "DIR")]
    pub(crate) perf: Option<PathBuf>,
}

/// One half of `placements`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Only {
    /// Single documents.
    Jobs,
    /// One document of many replicas.
    Replicas,
}

/// Options of `programs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Programs {
    /// Where the shipped programs are; `target/dist` beside this one's profile if it is not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) dist: Option<PathBuf>,
    /// How long CPU is measured, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Applications on one worker, after it was idle.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) applications: u32,
    /// Where the container engine listens: unix:///PATH.
    #[arg(
        long,
        env = "DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) docker_host: String,
}

impl Programs {
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Options of `idle`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Idle {
    /// How long it is watched, in seconds; the figures are extrapolated to an hour.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub(crate) seconds: u64,
}

/// Options of `heal`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Heal {
    /// Rounds; each makes three engines twice.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
    /// Containers on the machine that is lost.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) replicas: u32,
}

/// Options of `secured`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Secured {
    /// Deploys in each of both systems.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) deploys: u32,
    /// Requests of each kind, each way.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) requests: u32,
}

/// Options of `stores`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Stores {
    /// Submissions one at a time, in each round.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) alone: u32,
    /// Submissions over many connections, in each round.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) submissions: u32,
    /// How many connections those are.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) connections: u32,
    /// How often each store is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
}

/// Options of `schedulers`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Schedulers {
    /// Deploys one at a time, of each way to ask.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) deploys: u32,
    /// Deploys at once, in each round.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) many: u32,
    /// Over how many connections those are sent.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) connections: u32,
    /// How often each way is measured with many.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
}

/// The defaults of a subcommand's options.
#[derive(Debug, Parser)]
struct Alone<T: Args> {
    #[command(flatten)]
    options: T,
}

fn defaults<T: Args>() -> T {
    // Every option has a default, so this parses; a test holds it.
    Alone::parse_from(["edgeio-bench"]).options
}

impl Default for Deploy {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Placements {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Programs {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Idle {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Secured {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Stores {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Schedulers {
    fn default() -> Self {
        defaults()
    }
}

impl Default for Heal {
    fn default() -> Self {
        defaults()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_default() {
        assert_eq!(Deploy::default().count, 50);
        assert_eq!(Placements::default().replicas, 10_000);
        assert_eq!(Programs::default().window(), Duration::from_mins(1));
        assert_eq!(Idle::default().seconds, 120);
        assert_eq!(Heal::default().replicas, 5);
        assert_eq!(Secured::default().deploys, 300);
        assert_eq!(Stores::default().rounds, 3);
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }
}
