//! What is printed, and how.

mod colour;
mod progress;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::clean;
use crate::failure::Failure;

pub(crate) use progress::Progress;

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

impl Format {
    /// Whether it has the answers as they came.
    pub(crate) const fn is_raw(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Whether the reader of standard output went away.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Whether the reader of standard output went away, which is no fault, and ends what has no end of its own.
pub(crate) fn reader_is_gone() -> bool {
    READER_GONE.load(Ordering::Relaxed)
}

/// Prints lines on standard output. A reader that has enough is no fault.
pub(crate) fn print(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let each = || {
        for line in lines {
            let line = clean::line(line.as_ref());
            let line = if colour::on_stdout() {
                colour::states(&line)
            } else {
                line
            };
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    written(each())
}

/// Prints a value as JSON or YAML.
pub(crate) fn value(value: &impl Serialize, format: Format) -> Result<(), Failure> {
    let text = if format == Format::Yaml {
        protocol::rest::to_yaml(value)
    } else {
        serde_json::to_string_pretty(value)
    };
    let text = text.map_err(|error| standard_output(error.into()))?;
    let text = clean::escaped(text.trim_end_matches('\n'));
    written(write_out(format!("{text}\n").as_bytes()))
}

/// Prints a value of a stream: as one line of JSON, or as one document of YAML.
pub(crate) fn value_more(value: &impl Serialize, format: Format) -> Result<(), Failure> {
    let text = if format == Format::Yaml {
        protocol::rest::to_yaml(value).map(|text| format!("---\n{text}"))
    } else {
        serde_json::to_string(value).map(|text| format!("{text}\n"))
    };
    let text = text.map_err(|error| standard_output(error.into()))?;
    written(write_out(clean::escaped(&text).as_bytes()))
}

/// Prints bytes as they are: to be used for what this program made, and for what does not go to a terminal.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    written(write_out(bytes))
}

/// Prints a line of an application's log on a terminal.
pub(crate) fn log(line: &str) -> Result<(), Failure> {
    written(write_out(format!("{}\n", clean::log(line)).as_bytes()))
}

/// Whether standard output is a terminal.
pub(crate) fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Begins the terminal's page anew; elsewhere there are no pages.
pub(crate) fn new_page() -> Result<(), Failure> {
    if on_terminal() {
        raw(b"\x1b[H\x1b[2J")
    } else {
        Ok(())
    }
}

/// Prints lines on standard error.
pub(crate) fn complain(lines: &[String]) {
    let mut out = io::stderr().lock();
    for line in lines {
        let line = clean::line(line);
        let line: Cow<'_, str> = match line.strip_prefix("error:") {
            Some(rest) if colour::on_stderr() => Cow::Owned(colour::error("error:") + rest),
            Some(_) | None => line,
        };
        // There is nowhere else to complain.
        let _ = writeln!(out, "{line}");
    }
}

/// Says something beside what is printed.
pub(crate) fn notice(line: &str) {
    complain(&[line.to_owned()]);
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            READER_GONE.store(true, Ordering::Relaxed);
            Ok(())
        }
        result => result.map_err(standard_output),
    }
}

fn standard_output(source: io::Error) -> Failure {
    Failure::Print { source }
}
