//! `edgeio context`: orchestrators by name.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use crate::connection::Connection;
use crate::context::{Context, Contexts, Environment, File, Secret};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;
use crate::values;

use super::print_done;

/// Keeps orchestrators by name, so that they need not be named in each command.
///
/// They stand in edgeio/config.toml in $XDG_CONFIG_HOME, or else in ~/.config, which only its owner can read. Options of
/// a command come before EDGEIO_URL and EDGEIO_TOKEN, these before the current context, and that before
/// http://127.0.0.1:10000. A context's token is only ever sent to that context's orchestrator.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio context set lab --url https://192.0.2.10:10000 --token-file ~/lab.token --ca ~/lab.pem
  edgeio context use lab
  edgeio context list
  edgeio --context lab get jobs")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows all contexts, without their tokens.
    List,
    /// Shows the name of the current context.
    Current,
    /// Makes a context the current one.
    Use {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = values::context)]
        name: String,
    },
    /// Keeps what --url, --token or --token-file, --ca and --insecure say under a name; what is not given stays as it was.
    ///
    /// The first context is the current one at once.
    Set {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = values::context)]
        name: String,
    },
    /// Forgets a context.
    Delete {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = values::context)]
        name: String,
    },
}

/// Does it.
pub(super) fn run(
    what: &What,
    connection: &Connection,
    environment: Environment<'_>,
    format: Format,
) -> Result<(), Failure> {
    let file = File::of(environment)?;
    let mut contexts = file.load()?;
    let (name, done) = match what {
        What::List => return list(&contexts, format),
        What::Current => return current(&contexts, format),
        What::Use { name } => {
            contexts.named(name)?;
            contexts.current = Some(name.clone());
            (name, "is the current one")
        }
        What::Set { name } => {
            set(&mut contexts, name, connection)?;
            (name, "is kept")
        }
        What::Delete { name } => {
            contexts.named(name)?;
            contexts.contexts.remove(name);
            if contexts.current.as_ref() == Some(name) {
                contexts.current = None;
            }
            (name, "is forgotten")
        }
    };
    file.save(&contexts)?;
    print_done(&format!("context/{name}"), done, format)?;
    if format.is_raw() {
        return list(&contexts, format);
    }
    Ok(())
}

fn set(contexts: &mut Contexts, name: &str, given: &Connection) -> Result<(), Failure> {
    let old = contexts.contexts.get(name);
    let url = given.url.clone().or_else(|| Some(old?.url.clone()));
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Err(Failure::Usage(format!(
            "a new context needs an address: edgeio context set {name} --url http://HOST:PORT"
        )));
    };
    let moved = old.is_some_and(|old| old.url != url);
    let mut context = Context {
        url,
        token_file: None,
        token: None,
        ca: old.filter(|_| !moved).and_then(|old| old.ca.clone()),
        insecure: given.insecure || old.is_some_and(|old| old.insecure && !moved),
    };
    if let Some(path) = &given.ca {
        context.ca = Some(absolute(path)?);
    }
    match (&given.token, &given.token_file) {
        (Some(token), None) => context.token = Some(Secret(token.clone())),
        (None, Some(path)) => {
            context.token_file = Some(absolute(path)?);
        }
        (Some(_), Some(_)) => {
            let why = "a context has one token: give --token or --token-file".to_owned();
            return Err(Failure::Usage(why));
        }
        // A token was given for the address that it was given with.
        (None, None) if moved => {}
        (None, None) => {
            context.token = old.and_then(|old| old.token.clone());
            context.token_file = old.and_then(|old| old.token_file.clone());
        }
    }
    // What no request could use is better refused now.
    Connection {
        url: Some(context.url.clone()),
        insecure: context.insecure,
        ca: context.ca.clone(),
        token: context.token.as_ref().map(|Secret(token)| token.clone()),
        ..Connection::default()
    }
    .client(&|_| None)?;
    if contexts.contexts.is_empty() {
        contexts.current = Some(name.to_owned());
    }
    contexts.contexts.insert(name.to_owned(), context);
    Ok(())
}

/// A context is used from any directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|source| Failure::Read {
        path: path.to_owned(),
        source,
    })
}

fn list(contexts: &Contexts, format: Format) -> Result<(), Failure> {
    let names = contexts.contexts.keys();
    match format {
        Format::Json | Format::Yaml => {
            let item = |(name, context): (&String, &Context)| {
                json!({"name": name, "current": contexts.current.as_ref() == Some(name), "url": context.url,
                    "token": token(context), "ca": context.ca, "insecure": context.insecure})
            };
            let items: Vec<_> = contexts.contexts.iter().map(item).collect();
            output::value(&json!({"items": items, "next_cursor": null}), format)
        }
        Format::Name => output::print(names.map(|name| format!("context/{name}"))),
        Format::Table | Format::Wide if contexts.contexts.is_empty() => {
            output::notice("No contexts. 'edgeio context set NAME --url URL' makes one.");
            Ok(())
        }
        Format::Table | Format::Wide => output::print(table::contexts(contexts)),
    }
}

fn current(contexts: &Contexts, format: Format) -> Result<(), Failure> {
    let Some(name) = &contexts.current else {
        return Err(Failure::Wait(
            "no context is the current one; 'edgeio context use NAME' chooses one".to_owned(),
        ));
    };
    match format {
        Format::Json | Format::Yaml => output::value(&json!({"name": name}), format),
        Format::Name => output::print([format!("context/{name}")]),
        Format::Table | Format::Wide => output::print([name]),
    }
}

/// Where its token is, but not the token.
pub(crate) fn token(context: &Context) -> Option<String> {
    match (&context.token, &context.token_file) {
        (Some(_), _) => Some("(hidden)".to_owned()),
        (None, Some(path)) => Some(path.display().to_string()),
        (None, None) => None,
    }
}
