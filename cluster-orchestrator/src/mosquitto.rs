//! `cluster-orchestrator mosquitto`: the files of a Mosquitto that holds workers to the rules of the own endpoint.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use daemon::value::listen_address;
use identity::authority::{IssueError, Life};
use identity::files::{self, FileError, Readers};
use mqtt::mosquitto::{self, Listener, NoLine};
use orchestrator::keys::{self, Keys, KeysError};
use orchestrator::{StoreKind, Tier, clock, with_sources};

use crate::foreign::{OWNER, RULES};

/// The word that asks for it.
pub const WORD: &str = "mosquitto";
/// How long the broker's certificate lasts for those who look at a clock; our programs do not.
const LASTING: Duration = Duration::from_hours(24 * 365);

/// Writes the files of a Mosquitto (2.0 or later) for this cluster: it lets in who shows a certificate of the cluster, as who
/// that says, and nobody does anything beyond its own topics.
///
/// Run it again after `edgeio revoke node`, and within a year; then tell Mosquitto (SIGHUP).
#[derive(Debug, clap::Parser)]
#[command(name = "cluster-orchestrator mosquitto", version)]
struct Options {
    /// The data directory of the cluster, which must have run once; it may be running.
    #[arg(long, value_name = "DIR", default_value = "./edgeio-cluster")]
    data_dir: PathBuf,
    /// Where the files are written; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./mosquitto")]
    out: PathBuf,
    /// Where the files will be when Mosquitto reads them; --out if it is not given.
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Where Mosquitto listens.
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8883)), value_parser = listen_address)]
    listen: SocketAddr,
    /// A host name or address of the broker, for clients other than ours; repeatable.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
enum FilesError {
    #[error(
        "{} has no authority (identity/authority.key); give the --data-dir of a cluster that has run once", .0.display()
    )]
    NoAuthority(PathBuf),
    #[error("cannot use the cluster's authority")]
    Keys(#[from] KeysError),
    #[error("cannot make the broker's certificate")]
    Issue(#[from] IssueError),
    #[error("cannot use --at")]
    Path(#[from] NoLine),
    #[error("cannot use a file")]
    File(#[from] FileError),
    #[error("cannot use {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Writes the files that the arguments ask for, and says what to do with them.
pub fn main(arguments: Vec<OsString>, variable: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let options = match daemon::config::load::<Options>(arguments, variable) {
        Ok(options) => options,
        Err(error) => return error.report(),
    };
    let (said, code) = match options.write() {
        Ok(()) => (options.told(), ExitCode::SUCCESS),
        Err(error) => (
            format!("error: {}\n", with_sources(&error)),
            ExitCode::FAILURE,
        ),
    };
    // Who closed it does not want to know.
    let _ = io::stderr().write_all(said.as_bytes());
    code
}

impl Options {
    fn write(&self) -> Result<(), FilesError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| FilesError::Io { path, source }
        };
        if !self.data_dir.join("identity/authority.key").exists() {
            return Err(FilesError::NoAuthority(self.data_dir.clone()));
        }
        let names = keys::names(&[], None);
        let keys = Keys::open(StoreKind::Embedded, &self.data_dir, Tier::Cluster, names)?;
        let authority = keys.authority();
        let life = Life {
            from: clock::now().wall,
            lasting: LASTING,
        };
        let shown = authority.broker(&self.host, life)?;
        let at = std::path::absolute(self.at.as_ref().unwrap_or(&self.out));
        let at = at.map_err(failed(&self.out))?;
        let listener = Listener {
            address: self.listen,
            authority: &at.join("authority.pem"),
            certificate: &at.join("broker.pem"),
            key: &at.join("broker.key"),
            rules: &at.join("acl"),
        };
        let configuration = mosquitto::configuration(&listener)?;
        // The running cluster knows who is revoked.
        let kept = self.data_dir.join(RULES);
        let rules = match std::fs::read_to_string(&kept) {
            Ok(rules) => rules,
            Err(error) if error.kind() == io::ErrorKind::NotFound => mosquitto::rules(OWNER, []),
            Err(error) => return Err(failed(&kept)(error)),
        };
        std::fs::create_dir_all(&self.out).map_err(failed(&self.out))?;
        let all = [
            ("authority.pem", authority.certificate(), Readers::Everybody),
            ("broker.pem", shown.certificates_pem(), Readers::Everybody),
            ("broker.key", shown.key_pem(), Readers::Owner),
            ("acl", rules, Readers::Everybody),
            ("mosquitto.conf", configuration, Readers::Everybody),
        ];
        for (name, text, readers) in all {
            files::write(&self.out.join(name), &text, readers)?;
        }
        Ok(())
    }

    fn told(&self) -> String {
        let (out, port) = (self.out.display(), self.listen.port());
        format!(
            "wrote authority.pem, broker.pem, broker.key, acl and mosquitto.conf to {out}\n\
             the user of Mosquitto must be able to read broker.key: chown mosquitto {out}/broker.key\n\
             start it:        mosquitto -c {out}/mosquitto.conf\n\
             the cluster:     cluster-orchestrator --broker mqtts://HOST:{port} …\n\
             after a change:  the same command, then SIGHUP to Mosquitto\n"
        )
    }
}
