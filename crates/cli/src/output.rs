//! What is printed, and how.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::clean;
use crate::failure::Failure;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// The answers as they came.
    Json,
    /// The same as YAML.
    Yaml,
    /// `kind/name`, one a line.
    Name,
}

/// Prints lines on standard output. A reader that has enough is no fault.
pub(crate) fn print(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for line in lines {
        if !written(writeln!(out, "{}", clean::line(line.as_ref())))? {
            return Ok(());
        }
    }
    written(out.flush()).map(|_| ())
}

/// Prints a value as JSON or YAML.
pub(crate) fn value(value: &impl Serialize, format: Format) -> Result<(), Failure> {
    let text = if format == Format::Yaml {
        protocol::rest::to_yaml(value)
    } else {
        serde_json::to_string_pretty(value)
    };
    let text = text.map_err(|error| standard_output(error.into()))?;
    let mut out = io::stdout().lock();
    let result =
        writeln!(out, "{}", clean::escaped(text.trim_end_matches('\n'))).and_then(|()| out.flush());
    written(result).map(|_| ())
}

/// Prints lines on standard error.
pub(crate) fn complain(lines: &[String]) {
    let mut out = io::stderr().lock();
    for line in lines {
        // There is nowhere else to complain.
        let _ = writeln!(out, "{}", clean::line(line));
    }
}

/// Tells a person at a terminal how far it is; a log or a pipe is spared that.
pub(crate) fn progress(line: &str) {
    if io::stderr().is_terminal() {
        complain(&[line.to_owned()]);
    }
}

/// Whether more can be written.
fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(standard_output(error)),
    }
}

fn standard_output(source: io::Error) -> Failure {
    Failure::Print { source }
}
