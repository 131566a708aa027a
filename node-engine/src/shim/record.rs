//! The folder of a native instance, and the records in it: the only thing that engine and shim share.
//!
//! `spec.json` is written by the engine; `state.json` and `exit.json` by the shim. Each is replaced as a whole (write,
//! then rename), so a reader sees an old one or a new one. The shim holds `lock` as long as it lives: whoever can take
//! the lock knows that there is no shim.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::id::{InstanceId, NodeId};
use model::instance::{Endpoint, Exit};
use model::slot::Generation;
use model::time::Wall;
use model::units::{Bytes, Millicores};
use model::workload::{SpecHash, Transport};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::confine::{Account, Confinement, give};

/// The name of the folder of the output.
const OUTPUT: &str = "output";

/// What the shim is to run, and what the engine needs to know it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The worker that made it.
    pub node: NodeId,
    /// The instance.
    pub instance: InstanceId,
    /// What it was made from.
    pub spec_hash: SpecHash,
    /// The generation that it was made for.
    pub generation: Generation,
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Memory limit; zero sets none.
    pub memory: Bytes,
    /// CPU limit; zero sets none.
    pub cpu: Millicores,
    /// Ports that the document names.
    pub ports: Vec<PortRecord>,
    /// Where its secrets are, if it has any; they stand nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<PathBuf>,
    /// Its bounds; `None` in what an older engine wrote, which had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
}

impl Spec {
    /// The user that it has of its own.
    fn account(&self) -> Option<Account> {
        self.confinement.as_ref()?.account
    }
}

/// A published port on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// As the document names it.
    pub container: u16,
    /// On the worker.
    pub host: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

impl From<PortRecord> for Endpoint {
    fn from(port: PortRecord) -> Self {
        Self {
            container_port: port.container,
            host_port: port.host,
            transport: port.transport,
        }
    }
}

/// What the shim made of its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The application was started.
    Running(Running),
    /// It could not be.
    Failed {
        /// What went wrong.
        fault: SpawnFault,
        /// The operating system's words.
        message: String,
    },
}

/// An application that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The application, and its process group.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: tells a reused pid from the application.
    pub pid_start: u64,
    /// The boot that the pids belong to.
    pub boot_id: String,
    /// The shim.
    pub shim_pid: i32,
    /// When the shim was started, as `pid_start`.
    pub shim_start: u64,
    /// When it was started, by this worker's wall clock.
    pub since: Wall,
    /// The groups that limit it; empty without limits.
    pub cgroups: Vec<PathBuf>,
    /// Why the limits are not set though the spec has some.
    pub unlimited: Option<String>,
    /// Where the output of this run begins, counted in bytes from the beginning of the first run.
    #[serde(default)]
    pub output_start: u64,
}

/// Why a program could not be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpawnFault {
    /// There is no such file, or its interpreter is missing.
    NotFound,
    /// It may not be executed.
    NotPermitted,
    /// Anything else.
    Other,
}

/// How the application ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code, when it ended by itself.
    pub code: Option<i32>,
    /// Signal number, when it was killed.
    pub signal: Option<i32>,
    /// Killed by the kernel for memory.
    pub oom: bool,
    /// When.
    pub at: Wall,
}

impl ExitRecord {
    /// The exit as reports carry it.
    pub fn exit(&self, log_tail: Vec<String>) -> Exit {
        Exit {
            code: self.code,
            signal: self.signal,
            oom: self.oom,
            at: self.at,
            log_tail,
        }
    }
}

/// Whether a record must survive a loss of power, or only of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Said nothing after a reboot: the page cache is enough.
    Boot,
    /// Flushed to the disk.
    Disk,
}

/// Whether a shim lives.
#[derive(Debug)]
pub enum Lock {
    /// None does, and none can start while this is held.
    Free(File),
    /// One does.
    Held,
}

/// The folder of the secrets of one instance, which is in memory.
#[derive(Debug, Clone)]
pub struct InMemory {
    path: PathBuf,
}

impl InMemory {
    /// The folder at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the application finds its files.
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// Where a native program's variables are: JSON, for the engine and the shim alone.
    pub fn variables(&self) -> PathBuf {
        self.path.join("variables")
    }

    /// Removes all of it; an absent one is fine.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The folder of one instance.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the application starts.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The folder where the output of all its runs goes.
    pub fn output(&self) -> PathBuf {
        self.path.join(OUTPUT)
    }

    /// Makes the folder with its spec and its lock. A user of its own comes through it to its working folder, and can
    /// neither list it nor read what is in it.
    pub fn make(&self, spec: &Spec) -> io::Result<()> {
        let mode = if spec.account().is_some() {
            0o711
        } else {
            0o700
        };
        let mut dirs = fs::DirBuilder::new();
        dirs.recursive(true).mode(mode).create(&self.path)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))?;
        dirs.mode(0o700).create(self.work())?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.path.join("lock"))?;
        self.write("spec.json", spec, Durability::Boot)
    }

    /// Gives the working folder, as it was made, to the application's user.
    pub fn give(&self, spec: &Spec) -> io::Result<()> {
        spec.account()
            .map_or(Ok(()), |account| give(&self.work(), account))
    }

    /// Removes what an ended run left, but not its output: the next run's goes after it.
    pub fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() == OUTPUT {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes all of it; an absent one is fine.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }

    /// Whether there is such a folder.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The spec; `None` when there is none or it cannot be read.
    pub fn spec(&self) -> Option<Spec> {
        self.read("spec.json")
    }

    /// What the shim made of it.
    pub fn state(&self) -> Option<State> {
        self.read("state.json")
    }

    /// How it ended.
    pub fn exit(&self) -> Option<ExitRecord> {
        self.read("exit.json")
    }

    /// Records what the shim made of the spec. A reboot makes it void, so the page cache is durable enough.
    pub fn set_state(&self, state: &State) -> io::Result<()> {
        self.write("state.json", state, Durability::Boot)
    }

    /// Records the end, for good.
    pub fn set_exit(&self, exit: &ExitRecord) -> io::Result<()> {
        self.write("exit.json", exit, Durability::Disk)
    }

    /// Takes the lock if it is free.
    ///
    /// The file that was locked must still be the one at its path: an engine that makes an abandoned folder again
    /// replaces the file, and a late shim of the old folder must not believe that it holds the new one's.
    pub fn lock(&self) -> io::Result<Lock> {
        let path = self.path.join("lock");
        let file = File::open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Held),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let (ours, there) = (file.metadata()?, fs::metadata(&path)?);
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            Ok(Lock::Free(file))
        } else {
            Ok(Lock::Held)
        }
    }

    /// Whether a shim lives. A folder that cannot be read has none.
    pub fn has_shim(&self) -> bool {
        matches!(self.lock(), Ok(Lock::Held))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path.join(name)).ok()?).ok()
    }

    fn write<T: Serialize>(
        &self,
        name: &str,
        record: &T,
        durability: Durability,
    ) -> io::Result<()> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        if durability == Durability::Disk {
            file.sync_data()?;
        }
        fs::rename(new, path)?;
        if durability == Durability::Disk {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }
}
