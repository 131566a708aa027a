//! The hash by which an authority is known before it was ever met.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::key::certificates;

/// SHA-256 of an authority's public key (the content of its SubjectPublicKeyInfo), so it stays the same in every
/// certificate for that key. Written in base64url, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; 32]);

/// The text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an authority's pin has 43 characters of A-Z a-z 0-9 _ -")]
pub struct PinError;

impl Pin {
    /// The pin of the authority whose certificate this is, as PEM; `None` where it is no certificate.
    pub fn of_pem(text: &str) -> Option<Self> {
        Self::of(certificates(text).ok()?.first()?)
    }

    /// The pin of an authority's certificate; `None` where it cannot be read.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        store.add(certificate.clone().into_owned()).ok()?;
        let anchor = store.roots.first()?;
        Some(Self(Sha256::digest(&anchor.subject_public_key_info).into()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PinError)?;
        bytes.try_into().map(Self).map_err(|_| PinError)
    }
}
