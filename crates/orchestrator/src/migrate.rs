//! An orchestrator's store carried from one place to another: from the data directory into a database, or back.
//!
//! It is the same store there, under its incarnation: nobody below notices. So the former one must not be used again, and is
//! put out of use as soon as the new one was read back and found the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::backup::{self, BackupError};
use store::{Embedded, Snapshot, Store, StoreError};

use crate::data::{StoreAt, Tier, make_private, options};

/// What the name of a store's file ends with when it was carried away.
const MOVED: &str = ".moved";
/// Bytes of records that are compared together.
const SLICE: usize = 1_024 * 1_024;

/// A store that is elsewhere now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Whose it is.
    pub tier: Tier,
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// How many records it has.
    pub records: u64,
}

/// Why a store is where it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It is to go where it is, or from or to memory.
    #[error("{0}")]
    Places(String),
    /// There is no store there.
    #[error("there is no store {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// One of them cannot be used.
    #[error("cannot use a store")]
    Store(#[from] StoreError),
    /// The new one cannot be written.
    #[error("cannot write the new store")]
    Write(#[from] BackupError),
    /// What was read back is something else.
    #[error(
        "the new store {to} does not hold what {from} does; nothing was changed in the former one, so go on with it, and report \
         this fault"
    )]
    Differs {
        /// The former store.
        from: String,
        /// The new one.
        to: String,
    },
    /// The directory cannot be used.
    #[error("cannot use {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Carries the store of a tier from one place to another; `dir` is its data directory. Its program must not run.
///
/// # Errors
/// When one of the two cannot be used. Then the former one is as it was.
pub fn migrate(
    tier: Tier,
    dir: &Path,
    from: &StoreAt,
    to: &StoreAt,
) -> Result<Moved, MigrateError> {
    if from == to {
        return Err(MigrateError::Places(format!(
            "the store is in {from} already; name another place with --to"
        )));
    }
    if [from, to].contains(&&StoreAt::Memory) {
        let why = "a store in memory ends with its process; name embedded or mongodb://HOST:PORT/DATABASE";
        return Err(MigrateError::Places(why.to_owned()));
    }
    make_private(dir).map_err(|source| MigrateError::Directory {
        path: dir.to_owned(),
        source,
    })?;
    let file = dir.join(tier.file());
    let place = |at: &StoreAt| match at {
        StoreAt::Mongodb(_) => at.to_string(),
        StoreAt::Embedded | StoreAt::Memory => file.display().to_string(),
    };
    let (was, is) = (place(from), place(to));
    let former = Former::open(from, tier, &file)?;
    let records = match to {
        StoreAt::Mongodb(url) => database::fill(url, tier, &mut *former.store().snapshot()?)?,
        StoreAt::Embedded | StoreAt::Memory => {
            backup::copy(&mut *former.store().snapshot()?, &file, options())?
        }
    };
    let there = match to {
        StoreAt::Mongodb(url) => database::digest(url, tier)?,
        StoreAt::Embedded | StoreAt::Memory => {
            digest(&mut *Embedded::open(&file, options())?.snapshot()?)?
        }
    };
    if there != digest(&mut *former.store().snapshot()?)? {
        return Err(MigrateError::Differs { from: was, to: is });
    }
    former.retire(&is)?;
    Ok(Moved {
        tier,
        from: was,
        to: is,
        records,
    })
}

/// The store as it was.
enum Former {
    File(Embedded, PathBuf),
    #[cfg(feature = "mongodb")]
    Database(store::mongo::Mongo),
}

impl Former {
    fn open(at: &StoreAt, tier: Tier, file: &Path) -> Result<Self, MigrateError> {
        match at {
            StoreAt::Mongodb(url) => database::former(url, tier),
            StoreAt::Embedded | StoreAt::Memory => {
                // Opening would make one.
                if !file.exists() {
                    return Err(MigrateError::Missing {
                        path: file.to_owned(),
                    });
                }
                Ok(Self::File(
                    Embedded::open(file, options())?,
                    file.to_owned(),
                ))
            }
        }
    }

    fn store(&self) -> &dyn Store {
        match self {
            Self::File(store, _) => store,
            #[cfg(feature = "mongodb")]
            Self::Database(store) => store,
        }
    }

    /// Sees to it that nobody goes on with it.
    fn retire(self, to: &str) -> Result<(), MigrateError> {
        match self {
            Self::File(store, path) => {
                drop(store);
                tracing::debug!(to, "the file is kept under another name");
                let mut kept = path.clone().into_os_string();
                kept.push(MOVED);
                fs::rename(&path, kept).map_err(|source| MigrateError::Directory { path, source })
            }
            #[cfg(feature = "mongodb")]
            Self::Database(store) => Ok(store.retire(to)?),
        }
    }
}

/// What tells two stores apart.
fn digest(snapshot: &mut dyn Snapshot) -> Result<Vec<u8>, StoreError> {
    let mut sum = Sha256::new();
    loop {
        let records = snapshot.next(SLICE)?;
        if records.is_empty() {
            return Ok(sum.finalize().to_vec());
        }
        for record in &records {
            for field in [record.table.as_bytes(), &record.key, &record.value] {
                sum.update((field.len() as u64).to_le_bytes());
                sum.update(field);
            }
        }
    }
}

#[cfg(feature = "mongodb")]
mod database {
    use std::time::{Duration, Instant};

    use store::mongo::{Candidate, Holder, LEASE, Look, Mongo};
    use store::{MongoUrl, Snapshot, Store as _, StoreError};

    use super::{Former, MigrateError, Tier, options};

    fn connect(url: &MongoUrl, tier: Tier) -> Result<Candidate, StoreError> {
        let holder = Holder {
            name: "edgeio store migrate".to_owned(),
            ..Holder::default()
        };
        Candidate::connect(url, tier.as_str(), options(), holder)
    }

    /// The store, when nobody has it: a program that died a moment ago keeps it for some time.
    fn take(url: &MongoUrl, tier: Tier) -> Result<Mongo, StoreError> {
        let mut candidate = connect(url, tier)?;
        let begun = Instant::now();
        loop {
            match candidate.look()? {
                Look::Taken(store) => return Ok(*store),
                Look::Held(holder) if begun.elapsed() > LEASE * 2 => {
                    return Err(StoreError::Held {
                        database: url.to_string(),
                        holder: holder.name,
                    });
                }
                Look::Held(_) => std::thread::park_timeout(Duration::from_millis(250)),
            }
        }
    }

    pub(super) fn former(url: &MongoUrl, tier: Tier) -> Result<Former, MigrateError> {
        Ok(Former::Database(take(url, tier)?))
    }

    pub(super) fn fill(
        url: &MongoUrl,
        tier: Tier,
        from: &mut dyn Snapshot,
    ) -> Result<u64, StoreError> {
        connect(url, tier)?.fill(from)
    }

    pub(super) fn digest(url: &MongoUrl, tier: Tier) -> Result<Vec<u8>, StoreError> {
        super::digest(&mut *take(url, tier)?.snapshot()?)
    }
}

#[cfg(not(feature = "mongodb"))]
mod database {
    use store::{MongoUrl, Snapshot, StoreError};

    use super::{Former, MigrateError, Tier};
    use crate::data::no_mongodb;

    pub(super) fn former(url: &MongoUrl, _tier: Tier) -> Result<Former, MigrateError> {
        Err(no_mongodb(url).into())
    }

    pub(super) fn fill(
        url: &MongoUrl,
        _tier: Tier,
        _from: &mut dyn Snapshot,
    ) -> Result<u64, StoreError> {
        Err(no_mongodb(url))
    }

    pub(super) fn digest(url: &MongoUrl, _tier: Tier) -> Result<Vec<u8>, StoreError> {
        Err(no_mongodb(url))
    }
}
