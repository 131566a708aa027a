//! From when to when a certificate is valid, as its holder reads it.

use std::sync::Arc;
use std::time::Duration;

use model::time::Wall;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};

use crate::key::{CredentialError, certificates};
use crate::provider;

/// Certificates begin a little before they are issued, since they count whole seconds.
pub(crate) const SLACK: Duration = Duration::from_mins(1);
/// The last second that a certificate can name (RFC 5280, 4.1.2.5): that of the year 9999.
const END: Duration = Duration::from_secs(253_402_300_799);

/// From when to when a certificate is valid, by the clock of who issued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub from: Wall,
    /// The last one.
    pub until: Wall,
}

/// Why a certificate is not one to show.
#[derive(Debug, thiserror::Error)]
pub enum ValidityError {
    /// It cannot be read, or the authority's cannot.
    #[error("a certificate cannot be read")]
    Read(#[source] CredentialError),
    /// It is not from that authority, or not for clients.
    #[error("the certificate is not one for clients, issued by the authority beside it")]
    Foreign(#[source] Error),
}

impl Validity {
    /// Of a certificate, which must be one for clients and from that authority; both as PEM.
    ///
    /// No clock is asked, so it may have ended long ago.
    ///
    /// # Errors
    /// When it is none, or from somebody else.
    pub fn read(certificate: &str, authority: &str) -> Result<Self, ValidityError> {
        let shown = certificates(certificate).map_err(ValidityError::Read)?;
        let authority = certificates(authority).map_err(ValidityError::Read)?;
        let mut roots = RootCertStore::empty();
        for authority in authority {
            roots.add(authority).map_err(ValidityError::Foreign)?;
        }
        // `certificates` gives one at least.
        let shown = shown
            .first()
            .ok_or(ValidityError::Read(CredentialError::Pem))?;
        Self::verified(shown, roots).map_err(ValidityError::Foreign)
    }

    /// The library tells when a certificate begins and ends where it is asked about a time outside.
    fn verified(shown: &CertificateDer<'_>, roots: RootCertStore) -> Result<Self, Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let at = |time| verifier.verify_client_cert(shown, &[], time).map(drop);
        let beginning = UnixTime::since_unix_epoch(Duration::ZERO);
        let from = match at(beginning) {
            Ok(()) => beginning,
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => not_before,
            Err(other) => return Err(other),
        };
        at(from)?;
        let until = match at(UnixTime::since_unix_epoch(END)) {
            Ok(()) => UnixTime::since_unix_epoch(END),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => not_after,
            Err(other) => return Err(other),
        };
        Ok(Self {
            from: wall(from),
            until: wall(until),
        })
    }

    /// How long it is valid from when it was issued.
    pub fn lasting(self) -> Duration {
        let millis = self.until.0.saturating_sub(self.from.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0)).saturating_sub(SLACK)
    }
}

fn wall(time: UnixTime) -> Wall {
    Wall(i64::try_from(time.as_secs()).map_or(i64::MAX, |seconds| seconds.saturating_mul(1_000)))
}

#[cfg(feature = "authority")]
#[cfg(test)]
mod tests {
    use model::id::NodeId;

    use super::*;
    use crate::authority::{Authority, Life};
    use crate::{Holder, Key};

    const HOUR: Duration = Duration::from_hours(1);

    fn issued(from: Wall) -> (Authority, String) {
        let (authority, _) = Authority::make("cluster", from).unwrap();
        let request = Key::make().unwrap().request().unwrap();
        let holder = Holder::Worker(NodeId::from_bits(7));
        let life = Life {
            from,
            lasting: HOUR,
        };
        let issued = authority.issue(&request, holder, life).unwrap();
        (authority, issued.certificate)
    }

    #[test]
    fn a_holder_reads_when_its_certificate_begins_and_ends() {
        let now = Wall(1_793_880_000_000);
        for (now, begins) in [(now, Wall(now.0 - 60_000)), (Wall(0), Wall(0))] {
            let (authority, certificate) = issued(now);
            let read = Validity::read(&certificate, &authority.certificate()).unwrap();
            assert_eq!((read.from, read.until), (begins, now.plus(HOUR)));
            let slack = begins == now;
            assert_eq!(
                read.lasting(),
                if slack {
                    HOUR.saturating_sub(SLACK)
                } else {
                    HOUR
                }
            );
        }
    }

    #[test]
    fn what_is_from_somebody_else_or_not_for_clients_is_not_one_to_show() {
        let (authority, certificate) = issued(Wall(0));
        let (other, _) = issued(Wall(0));
        let foreign = Validity::read(&certificate, &other.certificate());
        assert!(matches!(foreign, Err(ValidityError::Foreign(_))));
        let own = authority.certificate();
        assert!(matches!(
            Validity::read(&own, &own),
            Err(ValidityError::Foreign(_))
        ));
        assert!(matches!(
            Validity::read("", &own),
            Err(ValidityError::Read(_))
        ));
        let server = authority
            .server(
                &[],
                Life {
                    from: Wall(0),
                    lasting: HOUR,
                },
            )
            .unwrap();
        let server = crate::key::pem("CERTIFICATE", &server.chain[0]);
        assert!(matches!(
            Validity::read(&server, &own),
            Err(ValidityError::Foreign(_))
        ));
    }
}
