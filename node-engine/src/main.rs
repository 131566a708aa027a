//! The worker of an edgeIO system.

use std::process::ExitCode;

use anyhow::Context;
use node_engine::{Config, EngineError, Ready};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.by_ref().nth(1).is_some_and(|first| first == "shim") {
        return node_engine::shim::main(args);
    }
    let is_doctor = std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "doctor");
    // Nothing below reads the environment: it gets values.
    let variable = |name: &str| std::env::var(name).ok();
    let all: Vec<_> = std::env::args_os().collect();
    if let Some(ended) = daemon::crash::begin(&all, &variable, &[node_engine::CRASH_POINTS]) {
        return ended;
    }
    let args = std::env::args_os()
        .enumerate()
        .filter(|(place, _)| !is_doctor || *place != 1)
        .map(|(_, arg)| arg);
    let config = match daemon::config::load::<Config>(args, &variable) {
        Ok(config) => config,
        Err(error) => return error.report(),
    };
    if is_doctor {
        return node_engine::doctor::main(&config).unwrap_or(ExitCode::FAILURE);
    }
    let notifier = daemon::notify::Notifier::from_variables(&variable);
    match start(Config { notifier, ..config }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the engine does not run");
            let engine = error.downcast_ref::<EngineError>();
            ExitCode::from(engine.map_or(daemon::exit::FAILURE, EngineError::exit_code))
        }
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    daemon::telemetry::init(&config.log.level, config.log.format)
        .context("cannot set up the log")?;
    // One thread is enough for a worker, and keeps it small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = daemon::shutdown::on_signals().context("cannot catch signals")?;
        let notifier = config.notifier.clone();
        notifier.stopping_with(shutdown.clone());
        let ready = |ready: Ready| {
            if let Err(error) = daemon::ready_line(&ready) {
                tracing::warn!(error = %error, "nobody reads the ready line");
            }
            notifier.ready();
        };
        node_engine::run(config, shutdown, ready).await?;
        Ok(())
    })
}
