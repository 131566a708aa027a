//! The root-orchestrator's program: options, logging, signals, and [`root_orchestrator::run`].

use std::process::ExitCode;

use root_orchestrator::{Config, run};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let config = match daemon::config::load::<Config>(std::env::args_os(), &env) {
        Ok(config) => config,
        Err(error) => return error.report(),
    };
    if let Err(error) = daemon::telemetry::init(&config.log.level, config.log.format) {
        return failed(&anyhow::Error::new(error), daemon::exit::FAILURE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error), daemon::exit::FAILURE),
    };
    let ended = runtime.block_on(async {
        let shutdown =
            daemon::shutdown::on_signals().map_err(|source| root_orchestrator::RootError::Io {
                operation: "catch signals",
                source,
            })?;
        run(config, shutdown, |ready| {
            if let Err(error) = daemon::ready_line(&ready) {
                tracing::warn!(%error, "nobody reads the ready line");
            }
        })
        .await
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            failed(&anyhow::Error::new(error), code)
        }
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code)
}
