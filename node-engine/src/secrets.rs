//! The secrets of applications: what opens them, and where the opened ones are while their applications run.
//!
//! # Flow
//! 1. Keys come with the orders that need them, encrypted for this worker, and are on the disk before the orders are.
//! 2. A start opens the values of its workload ([`Secrets::open`]) and puts what its application reads as files into a folder
//!    in memory ([`Secrets::place`]), from where a container has them mounted, and a native program reads them.
//! 3. The folder goes with the instance. After a reboot it is made anew by the next start, with no cluster in reach.
//!
//! # Guarantees
//! No opened value is on a disk by this program: not in its store, not in the records of native instances, not in its log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use identity::files::FileError;
use model::access::TenantPath;
use model::id::{InstanceId, NodeId};
use model::reason::{Reason, ReasonCode};
use model::secret::{SecretPlace, SecretRef};
use model::workload::{RuntimeKind, Workload};
use protocol::document::is_file_name;
use protocol::message::SecretKey;
use secrets::{About, Keyring, KeyringError, Login, Opened};
use zeroize::Zeroizing;

use crate::shim::confine::{Account, give};
use crate::shim::record::InMemory;

/// The folder of what this worker proves itself with, in the data directory.
const IDENTITY: &str = "identity";
/// Where opened values are, of an engine that runs as root, if that is in memory.
const OF_ROOT: &str = "/run/edgeio-node";
/// Where others are, with the number of the engine's user after it.
const OF_OTHERS: &str = "/dev/shm/edgeio-node";

/// What opens secrets here.
#[derive(Debug)]
pub(crate) struct Secrets {
    keyring: Keyring,
}

/// What one start gives its application: opened values, wiped when this is dropped.
#[derive(Debug, Default)]
pub struct Given {
    /// The folder of its files, in memory; `None` where it has none.
    pub folder: Option<PathBuf>,
    /// Environment variables.
    pub variables: BTreeMap<String, Value>,
    /// With what its image is pulled.
    pub login: Option<Login>,
}

/// An opened value, which nothing prints.
pub struct Value(Opened);

impl Value {
    /// It, as text; what is none has been refused.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value")
    }
}

/// Opened values of a workload, by where they go.
#[derive(Debug, Default)]
pub(crate) struct Unsealed {
    files: BTreeMap<String, Value>,
    variables: BTreeMap<String, Value>,
    login: Option<Login>,
}

impl Secrets {
    /// What the data directory holds.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn load(data_dir: &Path) -> Result<Self, KeyringError> {
        let folder = data_dir.join(IDENTITY);
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        made.map_err(|source| KeyringError::Folder {
            path: folder.clone(),
            source,
        })?;
        Ok(Self {
            keyring: Keyring::open(&folder)?,
        })
    }

    /// For what keys are encrypted that come here; text.
    pub(crate) fn sealing_key(&self) -> String {
        self.keyring.public().to_string()
    }

    /// Keeps keys; whoever waits for it waits for the disk.
    ///
    /// # Errors
    /// When one cannot be kept. Then the order that it came with must not be taken: it will come again.
    pub(crate) fn keep(&self, keys: &[SecretKey]) -> Result<(), FileError> {
        let keys = keys.iter().map(|key| (key.version, key.wrapped.as_str()));
        self.keyring.keep_all(keys)
    }

    /// Forgets the keys to what no workload here has.
    pub(crate) fn tidy<'w>(&self, workloads: impl Iterator<Item = &'w Workload>) {
        self.keyring.tidy(workloads);
    }

    /// The values of a workload.
    ///
    /// # Errors
    /// The first that cannot be opened, with what to do.
    pub(crate) fn open(
        &self,
        tenant: &TenantPath,
        workload: &Workload,
    ) -> Result<Unsealed, Reason> {
        let mut unsealed = Unsealed::default();
        for one in &workload.secrets.uses {
            let value = self.value(tenant, &one.secret)?;
            let name = &one.secret.name;
            match &one.place {
                SecretPlace::File(file) if is_file_name(file) => {
                    unsealed.files.insert(file.clone(), value);
                }
                SecretPlace::File(file) => {
                    return Err(unusable(name, &format!("{file:?} is no name of a file")));
                }
                SecretPlace::Variable(variable) => {
                    let is_text = std::str::from_utf8(&value.0).is_ok() && !value.0.contains(&0);
                    if !is_text {
                        return Err(unusable(
                            name,
                            "it is no text, so it cannot stand in a variable; give it as a file",
                        ));
                    }
                    unsealed.variables.insert(variable.clone(), value);
                }
            }
        }
        if let Some(secret) = &workload.secrets.pull {
            let value = self.value(tenant, secret)?;
            let login = Login::read(&value.0);
            unsealed.login =
                Some(login.map_err(|error| unusable(&secret.name, &error.to_string()))?);
        }
        Ok(unsealed)
    }

    fn value(&self, tenant: &TenantPath, secret: &SecretRef) -> Result<Value, Reason> {
        let sealed = secret.sealed.as_ref().ok_or_else(|| {
            unusable(
                &secret.name,
                "its value did not come with the order; apply the document again",
            )
        })?;
        let about = About {
            tenant,
            name: &secret.name,
            version: sealed.version,
        };
        let key = self.keyring.key(sealed.version).map_err(|_missing| {
            unusable(
                &secret.name,
                "the key to it did not come to this worker; restart the job (edgeio restart)",
            )
        })?;
        let opened = key.open(&about, &sealed.ciphertext);
        opened.map(Value).map_err(|error| {
            unusable(
                &secret.name,
                &format!("{error}; set it again and apply the document"),
            )
        })
    }
}

fn unusable(name: &model::name::Name, why: &str) -> Reason {
    Reason::new(
        ReasonCode::StartFailed,
        format!("cannot open secret {name}: {why}"),
    )
}

/// Where opened values of a worker's instances are: in memory, for its engine alone.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    folder: PathBuf,
    /// Of native programs, where they have a user of their own.
    account: Option<Account>,
}

impl Memory {
    /// That of a worker on this machine.
    pub(crate) fn of(node: NodeId, account: Option<Account>) -> Self {
        let user = rustix::process::geteuid();
        let of_root = PathBuf::from(OF_ROOT);
        // An engine in a container has this folder of its host, or none that is in memory.
        let run = [of_root.as_path(), Path::new("/run")].into_iter();
        let folder = if user.is_root() && run.into_iter().any(is_in_memory) {
            of_root
        } else {
            PathBuf::from(format!("{OF_OTHERS}-{}", user.as_raw()))
        };
        Self {
            folder: folder.join(node.to_string()),
            account,
        }
    }

    /// Puts the files of a start where its application will read them, and hands on the rest.
    ///
    /// # Errors
    /// When there is no place in memory for them.
    pub(crate) fn place(
        &self,
        instance: InstanceId,
        runtime: RuntimeKind,
        unsealed: Unsealed,
    ) -> io::Result<Given> {
        let Unsealed {
            files,
            variables,
            login,
        } = unsealed;
        let native = runtime == RuntimeKind::Native;
        if files.is_empty() && (!native || variables.is_empty()) {
            return Ok(Given {
                folder: None,
                variables,
                login,
            });
        }
        let json = native.then(|| json(&variables)).transpose()?;
        self.make()?;
        let account = self.account.filter(|_| native);
        let ready = InMemory::new(self.folder.join(instance.to_string()));
        let given = InMemory::new(self.folder.join(format!("{instance}.new")));
        let folder = if native {
            ready.path().to_owned()
        } else {
            ready.files()
        };
        let handed = move || Given {
            folder: Some(folder),
            variables,
            login,
        };
        // An instance never gets others, and what runs may have the folder mounted.
        if ready.path().exists() {
            return Ok(handed());
        }
        given.remove()?;
        // Whoever is not the engine gets no further than here, but for a user that has one of the instances.
        let outer = if account.is_some() { 0o711 } else { 0o700 };
        make_folder(given.path(), outer)?;
        make_folder(&given.files(), 0o755)?;
        for (name, value) in &files {
            // In a container it is whoever the application is that reads it.
            let mode = if native { 0o400 } else { 0o444 };
            write(&given.files().join(name), mode, &value.0)?;
        }
        if let Some(json) = json {
            write(&given.variables(), 0o400, &json)?;
        }
        if let Some(account) = account {
            give(&given.files(), account)?;
            fs::set_permissions(given.files(), Permissions::from_mode(0o500))?;
        }
        fs::rename(given.path(), ready.path())?;
        Ok(handed())
    }

    /// Removes what an instance was given.
    pub(crate) fn remove(&self, instance: InstanceId) {
        let given = InMemory::new(self.folder.join(instance.to_string()));
        if let Err(error) = given.remove() {
            tracing::warn!(instance.id = %instance, %error, "the secrets of an instance cannot be removed; they are in memory, and gone with a restart of the machine");
        }
    }

    /// The folder, which must be in memory and nobody else's.
    fn make(&self) -> io::Result<()> {
        let mode = if self.account.is_some() { 0o711 } else { 0o700 };
        if let Some(parent) = self.folder.parent() {
            make_folder(parent, mode)?;
        }
        make_folder(&self.folder, mode)?;
        if !is_in_memory(&self.folder) {
            return Err(io::Error::other(format!(
                "{} is not in memory; mount a tmpfs there",
                self.folder.display()
            )));
        }
        Ok(())
    }
}

/// Types of file systems that are in memory: tmpfs and ramfs (`linux/magic.h`).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

fn is_in_memory(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|found| IN_MEMORY.contains(&(found.f_type as u64)))
}

/// A folder of ours with these rights; one that somebody else made, or a link, is refused.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = path.symlink_metadata()?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!(
            "{} is somebody else's; remove it",
            path.display()
        )));
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Variables as the shim reads them.
fn json(variables: &BTreeMap<String, Value>) -> io::Result<Opened> {
    let texts = variables.iter().map(|(name, value)| (name, value.text()));
    let texts: BTreeMap<&String, Cow<'_, str>> = texts.collect();
    Ok(Zeroizing::new(serde_json::to_vec(&texts)?))
}

fn write(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests;
