//! The client's commands, one file each.

mod apply;
mod delete;
mod get;
pub(crate) mod wait;

use crate::client::segment;
use crate::failure::Failure;
use crate::options::{Action, Options};
use crate::output::{self, Format};

/// Runs a command.
///
/// # Errors
/// Why it was not done.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let client = options.connection.client()?;
    let format = options.output;
    match options.action {
        Action::Apply { files } => apply::run(&client, &files, format),
        Action::Get { what } => get::run(&client, what, format),
        Action::Delete { jobs } => delete::run(&client, &jobs, format),
        Action::Wait {
            job,
            state,
            timeout,
        } => wait::run(&client, &wait::Wish::new(job, state, timeout), format),
        Action::Up(_) => Err(Failure::Usage("`up` is no request".to_owned())),
    }
}

/// The path of a job.
pub(crate) fn job_path(job: &str) -> String {
    format!("/api/v1/jobs/{}", segment(job))
}

/// One thing after the other, each failure told when it happens; what nobody answers is not asked again.
fn for_each<T>(
    things: &[T],
    mut each: impl FnMut(&T) -> Result<serde_json::Value, Failure>,
) -> (Vec<serde_json::Value>, Result<(), Failure>) {
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

/// Prints the jobs that a command was about: whole in JSON and YAML, otherwise nothing more.
fn print_answers(answers: &[serde_json::Value], format: Format) -> Result<(), Failure> {
    match (format, answers) {
        (Format::Json | Format::Yaml, [one]) => output::value(one, format),
        (Format::Json | Format::Yaml, many) => {
            output::value(&serde_json::json!({"items": many}), format)
        }
        (Format::Table | Format::Wide | Format::Name, _) => Ok(()),
    }
}

/// Prints one line a job at once, unless the whole answer is printed at the end.
fn print_done(job: &str, done: &str, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => output::print([format!("job/{job} {done}")]),
        Format::Name => output::print([format!("job/{job}")]),
        Format::Json | Format::Yaml => Ok(()),
    }
}
