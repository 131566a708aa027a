//! Who is who: authorities, certificates, join tokens, and TLS that asks for them.
//!
//! # The tree
//! Each orchestrator has an [`Authority`](authority::Authority) of its own from its first start: a key, and a certificate that it signed itself. A
//! root's issues to clusters, a cluster's to its workers, so each tier decides alone who belongs to it, also while the
//! other is away, and the loss of one touches nobody who trusts the other. A root vouches for the authorities of its clusters
//! with an intermediate certificate for the same key, so that what a worker has can be followed up to the root.
//!
//! # Flow
//! 1. Somebody who may makes a [`JoinToken`]: it names where to dial, the [`Pin`] of the authority there, and a secret.
//! 2. The joining program dials with TLS that accepts nobody but who has a certificate of that authority
//!    ([`Trust::pinned`]), and sends the secret with a [`Request`] for its own [`Key`]. The key never leaves it.
//! 3. The authority issues a certificate for that key, with the name that *it* chose: of a request only the key counts.
//! 4. From then on the program dials with [`Trust::authority`] and its [`Credential`].
//!
//! # Guarantees
//! - TLS 1.3 and nothing older, P-256 keys, ring.
//! - A client never reads its own clock: a machine without one must find its cluster. A server's certificate is judged as of
//!   its own time, since its key lies beside the authority's key, and who has the one has the other. The server judges the client's
//!   certificate by the clock that issued it, and tells an expired one apart, so that it may be renewed
//!   ([`Standing`](gate::Standing)).
//! - What an authority signs at one place ([`Signature`]) is worth nothing at another, and whoever carries it cannot change it.
//! - A certificate for clients serves no server and the other way round (extended key usage), and no certificate issued
//!   here can issue.

#[cfg(feature = "authority")]
pub mod authority;
#[cfg(feature = "authority")]
pub mod door;
pub mod files;
#[cfg(feature = "authority")]
pub mod gate;
#[cfg(feature = "authority")]
pub mod hello;
mod holder;
mod key;
mod pin;
mod signature;
mod token;
mod trust;
mod user_token;
mod validity;

pub use holder::{Holder, HolderError};
pub use key::{Credential, CredentialError, Key, KeyError, Request};
pub use pin::{Pin, PinError};
pub use signature::{Forged, Signature, SignatureError, Verifier, VerifierError};
pub use token::{JoinToken, Joining, Secret, TokenError};
pub use trust::{Server, TowardsError, Trust, TrustError, any_name, secured, towards};
pub use user_token::{UserToken, UserTokenError};
pub use validity::{Validity, ValidityError};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Bytes of a request or a certificate that comes over a network, as PEM, at most.
pub const PEM_LIMIT: usize = 8 * 1024;

/// The one set of algorithms; named wherever one is wanted, so that nothing depends on what was installed for the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
