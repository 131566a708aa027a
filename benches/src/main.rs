//! Benchmarks by one command, each beside a floor that is measured in the same run.
//!
//! Real programs of the same profile, real HTTP, real MQTT. Whatever is started belongs to a value that ends it, so
//! every way out, a signal too, leaves nothing behind.

mod deploy;
mod docker;
mod figure;
mod fleet;
mod floor;
mod heal;
mod http;
mod idle;
mod load;
mod machine;
mod machines;
mod options;
mod placements;
mod profile;
mod program;
mod programs;
mod samples;
mod schedulers;
mod secured;
mod sockets;
mod stores;
mod swarm;
mod usage;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use figure::Section;
use options::{Options, What};

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.what {
        What::FloorServer => floor::serve(),
        What::Deploy(_)
        | What::Placements(_)
        | What::Programs(_)
        | What::Idle(_)
        | What::Heal(_)
        | What::Secured(_)
        | What::Stores(_)
        | What::Schedulers(_)
        | What::All => measure(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            figure::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures what is asked for, until it is done or a signal comes.
fn measure(options: &Options) -> anyhow::Result<()> {
    let programs = program::Programs::beside_own(options.bin_dir.as_deref())?;
    // One thread: the client must not take the cores that it measures.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch signals")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot catch signals")?;
        let before = machine::Machine::read();
        // Whatever it has started is dropped with the future.
        let sections = tokio::select! {
            sections = Box::pin(sections(options, &programs)) => sections?,
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("terminated"),
            _ = hangup.recv() => anyhow::bail!("the terminal was closed"),
        };
        figure::write(options.json.as_deref(), &before, &sections)
    })
}

async fn sections(options: &Options, programs: &program::Programs) -> anyhow::Result<Vec<Section>> {
    let mut done: Vec<Section> = Vec::new();
    let of_one = match &options.what {
        What::Deploy(wanted) => Box::pin(deploy::measure(programs, wanted)).await?,
        What::Placements(wanted) => Box::pin(placements::measure(programs, wanted)).await?,
        What::Programs(wanted) => Box::pin(programs::measure(wanted)).await?,
        What::Idle(wanted) => Box::pin(idle::measure(programs, wanted)).await?,
        What::Heal(wanted) => Box::pin(heal::measure(programs, wanted)).await?,
        What::Secured(wanted) => Box::pin(secured::measure(programs, wanted)).await?,
        What::Stores(wanted) => Box::pin(stores::measure(programs, wanted)).await?,
        What::Schedulers(wanted) => Box::pin(schedulers::measure(programs, wanted)).await?,
        What::All => return Box::pin(all(programs)).await,
        What::FloorServer => return Ok(done),
    };
    of_one.print();
    done.push(of_one);
    Ok(done)
}

/// All of them with their defaults; what cannot be measured here says why and does not end the others.
async fn all(programs: &program::Programs) -> anyhow::Result<Vec<Section>> {
    let mut done = Vec::new();
    for name in [
        "placements",
        "deploy",
        "secured",
        "stores",
        "schedulers",
        "programs",
        "idle",
        "heal",
    ] {
        let outcome = match name {
            "placements" => {
                Box::pin(placements::measure(
                    programs,
                    &options::Placements::default(),
                ))
                .await
            }
            "deploy" => Box::pin(deploy::measure(programs, &options::Deploy::default())).await,
            "secured" => Box::pin(secured::measure(programs, &options::Secured::default())).await,
            "stores" => Box::pin(stores::measure(programs, &options::Stores::default())).await,
            "schedulers" => {
                Box::pin(schedulers::measure(
                    programs,
                    &options::Schedulers::default(),
                ))
                .await
            }
            "programs" => Box::pin(programs::measure(&options::Programs::default())).await,
            "idle" => Box::pin(idle::measure(programs, &options::Idle::default())).await,
            _ => Box::pin(heal::measure(programs, &options::Heal::default())).await,
        };
        let section =
            outcome.unwrap_or_else(|error| Section::not_measured(name, &format!("{error:#}")));
        section.print();
        done.push(section);
    }
    Ok(done)
}
