//! Who dials, as a server reads it from the certificate that it was shown.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::time::Wall;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use x509_parser::extensions::GeneralName;

use crate::authority::{Authority, hex};
use crate::holder::Holder;
use crate::key::{Credential, CredentialError};
use crate::provider;
use crate::trust::{as_of_its_beginning, is_ours};

/// The number of a certificate, unlike that of any other of its authority: lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

impl Serial {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(hex(bytes))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is at the other end of a connection, proven by a certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub holder: Holder,
    /// By which certificate.
    pub serial: Serial,
    /// When that certificate ends.
    pub until: Wall,
}

/// Whether a certificate still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Valid,
    /// It ended so long ago: good for asking for a new one, within limits, and for nothing else.
    Expired(Duration),
}

impl Peer {
    /// Whether the certificate counts at a time.
    pub fn standing(&self, now: Wall) -> Standing {
        if now <= self.until {
            return Standing::Valid;
        }
        Standing::Expired(Duration::from_millis(now.0.abs_diff(self.until.0)))
    }

    /// What was read before from what [`Peer`]'s `Display` gives: whom one root was shown, as it tells another one.
    pub fn told(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (holder, serial, until) = (words.next()?, words.next()?, words.next()?);
        let is_hex = |serial: &str| serial.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Self {
            holder: holder.parse().ok()?,
            serial: Serial(Some(serial).filter(|serial| is_hex(serial))?.to_owned()),
            until: Wall(until.parse().ok()?),
        })
        .filter(|_| words.next().is_none())
    }

    /// Reads a certificate that was verified.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = read.subject_alternative_name().ok()??;
        let mut holders = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => uri.parse::<Holder>().ok(),
                _ => None,
            });
        let until = read.validity().not_after.timestamp();
        Some(Self {
            holder: holders.next()?,
            serial: Serial::of(read.raw_serial()),
            until: Wall(until.checked_mul(1_000)?),
        })
    }
}

/// Its holder, its number and its end in milliseconds, with spaces between.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.holder, self.serial, self.until.0)
    }
}

/// What a server shows, exchanged while it serves.
pub struct Showing(RwLock<Arc<CertifiedKey>>);

impl Showing {
    /// Shows this.
    ///
    /// # Errors
    /// When the key does not fit the certificate.
    pub fn new(server: &Credential) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(RwLock::new(certified(server)?))))
    }

    /// Shows something else from the next handshake on.
    ///
    /// # Errors
    /// When the key does not fit the certificate.
    pub fn exchange(&self, server: &Credential) -> Result<(), Error> {
        let certified = certified(server)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }
}

impl Credential {
    /// A server's, made elsewhere: a chain as PEM, its own certificate first, and its key as PEM in any usual form.
    ///
    /// # Errors
    /// When either is not that, or they do not belong together.
    pub fn brought(chain: &str, key: &str) -> Result<Self, CredentialError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|_| CredentialError::Pem)?;
        let Some(own) = chain.first() else {
            return Err(CredentialError::Pem);
        };
        if x509_parser::parse_x509_certificate(own).is_err() {
            return Err(CredentialError::Pem);
        }
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CredentialError::Key)?;
        let brought = Self { chain, key };
        match certified(&brought) {
            Ok(_) => Ok(brought),
            Err(Error::InconsistentKeys(_)) => Err(CredentialError::Mismatch),
            Err(_) => Err(CredentialError::Key),
        }
    }

    /// When its certificate ends; `None` where that cannot be read.
    pub fn until(&self) -> Option<Wall> {
        let (_, read) = x509_parser::parse_x509_certificate(self.chain.first()?).ok()?;
        let until = read.validity().not_after.timestamp();
        until.checked_mul(1_000).map(Wall)
    }
}

fn certified(server: &Credential) -> Result<Arc<CertifiedKey>, Error> {
    let server = server.clone();
    CertifiedKey::from_der(server.chain, server.key, &provider()).map(Arc::new)
}

impl fmt::Debug for Showing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Showing(…)")
    }
}

/// What a port shows that users and machines dial: to machines, which ask for a name of ours, what the authority issued;
/// to everybody else what was made elsewhere.
#[derive(Debug)]
pub struct Both {
    /// For machines.
    pub own: Arc<Showing>,
    /// For everybody else.
    pub brought: Arc<Showing>,
}

impl ResolvesServerCert for Both {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.server_name().is_some_and(is_ours) {
            return self.own.resolve(hello);
        }
        self.brought.resolve(hello)
    }
}

impl ResolvesServerCert for Showing {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// TLS for a server of the authority. Who shows a certificate must have it from there, directly; who shows none is let in as
/// nobody, since users have none: what nobody may do is for the services to say.
///
/// # Errors
/// When the authority's certificate cannot be used.
pub fn server(
    authority: &Authority,
    showing: Arc<impl ResolvesServerCert + 'static>,
) -> Result<Arc<ServerConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier(verifier)))
        .with_cert_resolver(showing);
    Ok(Arc::new(config))
}

/// As the library's, but for the time, and for what a client may put between itself and the authority: nothing.
#[derive(Debug)]
struct Verifier(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A worker's chain may end elsewhere as well; it has one certificate to show, and shows that.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Whether it has expired is judged where it is known what for it is shown.
        let outcome = as_of_its_beginning(|at| self.0.verify_client_cert(end_entity, &[], at))?;
        if Peer::read(end_entity).is_none() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(outcome)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
