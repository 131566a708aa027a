//! What an application in a container may ask for beyond the little that every container gets.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A capability of the kernel that a container may be given.
///
/// These are the ones that Docker gives where nothing is said; there is no word for any other, so nobody can ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    /// Write to the kernel's audit log.
    AuditWrite,
    /// Change who owns a file.
    Chown,
    /// Pass over the permissions of files.
    DacOverride,
    /// Do with any file what only its owner may.
    Fowner,
    /// Keep the set-id bits of a file that is changed.
    Fsetid,
    /// Signal processes of other users.
    Kill,
    /// Make device files.
    Mknod,
    /// Listen on ports below 1024.
    NetBindService,
    /// Use raw sockets.
    NetRaw,
    /// Set capabilities of files.
    Setfcap,
    /// Become another group.
    Setgid,
    /// Change capabilities of processes.
    Setpcap,
    /// Become another user.
    Setuid,
    /// Change the root folder.
    SysChroot,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::AuditWrite,
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Mknod,
        Self::NetBindService,
        Self::NetRaw,
        Self::Setfcap,
        Self::Setgid,
        Self::Setpcap,
        Self::Setuid,
        Self::SysChroot,
    ];

    /// The word in documents and policies, without the kernel's `CAP_`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuditWrite => "AUDIT_WRITE",
            Self::Chown => "CHOWN",
            Self::DacOverride => "DAC_OVERRIDE",
            Self::Fowner => "FOWNER",
            Self::Fsetid => "FSETID",
            Self::Kill => "KILL",
            Self::Mknod => "MKNOD",
            Self::NetBindService => "NET_BIND_SERVICE",
            Self::NetRaw => "NET_RAW",
            Self::Setfcap => "SETFCAP",
            Self::Setgid => "SETGID",
            Self::Setpcap => "SETPCAP",
            Self::Setuid => "SETUID",
            Self::SysChroot => "SYS_CHROOT",
        }
    }

    /// The capability of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// All words, for who wrote another one.
    pub fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As whom a container runs, where its document says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// The container's root, who has the capabilities that are asked for and no other.
    Root,
    /// A user of that number, and the group of the same.
    Id(NonZeroU32),
}

/// What a container asks for; the default asks for nothing and is the least that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// The root file system is read-only, with room to write in `/tmp` and `/run`.
    pub read_only: bool,
    /// As whom it runs; `None`: as the image says if that is not root, else as the user that the worker chose.
    pub user: Option<User>,
    /// Capabilities beside none at all.
    pub capabilities: BTreeSet<Capability>,
    /// Processes and threads at a time, at most.
    pub pids: u32,
}

impl Security {
    /// Where nothing else is said: processes and threads at a time.
    pub const PIDS: u32 = 256;
}

impl Default for Security {
    fn default() -> Self {
        Self {
            read_only: true,
            user: None,
            capabilities: BTreeSet::new(),
            pids: Self::PIDS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_its_word_everywhere() {
        for one in Capability::ALL {
            assert_eq!(Capability::parse(one.as_str()), Some(one));
        }
        assert!(Capability::ALL.is_sorted_by_key(|one| one.as_str()));
        for foreign in ["SYS_ADMIN", "ALL", "CAP_CHOWN", "chown", ""] {
            assert_eq!(Capability::parse(foreign), None, "{foreign}");
        }
    }
}
