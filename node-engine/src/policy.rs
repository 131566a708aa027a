//! What the owner of this machine lets others run on it. It is final: no cluster and no root can say otherwise.
//!
//! It comes from a file of the machine (`--policy`), is read once, and is asked before anything is started. What runs
//! already is not asked about again before its next start.
//!
//! # Guarantees
//! - A file that is wrong in any place is no policy: the engine does not start, and says all that is wrong.
//! - Without a file the policy is that of [`Policy::default`]: a container that asks for nothing gets the least, and may ask
//!   for what Docker gives everybody; no path of the machine is given to anybody.
//! - The container engine's socket and this engine's own folder are given to nobody, whatever the file says.
//!
//! # Caveats
//! Links in paths are followed when a start is asked for, a moment before the container engine mounts. Who can write in a
//! folder that is given to others can use that moment; such a folder should be given as a whole, or read-only. The engine waits
//! for its disk meanwhile, so folders on a disk of the network that may not answer are no good ones to give.

mod paths;
mod read;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use model::access::TenantPath;
use model::reason::{Reason, ReasonCode};
use model::security::{Capability, Security, User};
use model::workload::{RuntimeKind, Volume, VolumeSource, Workload};
use protocol::document::{is_clean_path, is_volume_name};

use crate::EngineError;
use crate::config::Config;
use crate::runtime::docker::DEFAULT_USER;
use crate::shim::confine::{Account, Confinement};

use paths::{Guarded, Root};

/// The policy's name in the data directory, where none is named.
const FILE: &str = "policy.toml";

/// A setting with its line in the file; `None` where the file does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule<T> {
    value: T,
    line: Option<usize>,
}

impl<T> Rule<T> {
    const fn default(value: T) -> Self {
        Self { value, line: None }
    }
}

/// What containers may have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Containers {
    /// As whom one runs whose document and image name nobody but root.
    user: Rule<u32>,
    allow_root: Rule<bool>,
    allow_writable: Rule<bool>,
    capabilities: Rule<BTreeSet<Capability>>,
    max_pids: Rule<u32>,
    host_paths: Rule<Vec<Root>>,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            user: Rule::default(DEFAULT_USER),
            allow_root: Rule::default(true),
            allow_writable: Rule::default(true),
            capabilities: Rule::default(Capability::ALL.into()),
            max_pids: Rule::default(4_096),
            host_paths: Rule::default(Vec::new()),
        }
    }
}

/// What native programs may do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Programs {
    enabled: Rule<bool>,
    /// `None`: as the engine.
    user: Rule<Option<Account>>,
    /// Where they may write beside their own folders.
    write: Rule<Vec<PathBuf>>,
    max_processes: Rule<u64>,
    max_files: Rule<u64>,
}

impl Default for Programs {
    fn default() -> Self {
        let usual = Confinement::default();
        Self {
            enabled: Rule::default(true),
            user: Rule::default(None),
            write: Rule::default(Vec::new()),
            max_processes: Rule::default(usual.max_processes),
            max_files: Rule::default(usual.max_files),
        }
    }
}

/// What may run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where it was read from, or would be.
    file: PathBuf,
    /// Whether there is such a file.
    is_there: bool,
    containers: Containers,
    programs: Programs,
    /// Whose jobs this machine takes, with those of all tenants below them, but for those below the root, which are all;
    /// `None`: everybody's.
    tenants: Rule<Option<BTreeSet<TenantPath>>>,
    guarded: Guarded,
}

impl Default for Policy {
    /// That of a machine without a file.
    fn default() -> Self {
        Self {
            file: FILE.into(),
            is_there: false,
            containers: Containers::default(),
            programs: Programs::default(),
            tenants: Rule::default(None),
            guarded: Guarded::default(),
        }
    }
}

/// Whether a machine that names one tenant takes the jobs of the other. Everybody is below `default`, which is therefore
/// itself only.
fn takes(named: &TenantPath, tenant: &TenantPath) -> bool {
    named == tenant || !named.is_root() && tenant.is_within(named)
}

impl Policy {
    /// The policy of a worker with these options.
    ///
    /// # Errors
    /// All that is wrong with its file.
    pub fn load(config: &Config) -> Result<Self, EngineError> {
        let policy = match &config.policy {
            Some(file) => read::file(file).map(Some),
            None => read::file_if_there(&config.data_dir.join(FILE)),
        };
        let policy = policy.map_err(EngineError::Config)?;
        let policy = policy.unwrap_or_else(|| Self {
            file: config.data_dir.join(FILE),
            ..Self::default()
        });
        let guarded = Guarded::of(&config.docker_host, &config.data_dir);
        Ok(Self { guarded, ..policy })
    }

    /// Its file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.is_there.then_some(self.file.as_path())
    }

    /// The user of containers whose document and image name nobody but root.
    pub const fn container_user(&self) -> u32 {
        self.containers.user.value
    }

    /// Whether native programs are started at all.
    pub const fn has_native(&self) -> bool {
        self.programs.enabled.value
    }

    /// Within which bounds native programs are started.
    pub fn confinement(&self) -> Confinement {
        Confinement {
            account: self.programs.user.value,
            write: self.programs.write.value.clone(),
            max_processes: self.programs.max_processes.value,
            max_files: self.programs.max_files.value,
        }
    }

    /// What is started of a workload: itself, with the paths of this machine as they really are.
    ///
    /// # Errors
    /// The first thing that is forbidden here, with the line that forbids it and what to do.
    pub fn admit(&self, tenant: &TenantPath, workload: &Workload) -> Result<Workload, Reason> {
        if let Some(allowed) = &self.tenants.value
            && !allowed.iter().any(|named| takes(named, tenant))
        {
            let allowed: Vec<&str> = allowed.iter().map(TenantPath::as_str).collect();
            return Err(self.forbids(
                format_args!("jobs of tenant {tenant}"),
                format_args!("[tenants] allow = {allowed:?}"),
                self.tenants.line,
                "place the job on another worker",
            ));
        }
        match workload.runtime {
            RuntimeKind::Noop => {}
            RuntimeKind::Native if self.has_native() => {}
            RuntimeKind::Native => {
                return Err(self.forbids(
                    "native programs",
                    "[native] enabled = false",
                    self.programs.enabled.line,
                    "use a container, or place the job on another worker",
                ));
            }
            RuntimeKind::Docker => self.allows(workload)?,
        }
        let volumes = workload.volumes.iter();
        Ok(Workload {
            volumes: volumes
                .map(|volume| self.volume(volume))
                .collect::<Result<_, _>>()?,
            ..workload.clone()
        })
    }

    /// Whether a container may have what it asks for.
    fn allows(&self, workload: &Workload) -> Result<(), Reason> {
        let Containers {
            allow_root,
            allow_writable,
            capabilities,
            max_pids,
            ..
        } = &self.containers;
        let Security {
            user,
            capabilities: asked,
            pids,
            ..
        } = &workload.security;
        if *user == Some(User::Root) && !allow_root.value {
            return Err(self.forbids(
                "containers that run as root",
                "[containers] allow_root = false",
                allow_root.line,
                "write the number of another user as security.user, or leave it out",
            ));
        }
        if !workload.is_read_only() && !allow_writable.value {
            let what = if workload.security.read_only {
                "a root file system that is written to, which `files` is put into"
            } else {
                "a root file system that is not read-only"
            };
            return Err(self.forbids(
                what,
                "[containers] allow_writable = false",
                allow_writable.line,
                "write in /tmp, /run or a volume, and put files into the image",
            ));
        }
        let more: Vec<&str> = asked
            .difference(&capabilities.value)
            .map(|one| one.as_str())
            .collect();
        if !more.is_empty() {
            let given: Vec<&str> = capabilities.value.iter().map(|one| one.as_str()).collect();
            return Err(self.forbids(
                format_args!("the capabilities {}", more.join(", ")),
                format_args!("[containers] capabilities = {given:?}"),
                capabilities.line,
                "leave them out of security.capabilities",
            ));
        }
        // To a container engine 0 means any number.
        if !(1..=max_pids.value).contains(pids) {
            return Err(self.forbids(
                format_args!("{pids} processes in a container"),
                format_args!("[containers] max_pids = {}", max_pids.value),
                max_pids.line,
                "write less as security.pids",
            ));
        }
        Ok(())
    }

    /// A volume whose source is what will really be mounted.
    fn volume(&self, volume: &Volume) -> Result<Volume, Reason> {
        let unclear = |what: &str| {
            let message = format!("{what:?} is no place of a volume; correct it in the document");
            Reason::new(ReasonCode::ForbiddenByWorker, message)
        };
        // An engine reads both in one text, with colons between them and options at its end.
        let is_plain = |path: &str| is_clean_path(path) && path != "/" && !path.contains(':');
        if !is_plain(&volume.target) {
            return Err(unclear(&volume.target));
        }
        let source = match &volume.source {
            VolumeSource::Named(name) if is_volume_name(name) => return Ok(volume.clone()),
            VolumeSource::Named(name) => return Err(unclear(name)),
            VolumeSource::HostPath(path) => path,
        };
        let rule = &self.containers.host_paths;
        let given = self.guarded.given(&rule.value, source, volume.read_only);
        match given {
            Ok(real) if is_plain(&real) => Ok(Volume {
                source: VolumeSource::HostPath(real),
                ..volume.clone()
            }),
            Ok(real) => Err(unclear(&real)),
            Err(refused) => {
                let roots: Vec<String> = rule.value.iter().map(ToString::to_string).collect();
                Err(self.forbids(
                    format_args!("the volume {source}: {refused}"),
                    format_args!("[containers] host_paths = {roots:?}"),
                    rule.line,
                    "use a named volume, or a folder that the worker's owner gives",
                ))
            }
        }
    }

    fn forbids(
        &self,
        what: impl Display,
        rule: impl Display,
        line: Option<usize>,
        remedy: &str,
    ) -> Reason {
        let file = self.file.display();
        let place = match line {
            Some(line) => format!("line {line} of {file}"),
            None => format!("what holds without a line for it in {file}"),
        };
        let message = format!(
            "the policy of this worker forbids {what}; its rule is {rule} ({place}); {remedy}, or ask the worker's owner"
        );
        Reason::new(ReasonCode::ForbiddenByWorker, message)
    }
}

#[cfg(test)]
mod tests;
