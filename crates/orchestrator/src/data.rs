//! The data directory, and the store: in it, in a database, or nowhere.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Embedded, Memory, MongoUrl, Store};

use crate::RunError;
use crate::lease::{Lost, Waiting};

/// What keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// A file of the data directory.
    Embedded,
    /// Nothing.
    Memory,
    /// A database of `MongoDB`.
    Mongodb,
}

/// Where the state is kept, as `--store` says it: `embedded`, `memory`, or `mongodb://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// In a file of the data directory.
    Embedded,
    /// Nowhere.
    Memory,
    /// In that database.
    Mongodb(MongoUrl),
}

impl StoreAt {
    /// What keeps it there.
    pub const fn kind(&self) -> StoreKind {
        match self {
            Self::Embedded => StoreKind::Embedded,
            Self::Memory => StoreKind::Memory,
            Self::Mongodb(_) => StoreKind::Mongodb,
        }
    }
}

/// As `--store` takes it, without what is secret in it.
impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Memory => f.write_str("memory"),
            Self::Mongodb(url) => url.fmt(f),
        }
    }
}

impl FromStr for StoreAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "memory" => Ok(Self::Memory),
            _ if text.starts_with("mongodb") => {
                let url = text.parse();
                url.map(Self::Mongodb)
                    .map_err(|error: store::UrlError| error.to_string())
            }
            _ => Err("write embedded, memory, or mongodb://HOST:PORT/DATABASE".to_owned()),
        }
    }
}

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A root's.
    Root,
    /// A cluster's.
    Cluster,
}

impl Tier {
    /// `root` or `cluster`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cluster => "cluster",
        }
    }

    /// The store's file in its data directory.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Root => "root.redb",
            Self::Cluster => "cluster.redb",
        }
    }

    /// The program that uses it.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Root => "root-orchestrator",
            Self::Cluster => "cluster-orchestrator",
        }
    }
}

/// The version of all records of an orchestrator: 2 since they know tenants, secrets, and who joined. An older program
/// would open such a store and drop what it does not know, so it must not; stores of version 1 are read.
const SCHEMA: u32 = 2;

/// How an orchestrator opens its store.
pub(crate) fn options() -> store::Options {
    store::Options {
        schema: SCHEMA,
        reads_from: 1,
        ..store::Options::default()
    }
}

/// What a program says that was built without the feature `mongodb`.
#[cfg(not(feature = "mongodb"))]
pub(crate) fn no_mongodb(database: &MongoUrl) -> store::StoreError {
    store::StoreError::Server {
        database: database.to_string(),
        reason: "this program was built without MongoDB; take one that is shipped, or build it with --features mongodb"
            .to_owned(),
    }
}

/// A store that this program may write.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Tells when it is somebody else's.
    pub lost: Lost,
}

impl Opened {
    fn for_good(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            lost: Lost::never(),
        }
    }
}

/// Opens the store that is meant: an embedded one is the tier's file in the directory, which is made if it is not there;
/// that of a database when it is this program's, which then serves at `url`. `None` if the token is cancelled before that.
///
/// # Errors
/// When the directory or the store cannot be used, or somebody else has it for longer than is waited.
pub async fn open_store(
    at: &StoreAt,
    dir: &Path,
    tier: Tier,
    waiting: Waiting<'_>,
) -> Result<Option<Opened>, RunError> {
    if *at == StoreAt::Memory {
        return Ok(Some(Opened::for_good(Memory::new())));
    }
    // What it proves itself with, and what was done, is kept there whatever has the state.
    make_private(dir).map_err(|source| RunError::DataDir {
        path: dir.to_owned(),
        source,
    })?;
    match at {
        StoreAt::Memory | StoreAt::Embedded => {
            let store = Embedded::open(&dir.join(tier.file()), options())?;
            Ok(Some(Opened::for_good(store)))
        }
        StoreAt::Mongodb(database) => crate::lease::take(database, tier, waiting).await,
    }
}

/// Makes a directory that only its owner may read: the store holds hashes of credentials and what users run.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}
