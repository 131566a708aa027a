//! A program around an orchestrator: options, logging, signals, what starters are told, and the exit code.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use daemon::notify::Notifier;
use daemon::telemetry::LogOptions;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{RunError, healthy};

/// An orchestrator's options, as far as its program uses them itself.
pub trait Options: clap::Parser {
    /// What is told once everything serves.
    type Ready: Serialize;

    /// What `healthy` asks for.
    const HEALTH: &'static str = "/readyz";

    /// Where it serves.
    fn http(&self) -> SocketAddr;
    /// What is logged, and how.
    fn log(&self) -> &LogOptions;
    /// The same with the service manager that watches the program.
    #[must_use]
    fn watched_by(self, notifier: Notifier) -> Self;
}

/// What is called once everything serves.
type Announce<R> = Box<dyn FnOnce(R) + Send>;

/// Runs an orchestrator as a program, until it is told to stop; with the word `healthy` before its options it asks the one that runs
/// how it is. `crash_points` are those of its own crate.
pub fn program<O: Options, F: Future<Output = Result<(), RunError>>>(
    arguments: impl IntoIterator<Item = OsString>,
    variable: &dyn Fn(&str) -> Option<String>,
    crash_points: &[&'static str],
    run: impl FnOnce(O, CancellationToken, Announce<O::Ready>) -> F,
) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let points = [crate::CRASH_POINTS, crash_points];
    if let Some(ended) = daemon::crash::begin(&arguments, variable, &points) {
        return ended;
    }
    let is_asking = arguments.get(1).is_some_and(|word| word == healthy::WORD);
    if is_asking {
        arguments.remove(1);
    }
    let options = match daemon::config::load::<O>(arguments, variable) {
        Ok(options) => options,
        Err(error) => return error.report(),
    };
    if is_asking {
        return healthy::main(options.http(), O::HEALTH);
    }
    daemon::memory::leave_none();
    if let Err(error) = daemon::telemetry::init(&options.log().level, options.log().format) {
        return failed(&error, daemon::exit::FAILURE);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, daemon::exit::FAILURE),
    };
    let notifier = Notifier::from_variables(variable);
    let ended = runtime.block_on(async {
        let shutdown = daemon::shutdown::on_signals().map_err(|source| RunError::Io {
            operation: "catch signals",
            source,
        })?;
        notifier.stopping_with(shutdown.clone());
        let options = options.watched_by(notifier.clone());
        run(options, shutdown, announce(notifier)).await
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, error.exit_code()),
    }
}

fn announce<R: Serialize>(notifier: Notifier) -> Announce<R> {
    Box::new(move |ready| {
        if let Err(error) = daemon::ready_line(&ready) {
            tracing::warn!(%error, "nobody reads the ready line");
        }
        notifier.ready();
    })
}

fn failed(error: &dyn Error, code: u8) -> ExitCode {
    tracing::error!("{}", with_sources(error));
    ExitCode::from(code)
}

/// An error with its sources in one line.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing into a String cannot fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
