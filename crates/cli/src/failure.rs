//! What went wrong with a command, and how it is told.

use std::collections::BTreeSet;
use std::path::PathBuf;

use protocol::document::Fault;
use protocol::problem::Problem;

/// Exit code: the request failed.
pub(crate) const REQUEST: u8 = 1;
/// Exit code: the command was not used as it can be used.
pub(crate) const USAGE: u8 = 2;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An option that means nothing, or does not fit the others.
    #[error("{0}")]
    Usage(String),
    /// The file of contexts cannot be used.
    #[error("cannot use {}", path.display())]
    Config {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A backup cannot be used.
    #[error("{0}")]
    Backup(Box<orchestrator::backup::RestoreError>),
    /// A store stays where it is.
    #[error("{0}")]
    Migrate(Box<orchestrator::migrate::MigrateError>),
    /// An audit log is broken, or cannot be read.
    #[error("{0}")]
    Audit(Box<audit::VerifyError>),
    /// Nothing more can be printed.
    #[error("cannot write to standard output")]
    Print {
        /// Why.
        source: std::io::Error,
    },
    /// Nobody answers.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The server.
        url: String,
        /// What said that it is there.
        named_by: &'static str,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The connection ended before the answer did.
    #[error("no answer from {url}; whether it was done is not known")]
    Broken {
        /// The server.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// An answer that is none of edgeIO's.
    #[error(
        "{url} answers with status {status} and a body that is not edgeIO's ({why}); is that the right address?"
    )]
    Foreign {
        /// The whole address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        why: String,
    },
    /// The server says no.
    #[error("{}", .0.problem.detail)]
    Refused(Box<Refusal>),
    /// A document with faults.
    #[error("the documents cannot be used")]
    Document {
        /// All of them, each with its file as it was named, and with lines of that file.
        faults: Vec<(String, Fault)>,
    },
    /// What was waited for did not come.
    #[error("{0}")]
    Wait(String),
    /// Some of several things failed; each was told already.
    #[error("{failed} of {all} failed")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
}

/// What a server said no with.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Its answer.
    pub(crate) problem: Problem,
    /// When it may be asked again, in seconds, where it said so.
    pub(crate) retry_after: Option<u64>,
    /// Names like the one that is not there.
    pub(crate) near: Vec<String>,
}

impl Failure {
    /// The program's exit code for it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config { .. } => USAGE,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Backup(_)
            | Self::Migrate(_)
            | Self::Audit(_)
            | Self::Print { .. }
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Foreign { .. }
            | Self::Refused(_)
            | Self::Document { .. }
            | Self::Wait(_)
            | Self::Some { .. } => REQUEST,
        }
    }

    /// The HTTP status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.status),
            Self::Foreign { status, .. } => Some(*status),
            Self::Usage(_)
            | Self::Config { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Backup(_)
            | Self::Migrate(_)
            | Self::Audit(_)
            | Self::Print { .. }
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Document { .. }
            | Self::Wait(_)
            | Self::Some { .. } => None,
        }
    }

    /// Whether it is a refusal with this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.problem.code == code)
    }

    /// Whether asking again may help.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. })
            || matches!(self.status(), Some(429 | 502 | 503 | 504))
    }

    /// The lines for people, the first one the failure and the others what helps.
    pub(crate) fn lines(&self) -> Vec<String> {
        let first = |more: &str| format!("error: {self}{more}");
        match self {
            Self::Usage(_) => vec![first(""), "For more information, try '--help'.".to_owned()],
            Self::Config { why, .. } => vec![first(&format!(": {why}"))],
            Self::Read { source, .. } | Self::Write { source, .. } | Self::Print { source } => {
                vec![first(&format!(": {source}"))]
            }
            Self::Migrate(error) => vec![format!("error: {}", orchestrator::with_sources(error.as_ref()))],
            Self::Backup(error) => vec![format!("error: {}", orchestrator::with_sources(error.as_ref()))],
            Self::Audit(error) => vec![format!("error: {}", orchestrator::with_sources(error.as_ref()))],
            Self::Unreachable { named_by, source, .. } => vec![
                first(&format!(", which is {named_by}: {source}")),
                "Start a system with 'edgeio up', or name another one with --url, EDGEIO_URL or 'edgeio context'."
                    .to_owned(),
            ],
            Self::Broken { source, .. } => vec![first(&format!(": {source}"))],
            Self::Refused(refusal) => refusal.lines(),
            Self::Document { faults } => documents(faults),
            Self::Foreign { .. } | Self::Wait(_) | Self::Some { .. } => vec![first("")],
        }
    }
}

impl Refusal {
    /// A refusal that said no more than its problem.
    pub(crate) const fn new(problem: Problem, retry_after: Option<u64>) -> Self {
        Self {
            problem,
            retry_after,
            near: Vec::new(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let problem = &self.problem;
        let said = [&problem.detail, &problem.title, &problem.code]
            .into_iter()
            .find(|text| !text.is_empty());
        let said = said.map_or("refused without a reason", String::as_str);
        let code = if problem.code.is_empty() {
            String::new()
        } else {
            format!(" {}", problem.code)
        };
        let mut lines = vec![format!("error: {said} ({}{code})", problem.status)];
        lines.extend(problem.errors.iter().map(|fault| place("body", fault)));
        lines.extend(self.remedy());
        lines
    }

    /// What to do about it.
    fn remedy(&self) -> Option<String> {
        match self.problem.status {
            401 => Some(
                "Give a token with --token, --token-file, EDGEIO_TOKEN or 'edgeio context set'; a root writes its first \
                 one to admin.token in its data directory."
                    .to_owned(),
            ),
            403 => Some("Use a token that may do this, with --token, --token-file or EDGEIO_TOKEN.".to_owned()),
            429 | 503 => Some(match self.retry_after {
                Some(seconds) => format!("It may pass: try again in {seconds} s."),
                None => "It may pass: try again in a few seconds.".to_owned(),
            }),
            _ if self.near.is_empty() => None,
            _ => Some(format!("Did you mean {}?", self.near.join(" or "))),
        }
    }
}

fn documents(faults: &[(String, Fault)]) -> Vec<String> {
    let files: BTreeSet<&str> = faults.iter().map(|(origin, _)| origin.as_str()).collect();
    let files: Vec<&str> = files.into_iter().collect();
    let have = if files.len() == 1 { "has" } else { "have" };
    let heading = format!(
        "error: {} {have} {}:",
        files.join(" and "),
        count(faults.len())
    );
    std::iter::once(heading)
        .chain(faults.iter().map(|(origin, fault)| place(origin, fault)))
        .collect()
}

fn count(faults: usize) -> String {
    match faults {
        1 => "1 fault".to_owned(),
        more => format!("{more} faults"),
    }
}

/// `file:line:column: field: message`, which editors find their way by.
fn place(origin: &str, fault: &Fault) -> String {
    let field = if fault.path.is_empty() {
        String::new()
    } else {
        format!("{}: ", fault.path)
    };
    let Fault {
        line,
        column,
        message,
        ..
    } = fault;
    format!("{origin}:{line}:{column}: {field}{message}")
}
