//! The three sources of settings, each translated into command-line arguments.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use super::{CONFIG, Fault, Origin, PREFIX};

/// The largest configuration file, in bytes.
const LARGEST: u64 = 256 * 1024;

/// One option as one source gives it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The option's long name; `None` for what is no option, which cannot be overridden.
    pub(super) option: Option<String>,
    pub(super) origin: Origin,
    /// The arguments that say the same; none for a switch that is off.
    pub(super) tokens: Vec<OsString>,
}

/// How an option takes its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Repeatable,
    Switch,
}

fn kind(arg: &Arg) -> Option<Kind> {
    match arg.get_action() {
        ArgAction::Set => Some(Kind::Single),
        ArgAction::Append => Some(Kind::Repeatable),
        ArgAction::SetTrue | ArgAction::SetFalse => Some(Kind::Switch),
        // Counters, and the help and version flags, belong on the command line.
        _ => None,
    }
}

/// Whether the option may be given by the environment and the file.
pub(super) fn is_layered(arg: &Arg) -> bool {
    arg.get_long().is_some() && kind(arg).is_some()
}

/// The environment variable of an option.
pub(super) fn variable(long: &str) -> String {
    let name = long.replace('-', "_").to_ascii_uppercase();
    format!("{PREFIX}{name}")
}

fn with_value(long: &str, value: &str) -> OsString {
    OsString::from(format!("--{long}={value}"))
}

/// What the environment sets.
pub(super) fn environment(
    command: &Command,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<Fault>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for arg in command.get_arguments() {
        let (Some(long), Some(kind)) = (arg.get_long(), kind(arg)) else {
            continue;
        };
        let name = variable(long);
        let Some(value) = env(&name).filter(|value| !value.is_empty()) else {
            continue;
        };
        let origin = Origin::Environment(name);
        let tokens = match kind {
            Kind::Single => vec![with_value(long, &value)],
            Kind::Repeatable => value
                .split(',')
                .map(|item| with_value(long, item.trim()))
                .collect(),
            Kind::Switch => match value.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => vec![OsString::from(format!("--{long}"))],
                "0" | "false" | "no" | "off" => Vec::new(),
                _ => {
                    let message =
                        format!("--{long} is a switch: expected true or false, not '{value}'");
                    faults.push(Fault::new(&origin, Some(long), message));
                    continue;
                }
            },
        };
        let option = Some(long.to_owned());
        settings.push(Setting {
            option,
            origin,
            tokens,
        });
    }
    settings
}

/// The file named by `--config`, or else by the environment.
pub(super) fn config_path(flags: &[Setting], environment: &[Setting]) -> Option<PathBuf> {
    let setting = flags
        .iter()
        .chain(environment)
        .find(|setting| setting.option.as_deref() == Some(CONFIG))?;
    match setting.tokens.as_slice() {
        [joined] => {
            let text = joined.to_str()?;
            let (_, path) = text.split_once('=')?;
            Some(PathBuf::from(path))
        }
        [_, path] => Some(PathBuf::from(path)),
        _ => None,
    }
}

/// What the file sets.
pub(super) fn file(command: &Command, path: &Path, faults: &mut Vec<Fault>) -> Vec<Setting> {
    let origin = Origin::File(path.display().to_string());
    let mut fault = |option, message| faults.push(Fault::new(&origin, option, message));
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            fault(None, format!("cannot read the configuration file: {error}"));
            return Vec::new();
        }
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            fault(None, syntax(&text, &error));
            return Vec::new();
        }
    };
    let mut settings = Vec::new();
    for (key, value) in &table {
        let Some((long, kind)) = option_of(command, key) else {
            fault(None, format!("unknown key `{key}`"));
            continue;
        };
        match tokens(long, kind, value) {
            Ok(tokens) => settings.push(Setting {
                option: Some(long.to_owned()),
                origin: origin.clone(),
                tokens,
            }),
            Err(expected) => {
                let found = value.type_str();
                fault(
                    Some(long),
                    format!("`{key}` must be {expected}, not {found}"),
                );
            }
        }
    }
    settings
}

/// The file's text, as far as one of a configuration can be long: what a path names may have no end.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!(
            "it is larger than {LARGEST} bytes; name another file"
        )));
    }
    Ok(text)
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message())
}

fn option_of<'a>(command: &'a Command, key: &str) -> Option<(&'a str, Kind)> {
    command.get_arguments().find_map(|arg| {
        let long = arg.get_long()?;
        let matches = long != CONFIG && long.replace('-', "_") == key;
        Some((long, kind(arg)?)).filter(|_| matches)
    })
}

fn tokens(long: &str, kind: Kind, value: &toml::Value) -> Result<Vec<OsString>, &'static str> {
    match (kind, value) {
        (Kind::Switch, toml::Value::Boolean(true)) => Ok(vec![OsString::from(format!("--{long}"))]),
        (Kind::Switch, toml::Value::Boolean(false)) => Ok(Vec::new()),
        (Kind::Switch, _) => Err("true or false"),
        (Kind::Repeatable, toml::Value::Array(items)) => {
            let values: Option<Vec<String>> = items.iter().map(scalar).collect();
            let values = values.ok_or("an array of single values")?;
            Ok(values.iter().map(|value| with_value(long, value)).collect())
        }
        (Kind::Repeatable, _) => Err("an array"),
        (Kind::Single, value) => {
            let value = scalar(value).ok_or("a single value")?;
            Ok(vec![with_value(long, &value)])
        }
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(time) => Some(time.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

/// What the command line sets: its tokens, each option together with its value.
pub(super) fn flags(command: &Command, args: &[OsString]) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut rest = args.iter().peekable();
    while let Some(token) = rest.next() {
        let mut tokens = vec![token.clone()];
        let mut option = None;
        if token == "--" {
            tokens.extend(rest.by_ref().cloned());
        } else if looks_like_option(token) {
            let arg = find(command, token);
            option = arg.and_then(Arg::get_long).map(str::to_owned);
            let takes_value =
                arg.is_some_and(|arg| arg.get_action().takes_values() && !is_joined(token));
            let hyphens = arg.is_some_and(|arg| {
                arg.is_allow_hyphen_values_set() || arg.is_allow_negative_numbers_set()
            });
            if takes_value {
                tokens.extend(
                    rest.next_if(|next| hyphens || !looks_like_option(next))
                        .cloned(),
                );
            } else if arg.is_none() && command.get_positionals().next().is_none() {
                // What follows an unknown option is its value, not one more fault.
                rest.next_if(|next| !looks_like_option(next));
            }
        }
        let origin = Origin::Flag;
        settings.push(Setting {
            option,
            origin,
            tokens,
        });
    }
    settings
}

fn looks_like_option(token: &OsStr) -> bool {
    let bytes = token.as_encoded_bytes();
    bytes.len() > 1 && bytes.starts_with(b"-")
}

/// Whether the token carries its value itself: `--name=value`, `-nvalue`.
fn is_joined(token: &OsStr) -> bool {
    let bytes = token.as_encoded_bytes();
    if bytes.starts_with(b"--") {
        bytes.contains(&b'=')
    } else {
        bytes.len() > 2
    }
}

fn find<'a>(command: &'a Command, token: &OsStr) -> Option<&'a Arg> {
    let text = token.to_string_lossy();
    let Some(name) = text.strip_prefix("--") else {
        let short = text.chars().nth(1);
        return command
            .get_arguments()
            .find(|arg| arg.get_short().is_some() && arg.get_short() == short);
    };
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    command.get_arguments().find(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    })
}
