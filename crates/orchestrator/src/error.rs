//! Why an orchestrator did not start, or ended.

use std::io;
use std::path::PathBuf;

use audit::LogError;
use daemon::dial::DialError;
use daemon::listen::BindError;
use daemon::{Outcome, exit};
use store::StoreError;

use crate::StartError;
use crate::access::AccessError;
use crate::keys::KeysError;

/// What helps where the store's content is of no use.
const RESTORE: &str = " (move its data directory away, and run 'edgeio restore FILE --data-dir DIR' with a backup, or \
    begin with an empty directory)";

/// Why an orchestrator did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Options mean nothing.
    #[error("{0}")]
    Config(String),
    /// An address cannot be used.
    #[error("cannot serve")]
    Bind(#[from] BindError),
    /// The listener or a thread failed.
    #[error("cannot {operation}")]
    Io {
        /// What.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it proves itself with cannot be used.
    #[error("cannot use the identity in the data directory")]
    Keys(#[from] KeysError),
    /// Users and members cannot be used.
    #[error("cannot tell who may do what")]
    Access(#[from] AccessError),
    /// What is done cannot be written down.
    #[error("cannot keep the audit log")]
    Audit(#[from] LogError),
    /// The store cannot be opened.
    #[error("cannot open the store{}", remedy(.0))]
    Store(#[from] StoreError),
    /// The state cannot be loaded.
    #[error("cannot begin{}", remedy_of_start(.0))]
    Start(#[from] StartError),
    /// Two metrics of one name: a bug.
    #[error("cannot set the metrics up")]
    Metrics(#[from] prometheus::Error),
    /// A part ended that should not have.
    #[error("a part of the program ended")]
    Ended(#[from] Outcome),
}

impl RunError {
    /// All faults of the options, one a line as where they are read.
    pub fn config(faults: &[String]) -> Self {
        Self::Config(format!(
            "the configuration is wrong:\n  {}",
            faults.join("\n  ")
        ))
    }

    /// The program's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Access(AccessError::ScrapeFile(_) | AccessError::ScrapeToken { .. }) => {
                exit::CONFIG
            }
            Self::Bind(error) => error.exit_code(),
            Self::DataDir { .. }
            | Self::Keys(_)
            | Self::Access(_)
            | Self::Audit(_)
            | Self::Store(_)
            | Self::Start(_) => exit::STORE_UNUSABLE,
            Self::Io { .. } | Self::Metrics(_) | Self::Ended(_) => exit::FAILURE,
        }
    }
}

/// What helps a store that is damaged; nothing where its own words say it all.
fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupt { .. } => RESTORE,
        _ => "",
    }
}

fn remedy_of_start(error: &StartError) -> &'static str {
    match error {
        StartError::Store(error) => remedy(error),
        StartError::Record(_) => RESTORE,
        StartError::Random(_) | StartError::Panicked(_) => "",
    }
}

impl From<DialError> for RunError {
    fn from(error: DialError) -> Self {
        Self::Config(error.to_string())
    }
}
