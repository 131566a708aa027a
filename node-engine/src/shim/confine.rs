//! The bounds of a native program: its user, its limits, and where it may write.
//!
//! Nothing can be done between fork and exec without unsafe code, and need not be: what a thread gives up, whatever it
//! starts has given up too. So a thread is made that restricts itself, starts the program, and ends; the rest of the
//! process goes on as it was. Limits are those of the whole process that starts the program, which is therefore the shim.
//!
//! # Guarantees
//! - A program never has more privileges than at its start: set-id bits and capabilities of files mean nothing to it.
//! - Where the kernel has Landlock it writes in its own folder, in `/tmp` and its like, on harmless devices, and where the
//!   worker's owner says; and it can neither trace processes that it did not start nor read their variables. Reading and
//!   executing are up to its user's rights alone.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Folders that every program may write in.
const COMMON: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Devices that every program may write to, and what its own descriptors are called.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];
/// The newest version of Landlock whose rules for files are asked for: later ones also restrict what can be done with open
/// devices, which is up to the devices.
const FILES: ABI = ABI::V3;

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// The number of its group; it has no other.
    pub gid: u32,
}

/// Within which bounds a program is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// As whom; `None`: as the shim.
    pub account: Option<Account>,
    /// Folders and devices that it may write beside those of everybody.
    pub write: Vec<PathBuf>,
    /// Processes and threads that its user may have, all programs of that user together.
    pub max_processes: u64,
    /// Files that each of its processes may have open.
    pub max_files: u64,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            account: None,
            write: Vec::new(),
            max_processes: 16_384,
            max_files: 65_536,
        }
    }
}

impl Confinement {
    /// Sets the limits of this process, which what it starts inherits.
    pub(crate) fn limit(&self) {
        for (resource, most) in [
            (Resource::Nproc, self.max_processes),
            (Resource::Nofile, self.max_files),
            // What was in a program's memory is not left on a disk.
            (Resource::Core, 0),
        ] {
            let now = getrlimit(resource);
            let lower = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
            let limit = Rlimit {
                current: lower(now.current),
                maximum: lower(now.maximum),
            };
            // A limit that is lowered can always be set.
            let _ = setrlimit(resource, limit);
        }
    }

    /// Starts a program that writes in `work`, restricted; this process stays as it is.
    pub(crate) fn spawn(&self, work: &Path, command: &mut Command) -> io::Result<Child> {
        self.as_account(command);
        std::thread::scope(|scope| {
            let start = || {
                self.restrict(work)?;
                command.spawn()
            };
            let thread = std::thread::Builder::new()
                .name("start".to_owned())
                .spawn_scoped(scope, start)?;
            let panicked = |_| Err(io::Error::other("the thread that starts it panicked"));
            thread.join().unwrap_or_else(panicked)
        })
    }

    /// Becomes a program that writes in `work`, restricted; returns only why it cannot.
    pub(crate) fn exec(&self, work: &Path, command: &mut Command) -> io::Error {
        self.as_account(command);
        match self.restrict(work) {
            Ok(()) => command.exec(),
            Err(error) => error,
        }
    }

    fn as_account(&self, command: &mut Command) {
        if let Some(account) = self.account {
            // Other groups go with the change of the user.
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Restricts this thread, for good.
    fn restrict(&self, work: &Path) -> io::Result<()> {
        rustix::thread::set_no_new_privs(true)?;
        self.landlock(work).map_err(io::Error::other)
    }

    fn landlock(&self, work: &Path) -> Result<(), RulesetError> {
        let everything = AccessFs::from_write(FILES);
        let own = [work].into_iter();
        let common = COMMON.iter().chain(&DEVICES).map(Path::new);
        let given = self.write.iter().map(PathBuf::as_path);
        // What is not there is left out, and so is what this kernel does not know.
        Ruleset::default()
            .handle_access(everything)?
            .create()?
            .add_rules(path_beneath_rules(
                own.chain(common).chain(given),
                everything,
            ))?
            .restrict_self()?;
        Ok(())
    }
}

/// Whether this kernel restricts where programs write.
pub(crate) fn is_enforced() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let asked = ruleset.handle_access(AccessFs::from_write(ABI::V1));
    asked.is_ok_and(|ruleset| ruleset.create().is_ok())
}

/// Gives a folder that is new, and all that is in it, to a user.
pub(crate) fn give(path: &Path, account: Account) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(account.uid), Some(account.gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), account)?;
        }
    }
    Ok(())
}
