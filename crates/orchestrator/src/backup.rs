//! Backups of an orchestrator's store, and what is made of one: a store with a new incarnation.
//!
//! # Why a new incarnation
//! What was decided after the backup is known to the children alone. A store that comes back under its old incarnation
//! would contradict them; under a new one it asks them what they have, takes it over, and stops nothing before that
//! (protocol, section 3). A restored store has none, and the next start makes it, as for a store that is new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::time::Wall;
use protocol::time::rfc3339;
use serde::{Deserialize, Serialize};
use store::backup::{self, Backup, BackupError, Summary};
use store::{Embedded, Store, StoreError};
use sync::{Incarnation, Term};

use crate::access::ADMIN_TOKEN;
use crate::data::{Tier, make_private, options};
use crate::{audited, keys, record};

/// What lies beside a store and goes on with another one: the authority, the administrator's token, and what was done.
const BESIDE: [&str; 3] = [keys::FOLDER, ADMIN_TOKEN, audited::FOLDER];

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Whose store it is.
    pub tier: Tier,
    /// The cluster's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the program that made it.
    pub version: String,
    /// When, by the clock of its machine.
    #[serde(with = "rfc3339")]
    pub taken_at: Wall,
    /// Of the store.
    pub incarnation: Incarnation,
    /// The number of the run that made it.
    pub term: u64,
}

impl About {
    /// Of the store of that run, now.
    pub fn new(
        tier: Tier,
        name: Option<String>,
        taken_at: Wall,
        incarnation: Incarnation,
        term: &Term,
    ) -> Self {
        Self {
            tier,
            name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at,
            incarnation,
            term: term.number,
        }
    }

    /// `the root`, `cluster garching`.
    pub fn owner(&self) -> String {
        match (&self.name, self.tier) {
            (Some(name), tier) => format!("{} {name}", tier.as_str()),
            (None, tier) => format!("the {}", tier.as_str()),
        }
    }
}

/// Why a store was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error("cannot restore")]
    Backup(#[from] BackupError),
    /// The backup is of something else.
    #[error("{} is a backup of another program: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with what it says about itself.
        why: String,
    },
    /// Something is in the directory.
    #[error(
        "{} is not empty ({found} is in it); name an empty directory, or move what is there away first",
        path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// There is no store.
    #[error("there is neither {} nor {} in {}", Tier::Root.file(), Tier::Cluster.file(), path.display())]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// There are both.
    #[error("there are a root's and a cluster's store in {}; say which one is meant with --tier", path.display())]
    TwoStores {
        /// The directory.
        path: PathBuf,
    },
    /// The store cannot be opened.
    #[error("cannot use the store")]
    Store(#[from] StoreError),
    /// The directory cannot be used.
    #[error("cannot use {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A store that was restored.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// Whose it is.
    pub tier: Tier,
    /// The file.
    pub store: PathBuf,
    /// How many records it has.
    pub records: u64,
    /// What the backup said; none for a store that was there.
    pub backup: Option<About>,
}

/// Begins a backup of a store.
///
/// # Errors
/// When the store cannot be read.
pub fn begin(store: &dyn Store, about: &About) -> Result<Backup, StoreError> {
    // Its fields are texts and numbers, which have JSON.
    let about = serde_json::to_vec(about).unwrap_or_default();
    Backup::of(store, &about)
}

/// Reads a backup to its end, and gives what it says about itself.
///
/// # Errors
/// When it is not whole, or not one of an orchestrator.
pub fn check(file: &Path) -> Result<(About, Summary), RestoreError> {
    let summary = backup::check(file)?;
    Ok((about_of(file, &summary.about)?, summary))
}

fn about_of(file: &Path, about: &[u8]) -> Result<About, RestoreError> {
    serde_json::from_slice(about).map_err(|error| RestoreError::Foreign {
        path: file.to_owned(),
        why: error.to_string(),
    })
}

/// Makes a store of a backup in a directory, which is empty or made; an authority that is there already goes on.
///
/// # Errors
/// When the backup or the directory cannot be used. Then nothing is in the directory.
pub fn restore(file: &Path, directory: &Path) -> Result<Restored, RestoreError> {
    let about = about_of(file, &backup::about(file)?)?;
    let unusable = |source| RestoreError::Directory {
        path: directory.to_owned(),
        source,
    };
    let made = !directory.exists();
    make_private(directory).map_err(unusable)?;
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let found = entry.map_err(unusable)?.file_name();
        if !BESIDE.iter().any(|name| found == *name) {
            return Err(RestoreError::NotEmpty {
                path: directory.to_owned(),
                found: found.display().to_string(),
            });
        }
    }
    let path = directory.join(about.tier.file());
    match backup::restore(file, &path, options(), &record::renewal()) {
        Ok(summary) => Ok(Restored {
            tier: about.tier,
            store: path,
            records: summary.records,
            backup: Some(about),
        }),
        Err(error) => {
            if made {
                // It is empty; if somebody put something there, it stays.
                let _ = fs::remove_dir(directory);
            }
            Err(error.into())
        }
    }
}

/// Makes a restored store of the one in a directory, whose program does not run: an older copy that was put there, or
/// one that others have gone on with.
///
/// # Errors
/// When there is no store, or two and none is named, or it cannot be opened.
pub fn renew(directory: &Path, tier: Option<Tier>) -> Result<Restored, RestoreError> {
    let there = |tier: &Tier| directory.join(tier.file()).exists();
    let all = [Tier::Root, Tier::Cluster].into_iter();
    let meant = |one: &Tier| tier.is_none_or(|tier| tier == *one);
    let found: Vec<Tier> = all.filter(meant).filter(there).collect();
    let path = || directory.to_owned();
    let tier = match found.as_slice() {
        [tier] => *tier,
        [] => return Err(RestoreError::NoStore { path: path() }),
        _ => return Err(RestoreError::TwoStores { path: path() }),
    };
    let path = directory.join(tier.file());
    let store = Embedded::open(&path, options())?;
    store.commit(&record::renewal())?;
    let records = store.load()?.len() as u64;
    Ok(Restored {
        tier,
        store: path,
        records,
        backup: None,
    })
}

#[cfg(test)]
mod tests;
