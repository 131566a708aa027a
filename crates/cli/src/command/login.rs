//! `edgeio login`: a token for a name and a password, kept in a context.

use std::path::PathBuf;
use std::time::Duration;

use model::name::Name;
use protocol::rest::{LoginRequest, NewTokenBody};
use protocol::time::format_wall;

use crate::client::Client;
use crate::connection::Connection;
use crate::context::{Context, Contexts, Environment, File, Secret};
use crate::failure::Failure;
use crate::output::Format;
use crate::values;

use super::password::{self, Source};
use super::{print_answers, print_done, with_json};

/// What the first context is called where nobody said.
const FIRST: &str = "default";

/// Logs in by a password, and keeps the token in the context that requests go to.
///
/// Where no context is the current one, one is made for the orchestrator that was asked. The token ends by itself; log in
/// again then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio login alice
  edgeio login alice --password-file ~/alice.password --ttl 7d
  edgeio --context lab login alice")]
pub(crate) struct Options {
    /// Who it is; asked for where it is left out.
    #[arg(value_name = "NAME", value_parser = values::user)]
    name: Option<String>,
    #[command(flatten)]
    password: Source,
    /// How long the token lasts, 1m to 30d.
    #[arg(long, value_name = "DURATION", value_parser = values::life, default_value = "12h")]
    ttl: Duration,
}

/// Logs in.
pub(super) fn run(
    options: &Options,
    connection: &Connection,
    environment: Environment<'_>,
    format: Format,
) -> Result<(), Failure> {
    let client = connection.client(environment)?;
    let file = File::of(environment)?;
    let mut contexts = file.load()?;
    // Whether the token has a place is known before it is asked for.
    let (place, mut context) = place(&contexts, &client, connection, environment)?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => password::line("Name: ")?,
    };
    let request = LoginRequest {
        name: Name::new(&name).map_err(|error| Failure::Usage(error.to_string()))?,
        password: password::entered(&options.password)?,
        ttl: Some(options.ttl),
    };
    let path = "/api/v1/login";
    let mut answer = with_json(&request, |body| client.post(path, body))?;
    let token: NewTokenBody = client.read(answer.clone(), path)?;
    context.token = Some(Secret(token.token));
    context.token_file = None;
    if contexts.contexts.is_empty() {
        contexts.current = Some(place.clone());
    }
    contexts.contexts.insert(place.clone(), context);
    file.save(&contexts)?;
    let until = token.expires_at.map(format_wall).unwrap_or_default();
    let done = format!("is logged in as {name} until {until}");
    print_done(&format!("context/{place}"), &done, format)?;
    // It is kept, and need not stand on a screen.
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("token");
    }
    print_answers(&[answer], format)
}

/// The context that the token goes to: the one that is used, one with the same address, or a new one.
fn place(
    contexts: &Contexts,
    client: &Client,
    connection: &Connection,
    environment: Environment<'_>,
) -> Result<(String, Context), Failure> {
    let asked = connection.context.clone();
    let by_url = connection.url.as_ref().is_some_and(|url| !url.is_empty())
        || (asked.is_none() && environment("EDGEIO_URL").is_some());
    let used = asked
        .or_else(|| environment("EDGEIO_CONTEXT"))
        .or_else(|| contexts.current.clone());
    if let (false, Some(name)) = (by_url, used) {
        let context = contexts.named(&name)?.clone();
        return Ok((name, context));
    }
    let same = |context: &Context| context.url.trim_end_matches('/') == client.base();
    if let Some((name, context)) = contexts.contexts.iter().find(|(_, it)| same(it)) {
        return Ok((name.clone(), context.clone()));
    }
    if contexts.contexts.contains_key(FIRST) {
        let why = format!(
            "the token has no place: no context is of {}; make one with 'edgeio context set NAME --url URL', and log in with --context NAME",
            client.base()
        );
        return Err(Failure::Usage(why));
    }
    let ca = connection.ca.clone();
    let ca = ca.or_else(|| environment("EDGEIO_CA").map(PathBuf::from));
    let ca =
        ca.map(|path| std::path::absolute(&path).map_err(|source| Failure::Read { path, source }));
    let context = Context {
        url: client.base().to_owned(),
        token_file: None,
        token: None,
        ca: ca.transpose()?,
        insecure: connection.insecure,
    };
    Ok((FIRST.to_owned(), context))
}
