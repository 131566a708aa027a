//! What went wrong with a command, and how it is told.

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
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
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
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// A document with faults.
    #[error("{origin} cannot be used")]
    Document {
        /// The file, as it was named.
        origin: String,
        /// All of them, with lines of the file.
        faults: Vec<Fault>,
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

impl Failure {
    /// The program's exit code for it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Read { .. }
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
            Self::Refused(problem) => Some(problem.status),
            Self::Foreign { status, .. } => Some(*status),
            Self::Usage(_)
            | Self::Read { .. }
            | Self::Print { .. }
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Document { .. }
            | Self::Wait(_)
            | Self::Some { .. } => None,
        }
    }

    /// The lines for people, the first one the failure and the others what helps.
    pub(crate) fn lines(&self) -> Vec<String> {
        let first = |more: &str| format!("error: {self}{more}");
        match self {
            Self::Usage(_) => vec![first(""), "For more information, try '--help'.".to_owned()],
            Self::Read { source, .. } | Self::Print { source } => {
                vec![first(&format!(": {source}"))]
            }
            Self::Unreachable { source, .. } => vec![
                first(&format!(": {source}")),
                "Start a system with 'edgeio up', or name another one with --url or EDGEIO_URL."
                    .to_owned(),
            ],
            Self::Broken { source, .. } => vec![first(&format!(": {source}"))],
            Self::Refused(problem) => refusal(problem, None),
            Self::Document { origin, faults } => {
                let heading = format!("error: {origin} has {}:", count(faults.len()));
                std::iter::once(heading)
                    .chain(faults.iter().map(|fault| place(origin, fault)))
                    .collect()
            }
            Self::Foreign { .. } | Self::Wait(_) | Self::Some { .. } => vec![first("")],
        }
    }
}

fn count(faults: usize) -> String {
    match faults {
        1 => "1 fault".to_owned(),
        more => format!("{more} faults"),
    }
}

/// A problem for people; `subject` is what was asked for, where that is not plain.
pub(crate) fn refusal(problem: &Problem, subject: Option<&str>) -> Vec<String> {
    let subject = subject
        .map(|subject| format!("{subject}: "))
        .unwrap_or_default();
    let said = [&problem.detail, &problem.title, &problem.code]
        .into_iter()
        .find(|text| !text.is_empty());
    let said = said.map_or("refused without a reason", String::as_str);
    let code = if problem.code.is_empty() {
        String::new()
    } else {
        format!(" {}", problem.code)
    };
    let mut lines = vec![format!("error: {subject}{said} ({}{code})", problem.status)];
    if problem.status == 401 {
        lines.push(
            "Give a token with --token, --token-file or EDGEIO_TOKEN; a root writes its first one to admin.token in its \
             data directory."
                .to_owned(),
        );
    }
    lines.extend(problem.errors.iter().map(|fault| place("body", fault)));
    lines
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
