//! What an authority says, so that whoever carries it cannot change it.
//!
//! ECDSA on P-256 over SHA-256 of: where it is said, as text; a zero byte; what is said. A text holds no zero byte, so one
//! message is never another one somewhere else.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, alg_id};

use crate::key::{CredentialError, certificates};
use crate::provider;

/// Characters of a signature at most; one of P-256 has up to 96.
const TEXT: usize = 128;
/// Bytes of a point of P-256, uncompressed.
const POINT: usize = 65;

/// A signature, written in base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

/// The text is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signature has 1 to {TEXT} characters of A-Z a-z 0-9 _ -")]
pub struct SignatureError;

impl Signature {
    #[cfg(feature = "authority")]
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        if !(1..=TEXT).contains(&text.len()) {
            return Err(SignatureError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes.map(Self).map_err(|_| SignatureError)
    }
}

/// Tells what an authority said from what somebody else did.
#[derive(Clone)]
pub struct Verifier {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    /// Of each certificate that was given, the key as a point.
    keys: Vec<Vec<u8>>,
}

/// Nobody can be verified like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// No PEM.
    #[error("the authority's certificate cannot be read")]
    Certificate(#[source] CredentialError),
    /// A certificate of another kind.
    #[error("the certificate is none of an authority with a P-256 key")]
    Key,
}

/// The authority did not say this here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not of the authority, or of something else")]
pub struct Forged;

impl Verifier {
    /// Knows the authority by its certificate, as PEM; with several of them, each counts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_authority_pem(pem: &str) -> Result<Self, VerifierError> {
        let all = certificates(pem).map_err(VerifierError::Certificate)?;
        let keys: Option<Vec<_>> = all.iter().map(point).collect();
        let known = provider().signature_verification_algorithms.all;
        let algorithm = known.iter().find(|one| {
            one.public_key_alg_id() == alg_id::ECDSA_P256
                && one.signature_alg_id() == alg_id::ECDSA_SHA256
        });
        match (algorithm, keys) {
            (Some(algorithm), Some(keys)) => Ok(Self {
                algorithm: *algorithm,
                keys,
            }),
            (Some(_) | None, _) => Err(VerifierError::Key),
        }
    }

    /// Whether the authority said `payload` at `topic`.
    ///
    /// # Errors
    /// [`Forged`], if not.
    pub fn verify(&self, topic: &str, payload: &[u8], signature: &Signature) -> Result<(), Forged> {
        let said = said(topic, payload);
        let of = |key: &Vec<u8>| {
            let verified = self.algorithm.verify_signature(key, &said, &signature.0);
            verified.is_ok()
        };
        if self.keys.iter().any(of) {
            return Ok(());
        }
        Err(Forged)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.keys.len()).finish()
    }
}

/// What is signed.
pub(crate) fn said(topic: &str, payload: &[u8]) -> Vec<u8> {
    [topic.as_bytes(), &[0], payload].concat()
}

/// The key of a certificate, if it is one of P-256: its `SubjectPublicKeyInfo` is the kind of key, then a bit string.
fn point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let mut store = RootCertStore::empty();
    store.add(certificate.clone().into_owned()).ok()?;
    let info = &store.roots.first()?.subject_public_key_info;
    let kind: &[u8] = alg_id::ECDSA_P256.as_ref();
    let head = [&[0x30, u8::try_from(kind.len()).ok()?], kind].concat();
    let point = info.strip_prefix(head.as_slice())?;
    let point = point.strip_prefix(&[0x03, 66, 0])?;
    (point.len() == POINT).then(|| point.to_vec())
}

#[cfg(test)]
#[cfg(feature = "authority")]
mod tests {
    use std::time::Instant;

    use model::time::Wall;

    use super::*;
    use crate::authority::Authority;

    const TOPIC: &str = "nodes/node_01/control";

    fn authority() -> (Authority, Verifier) {
        let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
        let verifier = Verifier::of_authority_pem(&authority.certificate()).unwrap();
        (authority, verifier)
    }

    #[test]
    fn what_an_authority_signed_is_verified_there_and_as_it_was_and_nowhere_else() {
        let (authority, verifier) = authority();
        let signature = authority.sign(TOPIC, b"{\"a\":1}").unwrap();
        let text: Signature = signature.to_string().parse().unwrap();
        assert_eq!(text, signature);
        assert_eq!(verifier.verify(TOPIC, b"{\"a\":1}", &text), Ok(()));
        let cases: [(&str, &[u8]); 5] = [
            ("nodes/node_02/control", b"{\"a\":1}"),
            (TOPIC, b"{\"a\":2}"),
            (TOPIC, b""),
            ("nodes/node_01/control\0{\"a\":1}", b""),
            ("nodes/node_01", b"/control\0{\"a\":1}"),
        ];
        for (topic, payload) in cases {
            let verified = verifier.verify(topic, payload, &signature);
            assert_eq!(verified, Err(Forged), "{topic:?} {payload:?}");
        }
        let (other, stranger) = self::authority();
        assert_eq!(
            stranger.verify(TOPIC, b"{\"a\":1}", &signature),
            Err(Forged)
        );
        // An engine that is given both believes both.
        let both = authority.certificate() + &other.certificate();
        let both = Verifier::of_authority_pem(&both).unwrap();
        for authority in [authority, other] {
            let signature = authority.sign(TOPIC, b"x").unwrap();
            assert_eq!(both.verify(TOPIC, b"x", &signature), Ok(()));
        }
    }

    #[test]
    fn no_bit_of_a_signature_can_be_changed() {
        let (authority, verifier) = authority();
        let Signature(bytes) = authority.sign(TOPIC, b"x").unwrap();
        for at in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            let verified = verifier.verify(TOPIC, b"x", &Signature(bytes));
            assert_eq!(verified, Err(Forged), "{at}");
        }
    }

    #[test]
    fn other_texts_are_neither_signatures_nor_authorities() {
        for bad in ["", "a", "a b", "é", "a=", &"A".repeat(TEXT + 1)] {
            assert_eq!(bad.parse::<Signature>(), Err(SignatureError), "{bad}");
        }
        let bad = Verifier::of_authority_pem("x").unwrap_err();
        assert_eq!(bad, VerifierError::Certificate(CredentialError::Pem));
    }

    /// Says once what a signature costs; a cluster makes one for each part of a change.
    #[test]
    #[expect(clippy::print_stderr, reason = "a measurement")]
    fn the_cost_of_a_signature() {
        let (authority, verifier) = authority();
        let payload = vec![b'x'; 16 * 1024];
        let count = 200;
        let began = Instant::now();
        let signed: Vec<_> = (0..count)
            .map(|_| authority.sign(TOPIC, &payload).unwrap())
            .collect();
        let signing = began.elapsed() / count;
        let began = Instant::now();
        for signature in &signed {
            assert_eq!(verifier.verify(TOPIC, &payload, signature), Ok(()));
        }
        let verifying = began.elapsed() / count;
        eprintln!("16 KiB: signed in {signing:?}, verified in {verifying:?}");
    }
}
