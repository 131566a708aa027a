//! As whom a container runs.
//!
//! Nobody is root who did not ask for it. What an image says is taken where it is certainly somebody else: a number can be
//! judged at once; whom a name means stands in the image's own list of users. That is read without the volumes and files
//! of a document, and the container is made with the number, so that nothing can change what the name means in between.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bollard::errors::Error;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt;
use model::security::User;
use model::workload::Workload;

use super::Shared;
use super::fault::status;
use crate::runtime::Identity;

/// The image's list of users.
const USERS: &str = "/etc/passwd";
/// A list that is longer is not read.
const LONGEST: usize = 1 << 20;
/// Blocks of a tar archive, of which the first is a header.
const BLOCK: usize = 512;
/// Images whose users are remembered, at most.
const REMEMBERED: usize = 1_000;

/// As whom a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// As its root.
    Root,
    /// As a user of that number.
    User {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// As the image says, which names a user by number.
    OfImage {
        /// The user.
        uid: u32,
    },
}

impl Account {
    /// A user with the group of the same number.
    pub(super) const fn user(id: u32) -> Self {
        Self::User { uid: id, gid: id }
    }

    /// What the engine is asked for; nothing where it is to do as the image says.
    pub(super) fn asked(self) -> Option<String> {
        match self {
            Self::Root => Some("0:0".to_owned()),
            Self::User { uid, gid } => Some(format!("{uid}:{gid}")),
            Self::OfImage { .. } => None,
        }
    }
}

/// Whom images mean by a name, by their ids, which mean the same for ever.
#[derive(Debug, Default)]
pub(super) struct Named(Mutex<HashMap<String, Option<Account>>>);

/// What an image says.
#[derive(Debug, PartialEq, Eq)]
enum Said<'i> {
    /// Root, or nothing, which means root.
    Root,
    Number(u32),
    Name(&'i str),
}

impl<'i> Said<'i> {
    fn of(user: &'i str) -> Self {
        let name = user.split(':').next().unwrap_or_default();
        match (name, name.parse()) {
            ("" | "root", _) | (_, Ok(0)) => Self::Root,
            (_, Ok(uid)) => Self::Number(uid),
            (name, Err(_)) => Self::Name(name),
        }
    }
}

impl Shared {
    /// As whom the container of a workload is made. The image must be there unless its document says it.
    pub(super) async fn account(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
        workload: &Workload,
    ) -> Result<Account, Error> {
        match workload.security.user {
            Some(User::Root) => return Ok(Account::Root),
            Some(User::Id(id)) => return Ok(Account::user(id.get())),
            None => {}
        }
        let image = workload.image.as_deref().unwrap_or_default();
        let inspected = docker.inspect_image(image).await?;
        let user = inspected.config.and_then(|config| config.user);
        let account = match Said::of(user.as_deref().unwrap_or_default()) {
            Said::Root => None,
            Said::Number(uid) => Some(Account::OfImage { uid }),
            Said::Name(name) => {
                let id = inspected.id.unwrap_or_else(|| image.to_owned());
                self.named(docker, identity, id, name).await?
            }
        };
        Ok(account.unwrap_or_else(|| Account::user(self.host.user)))
    }

    /// Whom an image means by a name; `None` for root and for nobody.
    async fn named(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
        image: String,
        name: &str,
    ) -> Result<Option<Account>, Error> {
        let Named(named) = &self.named;
        let lock = || named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&image) {
            return Ok(*known);
        }
        let holder = self.hold(docker, identity, &image, Vec::new()).await?;
        let users = users(docker, &holder).await;
        self.remove(docker, &holder).await?;
        let found = text_of(&users?).and_then(|users| find(&users, name));
        let mut named = lock();
        if named.len() >= REMEMBERED {
            named.clear();
        }
        named.insert(image, found);
        Ok(found)
    }
}

/// The archive that holds a container's list of users; empty where there is none.
async fn users(docker: &bollard::Docker, container: &str) -> Result<Vec<u8>, Error> {
    let options = DownloadFromContainerOptionsBuilder::new()
        .path(USERS)
        .build();
    let mut pieces = Box::pin(docker.download_from_container(container, Some(options)));
    let mut archive = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) if archive.len() + piece.len() <= LONGEST => {
                archive.extend_from_slice(&piece);
            }
            // What is too long to be one is none.
            Ok(_) => return Ok(Vec::new()),
            Err(error) if status(&error) == Some(404) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    Ok(archive)
}

/// The content of the one plain file in an archive; a link to one is none.
fn text_of(archive: &[u8]) -> Option<String> {
    let (header, rest) = archive.split_at_checked(BLOCK)?;
    if !matches!(header.get(156), Some(b'0' | 0)) {
        return None;
    }
    let size = std::str::from_utf8(header.get(124..136)?).ok()?;
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
    String::from_utf8(rest.get(..size)?.to_vec()).ok()
}

/// The first user of that name, unless it is root.
fn find(users: &str, name: &str) -> Option<Account> {
    let mut fields = users
        .lines()
        .map(|line| line.trim().split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid > 0)?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account::User { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_who_it_runs_as() {
        for (user, said) in [
            ("", Said::Root),
            ("0", Said::Root),
            ("0:1000", Said::Root),
            ("00", Said::Root),
            ("root", Said::Root),
            ("root:adm", Said::Root),
            ("101", Said::Number(101)),
            ("101:0", Said::Number(101)),
            ("nginx", Said::Name("nginx")),
            ("app:app", Said::Name("app")),
            ("4294967296", Said::Name("4294967296")),
        ] {
            assert_eq!(Said::of(user), said, "{user:?}");
        }
    }

    #[test]
    fn a_name_is_what_the_image_s_list_says() {
        let users = "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n app:x:1000:50::/:/bin/sh\napp:x:0:0:::\nodd:x\nhalf:x:7\n";
        let app = Account::User {
            uid: 1_000,
            gid: 50,
        };
        for (name, account) in [
            ("app", Some(app)),
            ("toor", None),
            ("odd", None),
            ("half", None),
            ("nobody", None),
            ("ap", None),
        ] {
            assert_eq!(find(users, name), account, "{name}");
        }
        let mut archive = vec![0; 2 * BLOCK];
        archive[124..136].copy_from_slice(b"00000000003\0");
        archive[BLOCK..BLOCK + 3].copy_from_slice(b"a:b");
        assert_eq!(text_of(&archive).as_deref(), Some("a:b"));
        archive[156] = b'2';
        assert_eq!(text_of(&archive), None, "a link");
        assert_eq!(text_of(&archive[..100]), None);
    }
}
