//! `cargo run --release -p edgeio-bench-endpoint`: thousands of workers on the endpoint, in plain text and
//! over TLS, and on Mosquitto in the same run.
//!
//! Each broker runs in a process of its own, so that its memory and CPU time are its own. This process holds all workers, which
//! publish at QoS 1 and receive commands, and beside them connections that never finish their CONNECT and a reader that never
//! reads. Time is taken in this process alone: from the moment a command is handed to the broker's side to its arrival at
//! the worker, one local TCP hop included on either side.

mod broker;
mod hostile;
mod measure;
mod packet;
mod papers;
mod server;
mod table;
mod worker;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What to measure.
#[derive(Debug, Clone, Parser)]
#[command(about = "Measures the MQTT endpoint with thousands of workers, beside Mosquitto")]
struct Options {
    /// Connected workers.
    #[arg(long, default_value_t = 5000)]
    workers: u32,
    /// How long the workers publish, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds between two messages of one worker.
    #[arg(long, default_value_t = 5)]
    every: u64,
    /// Bytes of one message.
    #[arg(long, default_value_t = 300)]
    payload: usize,
    /// Commands a second, each to a random worker.
    #[arg(long, default_value_t = 100)]
    commands: u32,
    /// Connections that never finish their CONNECT.
    #[arg(long, default_value_t = 1000)]
    half_open: u32,
    /// Leaves Mosquitto out.
    #[arg(long)]
    alone: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Clone, Subcommand)]
enum Role {
    /// The endpoint in a process of its own; started by this program itself.
    #[command(hide = true)]
    Serve {
        /// The folder of an authority, for TLS.
        #[arg(long)]
        identity: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    raise_the_limit_of_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match &options.role {
        Some(Role::Serve { identity }) => runtime.block_on(server::serve(identity.as_deref())),
        None => runtime.block_on(async {
            let mut runs = Vec::new();
            if !options.alone {
                runs.push(measure::run(broker::Kind::Mosquitto, &options).await?);
            }
            for kind in [broker::Kind::Own, broker::Kind::Secured] {
                runs.push(measure::run(kind, &options).await?);
            }
            table::print(&options, &runs)
        }),
    }
}

/// Children inherit the limit.
fn raise_the_limit_of_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")
}
