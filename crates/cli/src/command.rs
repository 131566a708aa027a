//! The client's commands, one file each.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod cordon;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod explain;
mod follow;
pub(crate) mod forget;
pub(crate) mod get;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod migrate;
mod near;
mod password;
mod place;
pub(crate) mod restart;
pub(crate) mod restore;
pub(crate) mod revoke;
pub(crate) mod scale;
pub(crate) mod scheduler;
pub(crate) mod secret;
mod shown;
pub(crate) mod store;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod user;
pub(crate) mod wait;
pub(crate) mod whoami;

use serde::Serialize;
use serde_json::Value;

use crate::client::{Body, segment};
use crate::context::Environment;
use crate::failure::Failure;
use crate::options::{Action, Options};
use crate::output::{self, Format};

/// Runs a command.
///
/// # Errors
/// Why it was not done.
pub(crate) fn run(options: &Options, environment: Environment<'_>) -> Result<(), Failure> {
    let client = || options.connection.client(environment);
    let format = options.output.unwrap_or_default();
    match &options.action {
        Action::Apply(apply) => apply::run(&client()?, apply, format),
        Action::Get(get) => get::run(&client()?, &get.what, format),
        Action::Describe(describe) => describe::run(&client()?, &describe.what, format),
        Action::Explain(explain) => explain::run(&client()?, &explain.job, format),
        Action::Logs(logs) => {
            no_format(options.output)?;
            logs::run(&client()?, logs)
        }
        Action::Events(events) => events::run(&client()?, events, format),
        Action::Scale(scale) => scale::run(&client()?, scale, format),
        Action::Migrate(migrate) => migrate::run(&client()?, migrate, format),
        Action::Restart(restart) => restart::run(&client()?, restart, format),
        Action::Wait(wait) => wait::run(&client()?, wait, format),
        Action::Backup(backup) => backup::run(&client()?, backup, format),
        Action::Restore(restore) => restore::run(restore, format),
        Action::Store(store) => store::run(&store.what, format),
        Action::Delete(delete) => delete::run(&client()?, &delete.jobs, format),
        Action::Token(token) => token::run(&client()?, &token.what, format),
        Action::Top(top) => top::run(&client()?, top, format),
        Action::Cordon(cordon) => {
            cordon::run(&client()?, cordon::Wish::Cordon, &cordon.what, format)
        }
        Action::Drain(cordon) => cordon::run(&client()?, cordon::Wish::Drain, &cordon.what, format),
        Action::Quarantine(node) => cordon::quarantine(&client()?, node, format),
        Action::Revoke(revoke) => revoke::run(&client()?, &revoke.what, format),
        Action::Forget(forget) => forget::run(&client()?, &forget.what, format),
        Action::Uncordon(cordon) => {
            cordon::run(&client()?, cordon::Wish::Uncordon, &cordon.what, format)
        }
        Action::Whoami(_) => whoami::run(&client()?, format),
        Action::Login(login) => login::run(login, &options.connection, environment, format),
        Action::User(user) => user::run(&client()?, &user.what, format),
        Action::Tenant(tenant) => tenant::run(&client()?, &tenant.what, format),
        Action::Scheduler(scheduler) => scheduler::run(&client()?, &scheduler.what, format),
        Action::Secret(secret) => secret::run(&client()?, &secret.what, format),
        Action::Audit(audit) => audit::run(&audit.what, format),
        Action::Context(context) => {
            context::run(&context.what, &options.connection, environment, format)
        }
        Action::Doctor(doctor) => {
            doctor::run(doctor, options.connection.insecure, environment, format)
        }
        Action::Completions(completions) => {
            no_format(options.output)?;
            completions::run(completions)
        }
        Action::Up(_) => Err(Failure::Usage("`up` is no request".to_owned())),
    }
}

/// What is printed as it is has no forms; one that is asked for is refused, not ignored.
fn no_format(format: Option<Format>) -> Result<(), Failure> {
    match format {
        Some(_) => Err(Failure::Usage(
            "this is printed as it is: leave out --output".to_owned(),
        )),
        None => Ok(()),
    }
}

/// The path of all jobs.
pub(crate) const JOBS: &str = "/api/v1/jobs";
/// The path of all clusters.
const CLUSTERS: &str = "/api/v1/clusters";

/// The path of a job.
pub(crate) fn job_path(job: &str) -> String {
    format!("{JOBS}/{}", segment(job))
}

/// Sends a request that says everything by its path.
fn without_body(send: impl FnOnce(Body<'_>) -> Result<Value, Failure>) -> Result<Value, Failure> {
    send(Body {
        media_type: "application/json",
        bytes: b"",
    })
}

/// Sends what a command asks for.
fn with_json(
    request: &impl Serialize,
    send: impl FnOnce(Body<'_>) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    let bytes = serde_json::to_vec(request)
        .map_err(|error| Failure::Usage(format!("this cannot be sent: {error}")))?;
    send(Body {
        media_type: "application/json",
        bytes: &bytes,
    })
}

/// One thing after the other, each failure told when it happens; what nobody answers is not asked again.
fn for_each<T>(
    things: &[T],
    mut each: impl FnMut(&T) -> Result<Value, Failure>,
) -> (Vec<Value>, Result<(), Failure>) {
    let mut answers = Vec::new();
    let mut failed = 0;
    for thing in things {
        match each(thing) {
            Ok(answer) => answers.push(answer),
            // One is told by the caller's caller.
            Err(failure) if things.len() == 1 => return (answers, Err(failure)),
            Err(failure @ (Failure::Unreachable { .. } | Failure::Broken { .. })) => {
                return (answers, Err(failure));
            }
            Err(failure) => {
                output::complain(&failure.lines());
                failed += 1;
            }
        }
    }
    let all = things.len();
    let result = if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Some { failed, all })
    };
    (answers, result)
}

/// Prints what a command was about: whole in JSON and YAML, otherwise nothing more.
fn print_answers(answers: &[Value], format: Format) -> Result<(), Failure> {
    match (format, answers) {
        (Format::Json | Format::Yaml, [one]) => output::value(one, format),
        (Format::Json | Format::Yaml, many) => output::value(
            &serde_json::json!({"items": many, "next_cursor": null}),
            format,
        ),
        (Format::Table | Format::Wide | Format::Name, _) => Ok(()),
    }
}

/// Prints one line a thing at once, `kind/name`, unless the whole answer is printed at the end.
fn print_done(thing: &str, done: &str, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => output::print([format!("{thing} {done}")]),
        Format::Name => output::print([thing]),
        Format::Json | Format::Yaml => Ok(()),
    }
}
