//! Where the broker is and who we are there, kept for a start without the Cluster Manager.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use model::id::NodeId;
use protocol::message::register::Welcome;
use serde::{Deserialize, Serialize};

/// The file in the data directory; readable by its owner only.
const FILE: &str = "broker.json";

/// What the last registration said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Whom the password belongs to.
    pub(crate) node: NodeId,
    /// The broker's host.
    pub(crate) host: String,
    /// The broker's port.
    pub(crate) port: u16,
    /// MQTT password.
    pub(crate) password: String,
    keep_alive_ms: u64,
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
    /// What a registration said; `cluster_host`: where the broker is unless it names another host.
    pub(crate) fn of(welcome: Welcome, cluster_host: &str) -> Self {
        Self {
            node: welcome.node,
            host: welcome
                .broker_host
                .unwrap_or_else(|| cluster_host.to_owned()),
            port: welcome.broker_port,
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
pub(crate) fn store(data_dir: &Path, saved: &Saved) -> io::Result<()> {
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
            password: "secret".to_owned(),
            keep_alive_ms: 5_000,
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
}
