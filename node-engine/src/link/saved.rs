//! Where the broker is and who we are there, kept for a start without the Cluster Manager; and the other way, through the
//! root, for when the broker cannot be reached.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::id::{ClusterId, NodeId};
use protocol::message::fallback::{Fallback, Relay};
use protocol::message::register::Welcome;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The file in the data directory; readable by its owner only.
pub(crate) const FILE: &str = "broker.json";

/// What the last registration said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Whom the password belongs to.
    pub(crate) node: NodeId,
    /// The broker's host.
    pub(crate) host: String,
    /// The broker's port.
    pub(crate) port: u16,
    /// Whether it speaks TLS there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls: bool,
    /// MQTT password.
    pub(crate) password: String,
    keep_alive_ms: u64,
    /// The root's relay, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<RelayAt>,
}

/// A root's relay, as this worker reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayAt {
    /// Which of the root's clusters is ours.
    pub(crate) cluster: ClusterId,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether it passes TLS on to the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls: bool,
}

impl RelayAt {
    fn of(relay: Relay, cluster_host: &str) -> Self {
        Self {
            cluster: relay.cluster,
            host: relay.host.unwrap_or_else(|| cluster_host.to_owned()),
            port: relay.port,
            tls: relay.tls,
        }
    }
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password stays out of every log.
        f.debug_struct("Saved")
            .field("node", &self.node)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Saved {
    /// What a registration said; `cluster_host`: where the broker is unless it names another host. A cluster that does not
    /// know of a relay now takes nothing back of what it said `before`.
    pub(crate) fn of(welcome: Welcome, cluster_host: &str, before: Option<&Self>) -> Self {
        let relay = match welcome.fallback {
            Some(fallback) => fallback.relay.map(|it| RelayAt::of(it, cluster_host)),
            None => before.and_then(|before| before.relay.clone()),
        };
        Self {
            relay,
            node: welcome.node,
            host: welcome
                .broker_host
                .unwrap_or_else(|| cluster_host.to_owned()),
            port: welcome.broker_port,
            tls: welcome.broker_tls,
            password: welcome.password,
            keep_alive_ms: welcome.keep_alive.as_millis() as u64,
        }
    }

    /// MQTT keep-alive, in whole seconds as MQTT has it.
    pub(crate) fn keep_alive(&self) -> u16 {
        let keep_alive = Duration::from_millis(self.keep_alive_ms);
        keep_alive.as_secs().clamp(1, u64::from(u16::MAX)) as u16
    }
}

/// What is known of the ways to the cluster. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    data_dir: Arc<Path>,
    /// The host in the cluster's URL.
    cluster_host: Arc<str>,
    ways: Arc<watch::Sender<Ways>>,
}

/// The ways to the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// What the last registration said.
    pub(crate) saved: Option<Saved>,
    /// The cluster said that it does not want us, as we are: then no way leads there.
    pub(crate) refused: bool,
}

impl Ways {
    /// The way through the root, if there is one and it may be gone.
    pub(crate) fn relayed(&self) -> Option<(&Saved, &RelayAt)> {
        let saved = self.saved.as_ref().filter(|_| !self.refused)?;
        Some((saved, saved.relay.as_ref()?))
    }
}

impl Known {
    /// What the disk says of the last registration, if that was of `node`.
    pub(crate) fn load(data_dir: &Path, cluster_host: &str, node: Option<NodeId>) -> Self {
        let ways = Ways {
            saved: load(data_dir).filter(|saved| Some(saved.node) == node),
            refused: false,
        };
        Self {
            data_dir: data_dir.into(),
            cluster_host: cluster_host.into(),
            ways: Arc::new(watch::Sender::new(ways)),
        }
    }

    /// What is known now, and what changes of it.
    pub(crate) fn watch(&self) -> watch::Receiver<Ways> {
        self.ways.subscribe()
    }

    /// What is known now.
    pub(crate) fn now(&self) -> Ways {
        self.ways.borrow().clone()
    }

    /// Whether the cluster wants us.
    pub(crate) fn set_refused(&self, refused: bool) {
        self.ways
            .send_if_modified(|ways| std::mem::replace(&mut ways.refused, refused) != refused);
    }

    /// Where a registration says that the broker is.
    pub(crate) fn broker_host(&self, welcome: &Welcome) -> String {
        let named = welcome.broker_host.as_deref();
        named.unwrap_or(&self.cluster_host).to_owned()
    }

    /// Takes what a registration said.
    pub(crate) fn registered(&self, welcome: Welcome) -> Saved {
        let saved = Saved::of(welcome, &self.cluster_host, self.now().saved.as_ref());
        self.keep(&saved);
        saved
    }

    /// Takes what the cluster says about the other way to it.
    pub(crate) fn told(&self, fallback: Fallback) {
        let Some(saved) = self.now().saved else {
            return;
        };
        let relay = fallback.relay;
        let relay = relay.map(|relay| RelayAt::of(relay, &self.cluster_host));
        if relay != saved.relay {
            tracing::info!(?relay, "the way through the root changed");
            self.keep(&Saved { relay, ..saved });
        }
    }

    fn keep(&self, saved: &Saved) {
        if let Err(error) = store(&self.data_dir, saved) {
            // Only the next start without its cluster misses it.
            tracing::warn!(error = %error, "cannot save where the broker is");
        }
        self.ways
            .send_modify(|ways| ways.saved = Some(saved.clone()));
    }
}

/// What was saved; `None` where nothing usable was.
pub(crate) fn load(data_dir: &Path) -> Option<Saved> {
    let json = fs::read(data_dir.join(FILE)).ok()?;
    let saved = serde_json::from_slice(&json);
    saved
        .inspect_err(
            |error| tracing::warn!(error = %error, "{FILE} cannot be read and is not used"),
        )
        .ok()
}

/// Replaces what was saved, or leaves it whole.
fn store(data_dir: &Path, saved: &Saved) -> io::Result<()> {
    let new = data_dir.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec(saved)?)?;
    file.sync_all()?;
    fs::rename(&new, data_dir.join(FILE))?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_saved_is_found_again_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), None);
        let saved = Saved {
            node: NodeId::from_bits(7),
            host: "127.0.0.1".to_owned(),
            port: 10_003,
            tls: true,
            password: "secret".to_owned(),
            keep_alive_ms: 5_000,
            relay: None,
        };
        store(folder.path(), &saved).unwrap();
        store(folder.path(), &saved).unwrap();
        assert_eq!(load(folder.path()), Some(saved.clone()));
        assert_eq!(saved.keep_alive(), 5);
        assert!(!format!("{saved:?}").contains("secret"));
        let mode = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        fs::write(folder.path().join(FILE), "half").unwrap();
        assert_eq!(load(folder.path()), None);
    }

    fn welcome(fallback: Option<Fallback>) -> Welcome {
        Welcome {
            node: NodeId::from_bits(7),
            broker_host: None,
            broker_port: 10_003,
            broker_tls: false,
            username: String::new(),
            password: "secret".to_owned(),
            keep_alive: Duration::from_secs(5),
            report_interval: Duration::from_secs(15),
            fallback,
        }
    }

    fn relay(port: u16) -> Fallback {
        let cluster = ClusterId::from_bits(9);
        let host = None;
        Fallback {
            relay: Some(Relay {
                cluster,
                host,
                port,
                tls: true,
            }),
        }
    }

    #[test]
    fn the_other_way_is_kept_until_the_cluster_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let node = NodeId::from_bits(7);
        let load = || Known::load(folder.path(), "192.0.2.1", Some(node));
        let port = |known: &Known| known.now().relayed().map(|(_, relay)| relay.port);
        let known = load();
        known.told(relay(1));
        assert_eq!(
            known.now(),
            Ways::default(),
            "nothing is known of a cluster"
        );
        known.registered(welcome(Some(relay(1))));
        assert_eq!(port(&known), Some(1));
        let ways = load().now();
        let (saved, at) = ways.relayed().unwrap();
        assert_eq!(
            (saved.host.as_str(), at.host.as_str()),
            ("192.0.2.1", "192.0.2.1")
        );
        // A cluster that has not met its root knows nothing of a relay.
        known.registered(welcome(None));
        assert_eq!(port(&load()), Some(1));
        known.told(relay(2));
        assert_eq!((port(&known), port(&load())), (Some(2), Some(2)));
        known.told(Fallback::default());
        assert_eq!((port(&known), port(&load())), (None, None));
        known.registered(welcome(Some(relay(3))));
        known.set_refused(true);
        assert_eq!((port(&known), port(&load())), (None, Some(3)));
        // Another worker's disk: its password is not ours.
        let other = Known::load(folder.path(), "192.0.2.1", Some(NodeId::from_bits(8)));
        assert_eq!(other.now(), Ways::default());
    }

    #[test]
    fn what_an_older_engine_saved_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let node = NodeId::from_bits(7);
        let text = format!(
            r#"{{"node":"{node}","host":"a","port":1,"password":"b","keep_alive_ms":5000}}"#
        );
        fs::write(folder.path().join(FILE), text).unwrap();
        assert_eq!(load(folder.path()).unwrap().relay, None);
    }
}
