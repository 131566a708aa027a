//! `edgeio user`: accounts, and what they are where.

mod token;

use std::time::Duration;

use clap::Subcommand;
use model::access::{Role, TenantPath};
use model::name::Name;
use protocol::rest::{
    ApproveRequest, InvitationRequest, PasswordRequest, RoleRequest, UserBody, UserRequest,
};
use serde_json::{Value, json};

use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::Format;
use crate::table;
use crate::values::{self, OrNone};

use super::password::{self, Source};
use super::shown::Shown;
use super::{print_answers, print_done, with_json, without_body};

/// The path of all users.
const USERS: &str = "/api/v1/users";

/// Decides about users: their accounts, what they are at which tenant, and their tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio user list
  edgeio user create alice --home university
  edgeio user approve alice --role deployer
  edgeio user role alice operator --tenant university/lab
  edgeio user invite --tenant university --role deployer
  edgeio user token create --role viewer --ttl 30d")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows yourself, and the users whom you may look after.
    List,
    /// Asks for an account, which an administrator of its home approves.
    ///
    /// With the token of an invitation as --token-file, and without --home, the account can be used at once.
    Create {
        /// How it will be called.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
        /// The tenant whose administrators are asked; left out with an invitation.
        #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
        home: Option<TenantPath>,
        #[command(flatten)]
        password: Source,
    },
    /// Lets somebody in who asked for an account.
    Approve {
        /// Whose account.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
        /// What it is at its home; nothing where this is left out.
        #[arg(long, value_name = "ROLE", value_parser = values::role)]
        role: Option<Role>,
    },
    /// Lets neither tokens nor password of a user mean anything.
    Suspend {
        /// Which user.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
    },
    /// Lets a suspended user in again.
    Resume {
        /// Which user.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
    },
    /// Forgets a user with its tokens, or refuses an account that was asked for.
    Delete {
        /// Which user.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
    },
    /// Says what a user is at a tenant and at all below it: viewer, deployer, operator, admin, auditor, or none.
    Role {
        /// Which user, of any home.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
        /// What it is from now on.
        #[arg(value_name = "ROLE", value_parser = values::role_or_none)]
        role: OrNone<Role>,
        /// Where; `default` is the tenant above all.
        #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
    },
    /// Sets a password: your own, or, as an administrator of the tenant above all, anybody's.
    Passwd {
        /// Whose.
        #[arg(value_name = "NAME", value_parser = values::user)]
        name: String,
        #[command(flatten)]
        password: Source,
    },
    /// Makes the token of an invitation, by which somebody makes an account for itself at once.
    Invite {
        /// The home of the account.
        #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
        /// What it is there; nothing where this is left out.
        #[arg(long, value_name = "ROLE", value_parser = values::role)]
        role: Option<Role>,
        /// How long it can be accepted, 1m to 90d.
        #[arg(long, value_name = "DURATION", value_parser = values::life, default_value = "7d")]
        ttl: Duration,
    },
    /// Makes, shows and revokes tokens, by which programs prove that they are yours.
    Token(token::Options),
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::List => {
            let rows = client.list(USERS)?;
            Shown::users(format).list(client, rows, |users: &[UserBody], wide| {
                table::users(users, wide)
            })
        }
        What::Create {
            name,
            home,
            password,
        } => create(client, name, home.as_ref(), password, format),
        What::Approve { name, role } => {
            let request = ApproveRequest { role: *role };
            let path = of_user(name, "/approve");
            let answer = with_json(&request, |body| client.post(&path, body))?;
            told(name, "approved", answer, format)
        }
        What::Suspend { name } => {
            let path = of_user(name, "/suspend");
            let answer = without_body(|body| client.post(&path, body))?;
            told(name, "suspended", answer, format)
        }
        What::Resume { name } => {
            let path = of_user(name, "/resume");
            let answer = without_body(|body| client.post(&path, body))?;
            told(name, "resumed", answer, format)
        }
        What::Delete { name } => {
            client.delete(&of_user(name, ""))?;
            told(name, "deleted", json!({"name": name}), format)
        }
        What::Role { name, role, tenant } => {
            let request = RoleRequest {
                tenant: tenant.clone(),
                role: role.0,
            };
            let path = of_user(name, "/role");
            let answer = with_json(&request, |body| client.put(&path, body))?;
            let word = role.0.map_or("nothing", Role::as_str);
            told(name, &format!("is {word} at {tenant}"), answer, format)
        }
        What::Passwd { name, password } => {
            let request = PasswordRequest {
                password: password::new(password)?,
            };
            let path = of_user(name, "/password");
            let answer = with_json(&request, |body| client.put(&path, body))?;
            told(name, "has a new password", answer, format)
        }
        What::Invite { tenant, role, ttl } => {
            let request = InvitationRequest {
                tenant: tenant.clone(),
                role: *role,
                ttl: Some(*ttl),
            };
            let answer = with_json(&request, |body| client.post("/api/v1/invitations", body))?;
            token::print_new(client, answer, format)
        }
        What::Token(options) => token::run(client, &options.what, format),
    }
}

fn create(
    client: &Client,
    name: &str,
    home: Option<&TenantPath>,
    password: &Source,
    format: Format,
) -> Result<(), Failure> {
    let request = UserRequest {
        name: Name::new(name).map_err(|error| Failure::Usage(error.to_string()))?,
        password: password::new(password)?,
        home: home.cloned(),
    };
    let answer = with_json(&request, |body| client.post(USERS, body))?;
    let done = match answer.get("state").and_then(Value::as_str) {
        Some("active") => "created",
        _ => "asked for; it waits for approval",
    };
    told(name, done, answer, format)
}

fn of_user(name: &str, more: &str) -> String {
    format!("{USERS}/{}{more}", segment(name))
}

fn told(name: &str, done: &str, answer: Value, format: Format) -> Result<(), Failure> {
    print_done(&format!("user/{name}"), done, format)?;
    print_answers(&[answer], format)
}
