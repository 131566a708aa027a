//! Which root is dialled, and how this cluster comes to have something to show there.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon::dial::Dialled;
use identity::{Holder, JoinToken, Joining};
use joining::{Address, Approach, EntryError, Membership, MembershipError, Wanted};
use model::id::ClusterId;
use orchestrator::{StoreAt, with_sources};

use crate::ClusterError;
use crate::config::Config;

/// How long the root may take to let a cluster join.
const PATIENCE: Duration = Duration::from_secs(5);
/// The folder of the membership in the data directory: beside the cluster's own authority, to which it is nothing.
const FOLDER: &str = "identity/root";

/// The root that a cluster joins.
const ROOT: Dialled = Dialled {
    option: "--root",
    schemes: &["http", "ws"],
    secure: &["https", "wss"],
    path: true,
    example: "http://192.0.2.1:10000",
};

/// The root, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) enum Root {
    /// It can be dialled.
    Known(Approach),
    /// It is to be joined first.
    ToJoin(Entry),
}

/// How a root is joined.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    token: JoinToken,
    folder: PathBuf,
    url: Option<String>,
}

/// Why a root was not joined.
#[derive(Debug, thiserror::Error)]
#[error("cannot become a cluster of the root")]
pub(crate) enum RootError {
    /// It did not let us.
    Entry(#[from] EntryError),
    /// It cannot be dialled afterwards.
    Approach(#[from] joining::ApproachError),
}

impl RootError {
    /// Whether the same will come of it until somebody does something about it.
    fn is_final(&self) -> bool {
        match self {
            Self::Entry(EntryError::Join(error)) => error.is_final(),
            Self::Entry(_) | Self::Approach(_) => true,
        }
    }
}

impl Root {
    /// Where it is, for people.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Known(approach) => &approach.url,
            Self::ToJoin(entry) => entry.token.places.first().map_or("", String::as_str),
        }
    }

    /// The cluster that the root knows this one as, where it has joined.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        match self {
            Self::Known(approach) => match approach.holder() {
                Some(Holder::Cluster(cluster)) => Some(cluster),
                Some(Holder::Worker(_) | Holder::Root) | None => None,
            },
            Self::ToJoin(_) => None,
        }
    }
}

impl Entry {
    /// Joins, or has joined: where the root is.
    ///
    /// # Errors
    /// When the root is not there or does not want this cluster, or what it gives cannot be kept.
    pub(crate) async fn enter(&self) -> Result<Approach, RootError> {
        let wanted = Wanted {
            folder: &self.folder,
            joining: Joining::Cluster,
            token: Some(&self.token),
            anew: false,
            patience: PATIENCE,
        };
        let membership = Box::pin(joining::enter(wanted)).await?;
        // With a token there is one.
        let membership = membership.ok_or_else(|| MembershipError::Torn {
            path: self.folder.clone(),
        });
        let membership = membership.map_err(EntryError::from)?;
        Ok(Approach::joined(membership, ROOT, self.url.as_deref())?)
    }
}

/// The host of a root's URL, which was checked before.
pub(crate) fn root_host(url: &str) -> Option<String> {
    ROOT.read(url, true).ok().map(|root| root.host)
}

impl Config {
    fn membership_dir(&self) -> PathBuf {
        self.data_dir.join(FOLDER)
    }

    /// As whom this cluster has joined its root, if it has. A store in memory has nothing of the kind.
    fn membership(&self) -> Result<Option<Membership>, ClusterError> {
        if self.store == StoreAt::Memory {
            return Ok(None);
        }
        let membership = Membership::load(&self.membership_dir());
        membership.map_err(|error| ClusterError::DataDir {
            path: self.membership_dir(),
            source: io::Error::other(error),
        })
    }

    fn token(&self, is_needed: bool) -> Result<Option<JoinToken>, String> {
        let file = self.join_token_file.as_deref();
        let token = joining::given(self.join_token.as_deref(), file, is_needed);
        let token = token.map_err(|error| with_sources(&error))?;
        if token.is_some() && self.store == StoreAt::Memory {
            let fault = "--join-token needs --store embedded: what a root gives is kept in the data directory";
            return Err(fault.to_owned());
        }
        Ok(token)
    }

    /// What is wrong with the options that say where the root is and what it is shown.
    ///
    /// # Errors
    /// When what is on the disk cannot be used.
    pub(crate) fn wrong_root(&self) -> Result<Vec<String>, ClusterError> {
        let membership = self.membership()?;
        let has_joined = membership.is_some();
        let token = self.token(!has_joined);
        // Who is to join learns from the token where the root is and whom to believe.
        let root = if has_joined || matches!(token, Ok(None)) {
            self.approach(membership).map(drop)
        } else {
            let read = self.root.as_deref().map(|url| ROOT.read(url, true));
            let read = read.transpose().map(drop);
            read.map_err(|error| error.to_string())
        };
        Ok([token.err(), root.err()].into_iter().flatten().collect())
    }

    fn approach(&self, membership: Option<Membership>) -> Result<Option<Approach>, String> {
        let url = self.root.as_deref();
        let approach = match (membership, url) {
            (Some(membership), url) => Approach::joined(membership, ROOT, url),
            (None, Some(url)) => Approach::open(Address {
                dialled: ROOT,
                server: "root",
                url,
                insecure: self.insecure,
                ca: self.ca.as_deref(),
            }),
            (None, None) => return Ok(None),
        };
        approach.map(Some).map_err(|error| with_sources(&error))
    }

    /// The root: that of `--root`, or the one that was joined, which is done now where a token says so. `None`: this cluster
    /// works alone. A root that is away is joined later. `was`: who this cluster was by its store.
    ///
    /// # Errors
    /// When the root does not want this cluster, or this cluster is somebody else.
    pub(crate) async fn root(&self, was: Option<ClusterId>) -> Result<Option<Root>, ClusterError> {
        let there = self.membership()?;
        let token = self.token(there.is_none()).map_err(ClusterError::Config)?;
        let has_joined = there.is_some();
        let known = self.approach(there).map_err(ClusterError::Config);
        let known = if has_joined || token.is_none() {
            known?.map(Root::Known)
        } else {
            None
        };
        let id = known.as_ref().and_then(Root::cluster);
        if let Some(was) = was
            && (has_joined || token.is_some())
            && id != Some(was)
        {
            return Err(ClusterError::Config(format!(
                "the data directory {} is that of {was}, which registered without a certificate or with another one, and a token \
                 makes a new cluster; go on without the token, or join with an empty --data-dir",
                self.data_dir.display()
            )));
        }
        let Some(token) = token else {
            return Ok(known);
        };
        let entry = Entry {
            token,
            folder: self.membership_dir(),
            url: self.root.clone(),
        };
        match entry.enter().await {
            Ok(approach) => Ok(Some(Root::Known(approach))),
            Err(error) if error.is_final() => Err(ClusterError::Config(with_sources(&error))),
            Err(error) => {
                let reason = with_sources(&error);
                tracing::warn!(reason, "the root is not joined yet");
                Ok(Some(Root::ToJoin(entry)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::Secret;
    use model::id::JoinTokenId;

    use super::*;

    fn config(folder: &std::path::Path) -> Config {
        Config {
            data_dir: folder.to_owned(),
            ..Config::default()
        }
    }

    fn token(joining: Joining) -> String {
        let token = JoinToken {
            joining,
            places: vec!["127.0.0.1:1".to_owned()],
            pin: "A".repeat(43).parse().unwrap(),
            id: JoinTokenId::from_bits(1),
            secret: Secret::make().unwrap(),
        };
        token.reveal()
    }

    #[test]
    fn plain_text_to_a_root_elsewhere_needs_a_flag() {
        let folder = tempfile::tempdir().unwrap();
        let of = |root: &str, insecure| {
            let config = Config {
                root: Some(root.to_owned()),
                insecure,
                ..config(folder.path())
            };
            config.wrong_root().unwrap().is_empty()
        };
        assert!(of("http://127.0.0.1", false));
        assert!(!of("http://192.0.2.1:7", false));
        assert!(of("http://192.0.2.1:7", true));
        assert!(!of("ftp://127.0.0.1", true));
    }

    #[test]
    fn a_token_says_where_the_root_is_and_whom_to_believe() {
        let folder = tempfile::tempdir().unwrap();
        let of = |root: Option<&str>, store| {
            let config = Config {
                root: root.map(str::to_owned),
                join_token: Some(token(Joining::Cluster)),
                store,
                ..config(folder.path())
            };
            config.wrong_root().unwrap()
        };
        for root in [None, Some("https://192.0.2.1"), Some("http://192.0.2.1")] {
            assert_eq!(of(root, StoreAt::Embedded), [""; 0]);
        }
        assert!(of(Some("nonsense"), StoreAt::Embedded)[0].contains("--root"));
        assert!(of(None, StoreAt::Memory)[0].contains("--store embedded"));
    }

    #[tokio::test]
    async fn a_root_that_is_away_is_joined_later_and_what_cannot_be_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let of = |joining| Config {
            join_token: Some(token(joining)),
            ..config(folder.path())
        };
        let root = of(Joining::Cluster).root(None).await.unwrap().unwrap();
        assert!(matches!(root, Root::ToJoin(_)) && root.shown() == "127.0.0.1:1");
        let wrong = of(Joining::Worker).root(None).await.unwrap_err();
        assert!(wrong.to_string().contains("lets a worker join"), "{wrong}");
        let was = Some(ClusterId::from_bits(7));
        let stranger = of(Joining::Cluster).root(was).await.unwrap_err();
        assert!(stranger.to_string().contains("empty --data-dir"));
        // Without a token nothing changes for a cluster that registers openly.
        assert!(config(folder.path()).root(was).await.unwrap().is_none());
    }
}
