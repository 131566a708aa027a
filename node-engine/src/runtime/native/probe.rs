//! Whether a native application is well: its ports are those of the worker, a command runs beside it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitStatus, Stdio};

use model::id::InstanceId;
use model::workload::Probe;
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::Native;
use crate::runtime::probe::{Asked, Unwell, WORDS, connect, get, last_words, within};
use crate::shim::process;
use crate::shim::record::{Folder, State};

impl Native {
    pub(in crate::runtime) async fn probe(
        &self,
        instance: InstanceId,
        asked: &Asked,
    ) -> Result<(), Unwell> {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match &asked.probe {
            Probe::Http { port, path } => {
                let at = at(*port);
                let probe = async { get(&mut connect(at).await?, at, path).await };
                within(asked.timeout, probe).await
            }
            Probe::Tcp { port } => {
                let probe = async { connect(at(*port)).await.map(drop) };
                within(asked.timeout, probe).await
            }
            Probe::Command(command) => {
                let folder = self.folder(instance);
                within(asked.timeout, self.run(&folder, command)).await
            }
        }
    }

    /// Runs a command as the application was run: in its folder, with its environment, within its limits and bounds.
    async fn run(&self, folder: &Folder, command: &[String]) -> Result<(), Unwell> {
        let failed = |error: io::Error| format!("it cannot be run: {error}");
        if command.is_empty() {
            return Err("it names no program".to_owned());
        }
        if folder.spec().is_none() {
            return Err("the instance's folder is gone".to_owned());
        }
        let (reader, writer) = io::pipe().map_err(failed)?;
        // The shim becomes the command: what restricts it must be done by a process of its own.
        let mut child = Command::new(&self.shim.program);
        child
            .args(&self.shim.args)
            .arg(folder.path())
            .args(command)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer);
        let group = Group(child.spawn().map_err(failed)?);
        // The command holds the writing end; as long as it lives the output never ends.
        drop(child);
        limit(folder, &group.0);
        let output = pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        let (status, words) = finish(group, output).await.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(format!("{status}{}", last_words(&words)))
    }
}

/// A process that leads a group, which is killed with it unless it has ended.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // As long as it is not reaped, its number cannot mean another one.
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = process::signal_group(pid, Signal::KILL);
        }
    }
}

/// Puts it into the application's control groups, where it has some: a check has no resources of its own.
fn limit(folder: &Folder, child: &Child) {
    let (Some(State::Running(running)), Some(pid)) = (folder.state(), child.id()) else {
        return;
    };
    for group in &running.cgroups {
        // A check that is over already, or an application that just ended, is no fault.
        let _ = fs::write(group.join("cgroup.procs"), pid.to_string());
    }
}

/// Waits for its end; what it started and left behind may hold the pipe for longer.
async fn finish(mut group: Group, mut output: pipe::Receiver) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut words = Vec::new();
    let mut is_open = true;
    let status = loop {
        // Safe to cancel: a wait, and a read that takes nothing before it is there.
        tokio::select! {
            status = group.0.wait() => break status?,
            read = output.read_buf(&mut words), if is_open => is_open = read? > 0,
        }
        keep_end(&mut words);
    };
    let mut rest = [0; WORDS];
    while let Ok(read @ 1..) = output.try_read(&mut rest) {
        words.extend_from_slice(rest.get(..read).unwrap_or_default());
        keep_end(&mut words);
    }
    Ok((status, words))
}

fn keep_end(words: &mut Vec<u8>) {
    let surplus = words.len().saturating_sub(WORDS);
    words.drain(..surplus);
}
