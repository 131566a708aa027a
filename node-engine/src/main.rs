//! The worker of an edgeIO system.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use node_engine::{Config, EngineError, Ready};

/// Bytes of a token that are read.
const TOKEN: u64 = 4_096;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.by_ref().nth(1).is_some_and(|first| first == "shim") {
        return node_engine::shim::main(args);
    }
    let word = std::env::args_os().nth(1).unwrap_or_default();
    let (is_doctor, is_joining) = (word == "doctor", word == "join");
    let is_asking = word == "healthy";
    // Nothing below reads the environment: it gets values.
    let variable = |name: &str| std::env::var(name).ok();
    let all: Vec<_> = std::env::args_os().collect();
    if let Some(ended) = daemon::crash::begin(&all, &variable, &[node_engine::CRASH_POINTS]) {
        return ended;
    }
    let args = if is_joining {
        joining(all)
    } else if is_doctor || is_asking {
        without_word(all)
    } else {
        all
    };
    let config = match daemon::config::load::<Config>(args, &variable) {
        Ok(config) => config,
        Err(error) => return error.report(),
    };
    if is_doctor {
        return node_engine::doctor::main(&config).unwrap_or(ExitCode::FAILURE);
    }
    if is_asking {
        return node_engine::doctor::healthy(&config).unwrap_or(ExitCode::FAILURE);
    }
    let config = Config {
        notifier: daemon::notify::Notifier::from_variables(&variable),
        join_token: config.join_token.map(given),
        is_joining,
        ..config
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the engine does not run");
            let engine = error.downcast_ref::<EngineError>();
            ExitCode::from(engine.map_or(daemon::exit::FAILURE, EngineError::exit_code))
        }
    }
}

/// The arguments without the word that says what to do.
fn without_word(mut args: Vec<OsString>) -> Vec<OsString> {
    // It is there, since it was looked at.
    args.remove(1);
    args
}

/// `join TOKEN …` as the options that it stands for; without a token where an option or the environment has it.
fn joining(args: Vec<OsString>) -> Vec<OsString> {
    let mut args = without_word(args);
    let is_token = |arg: &OsString| arg == "-" || !arg.to_string_lossy().starts_with('-');
    if args.get(1).is_some_and(is_token) {
        args.insert(1, "--join-token".into());
    }
    args
}

/// The token that was given, from standard input where that was said: there no list of processes shows it.
fn given(token: String) -> String {
    if token != "-" {
        return token;
    }
    let mut text = String::new();
    // Half a token is none, and is told as such.
    let _ = std::io::stdin()
        .lock()
        .take(TOKEN)
        .read_to_string(&mut text);
    text
}

fn start(config: Config) -> anyhow::Result<()> {
    daemon::memory::leave_none();
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
