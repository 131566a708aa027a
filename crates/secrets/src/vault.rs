//! What a machine has to open things with: one secret of its own, in a file.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use hkdf::Hkdf;
use hpke::{Deserializable as _, Kem as _, OpModeR, Serializable as _};
use identity::files::{self, FileError, Readers};
use model::id::SecretVersion;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Aead, BASE64, CannotOpen, DataKey, KEY, Kdf, Kem, PublicKey, WRAPPING, Wrapped};
use super::{data_key, read};

/// The file's name, in the folder of what a machine proves itself with.
pub const FILE: &str = "secrets.key";

/// What versions' keys are derived for.
const VERSION: &str = "edgeio secret version 1";

/// A machine's own secret: keys of versions are derived of it, and others wrap keys for it.
pub struct Vault {
    seed: Zeroizing<[u8; KEY]>,
    private: <Kem as hpke::Kem>::PrivateKey,
    public: PublicKey,
}

/// Why there is no vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error(
        "{} holds no key of secrets; bring back the right one from where you keep identity/, or remove it: a new one is made, and all secrets must be set again",
        path.display()
    )]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.public)
    }
}

impl Vault {
    /// The vault of [`FILE`] in that folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(folder: &Path) -> Result<Self, VaultError> {
        let path = folder.join(FILE);
        if let Some(text) = files::read(&path, Readers::Owner)?.map(Zeroizing::new) {
            let seed = read(text.trim(), KEY).map(Zeroizing::new);
            let seed = seed.ok().and_then(|seed| seed.as_slice().try_into().ok());
            return seed.map(Self::of).ok_or(VaultError::Text { path });
        }
        let vault = Self::temporary()?;
        let text = Zeroizing::new(format!("{}\n", BASE64.encode(*vault.seed)));
        files::write(&path, &text, Readers::Owner)?;
        Ok(vault)
    }

    /// A vault that is gone with the process.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn temporary() -> Result<Self, VaultError> {
        let mut seed = [0; KEY];
        getrandom::fill(&mut seed).map_err(VaultError::Random)?;
        Ok(Self::of(seed))
    }

    fn of(seed: [u8; KEY]) -> Self {
        let seed = Zeroizing::new(seed);
        // RFC 9180, DeriveKeyPair: its labels keep this apart from the keys of versions.
        let (private, public) = Kem::derive_keypair(&*seed);
        let public = PublicKey(public.to_bytes().into());
        Self {
            seed,
            private,
            public,
        }
    }

    /// For whom others wrap.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The key of a version that was made here.
    pub fn key(&self, version: SecretVersion) -> DataKey {
        let mut key = [0; KEY];
        let derived = Hkdf::<Sha256>::new(Some(VERSION.as_bytes()), &*self.seed)
            .expand(version.to_string().as_bytes(), &mut key);
        // It only fails for more than 255 blocks.
        debug_assert!(derived.is_ok());
        data_key(key)
    }

    /// A key that was wrapped for this machine.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn unwrap(&self, wrapped: &Wrapped, version: SecretVersion) -> Result<DataKey, CannotOpen> {
        let (encapsulated, sealed) = wrapped.0.split_at_checked(32).ok_or(CannotOpen)?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated)
            .map_err(|_wrong| CannotOpen)?;
        let receiver = hpke::setup_receiver::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &self.private,
            &encapsulated,
            WRAPPING,
        );
        let mut receiver = receiver.map_err(|_weak| CannotOpen)?;
        let opened = receiver
            .open(sealed, version.to_string().as_bytes())
            .map(Zeroizing::new)
            .map_err(|_failed| CannotOpen)?;
        let bytes = opened.as_slice().try_into().map_err(|_length| CannotOpen)?;
        Ok(data_key(bytes))
    }
}
