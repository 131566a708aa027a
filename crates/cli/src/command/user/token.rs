//! `edgeio user token`: what programs prove themselves by.

use std::time::Duration;

use clap::Subcommand;
use model::access::{Role, TenantPath};
use protocol::rest::{NewTokenBody, TokenBody, TokenRequest};
use protocol::time::format_wall;
use serde_json::{Value, json};

use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;
use crate::values::{self, OrNone};

use super::super::shown::Shown;
use super::super::{print_answers, print_done, with_json};

/// The path of all tokens.
const TOKENS: &str = "/api/v1/tokens";

/// Makes, shows and revokes tokens, by which programs prove that they are yours.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio user token create --role deployer --tenant university/lab --ttl 30d > ci.token
  edgeio user token list
  edgeio user token revoke tok_01JBZ0000000000000000000AA")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Makes a token of yours, and prints it: it is not shown again.
    Create {
        /// What this role may not, the token may not; all that you may where this is left out.
        #[arg(long, value_name = "ROLE", value_parser = values::role)]
        role: Option<Role>,
        /// Nothing outside of this tenant; everywhere where this is left out.
        #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
        tenant: Option<TenantPath>,
        /// How long it lasts, 1s to 3650d, or never to end.
        #[arg(long, value_name = "DURATION", value_parser = values::life_or_never, default_value = "30d")]
        ttl: OrNone<Duration>,
    },
    /// Shows your tokens, or those of another user; their texts are not kept anywhere.
    List {
        /// Whose.
        #[arg(long, value_name = "NAME", value_parser = values::user)]
        user: Option<String>,
        /// Shows the invitations that nobody has accepted instead.
        #[arg(long, conflicts_with = "user")]
        invitations: bool,
    },
    /// Makes a token or an invitation void.
    Revoke {
        /// Its id.
        #[arg(value_name = "TOKEN", value_parser = values::token)]
        id: String,
    },
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::Create { role, tenant, ttl } => {
            let request = TokenRequest {
                role: *role,
                tenant: tenant.clone(),
                ttl: ttl.0,
            };
            let answer = with_json(&request, |body| client.post(TOKENS, body))?;
            print_new(client, answer, format)
        }
        What::List { user, invitations } => {
            let path = match user {
                Some(user) => format!("{TOKENS}?user={}", segment(user)),
                None if *invitations => "/api/v1/invitations".to_owned(),
                None => TOKENS.to_owned(),
            };
            let rows = client.list(&path)?;
            Shown::tokens(format).list(client, rows, |tokens: &[TokenBody], wide| {
                table::tokens(tokens, wide)
            })
        }
        What::Revoke { id } => {
            client.delete(&format!("{TOKENS}/{}", segment(id)))?;
            print_done(&format!("token/{id}"), "revoked", format)?;
            print_answers(&[json!({"token_id": id})], format)
        }
    }
}

/// Prints a token that was just made: alone, so that it can go to a file.
pub(super) fn print_new(client: &Client, answer: Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => output::value(&answer, format),
        Format::Name => output::print([Shown::tokens(format).named(&answer)]),
        Format::Table | Format::Wide => {
            let token: NewTokenBody = client.read(answer, TOKENS)?;
            output::print([&token.token])?;
            let end = token.expires_at.map(format_wall);
            let end = end.map_or_else(
                || "until it is revoked".to_owned(),
                |end| format!("until {end}"),
            );
            output::notice(&format!(
                "This token ({}) is good {end}, and is not shown again.",
                token.token_id
            ));
            Ok(())
        }
    }
}
