//! What joining leaves on the disk.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::clock::wall_millis;
use identity::files::{self, FileError, Readers};
use identity::{Holder, JoinToken, Joining, Key, KeyError, Pin, Validity, ValidityError};
use model::time::Wall;
use serde::{Deserialize, Serialize};

use crate::client::{self, JoinError, Joined, kind, tier};

/// The key; for its owner alone.
const KEY: &str = "key.pem";
/// One's certificate.
const CERTIFICATE: &str = "certificate.pem";
/// That of the authority that issued it.
const AUTHORITY: &str = "authority.pem";
/// What certificates do not say. Written last: without it nobody has joined.
const MEMBERSHIP: &str = "membership.json";

/// Who one is, to whom, and where that is: a folder with a key, a certificate and the authority that issued it.
#[derive(Debug, Clone)]
pub struct Membership {
    folder: PathBuf,
    key: Arc<Key>,
    places: Vec<String>,
    joined: Joined,
    received_at: Wall,
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// The worker's or cluster's id.
    id: String,
    /// Where it joined, and other addresses of the same, as `host:port`.
    places: Vec<String>,
    /// When the certificate came, in milliseconds since 1970 by the own clock, however wrong that is.
    received_at_ms: i64,
}

/// Why a membership cannot be kept, or used.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder.
    #[error("cannot make {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key is none.
    #[error("{} cannot be used; put its copy back, or remove it and join with a new token", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A key cannot be made.
    #[error(transparent)]
    Make(KeyError),
    /// A file is missing, or half of one.
    #[error("{} is not whole; put its copy back, or remove it and join again", path.display())]
    Torn {
        /// The file that cannot be used.
        path: PathBuf,
    },
    /// The certificate is not one of the authority beside it.
    #[error("the certificate in {} cannot be used; put a copy of the folder back, or remove it and join again", path.display())]
    Certificate {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: ValidityError,
    },
}

/// Why a start does not become, or stay, a member.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The folder cannot be used.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Nobody let it in.
    #[error("cannot join")]
    Join(#[from] JoinError),
    /// It belongs to somebody else already.
    #[error(
        "{} says that this {} has joined {place} already, whose authority is another than the token's; \
         go on there without the token, or take an empty --data-dir to join elsewhere",
        path.display(), tier(*.wanted)
    )]
    Elsewhere {
        /// The folder.
        path: PathBuf,
        /// Where it joined.
        place: String,
        /// What it is.
        wanted: Joining,
    },
    /// It would be somebody else than it was.
    #[error(
        "{} says that this {} is {was}, and the token makes it {now}; \
         take an empty --data-dir for the new one", path.display(), tier(*.wanted)
    )]
    Renamed {
        /// The folder.
        path: PathBuf,
        /// Who it was.
        was: String,
        /// Who it would be.
        now: String,
        /// What it is.
        wanted: Joining,
    },
}

/// What a start wants to be, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// Where the membership is kept.
    pub folder: &'w Path,
    /// As what.
    pub joining: Joining,
    /// By which token, if by any.
    pub token: Option<&'w JoinToken>,
    /// Whether somebody asked for it just now: then also a membership that seems good is looked at.
    pub anew: bool,
    /// How long servers may take.
    pub patience: Duration,
}

/// The membership that is there, or that a token makes; `None` where there is neither.
///
/// A token is used only where nobody has joined yet, or where the certificate that is there is renewed no more. The key is on
/// the disk before the token is sent, and kept whatever comes of that.
///
/// # Errors
/// [`EntryError`]. Servers that are away are an error only to who has not joined.
pub async fn enter(wanted: Wanted<'_>) -> Result<Option<Membership>, EntryError> {
    let there = Membership::load(wanted.folder)?;
    let Some(token) = wanted.token else {
        return Ok(there);
    };
    if token.joining != wanted.joining {
        return Err(JoinError::Purpose {
            is: token.joining,
            wanted: wanted.joining,
        }
        .into());
    }
    let Some(there) = there else {
        let membership = Membership::made(wanted.folder, token, wanted.patience).await?;
        membership.keep()?;
        return Ok(Some(membership));
    };
    if there.pin() != Some(token.pin) {
        return Err(EntryError::Elsewhere {
            path: wanted.folder.to_owned(),
            place: there.place().to_owned(),
            wanted: wanted.joining,
        });
    }
    if !wanted.anew && there.is_fresh() {
        return Ok(Some(there));
    }
    match there.renewed(wanted.patience).await {
        Ok(renewed) => {
            renewed.keep()?;
            Ok(Some(renewed))
        }
        Err(JoinError::Refused { .. }) => {
            let again = Membership::made(wanted.folder, token, wanted.patience).await?;
            if again.holder() != there.holder() {
                return Err(EntryError::Renamed {
                    path: wanted.folder.to_owned(),
                    was: there.holder().id(),
                    now: again.holder().id(),
                    wanted: wanted.joining,
                });
            }
            again.keep()?;
            Ok(Some(again))
        }
        // It may be there later; what there is is kept meanwhile.
        Err(error) => {
            tracing::warn!(error = %error, "cannot look whether the certificate still counts");
            Ok(Some(there))
        }
    }
}

impl Membership {
    /// What is in a folder; `None` where nobody has joined.
    ///
    /// # Errors
    /// When something is there that cannot be used.
    pub fn load(folder: &Path) -> Result<Option<Self>, MembershipError> {
        let file = folder.join(MEMBERSHIP);
        let Some(text) = files::read(&file, Readers::Everybody)? else {
            return Ok(None);
        };
        let torn = |path: &Path| MembershipError::Torn {
            path: path.to_owned(),
        };
        let record: Record = serde_json::from_str(&text).map_err(|_| torn(&file))?;
        let worker = || record.id.parse().ok().map(Holder::Worker);
        let cluster = || record.id.parse().ok().map(Holder::Cluster);
        let holder = worker().or_else(cluster).ok_or_else(|| torn(&file))?;
        if record.places.is_empty() {
            return Err(torn(&file));
        }
        let needed = |name: &str, readers| {
            let path = folder.join(name);
            files::read(&path, readers)?.ok_or_else(|| torn(&path))
        };
        let certificate = needed(CERTIFICATE, Readers::Everybody)?;
        let authority = needed(AUTHORITY, Readers::Everybody)?;
        let key = read_key(&folder.join(KEY), &needed(KEY, Readers::Owner)?)?;
        let validity = Validity::read(&certificate, &authority).map_err(|source| {
            MembershipError::Certificate {
                path: folder.to_owned(),
                source,
            }
        })?;
        Ok(Some(Self {
            folder: folder.to_owned(),
            key: Arc::new(key),
            places: record.places,
            joined: Joined {
                holder,
                certificate,
                authority,
                validity,
            },
            received_at: Wall(record.received_at_ms),
        }))
    }

    /// Joins, with the key that is in the folder or a new one there.
    async fn made(
        folder: &Path,
        token: &JoinToken,
        patience: Duration,
    ) -> Result<Self, EntryError> {
        let key = own_key(folder)?;
        let (place, joined) = client::join(token, &key, patience).await?;
        let others = token.places.iter().filter(|other| **other != place);
        let places = std::iter::once(&place).chain(others).cloned().collect();
        Ok(Self {
            folder: folder.to_owned(),
            key: Arc::new(key),
            places,
            joined,
            received_at: Wall(wall_millis()),
        })
    }

    /// The same with a new certificate; nothing is written yet.
    pub(crate) async fn renewed(&self, patience: Duration) -> Result<Self, JoinError> {
        self.renewed_at(self.place(), patience).await
    }

    /// The same, at an address of the caller's.
    pub(crate) async fn renewed_at(
        &self,
        place: &str,
        patience: Duration,
    ) -> Result<Self, JoinError> {
        let joined = client::renew(place, &self.joined, &self.key, patience).await?;
        Ok(Self {
            joined,
            received_at: Wall(wall_millis()),
            ..self.clone()
        })
    }

    /// Writes it into its folder. What says that one has joined comes last.
    ///
    /// # Errors
    /// When something cannot be written.
    pub(crate) fn keep(&self) -> Result<(), MembershipError> {
        let write = |name: &str, text: &str| {
            files::write(&self.folder.join(name), text, Readers::Everybody)
        };
        write(AUTHORITY, &self.joined.authority)?;
        write(CERTIFICATE, &self.joined.certificate)?;
        let record = Record {
            id: self.holder().id(),
            places: self.places.clone(),
            received_at_ms: self.received_at.0,
        };
        // A struct of texts and numbers always has a JSON.
        write(
            MEMBERSHIP,
            &serde_json::to_string(&record).unwrap_or_default(),
        )?;
        Ok(())
    }

    /// Who one is.
    pub fn holder(&self) -> Holder {
        self.joined.holder
    }

    /// Where one joined, as `host:port`.
    pub fn place(&self) -> &str {
        self.places.first().map_or("", String::as_str)
    }

    /// The authority that one joined; `None` where its certificate cannot be read.
    pub fn pin(&self) -> Option<Pin> {
        Pin::of_pem(&self.joined.authority)
    }

    /// When the certificate begins and ends, by the clock of its authority.
    pub fn validity(&self) -> Validity {
        self.joined.validity
    }

    pub(crate) fn joined(&self) -> &Joined {
        &self.joined
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// How old the certificate is by the machine's clock; `None` where that says that it comes yet.
    pub(crate) fn age(&self) -> Option<Duration> {
        let age = wall_millis().checked_sub(self.received_at.0)?;
        u64::try_from(age).ok().map(Duration::from_millis)
    }

    /// Whether the certificate has not ended, as far as this machine can tell.
    fn is_fresh(&self) -> bool {
        self.age()
            .is_some_and(|age| age < self.validity().lasting())
    }

    /// As what one joined.
    pub fn joining(&self) -> Joining {
        kind(self.holder())
    }
}

/// The key of a folder, made if there is none.
fn own_key(folder: &Path) -> Result<Key, MembershipError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| MembershipError::Folder {
        path: folder.to_owned(),
        source,
    })?;
    let path = folder.join(KEY);
    if let Some(text) = files::read(&path, Readers::Owner)? {
        return read_key(&path, &text);
    }
    let key = Key::make().map_err(MembershipError::Make)?;
    files::write(&path, &key.to_pem(), Readers::Owner)?;
    Ok(key)
}

fn read_key(path: &Path, text: &str) -> Result<Key, MembershipError> {
    Key::from_pem(text).map_err(|source| MembershipError::Key {
        path: path.to_owned(),
        source,
    })
}
