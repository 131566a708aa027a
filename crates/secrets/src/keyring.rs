//! Keys to values that were encrypted elsewhere, as they came: wrapped for this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use identity::files::{self, FileError, Readers};
use model::id::SecretVersion;
use model::workload::Workload;

use super::{CannotOpen, DataKey, KeyTextError, PublicKey, Vault, VaultError, Wrapped};

/// The folder of the keys, beside the vault's file.
const FOLDER: &str = "secret-keys";
/// Keys that are kept at most: whoever sends them must not fill the disk.
const MOST: usize = 10_000;

/// A vault, and keys that were wrapped for it.
#[derive(Debug)]
pub struct Keyring {
    vault: Vault,
    /// `None`: they are gone with the process.
    folder: Option<PathBuf>,
    keys: RwLock<BTreeMap<SecretVersion, Wrapped>>,
}

/// Why there is no keyring, or a key is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The vault cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder cannot be used.
    #[error("cannot use {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is none.
    #[error("a key to a secret cannot be read")]
    Text(#[from] KeyTextError),
    /// It was wrapped for somebody else.
    #[error("a key to a secret cannot be opened here")]
    Foreign(#[from] CannotOpen),
    /// There are too many.
    #[error("there are {MOST} keys to secrets here already")]
    TooMany,
}

impl Keyring {
    /// What the folder holds; the vault is made if it is not there.
    ///
    /// # Errors
    /// [`KeyringError`]. A key that cannot be read is left out, as if it had not come.
    pub fn open(folder: &Path) -> Result<Self, KeyringError> {
        let vault = Vault::open(folder)?;
        let folder = folder.join(FOLDER);
        let unusable = |source| KeyringError::Folder {
            path: folder.clone(),
            source,
        };
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        made.map_err(unusable)?;
        let mut keys = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(unusable)? {
            let name = entry.map_err(unusable)?.file_name();
            let version = name.to_str().and_then(|name| name.parse().ok());
            let Some(version) = version else { continue };
            let text = files::read(&folder.join(name), Readers::Owner)?;
            let wrapped = text.and_then(|text| text.trim().parse().ok());
            keys.extend(wrapped.map(|wrapped| (version, wrapped)));
        }
        Ok(Self {
            vault,
            folder: Some(folder),
            keys: RwLock::new(keys),
        })
    }

    /// An empty one that is gone with the process.
    ///
    /// # Errors
    /// [`KeyringError::Vault`].
    pub fn temporary() -> Result<Self, KeyringError> {
        Ok(Self {
            vault: Vault::temporary()?,
            folder: None,
            keys: RwLock::default(),
        })
    }

    /// What values are encrypted with that are set here.
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// For whom others wrap.
    pub const fn public(&self) -> PublicKey {
        self.vault.public()
    }

    /// Keeps a key, on the disk when this returns. It waits for the disk.
    ///
    /// # Errors
    /// When it is not for this machine, or cannot be kept.
    pub fn keep(&self, version: SecretVersion, wrapped: &str) -> Result<(), KeyringError> {
        if self.key(version).is_ok() {
            return Ok(());
        }
        let wrapped: Wrapped = wrapped.parse()?;
        self.vault.unwrap(&wrapped, version)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MOST && !keys.contains_key(&version) {
            return Err(KeyringError::TooMany);
        }
        if let Some(folder) = &self.folder {
            let path = folder.join(version.to_string());
            files::write(&path, &format!("{wrapped}\n"), Readers::Owner)?;
        }
        keys.insert(version, wrapped);
        Ok(())
    }

    /// Keeps the keys that came with an order. One that is of no use here is told and left out: what needs it will not start.
    ///
    /// # Errors
    /// When one cannot be written. Then the order must not be taken.
    pub fn keep_all<'k>(
        &self,
        keys: impl IntoIterator<Item = (SecretVersion, &'k str)>,
    ) -> Result<(), FileError> {
        for (version, wrapped) in keys {
            match self.keep(version, wrapped) {
                Ok(()) => {}
                Err(KeyringError::File(error)) => return Err(error),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(secret.version = %version, error, "a key to a secret is of no use here");
                }
            }
        }
        Ok(())
    }

    /// The key to a version that was encrypted elsewhere.
    ///
    /// # Errors
    /// When it never came, or was for another vault.
    pub fn key(&self, version: SecretVersion) -> Result<DataKey, CannotOpen> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let wrapped = keys.get(&version).cloned();
        drop(keys);
        self.vault.unwrap(&wrapped.ok_or(CannotOpen)?, version)
    }

    /// Forgets all keys but those to what one of these has. One whose file stays is forgotten at the next start.
    pub fn tidy<'w>(&self, workloads: impl IntoIterator<Item = &'w Workload>) {
        let workloads = workloads.into_iter();
        let wanted = workloads.flat_map(|workload| workload.secrets.versions());
        self.retain(&wanted.collect());
    }

    fn retain(&self, wanted: &BTreeSet<SecretVersion>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|version, _| {
            let stays = wanted.contains(version);
            if let Some(folder) = self.folder.as_ref().filter(|_| !stays) {
                let _ = fs::remove_file(folder.join(version.to_string()));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_after_a_restart_until_nobody_wants_it() {
        let (root, folder) = (Vault::temporary().unwrap(), tempfile::tempdir().unwrap());
        let versions = [1, 2].map(SecretVersion::from_bits);
        let ring = Keyring::open(folder.path()).unwrap();
        let wrap = |version: SecretVersion| {
            let key = root.key(version);
            key.wrap(&ring.public(), version).unwrap().to_string()
        };
        for version in versions {
            assert!(ring.key(version).is_err());
            ring.keep(version, &wrap(version)).unwrap();
            // Sent again, it is another text and the same key.
            ring.keep(version, &wrap(version)).unwrap();
        }
        let ring = Keyring::open(folder.path()).unwrap();
        for version in versions {
            assert!(ring.key(version).is_ok());
        }
        ring.retain(&BTreeSet::from([versions[0]]));
        let again = Keyring::open(folder.path()).unwrap();
        for ring in [&ring, &again] {
            assert!(ring.key(versions[0]).is_ok());
            assert!(ring.key(versions[1]).is_err());
        }
    }

    #[test]
    fn a_key_of_somebody_else_is_not_kept() {
        let (root, other) = (Vault::temporary().unwrap(), Vault::temporary().unwrap());
        let ring = Keyring::temporary().unwrap();
        let version = SecretVersion::from_bits(1);
        let theirs = root.key(version).wrap(&other.public(), version).unwrap();
        let kept = ring.keep(version, &theirs.to_string());
        assert!(matches!(kept, Err(KeyringError::Foreign(_))), "{kept:?}");
        let kept = ring.keep(version, "no key");
        assert!(matches!(kept, Err(KeyringError::Text(_))), "{kept:?}");
    }
}
