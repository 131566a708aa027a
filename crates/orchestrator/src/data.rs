//! The data directory and the store in it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Embedded, Memory, Store};

use crate::RunError;

/// Where the state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// In a file of the data directory.
    Embedded,
    /// Nowhere.
    Memory,
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

/// Opens the store of that kind; an embedded one is the tier's file in the directory, which is made if it is not there.
///
/// # Errors
/// When the directory or the store in it cannot be used.
pub fn open_store(kind: StoreKind, dir: &Path, tier: Tier) -> Result<Arc<dyn Store>, RunError> {
    if kind == StoreKind::Memory {
        return Ok(Arc::new(Memory::new()));
    }
    make_private(dir).map_err(|source| RunError::DataDir {
        path: dir.to_owned(),
        source,
    })?;
    let store = Embedded::open(&dir.join(tier.file()), options())?;
    Ok(Arc::new(store))
}

/// Makes a directory that only its owner may read: the store holds hashes of credentials and what users run.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}
