//! What the tree's errors mean to the owner of the store.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::StoreError;

/// Names an error of the operating system.
pub(super) fn io(operation: &'static str, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
            operation,
            source: Arc::new(source),
        },
        _ => StoreError::Io {
            operation,
            source: Arc::new(source),
        },
    }
}

/// Names an error of the tree in the file at `path`.
pub(super) fn tree(path: &Path, operation: &'static str, error: redb::Error) -> StoreError {
    let corrupt = |reason: String| StoreError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.to_owned(),
        },
        // A file that is no tree, and one that ends before its pages do.
        redb::Error::Io(source)
            if matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            corrupt(source.to_string())
        }
        redb::Error::Io(source) => io(operation, source),
        redb::Error::Corrupted(reason) => corrupt(reason),
        redb::Error::UpgradeRequired(_) | redb::Error::TableDoesNotExist(_) => {
            corrupt(error.to_string())
        }
        other => StoreError::Io {
            operation,
            source: Arc::new(other),
        },
    }
}
