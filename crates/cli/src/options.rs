//! The command line of the client.

#[cfg(test)]
mod tests;

use clap::{Parser, Subcommand};

use crate::command::{
    apply, audit, backup, completions, context, cordon, delete, describe, doctor, events, explain,
    forget, get, login, logs, migrate, restart, restore, revoke, scale, scheduler, secret, store,
    tenant, token, top, user, wait, whoami,
};
use crate::connection::Connection;
use crate::output::Format;
use crate::up;

/// Runs applications on machines at the edge.
///
/// `edgeio up` starts a whole system in this process; all other commands are requests to a root- or
/// cluster-orchestrator. They exit with 0 when it was done, with 1 when the request failed, and with 2 when the command
/// was not used as it can be used.
#[derive(Debug, Parser)]
#[command(
    name = "edgeio",
    version,
    max_term_width = 110,
    after_help = "Examples:
  edgeio up --demo
  edgeio apply -f sla-examples/hello.yaml
  edgeio get jobs
  edgeio describe job hello
  edgeio logs hello -f

'edgeio COMMAND --help' has more of them. Colours are left out where NO_COLOR is set."
)]
pub(crate) struct Options {
    /// Where requests go.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How answers are printed; as a table where it is not given.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        help_heading = "Options of all requests"
    )]
    pub(crate) output: Option<Format>,
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
#[command(subcommand_value_name = "COMMAND")]
pub(crate) enum Action {
    // What each does is said at its options: a comment here would take the place of all that is said there.
    Up(Box<up::Options>),
    Apply(apply::Options),
    Get(get::Options),
    Describe(describe::Options),
    Explain(explain::Options),
    Logs(logs::Options),
    Events(events::Options),
    Scale(scale::Options),
    Migrate(migrate::Options),
    Restart(restart::Options),
    Wait(wait::Options),
    Delete(delete::Options),
    Top(top::Options),
    /// Keeps new work away from a cluster or worker; what runs there stays.
    Cordon(cordon::Options),
    /// Keeps new work away from a cluster or worker, and moves what runs there elsewhere as soon as there is room.
    Drain(cordon::Options),
    Quarantine(cordon::Quarantine),
    /// Lets new work come to a cluster or worker again.
    Uncordon(cordon::Options),
    Forget(forget::Options),
    Revoke(revoke::Options),
    Scheduler(scheduler::Options),
    Backup(backup::Options),
    Restore(restore::Options),
    Store(store::Options),
    Doctor(doctor::Options),
    Whoami(whoami::Options),
    Login(login::Options),
    User(user::Options),
    Tenant(tenant::Options),
    Secret(secret::Options),
    Audit(audit::Options),
    Token(token::Options),
    Context(context::Options),
    Completions(completions::Options),
}
