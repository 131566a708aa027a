//! A certificate that was made elsewhere, for the port that users see.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use identity::{Credential, CredentialError};
use model::time::Wall;

/// Bytes of a file that are read.
const LIMIT: u64 = 64 * 1024;

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BroughtError {
    /// Half of it was given.
    #[error("--tls-cert and --tls-key belong together; give {missing} FILE as well, or neither")]
    Half {
        /// The option that is missing.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("{option} {} cannot be read: {why}; the program's user must be able to", path.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Everybody on the machine can read the key.
    #[error("--tls-key {} is a key that everybody on this machine may read; put that right with chmod 640", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// What stands in one of them is not what belongs there.
    #[error("{option} {} is not {wanted}", path.display())]
    Content {
        /// The option that names it.
        option: &'static str,
        /// Which.
        path: PathBuf,
        /// What belongs there.
        wanted: &'static str,
    },
    /// They do not belong together.
    #[error(
        "--tls-key {} is not the key of the first certificate in --tls-cert {}; the server's own certificate comes first, \
         those above it behind", key.display(), certificate.display()
    )]
    Mismatch {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl Brought {
    /// What the two options say; `None` where neither is given.
    ///
    /// # Errors
    /// When one is, and the other not.
    pub fn of(
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Self>, BroughtError> {
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Self {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            })),
            (Some(_), None) => Err(BroughtError::Half {
                missing: "--tls-key",
            }),
            (None, Some(_)) => Err(BroughtError::Half {
                missing: "--tls-cert",
            }),
        }
    }

    /// Whether what the two options name can be used.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(certificate: Option<&Path>, key: Option<&Path>) -> Result<(), BroughtError> {
        if let Some(brought) = Self::of(certificate, key)? {
            brought.read()?;
        }
        Ok(())
    }

    /// Reads both files.
    ///
    /// # Errors
    /// When they are not there, not what they should be, or do not fit.
    pub(super) fn read(&self) -> Result<Credential, BroughtError> {
        let chain = self.text("--tls-cert", &self.certificate)?;
        let key = self.text("--tls-key", &self.key)?;
        Credential::brought(&chain, &key).map_err(|error| match error {
            CredentialError::Key => BroughtError::Content {
                option: "--tls-key",
                path: self.key.clone(),
                wanted: "a private key in PEM (ECDSA P-256 or P-384, RSA from 2048 bits, or Ed25519), without a passphrase",
            },
            CredentialError::Mismatch => BroughtError::Mismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            },
            CredentialError::Pem | CredentialError::TooLong => BroughtError::Content {
                option: "--tls-cert",
                path: self.certificate.clone(),
                wanted: "a chain of certificates in PEM, the server's own first",
            },
        })
    }

    /// What tells that a file was replaced or written to.
    pub(super) fn stamp(&self) -> [Option<(u64, SystemTime, u64)>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.modified().ok()?, found.len()))
        })
    }

    /// Says when the certificate ends, as a warning once it has.
    pub(super) fn tell(&self, shown: &Credential, now: Wall) {
        let path = self.certificate.display();
        match shown.until() {
            Some(until) if until < now => tracing::warn!(
                %path, until = %protocol::time::format_wall(until),
                "the certificate of --tls-cert has ended; browsers and curl refuse it. Replace the file: it is read again within seconds"
            ),
            until => tracing::info!(
                %path, until = until.map(protocol::time::format_wall),
                "users are shown the certificate of --tls-cert"
            ),
        }
    }

    fn text(&self, option: &'static str, path: &Path) -> Result<String, BroughtError> {
        let failed = |why| BroughtError::File {
            option,
            path: path.to_owned(),
            why,
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if path == self.key && mode & 0o007 != 0 {
            return Err(BroughtError::Open {
                path: path.to_owned(),
            });
        }
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
