//! Staying a member: what is shown at each connection, and a new certificate in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::steady_millis;
use identity::{Holder, TrustError};
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::client::JoinError;
use crate::membership::{Membership, MembershipError};

/// How long a renewal may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection waits for a new certificate first, where the present one has ended.
const BRIEF: Duration = Duration::from_secs(5);
/// The longest sleep: the timer does not run while the machine sleeps, a life does.
const LOOK: Duration = Duration::from_mins(10);
/// What is renewed because a server does not want it is renewed no more often.
const DOUBTS: Duration = Duration::from_mins(1);

/// What is shown, and who is believed, when a server is dialled. Clones share it.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Plain text.
    Plain,
    /// TLS that believes somebody, and shows nothing.
    Believing(Arc<ClientConfig>),
    /// TLS as a member.
    Member(Member),
}

impl Credentials {
    /// TLS for the next connection; `None`: plain text.
    pub fn tls(&self) -> Option<Arc<ClientConfig>> {
        match self {
            Self::Plain => None,
            Self::Believing(tls) => Some(Arc::clone(tls)),
            Self::Member(member) => Some(member.tls()),
        }
    }

    /// Who one is, where one has joined.
    pub fn holder(&self) -> Option<Holder> {
        match self {
            Self::Plain | Self::Believing(_) => None,
            Self::Member(member) => Some(member.holder()),
        }
    }

    /// To be called before each connection: a certificate that has ended is renewed first, if it can be.
    pub async fn freshen(&self) {
        if let Self::Member(member) = self {
            member.freshen().await;
        }
    }

    /// A server does not take the certificate: the next [`Credentials::freshen`] asks for a new one.
    pub fn doubt(&self) {
        if let Self::Member(member) = self {
            member.doubt();
        }
    }

    /// Keeps the certificate fresh until the token is cancelled.
    pub async fn keep(self, shutdown: CancellationToken) {
        if let Self::Member(member) = self {
            member.keep(&shutdown).await;
        }
        shutdown.cancelled().await;
    }
}

/// A membership in use. Clones share it.
#[derive(Debug, Clone)]
pub struct Member(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where certificates are renewed: `host:port`.
    place: String,
    now: Mutex<Present>,
    /// One renewal at a time.
    renewing: tokio::sync::Mutex<Said>,
    renewed: Notify,
}

#[derive(Debug)]
struct Present {
    membership: Membership,
    tls: Arc<ClientConfig>,
    /// When the certificate came, by the clock of this process; `None`: before this process began.
    since: Option<u64>,
    /// Whether a server did not take it.
    is_doubted: bool,
    /// When the last doubt was looked into.
    doubted: Option<u64>,
}

/// The last thing that was logged as not working.
type Said = Option<String>;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Keep(#[from] MembershipError),
}

impl Member {
    /// A membership, whose certificates are renewed at an address of the server that is dialled: `host:port`.
    ///
    /// # Errors
    /// When the certificate is not for the key.
    pub fn new(membership: Membership, place: String) -> Result<Self, TrustError> {
        let tls = membership.joined().client(membership.key())?;
        let now = Present {
            membership,
            tls,
            since: None,
            is_doubted: false,
            doubted: None,
        };
        Ok(Self(Arc::new(Inner {
            place,
            now: Mutex::new(now),
            renewing: tokio::sync::Mutex::default(),
            renewed: Notify::new(),
        })))
    }

    fn now(&self) -> MutexGuard<'_, Present> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// TLS for the next connection.
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.now().tls)
    }

    /// Who one is.
    pub fn holder(&self) -> Holder {
        self.now().membership.holder()
    }

    async fn freshen(&self) {
        let (life, age, is_doubted) = {
            let now = self.now();
            (now.lasting(), now.age(), now.is_doubted)
        };
        let has_ended = age.is_some_and(|age| age >= life);
        if has_ended || is_doubted {
            self.renew(BRIEF).await;
        }
    }

    fn doubt(&self) {
        let mut now = self.now();
        let at = steady_millis();
        let long_ago = now
            .doubted
            .is_none_or(|last| at.saturating_sub(last) >= DOUBTS.as_millis() as u64);
        // One that came since the doubt is about another.
        if long_ago {
            now.is_doubted = true;
            now.doubted = Some(at);
        }
    }

    /// Renews when it is time, and again after a while where that fails.
    async fn keep(&self, shutdown: &CancellationToken) {
        // Drawn once for each certificate: many that joined together do not come back together.
        let mut draw = daemon::random();
        let mut failures = 0;
        // After a failure: not before that moment.
        let mut resting = None;
        loop {
            let (life, age) = {
                let now = self.now();
                (now.lasting(), now.age())
            };
            let rest = resting.map_or(Duration::ZERO, |until: u64| {
                Duration::from_millis(until.saturating_sub(steady_millis()))
            });
            let wait = due(life, age, draw).max(rest);
            let is_now = wait <= LOOK;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.0.renewed.notified() => {
                    (draw, failures, resting) = (daemon::random(), 0, None);
                    continue;
                }
                () = sleep(wait.min(LOOK)) => {}
            }
            if is_now && !self.renew(PATIENCE).await {
                failures += 1;
                let rest = again(life, failures, daemon::random());
                resting = Some(steady_millis().saturating_add(rest.as_millis() as u64));
            }
        }
    }

    /// Asks for a new certificate; whether it came. What failed is logged, once where it stays the same.
    async fn renew(&self, patience: Duration) -> bool {
        let mut said = self.0.renewing.lock().await;
        match self.try_renew(patience).await {
            Ok(()) => {
                *said = None;
                self.0.renewed.notify_one();
                true
            }
            Err(error) => {
                self.now().is_doubted = false;
                let text = reason(&error);
                if said.as_deref() != Some(text.as_str()) {
                    tracing::warn!(
                        place = self.0.place,
                        "the certificate is not renewed yet: {text}"
                    );
                    *said = Some(text);
                }
                false
            }
        }
    }

    async fn try_renew(&self, patience: Duration) -> Result<(), RenewError> {
        let present = self.now().membership.clone();
        let membership = present.renewed_at(&self.0.place, patience).await?;
        let tls = membership.joined().client(membership.key())?;
        let kept = membership.keep();
        tracing::info!(id = membership.holder().id(), "the certificate is renewed");
        let mut now = self.now();
        now.membership = membership;
        now.tls = tls;
        now.since = Some(steady_millis());
        now.is_doubted = false;
        drop(now);
        // It is used all the same; the next start has the former one.
        Ok(kept?)
    }
}

impl Present {
    fn lasting(&self) -> Duration {
        self.membership.validity().lasting()
    }

    /// How old the certificate is; `None` where nobody knows.
    fn age(&self) -> Option<Duration> {
        match self.since {
            Some(since) => {
                let age = steady_millis().saturating_sub(since);
                Some(Duration::from_millis(age))
            }
            None => self.membership.age(),
        }
    }
}

/// In what time a certificate is to be renewed: at 60 to 70 % of its life; soon where its age is unknown.
fn due(life: Duration, age: Option<Duration>, draw: u64) -> Duration {
    let part = (draw % 1_000) as f64 / 10_000.0;
    match age {
        Some(age) => life.mul_f64(0.6 + part).saturating_sub(age),
        None => (life / 100)
            .min(Duration::from_mins(5))
            .mul_f64(part * 10.0),
    }
}

/// How long after so many failures in a row it is tried again: a five-hundredth of the life, doubled each time up to a
/// twentieth, at least a second and at most an hour, and drawn between half and one and a half of that.
fn again(life: Duration, failures: u32, draw: u64) -> Duration {
    let first = (life / 500).clamp(Duration::from_secs(1), Duration::from_mins(1));
    let most = (life / 20).clamp(Duration::from_secs(1), Duration::from_hours(1));
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let part = (draw % 1_000) as f64 / 1_000.0;
    doubled.min(most).mul_f64(0.5 + part)
}

/// What happened, and what to do where waiting does not help.
fn reason(error: &RenewError) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    if let RenewError::Join(JoinError::Refused { .. }) = error {
        text.push_str("; join again with a new token (edgeio token create)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_about_two_thirds_of_its_life() {
        let life = Duration::from_hours(24);
        for draw in 0..2_000 {
            let wait = due(life, Some(Duration::ZERO), draw);
            assert!(
                wait >= life.mul_f64(0.6) && wait <= life.mul_f64(0.7),
                "{wait:?}"
            );
            let wait = due(life, Some(Duration::from_hours(10)), draw);
            assert!(wait >= Duration::from_hours(4) && wait <= Duration::from_hours(7));
            assert_eq!(due(life, Some(life), draw), Duration::ZERO);
            assert!(due(life, None, draw) <= Duration::from_mins(5));
        }
    }

    #[test]
    fn what_fails_is_tried_again_more_and_more_seldom_and_often_enough_for_its_life() {
        for life in [10, 3_600, 86_400, 2_592_000].map(Duration::from_secs) {
            let waits: Vec<_> = (1..40).map(|failures| again(life, failures, 500)).collect();
            assert!(waits.is_sorted(), "{waits:?}");
            assert!(waits[0] >= Duration::from_secs(1));
            assert!(waits[38] <= (life / 20).max(Duration::from_secs(1)));
            assert!(waits[38] <= Duration::from_hours(1));
        }
    }
}
