//! Whom a client believes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::id::ClusterId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::key::{Credential, CredentialError, certificates};
use crate::pin::Pin;
use crate::provider;

/// Whose servers a client talks to: those of one authority, under whatever name or address they were dialled. An authority
/// belongs to one orchestrator, so there is no other server of it that one could be taken to, but for a broker that it
/// made a certificate for: that is believed by who dials a [`Server::Broker`], and by nobody else.
#[derive(Debug, Clone)]
pub struct Trust(Anchor);

#[derive(Debug, Clone)]
enum Anchor {
    /// Known by its hash alone; the server shows the certificate.
    Pinned(Pin),
    /// Known.
    Known(Arc<RootCertStore>),
}

/// Why nobody can be trusted like that.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No PEM.
    #[error("the authority's certificate cannot be read")]
    Authority(#[source] CredentialError),
    /// The file of it cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not an authority's certificate, or one's own does not fit its key.
    #[error("the certificate cannot be used")]
    Certificate(#[source] Error),
}

impl Trust {
    /// The authority that a join token names.
    pub fn pinned(pin: Pin) -> Self {
        Self(Anchor::Pinned(pin))
    }

    /// The authority whose certificate this is, as PEM.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn authority(certificate: &str) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(certificate).map_err(TrustError::Authority)? {
            roots.add(certificate).map_err(TrustError::Certificate)?;
        }
        Ok(Self(Anchor::Known(Arc::new(roots))))
    }

    /// The authority whose certificate is in that PEM file.
    ///
    /// # Errors
    /// When the file cannot be read or used.
    pub fn file(path: &Path) -> Result<Self, TrustError> {
        let text = std::fs::read_to_string(path).map_err(|source| TrustError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::authority(&text)
    }

    /// TLS towards servers of the authority, showing one's own credential where there is one.
    ///
    /// # Errors
    /// When the credential's key does not fit its certificate.
    pub fn client(&self, own: Option<&Credential>) -> Result<Arc<ClientConfig>, TrustError> {
        let verifier = Verifier {
            anchor: self.0.clone(),
            provider: provider(),
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TrustError::Certificate)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match own {
            Some(own) => {
                let own = own.clone();
                config
                    .with_client_auth_cert(own.chain, own.key)
                    .map_err(TrustError::Certificate)?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// Why a server that is to be reached by TLS cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TowardsError {
    /// Nothing says whom to believe.
    #[error(
        "{option} is to be reached by TLS; say whom to believe with --ca FILE, which at the {server} is \
         identity/authority.pem in its data directory"
    )]
    Nobody {
        /// The option that names the server.
        option: &'static str,
        /// What it is.
        server: &'static str,
    },
    /// Whom to believe cannot be read.
    #[error("--ca {} cannot be used", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: TrustError,
    },
}

/// TLS towards the server of an option, which believes the authority in the file of `--ca`.
///
/// # Errors
/// When there is no file, or it cannot be used.
pub fn towards(
    (option, server): (&'static str, &'static str),
    ca: Option<&Path>,
) -> Result<Arc<ClientConfig>, TowardsError> {
    let file = ca.ok_or(TowardsError::Nobody { option, server })?;
    let trust = Trust::file(file).and_then(|trust| trust.client(None));
    trust.map_err(|source| TowardsError::Unusable {
        file: file.to_owned(),
        source,
    })
}

/// Verifies a certificate as of its own beginning, so that nobody's clock is asked.
pub(crate) fn as_of_its_beginning<T>(
    verified: impl Fn(UnixTime) -> Result<T, Error>,
) -> Result<T, Error> {
    match verified(UnixTime::since_unix_epoch(Duration::ZERO)) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => verified(not_before),
        other => other,
    }
}

/// What is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// An orchestrator, and nothing in its place.
    Orchestrator,
    /// MQTT: the orchestrator's own endpoint, or a broker that it made a certificate for.
    Broker,
    /// The endpoint of that cluster, reached by way of a relay, which reads in the handshake whose it is.
    Relayed(ClusterId),
}

impl Server {
    pub(crate) fn name(self) -> ServerName<'static> {
        match self {
            Self::Orchestrator => any_name(),
            Self::Broker => name(BROKER),
            Self::Relayed(cluster) => name(&relayed(cluster)),
        }
    }
}

/// Speaks TLS over a stream where there is a configuration for it, and plain text where there is none.
///
/// # Errors
/// When the stream breaks, or the server is not believed.
pub async fn secured<S>(
    stream: S,
    tls: Option<Arc<ClientConfig>>,
    server: Server,
) -> io::Result<Either<S, Box<TlsStream<S>>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Ok(match tls {
        Some(tls) => {
            let connector = TlsConnector::from(tls);
            let connected = Box::pin(connector.connect(server.name(), stream)).await;
            Either::Right(Box::new(connected?))
        }
        None => Either::Left(stream),
    })
}

/// The name in the handshake of a client that dials by what it was told: it means nothing, since the authority decides.
pub fn any_name() -> ServerName<'static> {
    name(ORCHESTRATOR)
}

/// What a program of ours asks for that dials an orchestrator.
const ORCHESTRATOR: &str = "edgeio.internal";

/// Stands in the certificate of a broker that is not the orchestrator.
pub(crate) const BROKER: &str = "broker.edgeio.internal";

/// Stands behind a cluster's id, in lower case and without its prefix, where a relay is asked for that cluster.
const CLUSTERS: &str = ".clusters.edgeio.internal";

fn relayed(cluster: ClusterId) -> String {
    let id = cluster.to_string();
    let (_, letters) = id.split_once('_').unwrap_or_default();
    format!("{}{CLUSTERS}", letters.to_lowercase())
}

/// The cluster that a relay is asked for by that name.
#[cfg(feature = "authority")]
pub(crate) fn asked(name: &str) -> Option<ClusterId> {
    let letters = name.strip_suffix(CLUSTERS)?;
    let id = format!("{}_{}", ClusterId::KIND, letters.to_uppercase());
    id.parse().ok()
}

/// Whether only programs of ours ask for that name.
#[cfg(feature = "authority")]
pub(crate) fn is_ours(asked: &str) -> bool {
    [ORCHESTRATOR, BROKER].contains(&asked)
}

fn name(text: &str) -> ServerName<'static> {
    // These are valid names, so they are read; the address is never looked at.
    ServerName::try_from(text.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into()))
}

struct Verifier {
    anchor: Anchor,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.anchor).finish()
    }
}

impl Verifier {
    /// The authority as the server must have it.
    fn roots(&self, shown: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        match &self.anchor {
            Anchor::Known(roots) => Ok(Arc::clone(roots)),
            Anchor::Pinned(pin) => {
                let authority = shown.iter().find(|shown| Pin::of(shown) == Some(*pin));
                let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone().into_owned())?;
                Ok(Arc::new(roots))
            }
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let roots = self.roots(intermediates)?;
        let broker = name(BROKER);
        if *server_name != broker && verify_server_name(&certificate, &broker).is_ok() {
            return Err(CertificateError::NotValidForName.into());
        }
        let algorithms = self.provider.signature_verification_algorithms.all;
        // Nobody between: what an authority vouches for is not itself.
        as_of_its_beginning(|at| {
            verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], at, algorithms)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
