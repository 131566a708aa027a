//! Secrets at rest and on their way.
//!
//! # Flow
//! 1. An orchestrator encrypts a value under a [`DataKey`] that its [`Vault`] derives for this version of the secret, and keeps
//!    only the ciphertext. The ciphertext goes wherever the job goes: stores, messages, backups.
//! 2. The key follows, [wrapped](DataKey::wrap) for one machine at a time: by a root for a cluster that has the job, by a cluster for
//!    a worker that runs it.
//! 3. The worker unwraps the key when it starts the application, and opens the value there.
//!
//! # Guarantees
//! - Each version has a key of its own, and each key encrypts one value, so a nonce is never used twice. The same version always has
//!   the same ciphertext: equal documents stay equal.
//! - A ciphertext is bound to tenant, name and version, and a wrapped key to its version and to the machine: nothing opens at another
//!   place.
//! - HPKE (RFC 9180, base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305) wraps keys; HKDF-SHA256 (RFC 5869) derives them;
//!   ChaCha20-Poly1305 (RFC 8439) encrypts values.
//! - Keys and opened values are wiped from memory when they are dropped, and nothing here prints them.

mod keyring;
mod login;
mod vault;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hpke::{Deserializable as _, OpModeS, Serializable as _};
use model::access::TenantPath;
use model::id::SecretVersion;
use model::name::Name;
use zeroize::{Zeroize as _, Zeroizing};

pub use keyring::{Keyring, KeyringError};
pub use login::{Login, LoginError};
pub use vault::{FILE, Vault, VaultError};

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

/// What a wrapped key is for; binds it to this use.
const WRAPPING: &[u8] = b"edgeio secret key 1";
/// Bytes of a key.
const KEY: usize = 32;
/// Bytes that encryption adds.
const TAG: usize = 16;

/// An opened value.
pub type Opened = Zeroizing<Vec<u8>>;

/// What is encrypted does not open: another key, another place, or it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was encrypted for somebody or something else, or was changed on its way")]
pub struct CannotOpen;

/// Which value it is; a ciphertext opens for no other.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Whose secret it is.
    pub tenant: &'a TenantPath,
    /// Its name there.
    pub name: &'a Name,
    /// Which of its values.
    pub version: SecretVersion,
}

impl About<'_> {
    /// No part can hold the separator.
    fn bytes(&self) -> Vec<u8> {
        let Self {
            tenant,
            name,
            version,
        } = self;
        format!("edgeio secret 1\n{tenant}\n{name}\n{version}").into_bytes()
    }
}

/// The key to one version of a secret.
pub struct DataKey(Zeroizing<[u8; KEY]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&(*self.0).into())
    }

    /// Encrypts the value; a key has one value only.
    ///
    /// # Errors
    /// When the value has hundreds of gigabytes.
    pub fn seal(&self, about: &About<'_>, value: &[u8]) -> Result<Vec<u8>, CannotOpen> {
        let payload = Payload {
            msg: value,
            aad: &about.bytes(),
        };
        let sealed = self.cipher().encrypt(&Nonce::default(), payload);
        sealed.map_err(|_too_large| CannotOpen)
    }

    /// The value.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open(&self, about: &About<'_>, ciphertext: &[u8]) -> Result<Opened, CannotOpen> {
        let payload = Payload {
            msg: ciphertext,
            aad: &about.bytes(),
        };
        let opened = self.cipher().decrypt(&Nonce::default(), payload);
        opened.map(Zeroizing::new).map_err(|_failed| CannotOpen)
    }

    /// The key, for one machine alone.
    ///
    /// # Errors
    /// [`CannotOpen`], where the machine's key is one of those with which nothing can be encrypted.
    pub fn wrap(&self, machine: &PublicKey, version: SecretVersion) -> Result<Wrapped, CannotOpen> {
        let public = machine.key()?;
        let sender = hpke::setup_sender::<Aead, Kdf, Kem>(&OpModeS::Base, &public, WRAPPING);
        let (encapsulated, mut sender) = sender.map_err(|_weak| CannotOpen)?;
        let sealed = sender.seal(&*self.0, version.to_string().as_bytes());
        let mut bytes = encapsulated.to_bytes().to_vec();
        bytes.extend(sealed.map_err(|_failed| CannotOpen)?);
        Ok(Wrapped(bytes))
    }
}

/// A key that one machine can unwrap. Public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped(Vec<u8>);

impl Wrapped {
    const LENGTH: usize = 32 + KEY + TAG;
}

/// A machine's key, for which others wrap. Public.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Its bytes, as they are kept.
    pub const fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Of its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn key(self) -> Result<<Kem as hpke::Kem>::PublicKey, CannotOpen> {
        <Kem as hpke::Kem>::PublicKey::from_bytes(&self.0).map_err(|_wrong| CannotOpen)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no key: base64 of {0} bytes")]
pub struct KeyTextError(usize);

fn read(text: &str, length: usize) -> Result<Vec<u8>, KeyTextError> {
    let bytes = BASE64.decode(text).map_err(|_wrong| KeyTextError(length))?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(KeyTextError(length))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl FromStr for PublicKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let bytes = read(text, 32)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_length| KeyTextError(32))
    }
}

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl FromStr for Wrapped {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        read(text, Self::LENGTH).map(Self)
    }
}

/// A key of those bytes, which are wiped.
fn data_key(mut bytes: [u8; KEY]) -> DataKey {
    let key = DataKey(Zeroizing::new(bytes));
    bytes.zeroize();
    key
}

#[cfg(test)]
mod tests;
