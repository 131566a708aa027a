//! `edgeio up`: all tiers in one process, each with its own tasks, talking to each other as they do across machines.
//!
//! # Flow
//! 1. [`plan`] makes the configuration of every tier out of the options.
//! 2. [`system`] starts the root, clusters and workers, and [`meeting`] waits until all know each other.
//! 3. The first line on standard output says that; with `--demo`, [`demo`] deploys the example.
//! 4. At a signal (or after `--once`) the tiers stop in the other order. With `--ephemeral` or `--once`, [`sweep`] then
//!    ends what their workers left running, which otherwise stays and is adopted by the next start.

mod demo;
mod meeting;
mod plan;
mod sweep;
mod system;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use daemon::exit;
use daemon::telemetry::LogOptions;
use model::id::NodeId;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Target};
use crate::failure::Failure;
use crate::local::Local;
use crate::output;

use meeting::Meeting;
use plan::Plan;
use system::{Fault, System};

/// Starts a whole system in this process: a root-orchestrator, clusters and their workers on this machine.
///
/// The first line on standard output is one line of JSON, printed once the API accepts requests and all clusters and
/// workers are connected; logs go to standard error. A wrong configuration exits with 64, an address in use with 69, a
/// store that cannot be used with 78.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "edgeio up", version, max_term_width = 110)]
pub(crate) struct Options {
    /// How many clusters to start; they are named cluster-1, cluster-2, and so on.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    clusters: u16,
    /// How many workers to start for each cluster; they are named worker-1, worker-2, and so on, through all clusters,
    /// and share the machine's cores and memory evenly.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    workers: u16,
    /// The directory of everything that must survive a restart; made if it is not there.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./edgeio-data",
        conflicts_with = "ephemeral"
    )]
    data_dir: PathBuf,
    /// Leaves nothing behind: state is kept in memory and a temporary directory, and applications end with the system.
    #[arg(long)]
    ephemeral: bool,
    /// Where the root's API is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = daemon::value::listen_address)]
    http: SocketAddr,
    /// A file with a token that reads /metrics of the root and the clusters, and nothing else, for Prometheus.
    #[arg(long, value_name = "FILE")]
    scrape_token_file: Option<PathBuf>,
    /// Deploys the example sla-examples/hello.yaml, waits until it runs, shows it, and goes on serving.
    #[arg(long)]
    demo: bool,
    /// After the demonstration ends everything, and exits with 0 if the example ran and with 1 if not.
    #[arg(long, requires = "demo")]
    once: bool,
    /// What is logged, and how.
    #[command(flatten)]
    log: LogOptions,
}

/// The first line on standard output.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    event: &'static str,
    /// The root's address.
    root: &'a str,
    /// The clusters' addresses, in the order of their numbers.
    clusters: Vec<&'a str>,
    /// Where workers reach them over MQTT, in the same order.
    mqtt: Vec<&'a str>,
    data_dir: &'a std::path::Path,
}

/// `edgeio up` with its arguments, the program's name first; file and environment are read as by every daemon.
pub(crate) fn main_of(args: impl Iterator<Item = OsString>) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    match daemon::config::load::<Options>(args, &variable) {
        Ok(options) => main(options),
        Err(error) => error.report(),
    }
}

/// `edgeio up` with its options.
pub(crate) fn main(options: Options) -> ExitCode {
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault { code, error }) => {
            output::complain(&[format!("error: {error:#}")]);
            if code == exit::ADDRESS_IN_USE {
                let remedy = "Another system may run there: use it, or give another address with --http (port 0 takes a free one).";
                output::complain(&[remedy.to_owned()]);
            }
            ExitCode::from(code)
        }
    }
}

fn start(options: Options) -> Result<(), Fault> {
    daemon::memory::leave_none();
    daemon::telemetry::init(&options.log.level, options.log.format)
        .context("cannot set up the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(Box::pin(run(options)));
    // A request that still waits for an answer must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn run(options: Options) -> Result<(), Fault> {
    let signals = daemon::shutdown::on_signals().context("cannot catch signals")?;
    // Held to the end: dropping it removes the directory.
    let temporary = options
        .ephemeral
        .then(|| tempfile::Builder::new().prefix("edgeio-").tempdir())
        .transpose()
        .context("cannot make a temporary directory")?;
    let dir = temporary
        .as_ref()
        .map_or(options.data_dir.as_path(), tempfile::TempDir::path);
    let dir = std::path::absolute(dir)
        .with_context(|| format!("cannot use the data directory {}", dir.display()))?;
    let plan = Plan::new(&options, &dir)?;
    let mut system = System::default();
    let mut nodes = BTreeMap::new();
    let parts = (&mut system, &mut nodes);
    let served = Box::pin(serve(&options, &plan, parts, &signals)).await;
    let stopped = system.stop().await;
    if options.ephemeral || options.once {
        sweep::applications(&plan, &nodes).await;
    } else if served.is_ok() {
        let line = format!(
            "Applications keep running; the next 'edgeio up' on {} adopts them.",
            dir.display()
        );
        let _ = output::print([line]);
    }
    served.and(stopped)
}

/// Starts everything, says so, and serves until a signal comes or `--once` is done.
async fn serve(
    options: &Options,
    plan: &Plan,
    (system, nodes): (&mut System, &mut BTreeMap<String, NodeId>),
    signals: &CancellationToken,
) -> Result<(), Fault> {
    tokio::select! {
        biased;
        () = signals.cancelled() => return interrupted(options),
        // Cancel-safe: what was started is in `system`, which is stopped afterwards.
        started = system.start(plan) => started?,
    }
    let token = administrator(plan);
    let client = client_of(system.root(), token.clone()).map_err(anyhow::Error::new)?;
    let meeting = Meeting::new(client.clone(), token.as_deref(), plan, system.clusters())?;
    tokio::select! {
        biased;
        () = signals.cancelled() => return interrupted(options),
        fault = system.ended() => return Err(fault),
        met = meeting.wait() => *nodes = met?,
    }
    note(plan, system);
    // Whoever does not read the line may still use the system.
    let _ = daemon::ready_line(&Ready {
        event: "ready",
        root: system.root(),
        clusters: system
            .clusters()
            .map(|cluster| cluster.http.as_str())
            .collect(),
        mqtt: system
            .clusters()
            .map(|cluster| cluster.mqtt.as_str())
            .collect(),
        data_dir: &plan.dir,
    });
    if options.demo {
        tokio::select! {
            biased;
            () = signals.cancelled() => return interrupted(options),
            fault = system.ended() => return Err(fault),
            shown = demo::run(&client, token_file(plan), options.once) => match shown {
                Err(error) if !options.once => output::complain(&[format!("error: {error:#}")]),
                Ok(()) if !options.once => {}
                done => return Ok(done?),
            },
        }
    }
    tokio::select! {
        biased;
        () = signals.cancelled() => Ok(()),
        fault = system.ended() => Err(fault),
    }
}

/// How a signal before the end of the demonstration counts: as asked, unless its end is what was asked for.
fn interrupted(options: &Options) -> Result<(), Fault> {
    if options.once {
        return Err(anyhow!("stopped before the example had run").into());
    }
    Ok(())
}

/// Tells the other commands where the token is; without it they have to be told.
fn note(plan: &Plan, system: &System) {
    let Some(token) = token_file(plan) else {
        return;
    };
    let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let Some(local) = Local::of(&environment) else {
        return;
    };
    let clusters = system.clusters().map(|cluster| cluster.http.as_str());
    if let Err(error) = local.note(clusters.chain([system.root()]), token) {
        tracing::debug!(%error, "other commands have to be told where the token is");
    }
}

/// The administrator's token, where there is one: with everything in memory nobody needs it.
fn administrator(plan: &Plan) -> Option<String> {
    let token = std::fs::read_to_string(token_file(plan)?).ok()?;
    Some(token.trim().to_owned())
}

/// Where it stands.
fn token_file(plan: &Plan) -> Option<&Path> {
    let path = plan.root.admin_token_file.as_deref();
    path.filter(|path| path.exists())
}

/// A client of a server in this process.
fn client_of(url: &str, token: Option<String>) -> Result<Client, Failure> {
    Client::new(&Target {
        url: url.to_owned(),
        token,
        insecure: false,
        ca: None,
        named_by: "served by this process",
    })
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self {
            code: exit::FAILURE,
            error,
        }
    }
}
