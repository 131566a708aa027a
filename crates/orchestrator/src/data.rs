//! The data directory and the store in it.

use std::io;
use std::path::Path;
use std::sync::Arc;

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

/// Opens the store of that kind; an embedded one is `file` in the directory, which is made if it is not there.
///
/// # Errors
/// When the directory or the store in it cannot be used.
pub fn open_store(kind: StoreKind, dir: &Path, file: &str) -> Result<Arc<dyn Store>, RunError> {
    if kind == StoreKind::Memory {
        return Ok(Arc::new(Memory::new()));
    }
    make_private(dir).map_err(|source| RunError::DataDir {
        path: dir.to_owned(),
        source,
    })?;
    let store = Embedded::open(&dir.join(file), store::Options::default())?;
    Ok(Arc::new(store))
}

/// Makes a directory that only its owner may read: the store holds hashes of credentials and what users run.
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}
