//! Who issues.

use std::net::IpAddr;
use std::time::Duration;

use model::time::Wall;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType, SerialNumber, SigningKey as _, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::gate::Serial;
use crate::holder::Holder;
use crate::key::{Credential, CredentialError, Key, KeyError, Request, certificates, pem};
use crate::pin::Pin;
use crate::signature::{Signature, said};
use crate::trust::BROKER;
use crate::validity::SLACK;

/// How long an authority's certificate says that it is valid. Nobody looks at it; a replacement is a decision, not a date.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 50);

/// A key that issues, with the certificate that it signed itself.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pin: Pin,
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system has no random numbers.
    #[error("cannot make a serial number")]
    Random(#[from] getrandom::Error),
    /// The authority's own certificate cannot be read, or is not of its key.
    #[error("the authority's certificate is not of its key")]
    Mismatch,
    /// The authority's own certificate cannot be read.
    #[error("the authority's certificate cannot be read")]
    Certificate(#[source] CredentialError),
    /// The request is none, or not signed by its key, or its key is none that is accepted here.
    #[error(
        "the request for a certificate is refused: it must be signed by its own ECDSA P-256 key"
    )]
    Request,
    /// A name of a server is neither an address nor a host name.
    #[error("{name:?} is no host name")]
    Name {
        /// The name.
        name: String,
    },
    /// Signing fails.
    #[error("the authority cannot sign")]
    Sign(#[source] rcgen::Error),
}

/// From when and how long something is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The present time of the issuer.
    pub from: Wall,
    /// How long from then.
    pub lasting: Duration,
}

/// A certificate for somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM: the certificate alone.
    pub certificate: String,
    /// Its number.
    pub serial: Serial,
    /// When it ends, by the clock of the issuer.
    pub until: Wall,
}

impl Authority {
    /// A new authority; `tier` is what it is of, for people who look at a certificate.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn make(tier: &str, now: Wall) -> Result<(Self, Key), IssueError> {
        let key = Key::make()?;
        let mut mark = [0; 8];
        getrandom::fill(&mut mark)?;
        let mut params = params(Life {
            from: now,
            lasting: FOR_EVER,
        })?;
        // Two authorities of one name would be mixed up by what searches chains by names.
        let name = format!("edgeio {tier} {}", hex(&mark));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signed = params.self_signed(key.pair()).map_err(IssueError::Sign)?;
        let certificate = signed.der().clone();
        let authority = Self::of(&key, certificate)?;
        Ok((authority, key))
    }

    /// An authority that was made before: its key and its certificate as PEM.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn load(key: &Key, certificate: &str) -> Result<Self, IssueError> {
        let all = certificates(certificate).map_err(IssueError::Certificate)?;
        let first = all.into_iter().next().ok_or(IssueError::Mismatch)?;
        Self::of(key, first)
    }

    fn of(key: &Key, certificate: CertificateDer<'static>) -> Result<Self, IssueError> {
        let pin = Pin::of(&certificate).ok_or(IssueError::Mismatch)?;
        let (_, read) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| IssueError::Mismatch)?;
        if read.public_key().subject_public_key.data.as_ref() != key.pair().public_key_raw() {
            return Err(IssueError::Mismatch);
        }
        // The library's keys cannot be cloned.
        let pair = Key::from_pem(&key.to_pem())?.into_pair();
        let issuer = Issuer::from_ca_cert_der(&certificate, pair).map_err(IssueError::Sign)?;
        Ok(Self {
            issuer,
            certificate,
            pin,
        })
    }

    /// The authority's certificate as PEM: what others need to know whom it is.
    pub fn certificate(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The hash of its key.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// A certificate by which `holder` proves who it is, as a client. Of the request only its key counts.
    ///
    /// # Errors
    /// When the request is refused.
    pub fn issue(
        &self,
        request: &Request,
        holder: Holder,
        life: Life,
    ) -> Result<Issued, IssueError> {
        let mut params = params(life)?;
        params
            .distinguished_name
            .push(DnType::CommonName, holder.id());
        let uri = holder.to_string().try_into().map_err(IssueError::Sign)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.certify(&params, request, life)
    }

    /// SHA-256 of the key that a request is for: the same machine asks again with the same one.
    ///
    /// # Errors
    /// When the request is refused.
    pub fn key_of(request: &Request) -> Result<[u8; 32], IssueError> {
        let read = checked(request)?;
        Ok(Sha256::digest(read.public_key.der_bytes()).into())
    }

    /// Vouches for another authority: a certificate for its key and its name, with which nothing but certificates of
    /// clients can be issued, and no further authority.
    ///
    /// # Errors
    /// When `other` is no certificate of an authority.
    pub fn vouch(&self, other: &str, life: Life) -> Result<String, IssueError> {
        let all = certificates(other).map_err(IssueError::Certificate)?;
        let other = all.first().ok_or(IssueError::Mismatch)?;
        let (_, read) =
            x509_parser::parse_x509_certificate(other).map_err(|_| IssueError::Mismatch)?;
        let own = read.verify_signature(None).is_ok();
        let name = read.subject().iter_common_name().next();
        let name = name.and_then(|name| name.as_str().ok());
        let (Some(name), true) = (name.filter(|name| name.starts_with("edgeio cluster ")), own)
        else {
            return Err(IssueError::Mismatch);
        };
        let mut params = params(life)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::SubjectPublicKeyInfo::from_der(read.public_key().raw)
            .map_err(|_| IssueError::Mismatch)?;
        let signed = params
            .signed_by(&key, &self.issuer)
            .map_err(IssueError::Sign)?;
        Ok(pem("CERTIFICATE", signed.der()))
    }

    /// A fresh key and certificate for what answers under the authority's name; the authority's own certificate comes with
    /// it, for those who know no more than its pin. `names` are the addresses and host names that browsers and curl use.
    ///
    /// # Errors
    /// When a name is none.
    pub fn server(&self, names: &[String], life: Life) -> Result<Credential, IssueError> {
        self.shown(names.iter().map(String::as_str), life)
    }

    /// The same for an MQTT broker that somebody else runs. Who dials a broker believes it, and nobody takes it for the
    /// orchestrator itself ([`Trust`](crate::Trust)).
    ///
    /// # Errors
    /// When a name is none.
    pub fn broker(&self, names: &[String], life: Life) -> Result<Credential, IssueError> {
        let names = names.iter().map(String::as_str);
        self.shown(std::iter::once(BROKER).chain(names), life)
    }

    /// A fresh key, and a certificate by which `holder` proves who it is, as a client.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn client(&self, holder: Holder, life: Life) -> Result<Credential, IssueError> {
        let key = Key::make()?;
        let issued = self.issue(&key.request()?, holder, life)?;
        Credential::new(&issued.certificate, &key).map_err(IssueError::Certificate)
    }

    fn shown<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        life: Life,
    ) -> Result<Credential, IssueError> {
        let key = Key::make()?;
        let mut params = params(life)?;
        params.distinguished_name.push(DnType::CommonName, "edgeio");
        for name in names {
            let bad = |_| IssueError::Name {
                name: name.to_owned(),
            };
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.to_owned().try_into().map_err(bad)?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let signed = params
            .signed_by(key.pair(), &self.issuer)
            .map_err(IssueError::Sign)?;
        Ok(Credential {
            chain: vec![signed.der().clone(), self.certificate.clone()],
            key: key.private(),
        })
    }

    /// Signs what is said at a topic, for whom knows this authority ([`crate::Verifier`]).
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn sign(&self, topic: &str, payload: &[u8]) -> Result<Signature, IssueError> {
        let signed = self.issuer.key().sign(&said(topic, payload));
        signed.map(Signature::of).map_err(IssueError::Sign)
    }

    fn certify(
        &self,
        params: &CertificateParams,
        request: &Request,
        life: Life,
    ) -> Result<Issued, IssueError> {
        let read = checked(request)?;
        let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes);
        let signed = params
            .signed_by(&read.public_key, &self.issuer)
            .map_err(IssueError::Sign)?;
        Ok(Issued {
            certificate: pem("CERTIFICATE", signed.der()),
            serial: Serial::of(&serial.unwrap_or_default()),
            until: life.from.plus(life.lasting),
        })
    }
}

/// Reads a request that is signed by its own key, which is of the one kind that is accepted.
fn checked(request: &Request) -> Result<CertificateSigningRequestParams, IssueError> {
    let read = CertificateSigningRequestParams::from_der(&request.0);
    let read = read.map_err(|_| IssueError::Request)?;
    if *read.public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(IssueError::Request);
    }
    Ok(read)
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authority").field(&self.pin).finish()
    }
}

/// What all certificates have in common: no name yet, a random number, and the time.
fn params(life: Life) -> Result<CertificateParams, IssueError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)?;
    // Positive and of 16 bytes (RFC 5280, 4.1.2.2).
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let epoch = date_time_ymd(1970, 1, 1);
    // A clock before 1970 counts as 1970.
    let from = Duration::from_millis(u64::try_from(life.from.0).unwrap_or(0));
    params.not_before = epoch + from.saturating_sub(SLACK);
    params.not_after = epoch + from + life.lasting;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
