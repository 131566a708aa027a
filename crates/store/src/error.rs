//! What a store can fail with.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A failure of a store; cheap to clone, because one failed group commit answers many waiters.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another [`Embedded`](crate::Embedded) of this one, has the file open.
    #[error(
        "the store {} is in use by another process; stop that one first, or give this one a data directory of its own",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },

    /// The file is damaged or was never a store; nothing was read from it.
    #[error(
        "the store {} is damaged or is no store ({reason}); it was not used: restore it from a backup, or move it away to begin with an empty one",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found, for the log.
        reason: String,
    },

    /// It was written by an older or a newer program.
    #[error(
        "the store {store} has schema {found} and this program needs schema {expected}; {}",
        if found > expected { "run the newer version that wrote it" } else { "run the version that wrote it, or restore a backup of schema the program needs" }
    )]
    Schema {
        /// The file, or the URL of the database.
        store: String,
        /// The schema it has.
        found: u32,
        /// The schema of this program.
        expected: u32,
    },

    /// Another program holds the lease of the database.
    #[error(
        "the store {database} is in use by {holder}; stop that one first, or name another database: mongodb://…/NAME"
    )]
    Held {
        /// Its URL, without user and password.
        database: String,
        /// Who.
        holder: String,
    },

    /// Others take turns with this database, and have something in common that this program does not.
    #[error(
        "the store {database} belongs to others (now {holder}), which prove themselves with another identity/: copy that folder \
         from one of them into this data directory, or name another database: mongodb://…/NAME"
    )]
    Mark {
        /// Its URL, without user and password.
        database: String,
        /// Who has it.
        holder: String,
    },

    /// Another program took the lease of the database, so nothing of this one is stored any more.
    #[error(
        "the store {database} was taken over by {holder}, and nothing of this program is stored in it any more"
    )]
    Superseded {
        /// Its URL, without user and password.
        database: String,
        /// Who.
        holder: String,
    },

    /// A commit may or may not be there, and whoever decides has to load again.
    #[error(
        "it is not known what the store {database} has of the last commits; the state has to be loaded again"
    )]
    Unknown {
        /// Its URL, without user and password.
        database: String,
    },

    /// What is in the database is no store, or damaged; nothing of it was changed.
    #[error(
        "the database {database} holds no store that can be used: {reason}; name another database: mongodb://…/NAME"
    )]
    Foreign {
        /// Its URL, without user and password.
        database: String,
        /// What was found.
        reason: String,
    },

    /// The server cannot keep a store, or does not let this program in.
    #[error("the database {database} cannot be used: {reason}")]
    Server {
        /// Its URL, without user and password.
        database: String,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// No server of the database answers.
    #[error(
        "cannot {operation} the store {database}: it cannot be reached ({reason}); see that a primary runs there and that this \
         machine reaches it, the store then recovers by itself"
    )]
    Unreachable {
        /// `open`, `commit to`, ...
        operation: &'static str,
        /// Its URL, without user and password.
        database: String,
        /// What the driver said.
        reason: String,
    },

    /// The disk is full; reads still work, and commits do again once there is space.
    #[error(
        "cannot {operation} the store: no space left on the disk; free some, the store then recovers by itself"
    )]
    Full {
        /// `open`, `commit to`, ...
        operation: &'static str,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },

    /// Reading or writing failed; the store opens its file anew at the next call.
    #[error("cannot {operation} the store")]
    Io {
        /// `open`, `commit to`, ...
        operation: &'static str,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },

    /// An earlier commit failed and nobody has loaded since, so what this one was decided on may
    /// not be there.
    #[error("an earlier commit failed and the state was not loaded again since")]
    Stale {
        /// Why the earlier commit failed.
        #[source]
        source: Box<StoreError>,
    },

    /// The writer has stopped.
    #[error("the store's writer has stopped")]
    Closed,

    /// A table name is empty or contains a zero byte.
    #[error("{table:?} cannot name a table: it is empty or contains a zero byte")]
    TableName {
        /// The name.
        table: &'static str,
    },
}
