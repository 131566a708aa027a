//! What an orchestrator proves itself with: its authority, and the certificates that its ports show.

mod brought;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemon::dial;
use daemon::network::addresses;
use identity::authority::{Authority, IssueError, Life};
use identity::door::{Door, Plain};
use identity::files::{self, FileError, Readers};
use identity::gate::{self, Both, Showing};
use identity::{Holder, Key, KeyError, Trust, TrustError};
use rustls::{ClientConfig, ServerConfig};
use secrets::{Keyring, KeyringError};
use tokio_util::sync::CancellationToken;

pub use brought::{Brought, BroughtError};

use crate::data::make_private;
use crate::{StoreKind, Tier, clock};

/// The folder in the data directory.
pub(crate) const FOLDER: &str = "identity";
/// How long a certificate of our own ports says that it is valid; users of curl and browsers look at that.
const LASTING: Duration = Duration::from_hours(24 * 30);
/// After two thirds of its life it is exchanged.
const EXCHANGED: Duration = Duration::from_hours(24 * 20);
/// Addresses that are told at most.
const PLACES: usize = 8;
/// After a failure to make one.
const AGAIN: Duration = Duration::from_hours(1);

/// Between two looks at the files of a certificate that was made elsewhere.
const LOOK: Duration = Duration::from_secs(10);

/// The authority of an orchestrator, and what its ports show.
#[derive(Debug)]
pub struct Keys {
    authority: Arc<Authority>,
    names: Vec<String>,
    showing: Arc<Showing>,
    tls: Arc<ServerConfig>,
    secrets: Keyring,
    for_users: Option<ForUsers>,
    /// What [`Keys::as_root`] gave last, and when that was made.
    as_root: Mutex<Option<(Instant, Arc<ClientConfig>)>>,
}

/// What the REST interface shows to users, where that was made elsewhere.
#[derive(Debug)]
struct ForUsers {
    brought: Brought,
    showing: Arc<Showing>,
    tls: Arc<ServerConfig>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The folder cannot be made.
    #[error("cannot make {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of it cannot be used.
    #[error("cannot use a file of the identity")]
    File(#[from] FileError),
    /// One of the two files is there and the other is not.
    #[error("{} is not there, but the file that belongs to it is; bring it back from a backup, or remove both to begin with a new authority, which no worker or cluster knows", path.display())]
    Half {
        /// The one that is missing.
        path: PathBuf,
    },
    /// The key cannot be read.
    #[error("cannot use the authority's key")]
    Key(#[from] KeyError),
    /// The authority or its certificates cannot be made.
    #[error("cannot use the authority")]
    Issue(#[from] IssueError),
    /// What secrets are encrypted with cannot be used.
    #[error("cannot use the keys of secrets")]
    Secrets(#[from] KeyringError),
    /// The authority cannot be believed.
    #[error("cannot use the authority's certificate")]
    Trust(#[from] TrustError),
    /// TLS refuses them.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
    /// What was made elsewhere cannot be used.
    #[error(transparent)]
    Brought(#[from] BroughtError),
}

impl Keys {
    /// The keys in the data directory, made at the first start; without a store that outlives the process they live in
    /// memory as well. `names` are the addresses and host names that users dial.
    ///
    /// # Errors
    /// When they can neither be read nor made.
    pub fn open(
        kind: StoreKind,
        dir: &Path,
        tier: Tier,
        names: Vec<String>,
    ) -> Result<Self, KeysError> {
        let authority = match kind {
            StoreKind::Memory => Authority::make(tier.as_str(), clock::now().wall)?.0,
            StoreKind::Embedded | StoreKind::Mongodb => authority(&dir.join(FOLDER), tier)?,
        };
        let secrets = match kind {
            StoreKind::Memory => Keyring::temporary()?,
            StoreKind::Embedded | StoreKind::Mongodb => Keyring::open(&dir.join(FOLDER))?,
        };
        let showing = Showing::new(&authority.server(&names, life())?)?;
        let tls = gate::server(&authority, Arc::clone(&showing))?;
        Ok(Self {
            authority: Arc::new(authority),
            names,
            showing,
            tls,
            secrets,
            for_users: None,
            as_root: Mutex::default(),
        })
    }

    /// The same, but users of the REST interface are shown what was made elsewhere. Programs of ours ask for a name that
    /// nobody else asks for, and are shown what the authority issued.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn showing_users(mut self, brought: Option<Brought>) -> Result<Self, KeysError> {
        if let Some(brought) = brought {
            let credential = brought.read()?;
            brought.tell(&credential, clock::now().wall);
            let showing = Showing::new(&credential)?;
            let both = Both {
                own: Arc::clone(&self.showing),
                brought: Arc::clone(&showing),
            };
            self.for_users = Some(ForUsers {
                tls: gate::server(&self.authority, Arc::new(both))?,
                brought,
                showing,
            });
        }
        Ok(self)
    }

    /// Who issues and signs here.
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// What secrets are encrypted with here.
    pub const fn secrets(&self) -> &Keyring {
        &self.secrets
    }

    /// A door for TLS, and for plain text from this machine; with `insecure` from everywhere.
    pub fn door(&self, insecure: bool) -> Door {
        Door::new(Arc::clone(&self.tls), Self::plain(insecure))
    }

    /// The same for the REST interface.
    pub fn users_door(&self, insecure: bool) -> Door {
        let tls = self.for_users.as_ref().map_or(&self.tls, |it| &it.tls);
        Door::new(Arc::clone(tls), Self::plain(insecure))
    }

    const fn plain(insecure: bool) -> Plain {
        if insecure {
            Plain::Everybody
        } else {
            Plain::ThisMachine
        }
    }

    /// TLS by which a root passes on to another one of the same authority what came to it: the same one until its certificate is to
    /// be exchanged.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn as_root(&self) -> Result<Arc<ClientConfig>, KeysError> {
        // What it holds is set as a whole, so a panic in between leaves it true.
        let mut made = self.as_root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, tls)) = made.as_ref()
            && at.elapsed() < EXCHANGED
        {
            return Ok(Arc::clone(tls));
        }
        let own = self.authority.client(Holder::Root, life())?;
        let tls = Trust::authority(&self.authority.certificate())?.client(Some(&own))?;
        *made = Some((Instant::now(), Arc::clone(&tls)));
        Ok(tls)
    }

    /// Exchanges what the ports show in time, until the token is cancelled; what was made elsewhere as soon as its files
    /// change.
    pub async fn renew(self: Arc<Self>, shutdown: CancellationToken) {
        tokio::join!(self.renew_own(&shutdown), self.follow_files(&shutdown));
    }

    async fn follow_files(&self, shutdown: &CancellationToken) {
        let Some(ForUsers {
            brought, showing, ..
        }) = &self.for_users
        else {
            return;
        };
        let mut seen = brought.stamp();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = brought.stamp();
            if now == seen {
                continue;
            }
            seen = now;
            let exchanged = brought.read().map_err(KeysError::from).and_then(|read| {
                showing.exchange(&read)?;
                Ok(read)
            });
            match exchanged {
                Ok(read) => brought.tell(&read, clock::now().wall),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        error,
                        "users are shown the former certificate; it is tried again once a file changes"
                    );
                }
            }
        }
    }

    async fn renew_own(&self, shutdown: &CancellationToken) {
        let mut wait = EXCHANGED;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.exchange() {
                Ok(()) => EXCHANGED,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "cannot exchange the certificate of our ports");
                    AGAIN
                }
            };
        }
    }

    fn exchange(&self) -> Result<(), KeysError> {
        self.showing
            .exchange(&self.authority.server(&self.names, life())?)?;
        tracing::info!("the certificate of our ports was exchanged");
        Ok(())
    }
}

fn life() -> Life {
    Life {
        from: clock::now().wall,
        lasting: LASTING,
    }
}

fn authority(folder: &Path, tier: Tier) -> Result<Authority, KeysError> {
    let (key, certificate) = (folder.join("authority.key"), folder.join("authority.pem"));
    let found = (
        files::read(&key, Readers::Owner)?,
        files::read(&certificate, Readers::Everybody)?,
    );
    match found {
        (Some(key), Some(certificate)) => Ok(Authority::load(&Key::from_pem(&key)?, &certificate)?),
        (None, None) => {
            make_private(folder).map_err(|source| KeysError::Folder {
                path: folder.to_owned(),
                source,
            })?;
            let (authority, made) = Authority::make(tier.as_str(), clock::now().wall)?;
            // The key comes last: without it nobody has seen the certificate, and both are made again.
            files::write(&certificate, &authority.certificate(), Readers::Everybody)?;
            files::write(&key, &made.to_pem(), Readers::Owner)?;
            tracing::info!(authority = %authority.pin(), "this store has an authority of its own now");
            Ok(authority)
        }
        (Some(_), None) => Err(KeysError::Half { path: certificate }),
        (None, Some(_)) => Err(KeysError::Half { path: key }),
    }
}

/// By which names the machine itself, and others as far as is known, dial ports on these addresses: its own ones, its
/// host name, and what is advertised.
pub fn names(ports: &[SocketAddr], advertised: Option<&str>) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec();
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let (all, named): (Vec<_>, Vec<_>) = ports
        .iter()
        .map(|port| port.ip().to_canonical())
        .partition(IpAddr::is_unspecified);
    let machine = if all.is_empty() {
        Vec::new()
    } else {
        addresses()
    };
    let more = named
        .iter()
        .map(IpAddr::to_string)
        .chain(machine)
        .chain(advertised.map(str::to_owned))
        .chain([host]);
    for name in more.filter(|name| !name.is_empty() && name.is_ascii()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The URL of a port: plain text where this machine, or everybody, may use that.
pub fn url(port: SocketAddr, insecure: bool) -> String {
    let near = port.ip().to_canonical().is_loopback();
    let scheme = if near || insecure { "http" } else { "https" };
    format!("{scheme}://{port}")
}

/// Where others dial a port, the likeliest first: what is advertised, or the addresses that it listens on.
pub fn places(port: SocketAddr, advertised: Option<&str>) -> Vec<String> {
    let number = port.port();
    let at = |host: &str| match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("[{host}]:{number}"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("{host}:{number}"),
    };
    if let Some(host) = advertised {
        return vec![at(host)];
    }
    if !port.ip().is_unspecified() {
        return vec![at(&port.ip().to_canonical().to_string())];
    }
    let near = |host: &String| {
        let address = host.parse::<IpAddr>();
        // A link-local address means nothing without the link.
        !address.is_ok_and(|it| {
            it.is_loopback() || matches!(it, IpAddr::V6(it) if it.is_unicast_link_local())
        })
    };
    let far: Vec<_> = addresses().into_iter().filter(near).collect();
    let mut places: Vec<_> = far.iter().map(|host| at(host)).take(PLACES - 1).collect();
    places.push(at("127.0.0.1"));
    places
}

/// The URL by which others reach a port: the likeliest of its [`places`]. What is advertised does not lead to one on loopback.
pub fn reached(port: SocketAddr, advertised: Option<&str>, insecure: bool) -> String {
    let advertised = advertised.filter(|_| !port.ip().to_canonical().is_loopback());
    let place = places(port, advertised).into_iter().next();
    let place = place.unwrap_or_default();
    let host = dial::authority(&place).map(|(host, _port)| host);
    let plain = host.is_none_or(|host| dial::plain_allowed(&host, insecure));
    let scheme = if plain { "http" } else { "https" };
    format!("{scheme}://{place}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(dir: &Path) -> Result<Keys, KeysError> {
        Keys::open(StoreKind::Embedded, dir, Tier::Root, names(&[], None))
    }

    #[test]
    fn an_authority_is_made_once_and_its_key_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap().authority.pin();
        assert_eq!(open(dir.path()).unwrap().authority.pin(), first);
        let key = dir.path().join("identity/authority.key");
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_file(&key).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("authority.key is not there"), "{error}");
    }

    #[test]
    fn others_reach_a_port_where_it_is_advertised_or_listens() {
        let of =
            |port: &str, advertised, insecure| reached(port.parse().unwrap(), advertised, insecure);
        assert_eq!(of("127.0.0.1:7", None, false), "http://127.0.0.1:7");
        assert_eq!(of("[::1]:7", None, false), "http://[::1]:7");
        assert_eq!(of("192.0.2.1:7", None, false), "https://192.0.2.1:7");
        assert_eq!(of("192.0.2.1:7", None, true), "http://192.0.2.1:7");
        assert_eq!(
            of("[2001:db8::1]:7", None, false),
            "https://[2001:db8::1]:7"
        );
        let advertised = Some("edge.example");
        assert_eq!(
            of("192.0.2.1:7", advertised, false),
            "https://edge.example:7"
        );
        // Nobody listens there for others.
        assert_eq!(of("127.0.0.1:7", advertised, false), "http://127.0.0.1:7");
        assert_eq!(of("0.0.0.0:7", advertised, true), "http://edge.example:7");
        let anywhere = of("0.0.0.0:7", None, false);
        assert!(!anywhere.contains("0.0.0.0"), "{anywhere}");
    }

    #[test]
    fn names_are_those_of_the_machine_and_what_is_advertised() {
        let ports = ["0.0.0.0:1", "192.0.2.7:2", "127.0.0.1:3"].map(|port| port.parse().unwrap());
        let names = names(&ports, Some("root.example"));
        for name in ["localhost", "::1", "192.0.2.7", "root.example"] {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        assert!(!names.contains(&"0.0.0.0".to_owned()));
        assert_eq!(names.iter().filter(|name| *name == "127.0.0.1").count(), 1);
    }
}
