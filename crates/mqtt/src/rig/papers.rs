//! An authority, and what it issues, as files that Mosquitto's programs read.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use identity::authority::{Authority, Life};
use identity::door::{Door, Plain};
use identity::gate::{self, Showing};
use identity::{Credential, Holder, Key, Trust};
use model::time::Wall;
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::process::Command;

/// OpenSSL looks at the clock: from 2023 for fifty years.
pub(crate) const LIFE: Life = Life {
    from: Wall(1_700_000_000_000),
    lasting: Duration::from_hours(24 * 365 * 50),
};

pub(crate) struct Papers {
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let (authority, _) = Authority::make("cluster", LIFE.from).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        Self { authority, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `<id>.pem` and `<id>.key` of somebody.
    pub(crate) fn issue(&self, holder: Holder) {
        let key = Key::make().unwrap();
        let request = key.request().unwrap();
        let issued = self.authority.issue(&request, holder, LIFE).unwrap();
        let id = holder.id();
        fs::write(self.path(&format!("{id}.pem")), issued.certificate).unwrap();
        fs::write(self.path(&format!("{id}.key")), key.to_pem()).unwrap();
    }

    /// A door of this authority.
    pub(crate) fn door(&self) -> Door {
        let names = ["127.0.0.1".to_owned()];
        let server = self.authority.server(&names, LIFE).unwrap();
        let tls = gate::server(&self.authority, Showing::new(&server).unwrap()).unwrap();
        Door::new(Arc::clone(&tls), Plain::ThisMachine)
    }

    /// TLS towards servers of this authority, as `holder`.
    pub(crate) fn tls(&self, holder: Holder) -> Arc<ClientConfig> {
        let key = Key::make().unwrap();
        let request = key.request().unwrap();
        let issued = self.authority.issue(&request, holder, LIFE).unwrap();
        let own = Credential::new(&issued.certificate, &key).unwrap();
        let trust = Trust::authority(&self.authority.certificate()).unwrap();
        trust.client(Some(&own)).unwrap()
    }

    /// A client of Mosquitto's over TLS, to be started: it shows what `holder` was issued.
    pub(crate) fn client(
        &self,
        name: &str,
        port: u16,
        holder: Option<Holder>,
        arguments: &[&str],
    ) -> Command {
        let mut command = Command::new(name);
        command
            .args(["-V", "mqttv311", "-h", "127.0.0.1", "-p", &port.to_string()])
            .arg("--cafile")
            .arg(self.path("ca.pem"));
        if let Some(id) = holder.map(Holder::id) {
            command
                .arg("--cert")
                .arg(self.path(&format!("{id}.pem")))
                .arg("--key")
                .arg(self.path(&format!("{id}.key")));
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}
