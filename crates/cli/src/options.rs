//! The command line of the client.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;
use crate::up;

/// Where requests go when nothing else is said.
const URL: &str = "http://127.0.0.1:10000";

/// Runs applications on machines at the edge.
///
/// `edgeio up` starts a whole system in this process; all other commands are requests to a root- or
/// cluster-orchestrator. They exit with 0 when it was done, with 1 when the request failed, and with 2 when the command
/// was not used as it can be used.
#[derive(Debug, Parser)]
#[command(name = "edgeio", version, max_term_width = 110)]
pub(crate) struct Options {
    /// Where requests go.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How answers are printed.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub(crate) output: Format,
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// Where requests go, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The orchestrator; http://127.0.0.1:10000 if it is not given.
    #[arg(long, global = true, value_name = "URL", env = "EDGEIO_URL")]
    url: Option<String>,
    /// The credential to show.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "EDGEIO_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// The file that holds the credential; --token comes before it.
    #[arg(long, global = true, value_name = "FILE", env = "EDGEIO_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Allows requests in plain text to other machines.
    #[arg(
        long,
        global = true,
        env = "EDGEIO_INSECURE",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    insecure: bool,
}

impl Connection {
    /// The client for it.
    ///
    /// # Errors
    /// When the URL, the token or its file cannot be used.
    pub(crate) fn client(self) -> Result<Client, Failure> {
        // A variable that is set to nothing counts as not set, as with every program.
        let url = self.url.filter(|url| !url.is_empty());
        let token = match (
            self.token.filter(|token| !token.is_empty()),
            self.token_file,
        ) {
            (Some(token), _) => Some(token),
            (None, Some(path)) if !path.as_os_str().is_empty() => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| Failure::Read { path, source })?;
                Some(text.trim().to_owned())
            }
            (None, _) => None,
        };
        Client::new(url.as_deref().unwrap_or(URL), token, self.insecure)
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Starts a whole system in this process: a root, clusters and workers.
    Up(Box<up::Options>),
    /// Creates the jobs that documents describe, or changes them to what is written.
    ///
    /// Each document of each file is applied on its own, in the order given (PUT /api/v1/jobs/NAME); one that is
    /// refused does not keep the others back. To have several accepted together or not at all, send the file with
    /// POST to /api/v1/jobs instead.
    Apply {
        /// A file of YAML documents, or of one JSON document; - is standard input. May be given several times.
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Shows what is there.
    Get {
        /// What to show.
        #[command(subcommand)]
        what: What,
    },
    /// Ends jobs and forgets them.
    Delete {
        /// Names or ids of jobs, with or without job/ before them.
        #[arg(value_name = "JOB", required = true, value_parser = job)]
        jobs: Vec<String>,
    },
    /// Waits until a job is in a state.
    ///
    /// It fails at once when the job is FAILED or TERMINATED instead. A job that is not there counts as TERMINATED.
    Wait {
        /// The name or id of a job, with or without job/ before it.
        #[arg(value_name = "JOB", value_parser = job)]
        job: String,
        /// The state to wait for.
        #[arg(long = "for", value_name = "STATE", default_value = "RUNNING", value_parser = state)]
        state: String,
        /// How long to wait.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = daemon::value::duration)]
        timeout: Duration,
    },
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// All jobs.
    Jobs {
        /// Only jobs in this state.
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<String>,
    },
    /// One job with its instances.
    Job {
        /// Its name or id, with or without job/ before it.
        #[arg(value_name = "JOB", value_parser = job)]
        name: String,
    },
    /// All clusters.
    Clusters,
    /// The workers of a cluster, or of all.
    Nodes {
        /// Only of this cluster, by name or id.
        #[arg(long, value_name = "CLUSTER")]
        cluster: Option<String>,
    },
    /// What happened, the oldest first.
    Events {
        /// Only what happened to this job, by name or id.
        #[arg(long, value_name = "JOB", value_parser = job)]
        job: Option<String>,
    },
}

/// The states that a job can be in.
const STATES: [&str; 10] = [
    "REQUESTED",
    "SCHEDULED_CLUSTER",
    "SCHEDULED_NODE",
    "RUNNING",
    "FAILED",
    "TERMINATED",
    "MIGRATING",
    "SCALING",
    "NOT_DEPLOYED",
    "UNKNOWN",
];

fn state(text: &str) -> Result<String, String> {
    let word = text.to_ascii_uppercase();
    if STATES.contains(&word.as_str()) {
        Ok(word)
    } else {
        Err(format!("expected one of {}", STATES.join(", ")))
    }
}

/// `job/hello`, `jobs/hello` or `hello`.
fn job(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some(("job" | "jobs", name)) => name,
        Some(_) => return Err("expected job/NAME or NAME".to_owned()),
        None => text,
    };
    if name.is_empty() || name.contains('/') {
        return Err("expected job/NAME or NAME".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn jobs_are_named_with_or_without_their_kind() {
        for text in ["job/a", "jobs/a", "a"] {
            assert_eq!(job(text).as_deref(), Ok("a"));
        }
        for text in ["", "job/", "node/a", "a/b", "job/a/b"] {
            assert!(job(text).is_err(), "{text}");
        }
        assert_eq!(state("running").as_deref(), Ok("RUNNING"));
        assert!(state("GONE").is_err());
    }
}
