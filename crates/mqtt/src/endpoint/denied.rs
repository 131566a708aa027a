//! What was refused to whom, and who is told of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use identity::Holder;

/// Characters that are kept of a text that a peer chose: a stranger must not fill a log.
pub const TEXT_LIMIT: usize = 200;

/// Something that a peer tried and may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Who it is, or says to be.
    pub who: Who,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// What it tried.
    pub attempt: Attempt,
}

/// A peer, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Whose certificate it showed; `None`: it showed none.
    pub holder: Option<Holder>,
    /// The client id of its CONNECT, at most [`TEXT_LIMIT`] characters: a claim, and no proof.
    pub client_id: String,
}

/// What a peer tried. Texts are what it sent, at most [`TEXT_LIMIT`] characters of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// To log in; it was answered by a CONNACK and closed.
    Connect(NotAdmitted),
    /// To subscribe to this filter; it was answered by 0x80 and its session goes on. Of one packet the first
    /// [`TOLD`](super::TOLD) are told.
    Subscribe(String),
    /// To publish to this topic; its session was ended.
    Publish(String),
    /// To log in with a will on this topic, as [`Attempt::Connect`].
    Will(String),
    /// To have a message retained on a topic that it may publish to; its session was ended, or not begun for a will.
    Retained(String),
}

/// Why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Nobody is known by that name and password.
    #[error("no worker is registered with this id and password")]
    Password,
    /// Who comes from there has to show a certificate.
    #[error("no certificate was shown")]
    NoCertificate,
    /// The certificate is none of a worker.
    #[error("the certificate is none of a worker")]
    NoWorker,
    /// The certificate is valid no more.
    #[error("the certificate has expired")]
    Expired,
    /// The worker was shut out.
    #[error("the worker was revoked")]
    Revoked,
    /// Certificate, client id and user name do not name one and the same worker.
    #[error("the certificate, the client id and the user name do not name the same worker")]
    Name,
    /// Another machine has the seat of this worker, and answers.
    #[error("another machine is connected under this id and answers")]
    Cloned,
}

/// Told of everything that is refused. It is called on the runtime's threads and must not block; a hostile peer decides
/// how often.
#[derive(Clone, Default)]
pub struct Witness(Option<Arc<Listener>>);

/// Who listens to refusals.
type Listener = dyn Fn(&Denied) + Send + Sync;

impl Witness {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(&Denied) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(super) fn tell(&self, denied: &Denied) {
        if let Some(listener) = &self.0 {
            listener(denied);
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Witness").field(&self.0.is_some()).finish()
    }
}

/// The beginning of a text.
pub(super) fn clipped(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}
