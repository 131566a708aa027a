//! What a service manager is told: ready, alive, stopping (`sd_notify(3)`, without its library).
//!
//! # Guarantees
//! - Without a service manager every call does nothing. A message that cannot be sent is dropped: no program fails or
//!   waits for being watched.
//! - [`Notifier::alive`] is for whoever owns the state and for nobody else; a watchdog that is fed by a task of its own
//!   would say that a program lives which does nothing any more.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::steady_millis;

/// Tells the service manager that started the program, if one did. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    socket: UnixDatagram,
    /// Half of what the manager waits for a sign of life.
    period: Option<Duration>,
    /// When the last one was sent, by the steady clock.
    alive_at: AtomicU64,
}

impl Notifier {
    /// The one that the environment names: `NOTIFY_SOCKET` (a path, or `@` and an abstract name), `WATCHDOG_USEC` and
    /// `WATCHDOG_PID`. Without a socket, or with one that cannot be reached, nobody is told anything.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let socket = match connect(&name) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(socket = name, %error, "the service manager cannot be told anything");
                return Self::default();
            }
        };
        // A watchdog that was meant for another process, our starter, is none of ours.
        let is_ours =
            variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let period = variable("WATCHDOG_USEC")
            .filter(|_| is_ours)
            .and_then(|micros| micros.parse().ok())
            .filter(|micros| *micros > 0)
            .map(|micros| Duration::from_micros(micros) / 2);
        let alive_at = AtomicU64::new(steady_millis());
        Self {
            inner: Some(Arc::new(Inner {
                socket,
                period,
                alive_at,
            })),
        }
    }

    /// The program serves: say it with the ready line.
    pub fn ready(&self) {
        self.send("READY=1\n");
    }

    /// The program ends because it was asked to.
    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// Says [`Notifier::stopping`] as soon as the token is cancelled. Call it within a tokio runtime.
    pub fn stopping_with(&self, shutdown: CancellationToken) {
        if self.inner.is_some() {
            let notifier = self.clone();
            tokio::spawn(async move {
                shutdown.cancelled().await;
                notifier.stopping();
            });
        }
    }

    /// The owner of the state goes on, and says so in its own loop. It may say so as often as it likes: what is sent is one message in a period.
    pub fn alive(&self) {
        let Some((inner, period)) = self.watched() else {
            return;
        };
        let now = steady_millis();
        // A little early rather than a period late.
        let due = millis(period).saturating_mul(9) / 10;
        if now.saturating_sub(inner.alive_at.load(Ordering::Relaxed)) >= due {
            inner.alive_at.store(now, Ordering::Relaxed);
            self.send("WATCHDOG=1\n");
        }
    }

    /// How long from now until [`Notifier::alive`] must be called; `None` where nobody watches.
    pub fn alive_within(&self) -> Option<Duration> {
        let (inner, period) = self.watched()?;
        let since = steady_millis().saturating_sub(inner.alive_at.load(Ordering::Relaxed));
        Some(period.saturating_sub(Duration::from_millis(since)))
    }

    fn watched(&self) -> Option<(&Inner, Duration)> {
        let inner = self.inner.as_deref()?;
        Some((inner, inner.period?))
    }

    fn send(&self, message: &str) {
        if let Some(inner) = &self.inner
            && let Err(error) = inner.socket.send(message.as_bytes())
        {
            tracing::debug!(%error, message, "the service manager did not hear it");
        }
    }
}

fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Manager {
        socket: UnixDatagram,
        name: String,
        _folder: tempfile::TempDir,
    }

    impl Manager {
        fn new(is_abstract: bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("notify");
            let path = path.to_str().unwrap();
            let (socket, name) = if is_abstract {
                let address = SocketAddr::from_abstract_name(path).unwrap();
                (UnixDatagram::bind_addr(&address), format!("@{path}"))
            } else {
                (UnixDatagram::bind(path), path.to_owned())
            };
            let socket = socket.unwrap();
            let deadline = Some(Duration::from_secs(10));
            socket.set_read_timeout(deadline).unwrap();
            Self {
                socket,
                name,
                _folder: folder,
            }
        }

        fn notifier(&self, micros: &str, pid: Option<u32>) -> Notifier {
            Notifier::from_variables(&|name| match name {
                "NOTIFY_SOCKET" => Some(self.name.clone()),
                "WATCHDOG_USEC" => Some(micros.to_owned()),
                "WATCHDOG_PID" => pid.map(|pid| pid.to_string()),
                _ => None,
            })
        }

        fn heard(&self) -> String {
            let mut buffer = [0; 64];
            let length = self.socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        }

        fn hears_nothing(&self) -> bool {
            self.socket.set_nonblocking(true).unwrap();
            let nothing = self.socket.recv(&mut [0; 64]).is_err();
            self.socket.set_nonblocking(false).unwrap();
            nothing
        }
    }

    #[test]
    fn a_manager_hears_ready_and_stopping_on_both_kinds_of_sockets() {
        for is_abstract in [false, true] {
            let manager = Manager::new(is_abstract);
            let notifier = manager.notifier("0", None);
            notifier.ready();
            notifier.stopping();
            assert_eq!(manager.heard(), "READY=1\n");
            assert_eq!(manager.heard(), "STOPPING=1\n");
            notifier.alive();
            assert!(manager.hears_nothing() && notifier.alive_within().is_none());
        }
    }

    #[test]
    fn nobody_is_told_anything_without_a_manager() {
        let none = Notifier::from_variables(&|_| None);
        let gone = Notifier::from_variables(&|name| {
            (name == "NOTIFY_SOCKET").then(|| "/no/such/socket".to_owned())
        });
        for notifier in [none, gone, Notifier::default()] {
            notifier.ready();
            notifier.alive();
            assert_eq!(notifier.alive_within(), None);
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_fed() {
        let manager = Manager::new(true);
        let others = manager.notifier("1000000", Some(std::process::id() + 1));
        assert_eq!(others.alive_within(), None);
        let ours = manager.notifier("1000000", Some(std::process::id()));
        assert!(ours.alive_within().unwrap() <= Duration::from_millis(500));
    }

    #[test]
    fn signs_of_life_are_sent_once_in_a_period_however_often_the_owner_goes_round() {
        let manager = Manager::new(false);
        let notifier = manager.notifier("400000", None);
        let begin = std::time::Instant::now();
        let mut sent = 0;
        while begin.elapsed() < Duration::from_secs(1) {
            notifier.alive();
            std::thread::yield_now();
            sent += usize::from(!manager.hears_nothing());
        }
        assert!((2..=6).contains(&sent), "{sent} signs in a second");
    }

    #[tokio::test]
    async fn a_stop_is_told_when_it_is_asked_for() {
        let manager = Manager::new(true);
        let notifier = manager.notifier("0", None);
        let shutdown = CancellationToken::new();
        notifier.stopping_with(shutdown.clone());
        assert!(manager.hears_nothing());
        shutdown.cancel();
        let heard = tokio::task::spawn_blocking(move || manager.heard());
        assert_eq!(heard.await.unwrap(), "STOPPING=1\n");
    }
}
