//! The `edgeio` command: a client of the REST API, and `edgeio up`, all tiers in one process.

mod clean;
mod client;
mod command;
mod connection;
mod context;
mod documents;
mod failure;
mod local;
mod options;
mod output;
mod table;
mod up;
mod values;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::Parser;

use options::{Action, Options};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Both are asked for before anything else: a shim is to stay small, and `up` reads its options as daemons do.
    match args.next().as_deref().and_then(OsStr::to_str) {
        Some("shim") => node_engine::shim::main(args),
        Some("up") => up::main_of(std::iter::once(OsString::from("edgeio up")).chain(args)),
        Some(_) | None => client(),
    }
}

fn client() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                failure::USAGE
            } else {
                0
            });
        }
    };
    if let Action::Up(options) = options.action {
        return up::main(*options);
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match command::run(&options, &variable) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.lines());
            ExitCode::from(failure.exit_code())
        }
    }
}
