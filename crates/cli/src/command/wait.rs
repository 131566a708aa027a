//! `edgeio wait`: until a job is in a state.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, REQUEST};
use crate::failure::Failure;
use crate::output::{Format, Progress};
use crate::table::{self, Operated};
use crate::values;

use super::{job_path, print_answers, print_done};

/// Between the first two looks.
const FIRST: Duration = Duration::from_millis(200);
/// Between two looks, at most.
const LAST: Duration = Duration::from_secs(1);

/// Waits until a job is in a state.
///
/// It fails at once when the job is FAILED or TERMINATED instead. A job that is not there counts as TERMINATED. For RUNNING
/// it also waits for the end of an update, migration or restart, and fails at once when the last one failed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  edgeio wait hello
  edgeio wait job/hello --for RUNNING --timeout 30s
  edgeio wait hello --for TERMINATED --timeout 1m30s")]
pub(crate) struct Options {
    /// The name or id of a job, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    job: String,
    /// The state to wait for.
    #[arg(long = "for", value_name = "STATE", default_value = "RUNNING", value_parser = values::state)]
    state: String,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = daemon::value::duration)]
    timeout: Duration,
}

/// What is waited for.
#[derive(Debug)]
pub(crate) struct Wish {
    job: String,
    state: String,
    timeout: Duration,
}

impl Wish {
    /// That this job is in this state within this time.
    pub(crate) const fn new(job: String, state: String, timeout: Duration) -> Self {
        Self {
            job,
            state,
            timeout,
        }
    }

    /// What counts of the job's last operation: who waits for another state does not wait for it.
    fn operated<'a>(&self, look: &'a Look) -> &'a Operated {
        if self.state == "RUNNING" {
            &look.operated
        } else {
            &Operated::Nothing
        }
    }
}

/// What one look shows.
struct Look {
    state: String,
    reason: Option<String>,
    /// How far the last operation is.
    operated: Operated,
    /// The whole answer; none when the job is not there.
    job: Option<Value>,
}

/// Waits for it.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let Options {
        job,
        state,
        timeout,
    } = options.clone();
    let wish = Wish::new(job, state, timeout);
    let job = until(client, &wish)?;
    print_done(&format!("job/{}", wish.job), &wish.state, format)?;
    match job {
        Some(job) => print_answers(&[job], format),
        None => Ok(()),
    }
}

/// Waits; the answer that showed it, or none where the job being gone was waited for.
///
/// # Errors
/// When it cannot come any more or did not come in time. A server that answered once may fail to later, until the time is over.
pub(crate) fn until(client: &Client, wish: &Wish) -> Result<Option<Value>, Failure> {
    let deadline = Instant::now() + wish.timeout;
    let mut pause = FIRST;
    let mut last: Option<Look> = None;
    let mut progress = Progress::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match look(client, &wish.job, left.clamp(FIRST, REQUEST)) {
            Ok(look) => {
                let operated = wish.operated(&look);
                if let Operated::Failed(why) = operated {
                    let (job, state) = (&wish.job, &look.state);
                    return Err(Failure::Wait(format!("job/{job} is {state}, but {why}")));
                }
                if look.state == wish.state && *operated == Operated::Nothing {
                    return Ok(look.job);
                }
                if matches!(look.state.as_str(), "FAILED" | "TERMINATED") {
                    return Err(Failure::Wait(told(wish, &look, "it is")));
                }
                if last.as_ref().is_none_or(|last| last.state != look.state) {
                    progress.say(&format!("job/{} is {}", wish.job, look.state));
                }
                last = Some(look);
            }
            Err(failure) if last.is_none() || !failure.passes() => return Err(failure),
            Err(failure) => {
                if Instant::now() >= deadline {
                    return Err(failure);
                }
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if let (true, Some(look)) = (left.is_zero(), &last) {
            return Err(Failure::Wait(told(
                wish,
                look,
                "after the time given it is",
            )));
        }
        progress.wait(pause.min(left));
        pause = (pause * 3 / 2).min(LAST);
    }
}

fn look(client: &Client, job: &str, limit: Duration) -> Result<Look, Failure> {
    let path = job_path(job);
    match client.get_within(&path, limit) {
        Ok(answer) => {
            let text = |field| answer.get(field).and_then(Value::as_str).map(str::to_owned);
            let state = text("state").ok_or_else(|| Failure::Foreign {
                url: format!("{}{path}", client.base()),
                status: 200,
                why: "a job without a state".to_owned(),
            })?;
            Ok(Look {
                state,
                reason: text("reason"),
                operated: table::operated(&answer),
                job: Some(answer),
            })
        }
        Err(failure) if failure.status() == Some(404) => Ok(Look {
            state: "TERMINATED".to_owned(),
            reason: Some("there is no such job".to_owned()),
            operated: Operated::Nothing,
            job: None,
        }),
        Err(failure) => Err(failure),
    }
}

fn told(wish: &Wish, look: &Look, how: &str) -> String {
    let reason = look
        .reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    format!(
        "job/{} is not {}; {how} {}{reason}",
        wish.job, wish.state, look.state
    )
}
