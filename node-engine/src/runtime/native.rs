//! Applications as processes of the worker, each under a small parent of its own (`crate::shim`).
//!
//! All that this runtime knows stands in `<data_dir>/instances/<instance>/`, so a new engine knows it too.

mod account;
mod logs;
mod look;
mod probe;
mod remains;
mod spec;
mod watch;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daemon::crashpoint;
use model::id::{InstanceId, NodeId};
use model::workload::{RuntimeKind, Workload};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub use logs::LogReader;

use look::{Look, look};

use super::keyed::Keyed;
use super::{
    Cause, Exited, Found, Given, Identity, ListError, StartError, Started, Status, StopError,
    TAIL_BYTES, TAIL_LINES,
};
use crate::logs::Wanted;
use crate::logs::kept::Kept;
use crate::logs::standing::Known;
use crate::shim::confine::Confinement;
use crate::shim::record::{Folder, Running, Spec, State};
use crate::shim::{output, process};

/// How long a shim may take to start its application, or to end after its application was killed.
const SHIM: Duration = Duration::from_secs(10);
/// Between two looks at a folder whose shim has not said anything yet.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes that `logs_tail` reads, at most.
const LOG_BYTES: usize = 64 << 10;

/// How the shim is started: this program with these arguments, and the folder after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimCommand {
    /// The executable that holds `crate::shim::main`.
    pub program: PathBuf,
    /// What stands before the folder, as `["shim"]`.
    pub args: Vec<OsString>,
}

/// The native runtime.
#[derive(Debug)]
pub struct Native {
    node: NodeId,
    instances: PathBuf,
    shim: ShimCommand,
    exits: mpsc::Sender<Exited>,
    locks: Keyed,
    watches: Mutex<HashMap<InstanceId, AbortHandle>>,
    said_unlimited: AtomicBool,
    confinement: Box<Confinement>,
    /// The output of instances that are gone.
    kept: Kept,
}

impl Native {
    /// The runtime of `node`, whose folders are in `data_dir`; ends are told to `exits`.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn new(
        node: NodeId,
        data_dir: &Path,
        shim: ShimCommand,
        exits: mpsc::Sender<Exited>,
    ) -> io::Result<Self> {
        let instances = data_dir.join("instances");
        fs::create_dir_all(&instances)?;
        // Shims work elsewhere, so their folder must be named from the root.
        let instances = fs::canonicalize(instances)?;
        let (locks, watches) = (Keyed::default(), Mutex::default());
        Ok(Self {
            node,
            instances,
            shim,
            exits,
            locks,
            watches,
            said_unlimited: AtomicBool::new(false),
            confinement: Box::default(),
            kept: Kept::new(data_dir),
        })
    }

    /// Starts applications within these bounds rather than the usual ones.
    ///
    /// # Errors
    /// When a user of its own cannot be let through to the instances' folders.
    pub fn confined(mut self, confinement: Confinement) -> io::Result<Self> {
        if let Some(account) = confinement.account {
            account::let_through(&self.instances, account)?;
        }
        *self.confinement = confinement;
        Ok(self)
    }

    pub(super) async fn start(
        &self,
        identity: &Identity,
        workload: &Workload,
        given: &Given,
    ) -> Result<Started, StartError> {
        let spec = spec::spec(identity, workload, given, &self.confinement)?;
        let _turn = self.locks.lock(identity.instance).await;
        let folder = self.folder(identity.instance);
        if folder.exists() {
            let look = look(identity.instance, &folder).await;
            match look.map_err(|source| fault("see what an earlier engine left", source))? {
                Look::Running(running) => {
                    self.watch(identity.instance, &folder, &running);
                    return Ok(started(folder.spec().as_ref().unwrap_or(&spec), &running));
                }
                Look::Exited(_) | Look::Created => {
                    clear(&folder)
                        .await
                        .map_err(|source| fault("remove what the last run left", source))?;
                }
            }
        }
        crashpoint!("native.start.unmade");
        let made = folder
            .make(&spec)
            .and_then(|()| self.kept.give_back(identity.instance, &folder.output()));
        let made = made
            .and_then(|()| spec::put_files(&folder.work(), &workload.files))
            .and_then(|()| folder.give(&spec));
        crashpoint!("native.start.made");
        let launched = match made {
            Ok(()) => self.launch(&folder, &spec).await,
            Err(source) => Err(fault("make the instance's folder", source)),
        };
        match launched {
            Ok(running) => {
                crashpoint!("native.start.running");
                self.say_unlimited(&running);
                self.watch(identity.instance, &folder, &running);
                Ok(started(&spec, &running))
            }
            Err(error) => {
                let _ = self.discard(identity.instance, &folder).await;
                Err(error)
            }
        }
    }

    pub(super) async fn stop(
        &self,
        instance: InstanceId,
        grace: Duration,
    ) -> Result<(), StopError> {
        let _turn = self.locks.lock(instance).await;
        let folder = self.folder(instance);
        if !folder.exists() {
            return Ok(());
        }
        crashpoint!("native.stop.asked");
        let look = look(instance, &folder).await;
        let failed = |operation, source: io::Error| StopError {
            instance,
            operation,
            source: source.into(),
        };
        if let Look::Running(running) = look.map_err(|source| failed("look at", source))? {
            self.unwatch(instance);
            if let Err(source) = end(instance, &folder, &running, grace).await {
                self.watch(instance, &folder, &running);
                return Err(failed("kill", source));
            }
        }
        self.unwatch(instance);
        crashpoint!("native.stop.ended");
        self.discard(instance, &folder)
            .await
            .map_err(|source| failed("remove the folder of", source))?;
        crashpoint!("native.stop.removed");
        Ok(())
    }

    pub(super) async fn list(&self) -> Result<Vec<Found>, ListError> {
        let failed = |source: io::Error| ListError {
            runtime: RuntimeKind::Native,
            source: source.into(),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.instances).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(instance) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let _turn = self.locks.lock(instance).await;
            let folder = self.folder(instance);
            let Some(spec) = folder.spec() else {
                tracing::warn!(instance.id = %instance, "a native instance's folder has no readable spec; its next start makes it again");
                continue;
            };
            if spec.node != self.node {
                continue;
            }
            let status = match look(instance, &folder).await.map_err(failed)? {
                Look::Running(running) => {
                    self.watch(instance, &folder, &running);
                    Status::Running(started(&spec, &running))
                }
                Look::Exited(record) => Status::Exited(record.exit(exit_tail(&folder))),
                Look::Created => Status::Created,
            };
            found.push(Found {
                instance,
                spec_hash: spec.spec_hash,
                generation: spec.generation,
                status,
            });
        }
        Ok(found)
    }

    pub(super) fn logs_tail(&self, instance: InstanceId, lines: usize) -> Vec<String> {
        output::tail(&self.folder(instance).output(), 0, lines, LOG_BYTES)
    }

    /// Reads its output, also after its end; `None` when there is none of it.
    pub(super) async fn logs(
        &self,
        instance: InstanceId,
        wanted: Wanted,
        standing: Known,
    ) -> Option<LogReader> {
        let places = logs::Places {
            live: self.folder(instance).output(),
            kept: self.kept.folder(instance),
        };
        LogReader::open(places, wanted, standing).await
    }

    /// Removes all of an instance but the end of its output, which is kept for a while.
    async fn discard(&self, instance: InstanceId, folder: &Folder) -> io::Result<()> {
        remove_groups(folder).await;
        let (kept, folder) = (self.kept.clone(), folder.clone());
        // The application may have left any number of files in it.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = kept.take(instance, &folder.output()) {
                tracing::warn!(instance.id = %instance, %error, "the last output of an instance cannot be kept");
            }
            folder.remove()
        })
        .await?
    }

    fn folder(&self, instance: InstanceId) -> Folder {
        Folder::new(self.instances.join(instance.to_string()))
    }

    /// Starts the shim and waits until it has said what became of the application.
    async fn launch(&self, folder: &Folder, spec: &Spec) -> Result<Running, StartError> {
        let spawned = self.spawn_shim(folder, spec.instance);
        let (shim, mut told) = spawned.map_err(|source| fault("start the shim", source))?;
        crashpoint!("native.start.spawned");
        // Nothing is ever written: the end of the pipe says that the state is there, or that there is no shim any more.
        let end = timeout(SHIM, told.read_u8()).await;
        match folder.state() {
            Some(State::Running(running)) => Ok(running),
            Some(State::Failed { fault, message }) => {
                Err(spec::spawn_failed(&spec.program, fault, message))
            }
            None => {
                // Without its folder nobody would find what it has started, or would still start.
                remains::end_shim(spec.instance, shim).await;
                let why = match end {
                    Err(_) => "it did not answer within 10 s",
                    Ok(_) => "it ended without a word",
                };
                Err(fault("start the shim", why))
            }
        }
    }

    fn spawn_shim(
        &self,
        folder: &Folder,
        instance: InstanceId,
    ) -> io::Result<(Child, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.shim.program);
        command
            .args(&self.shim.args)
            .arg(folder.path())
            // What the engine was told, a token among it, is not for those who can look at its children.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env(remains::SHIM_OF, instance.to_string())
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::null());
        // One that works is not kept: whoever watches its end reaps it, and a later engine is not its parent anyway.
        let shim = command.spawn()?;
        drop(command);
        Ok((shim, pipe::Receiver::from_owned_fd(reader.into())?))
    }

    fn watch(&self, instance: InstanceId, folder: &Folder, running: &Running) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.get(&instance).is_none_or(AbortHandle::is_finished) {
            let (folder, running, exits) = (folder.clone(), running.clone(), self.exits.clone());
            let task = tokio::spawn(async move {
                let record = watch::ended(instance, &folder, &running).await;
                // Nobody listens while the engine ends; the folder keeps the record for the next one.
                let _ = exits
                    .send(Exited {
                        instance,
                        exit: record.exit(exit_tail(&folder)),
                    })
                    .await;
            });
            watches.insert(instance, task.abort_handle());
        }
    }

    fn unwatch(&self, instance: InstanceId) {
        if let Some(task) = self
            .watches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&instance)
        {
            task.abort();
        }
    }

    fn say_unlimited(&self, running: &Running) {
        if let Some(why) = &running.unlimited
            && !self.said_unlimited.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                why,
                "native instances run without their cpu and memory limits"
            );
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        for task in self
            .watches
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            task.abort();
        }
    }
}

/// Asks the application to end, then kills it; returns when nothing of it is left.
async fn end(
    instance: InstanceId,
    folder: &Folder,
    running: &Running,
    grace: Duration,
) -> io::Result<()> {
    let signal = |signal| {
        if process::is(running.pid, running.pid_start) {
            process::signal_group(running.pid, signal)
        } else {
            Ok(())
        }
    };
    signal(Signal::TERM)?;
    if timeout(grace, watch::ended(instance, folder, running))
        .await
        .is_ok()
    {
        return Ok(());
    }
    signal(Signal::KILL)?;
    // The shim kills the rest and records the end.
    timeout(SHIM, watch::ended(instance, folder, running)).await?;
    Ok(())
}

/// Removes what the last run left but its output.
async fn clear(folder: &Folder) -> io::Result<()> {
    remove_groups(folder).await;
    let folder = folder.clone();
    // The application may have left any number of files in it.
    tokio::task::spawn_blocking(move || folder.clear()).await?
}

async fn remove_groups(folder: &Folder) {
    if let Some(State::Running(running)) = folder.state() {
        remains::remove_groups(&running).await;
    }
}

/// The last lines of the last run.
fn exit_tail(folder: &Folder) -> Vec<String> {
    let from = match folder.state() {
        Some(State::Running(running)) => running.output_start,
        Some(State::Failed { .. }) | None => 0,
    };
    output::tail(&folder.output(), from, TAIL_LINES, TAIL_BYTES)
}

fn started(spec: &Spec, running: &Running) -> Started {
    Started {
        since: running.since,
        endpoints: spec.ports.iter().map(|port| (*port).into()).collect(),
    }
}

fn fault(operation: &str, source: impl Into<Cause>) -> StartError {
    StartError::Fault {
        operation: operation.to_owned(),
        source: source.into(),
    }
}
