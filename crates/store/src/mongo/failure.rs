//! What the driver says, as what a store says.

use std::io;
use std::sync::Arc;

use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};

use crate::StoreError;

/// A collection of that name is there.
pub(super) const NAMESPACE_EXISTS: i32 = 48;
const AUTHENTICATION_FAILED: i32 = 18;
const UNAUTHORIZED: i32 = 13;
const OUT_OF_DISK_SPACE: i32 = 14_031;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failed {
    /// It is not known whether it was.
    Driver(Error),
    /// It was not, certainly.
    Untouched(Error),
    /// Somebody else has the lease: this one.
    NotOurs(String),
    /// More was committed under this lease than the caller knows of.
    Overtaken,
    /// What is in the database makes no sense.
    Content(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl Failed {
    /// What a store says of it.
    pub(super) fn of(self, operation: &'static str, place: &str) -> StoreError {
        match self {
            Self::Driver(error) | Self::Untouched(error) => of(&error, operation, place),
            Self::NotOurs(holder) => StoreError::Superseded {
                database: place.to_owned(),
                holder,
            },
            Self::Overtaken => StoreError::Unknown {
                database: place.to_owned(),
            },
            Self::Content(reason) => foreign(place, reason),
        }
    }
}

/// A server that cannot keep a store, or does not let this program in.
pub(super) fn server(place: &str, reason: String) -> StoreError {
    StoreError::Server {
        database: place.to_owned(),
        reason,
    }
}

/// Content that is not ours.
pub(super) fn foreign(place: &str, reason: String) -> StoreError {
    StoreError::Foreign {
        database: place.to_owned(),
        reason,
    }
}

/// The number of a failure, where the server gave one.
pub(super) fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// What the server or the driver said, without the labels and the whole reply that the driver shows.
pub(super) fn said(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::Command(command) => format!("{} ({})", command.message, command.code_name),
        kind => kind.to_string(),
    }
}

/// Nothing of the transaction is there, and it may be tried again.
pub(super) fn is_transient(error: &Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

pub(super) fn of(error: &Error, operation: &'static str, place: &str) -> StoreError {
    let login = |error: &Error| {
        matches!(&*error.kind, ErrorKind::Authentication { .. })
            || matches!(code(error), Some(AUTHENTICATION_FAILED | UNAUTHORIZED))
    };
    if login(error) {
        return server(
            place,
            format!(
                "it refuses this login: {}; look at user, password and ?authSource= in the URL, and that the user has the role \
                 readWrite on the database",
                said(error)
            ),
        );
    }
    if code(error) == Some(OUT_OF_DISK_SPACE) {
        return StoreError::Full {
            operation,
            source: Arc::new(io::Error::other(said(error))),
        };
    }
    match &*error.kind {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. } => StoreError::Unreachable {
            operation,
            database: place.to_owned(),
            reason: said(error),
        },
        _ => StoreError::Io {
            operation,
            source: Arc::new(io::Error::other(said(error))),
        },
    }
}
