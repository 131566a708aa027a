//! Layered configuration: file < environment < flag, over an ordinary clap derive struct.
//!
//! A program declares its options once, with `#[derive(clap::Parser)]` and long names, and nothing else; [`load`] walks
//! the resulting command and gives each option `--some-name` two more sources:
//!
//! - the environment variable `EDGEIO_SOME_NAME` (an empty one counts as not set), which `--help` shows;
//! - the key `some_name` of the TOML file that `--config FILE` (added here) or `EDGEIO_CONFIG` names.
//!
//! # How it works
//!
//! Every source is translated into command-line arguments: a value becomes `--some-name=value`. Each of them is checked
//! by clap on its own, so that all faults are found; an option that is given by a higher source drops out of the lower
//! ones; what remains, file before environment before flags, is parsed by clap as one command line. An option has
//! therefore one parser, whatever its source.
//!
//! - A repeatable option is an array in the file and separated by commas in the environment; a higher source replaces
//!   the whole list.
//! - A switch is `true` or `false` in both (in the environment also `1`, `yes`, `on`, `0`, `no`, `off`), and `false`
//!   takes back what a lower source says.
//! - An unknown key of the file is an error. An unknown `EDGEIO_…` variable is not: programs share an environment.
//!
//! # Assumptions
//!
//! Options have long names, take at most one value an occurrence, and there are no subcommands. Options must not use
//! clap's own `env`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

use crate::exit;

mod layers;
#[cfg(test)]
mod tests;

use layers::Setting;

/// The option that names the file.
const CONFIG: &str = "config";
/// What the name of every environment variable begins with.
const PREFIX: &str = "EDGEIO_";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The help or the version was asked for: no fault.
    #[error("{0}")]
    Shown(clap::Error),
    /// The configuration is wrong; the list is complete and not empty.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
}

/// One fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was found.
    pub origin: Origin,
    /// What is wrong, in one line.
    pub message: String,
    /// The long name of the option, if it is about one.
    option: Option<String>,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file, by its path.
    File(String),
    /// An environment variable, by its name.
    Environment(String),
    /// The command line.
    Flag,
    /// All sources together: something is missing or does not fit together.
    Whole,
}

impl Fault {
    fn new(origin: &Origin, option: Option<&str>, message: String) -> Self {
        let origin = origin.clone();
        let option = option.map(str::to_owned);
        Self {
            origin,
            message,
            option,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin, message, ..
        } = self;
        match origin {
            Origin::File(path) => write!(formatter, "{path}: {message}"),
            Origin::Environment(name) => write!(formatter, "{name}: {message}"),
            Origin::Flag => write!(formatter, "command line: {message}"),
            Origin::Whole => formatter.write_str(message),
        }
    }
}

fn list(faults: &[Fault]) -> String {
    let mut text = String::from("the configuration is wrong:");
    for fault in faults {
        text.push_str("\n  ");
        text.push_str(&fault.to_string());
    }
    text
}

impl ConfigError {
    /// Prints the help on standard output, or all faults on standard error, and gives `main` the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            // Nothing can be done about a closed standard output.
            Self::Shown(text) => drop(text.print()),
            Self::Faults(_) => {
                #[expect(
                    clippy::print_stderr,
                    reason = "logging is not set up before the configuration is read"
                )]
                {
                    eprintln!("error: {self}\nFor more information, try '--help'.");
                }
            }
        }
        ExitCode::from(self.exit_code())
    }

    /// The program's exit code for this error, of [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Shown(_) => exit::OK,
            Self::Faults(_) => exit::CONFIG,
        }
    }
}

/// Reads the options of `Cli` from `args` (the program's name first), the environment and the configuration file.
///
/// `env` looks one variable up, for example `&|name| std::env::var(name).ok()`.
///
/// # Errors
///
/// All faults at once, or the help that was asked for; [`ConfigError::report`] deals with both.
pub fn load<Cli: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cli, ConfigError> {
    let mut args = args.into_iter().map(Into::into);
    let program = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let options = Options {
        command: layered(Cli::command()),
        program,
    };
    let flags = layers::flags(&options.command, &args);
    if let Some(text) = flags.iter().find_map(|flag| options.asked_for(flag)) {
        return Err(ConfigError::Shown(text));
    }
    let mut faults = Vec::new();
    let environment = layers::environment(&options.command, env, &mut faults);
    let file = match layers::config_path(&flags, &environment) {
        Some(path) => layers::file(&options.command, &path, &mut faults),
        None => Vec::new(),
    };
    let settings = options.check(&[file, environment, flags], &mut faults);
    match options.parse(&settings) {
        Ok(mut matches) if faults.is_empty() => {
            Cli::from_arg_matches_mut(&mut matches).map_err(|error| {
                ConfigError::Faults(vec![Fault::new(&Origin::Whole, None, one_line(&error))])
            })
        }
        Ok(_) => Err(ConfigError::Faults(faults)),
        Err(error) => {
            faults.extend(remaining(&error, &faults));
            Err(ConfigError::Faults(faults))
        }
    }
}

/// The program's command with `--config` added and every option's other sources in its help.
fn layered(command: Command) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .help("A TOML file with any of these options as keys, written with _ instead of -");
    let mut command = command.arg(config).mut_args(|arg| {
        let Some(long) = arg.get_long().filter(|_| layers::is_layered(&arg)) else {
            return arg;
        };
        let note = format!("[env: {}]", layers::variable(long));
        let long_help = arg.get_long_help().map(|help| format!("{help}\n\n{note}"));
        let help = arg.get_help().map(|help| format!("{help} {note}"));
        let arg = arg.help(help.unwrap_or(note));
        match long_help {
            Some(help) => arg.long_help(help),
            None => arg,
        }
    });
    if command.get_after_help().is_none() {
        command = command.after_help(
            "Each option may stand in the file that --config names, in the environment, or here; the later wins.",
        );
    }
    command.build();
    command
}

/// The program's options as clap knows them.
struct Options {
    command: Command,
    program: OsString,
}

impl Options {
    fn parse(&self, args: &[OsString]) -> Result<clap::ArgMatches, clap::Error> {
        let line = std::iter::once(&self.program).chain(args);
        self.command.clone().try_get_matches_from(line)
    }

    /// The help or the version, if this flag asks for it; whatever is wrong with others.
    fn asked_for(&self, flag: &Setting) -> Option<clap::Error> {
        let error = self.parse(&flag.tokens).err()?;
        let shown = matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        );
        shown.then_some(error)
    }

    /// Checks each setting on its own; the arguments are the sound ones that no later layer overrides.
    fn check(&self, layers: &[Vec<Setting>], faults: &mut Vec<Fault>) -> Vec<OsString> {
        let mut arguments = Vec::new();
        for (rank, layer) in layers.iter().enumerate() {
            let above: BTreeSet<&str> = layers
                .iter()
                .skip(rank + 1)
                .flatten()
                .filter_map(|setting| setting.option.as_deref())
                .collect();
            for setting in layer {
                if let Some(message) = self.fault(setting) {
                    faults.push(Fault::new(
                        &setting.origin,
                        setting.option.as_deref(),
                        message,
                    ));
                    continue;
                }
                let overridden = setting
                    .option
                    .as_deref()
                    .is_some_and(|option| above.contains(option));
                if !overridden {
                    arguments.extend_from_slice(&setting.tokens);
                }
            }
        }
        arguments
    }

    /// What is wrong with one setting, whatever the others are.
    fn fault(&self, setting: &Setting) -> Option<String> {
        if setting.tokens.is_empty() {
            return None;
        }
        let error = self.parse(&setting.tokens).err()?;
        match error.kind() {
            // These are about the settings together, and found out when they are parsed together.
            ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict => None,
            _ => Some(one_line(&error)),
        }
    }
}

/// What is wrong with the settings together, without what only lacks because its own value was faulty.
fn remaining(error: &clap::Error, faults: &[Fault]) -> Option<Fault> {
    let whole = |message| Some(Fault::new(&Origin::Whole, None, message));
    let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return whole(one_line(error));
    };
    // clap writes them as in `--name <NAME>`.
    let faulty = |written: &str| {
        let long = written
            .strip_prefix("--")
            .and_then(|rest| rest.split(' ').next());
        faults
            .iter()
            .any(|fault| long.is_some() && fault.option.as_deref() == long)
    };
    let missing: Vec<&str> = missing
        .iter()
        .map(String::as_str)
        .filter(|written| !faulty(written))
        .collect();
    if missing.is_empty() {
        return None;
    }
    whole(format!("missing: {}", missing.join(", ")))
}

/// clap's message without its decoration and usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = without_logins(&lines.join(" "));
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// What stands between `://` and `@` in a value is nobody's business: who one is to a database, and the password.
fn without_logins(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        // A value ends with its quote.
        let value = part.split_once("' ").map_or(part, |(value, _)| value);
        let from = value.rfind('@');
        if from.is_some() {
            shown.push('…');
        }
        shown.push_str(part.get(from.unwrap_or_default()..).unwrap_or_default());
    }
    shown
}
