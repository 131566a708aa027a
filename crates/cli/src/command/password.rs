//! Passwords from a terminal, a file or standard input; never from the command line, which everybody can read.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use protocol::rest::{Password, PasswordError};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// What Ctrl-C and Ctrl-\\ send.
const INTERRUPT: u8 = 0x03;
const QUIT: u8 = 0x1c;
/// Bytes of a line that a terminal gives at most.
const LONGEST: usize = 4_096;

/// Where the password comes from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Source {
    /// The file whose first line is the password; without it, it is asked for, or read from standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The password that a user has.
///
/// # Errors
/// When there is none to read.
pub(super) fn entered(source: &Source) -> Result<Password, Failure> {
    let text = read(source, "Password: ")?;
    Password::entered(&text).map_err(usage)
}

/// The password that a user is to have; at a terminal it is asked for twice.
///
/// # Errors
/// When there is none to read, or it may not be one.
pub(super) fn new(source: &Source) -> Result<Password, Failure> {
    let text = read(source, "New password: ")?;
    let password = Password::new(&text).map_err(usage)?;
    if source.password_file.is_none()
        && io::stdin().is_terminal()
        && read(source, "The same again: ")? != text
    {
        return Err(Failure::Usage("the two passwords differ".to_owned()));
    }
    Ok(password)
}

/// Whether somebody is at a terminal who can be asked.
pub(super) fn is_asked() -> bool {
    io::stdin().is_terminal()
}

/// A line that is not shown: of the terminal, or the first of standard input.
///
/// # Errors
/// When there is none to read.
pub(super) fn hidden(prompt: &str) -> Result<String, Failure> {
    let source = Source {
        password_file: None,
    };
    read(&source, prompt)
}

/// A line that may be seen.
///
/// # Errors
/// When there is none to read.
pub(super) fn line(prompt: &str) -> Result<String, Failure> {
    ask(prompt)
        .and_then(|()| first_line(io::stdin().lock()))
        .map_err(|error| failed(None, error))
}

fn usage(error: PasswordError) -> Failure {
    Failure::Usage(error.to_string())
}

fn read(source: &Source, prompt: &str) -> Result<String, Failure> {
    let path = source.password_file.as_deref();
    let read = match path {
        Some(path) => {
            std::fs::File::open(path).and_then(|file| first_line(io::BufReader::new(file)))
        }
        None if io::stdin().is_terminal() => silently(prompt),
        None => first_line(io::stdin().lock()),
    };
    read.map_err(|error| failed(path, error))
}

fn failed(path: Option<&Path>, source: io::Error) -> Failure {
    Failure::Read {
        path: path.map_or_else(|| "standard input".into(), Path::to_owned),
        source,
    }
}

/// A line from the terminal, which does not show it.
fn silently(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    // A signal would leave the terminal as it is then: its keys end the line instead.
    hidden
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    hidden.special_codes[SpecialCodeIndex::VEOL2] = QUIT;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let line = ask(prompt).and_then(|()| line_of(&stdin));
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    // The end of the line was not shown either.
    ask("\n")?;
    let line = line?;
    if line.ends_with([char::from(INTERRUPT), char::from(QUIT)]) {
        kill_process(getpid(), Signal::INT)?;
        // Whoever started this program may have it ignore the signal.
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(line)
}

/// A line as the terminal gives it: at its end, or at a key that ends it.
fn line_of(terminal: &io::Stdin) -> io::Result<String> {
    let mut bytes = [0; LONGEST];
    let read = rustix::io::read(terminal, &mut bytes)?;
    let line = bytes.get(..read).unwrap_or_default();
    first_line(line)
}

fn ask(prompt: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    out.write_all(prompt.as_bytes())?;
    out.flush()
}

fn first_line(mut from: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
