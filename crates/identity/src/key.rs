//! A key of one's own, and what is asked for and got for it.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};

use crate::PEM_LIMIT;

/// A private key (ECDSA on P-256). It never leaves the machine that made it.
pub struct Key(KeyPair);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system has no random numbers.
    #[error("cannot make a key")]
    Make(#[source] rcgen::Error),
    /// The text is no P-256 key in PKCS#8.
    #[error("the key cannot be read: it must be a PEM file of an ECDSA P-256 key in PKCS#8")]
    Read(#[source] rcgen::Error),
    /// The request could not be signed.
    #[error("cannot sign a request")]
    Sign(#[source] rcgen::Error),
}

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn make() -> Result<Self, KeyError> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        pair.map(Self).map_err(KeyError::Make)
    }

    /// Reads what [`Key::to_pem`] wrote.
    ///
    /// # Errors
    /// For anything else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(text, &rcgen::PKCS_ECDSA_P256_SHA256);
        pair.map(Self).map_err(KeyError::Read)
    }

    /// The key as PEM; to be kept where only its owner reads.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A request for a certificate. It proves that the key is here, and asks for no name: names are given, not chosen.
    ///
    /// # Errors
    /// Where signing fails.
    pub fn request(&self) -> Result<Request, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(KeyError::Sign)?;
        Ok(Request(request.der().clone()))
    }

    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    #[cfg(feature = "authority")]
    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }

    #[cfg(feature = "authority")]
    pub(crate) fn into_pair(self) -> KeyPair {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A request for a certificate (PKCS#10, RFC 2986).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(pub(crate) CertificateSigningRequestDer<'static>);

impl Request {
    /// Reads PEM of at most [`PEM_LIMIT`] bytes; what the request says is looked at when a certificate is issued.
    ///
    /// # Errors
    /// When it is no PEM of a request.
    pub fn from_pem(text: &str) -> Result<Self, CredentialError> {
        bounded(text)?;
        CertificateSigningRequestDer::from_pem_slice(text.as_bytes())
            .map(Self)
            .map_err(|_| CredentialError::Pem)
    }

    /// The request as PEM.
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE REQUEST", &self.0)
    }
}

/// A certificate with those above it, and its key: what a program shows to prove who it is.
#[derive(Debug)]
pub struct Credential {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What came is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// More than anybody needs.
    #[error("a certificate or request has at most {PEM_LIMIT} bytes")]
    TooLong,
    /// Not PEM, or not of what was expected.
    #[error("the text is no PEM of a certificate or request")]
    Pem,
    /// Not a key that TLS can use.
    #[error("the text is no PEM of a private key that can be used")]
    Key,
    /// A key and a certificate of different people.
    #[error("the key is not that of the certificate")]
    Mismatch,
}

impl Credential {
    /// Puts a chain, one's own certificate first, beside its key.
    ///
    /// # Errors
    /// When the text holds no certificate.
    pub fn new(chain: &str, key: &Key) -> Result<Self, CredentialError> {
        Ok(Self {
            chain: certificates(chain)?,
            key: key.private(),
        })
    }

    /// The chain as PEM, its own certificate first: for a program that reads it from a file.
    pub fn certificates_pem(&self) -> String {
        let all = self.chain.iter();
        all.map(|one| pem("CERTIFICATE", one)).collect()
    }

    /// The key as PEM; to be kept where only its owner reads.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", self.key.secret_der())
    }
}

impl Clone for Credential {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// All certificates of a PEM text; one at least.
pub(crate) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    bounded(text)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(CredentialError::Pem),
    }
}

fn bounded(text: &str) -> Result<(), CredentialError> {
    if text.len() > PEM_LIMIT {
        return Err(CredentialError::TooLong);
    }
    Ok(())
}

/// PEM (RFC 7468): 64 characters a line.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines.push_str("-----END ");
    lines.push_str(label);
    lines.push_str("-----\n");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_request_survive_their_text() {
        let key = Key::make().unwrap();
        let read = Key::from_pem(&key.to_pem()).unwrap();
        assert_eq!(read.private(), key.private());
        assert!(!format!("{key:?}").contains("PRIVATE"));
        let request = key.request().unwrap();
        assert_eq!(Request::from_pem(&request.to_pem()), Ok(request));
    }

    #[test]
    fn a_credential_survives_its_text() {
        let key = Key::make().unwrap();
        let chain = pem("CERTIFICATE", b"one") + &pem("CERTIFICATE", b"two");
        let credential = Credential::new(&chain, &key).unwrap();
        assert_eq!(credential.certificates_pem(), chain);
        let read = Key::from_pem(&credential.key_pem()).unwrap();
        assert_eq!(read.private(), key.private());
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "x",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(Key::from_pem(bad).is_err(), "{bad}");
            assert_eq!(Request::from_pem(bad), Err(CredentialError::Pem), "{bad}");
            assert_eq!(certificates(bad), Err(CredentialError::Pem), "{bad}");
        }
        let long = "x".repeat(PEM_LIMIT + 1);
        assert_eq!(Request::from_pem(&long), Err(CredentialError::TooLong));
    }
}
