//! An engine as a process of its own, and what it runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::id::InstanceId;
use node_engine::shim::record::{Folder, Running, State};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::cluster::DEADLINE;

/// A data directory; what its engines left running is killed at the end.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

/// A running engine; killed when it is dropped.
pub(crate) struct Engine {
    child: Child,
    pub(crate) ready: Value,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The engine will know this authority as its cluster's, as one that joined does.
    pub(crate) fn trust(&self, authority: &str) {
        let folder = self.path().join("identity");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("authority.pem"), authority).unwrap();
    }

    fn command(&self, cluster: &str, runtimes: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_node-engine"));
        command
            .args(["--name", "worker-1", "--runtimes", runtimes])
            .args(["--cluster", cluster, "--crash-backoff", "200ms"])
            .args([
                "--reconnect-max",
                "500ms",
                "--log",
                "info,node_engine=debug",
            ])
            .arg("--data-dir")
            .arg(self.path())
            .stdout(Stdio::piped());
        command
    }

    /// Starts an engine and waits until it is ready.
    pub(crate) fn engine(&self, cluster: &str) -> Engine {
        self.engine_with(cluster, &[])
    }

    /// The same, with more environment variables.
    pub(crate) fn engine_with(&self, cluster: &str, variables: &[(&str, &str)]) -> Engine {
        let mut command = self.command(cluster, "native");
        command.envs(variables.iter().copied());
        Engine::of(command)
    }

    /// One that also uses the container engine of this machine.
    pub(crate) fn engine_with_docker(&self, cluster: &str) -> Engine {
        Engine::of(self.command(cluster, "docker,native"))
    }

    fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_node-engine"));
        command.args(args).args(["--runtimes", "native", "--name"]);
        command.args(["worker-1", "--reconnect-max", "500ms"]);
        command.arg("--data-dir").arg(self.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts an engine that knows its cluster by a token at most, with that on its standard input; and what it says on
    /// standard error.
    pub(crate) async fn joining(&self, args: &[&str], input: &str) -> (Engine, Arc<Mutex<String>>) {
        let mut child = self.bare(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let said = Arc::new(Mutex::new(String::new()));
        let writes = Arc::clone(&said);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                let mut said = writes.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        // It is ready after its cluster answered, which is played here.
        let begun = tokio::task::spawn_blocking(move || Engine::begun(child));
        (begun.await.unwrap(), said)
    }

    /// What `node-engine doctor` says.
    pub(crate) async fn doctor(&self) -> String {
        let mut command = self.bare(&["doctor"]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        String::from_utf8(output.await.unwrap().stdout).unwrap()
    }

    /// The exit code and the log of an engine that does not join.
    pub(crate) async fn refuses(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.bare(args);
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), log)
    }

    /// Writes the policy of its worker's owner.
    pub(crate) fn set_policy(&self, text: &str) {
        std::fs::create_dir_all(self.path()).unwrap();
        std::fs::write(self.path().join("policy.toml"), text).unwrap();
    }

    /// Starts an engine that is to end by itself: its exit code and log.
    pub(crate) fn refused(&self) -> (Option<i32>, String) {
        let mut child = self
            .command("http://127.0.0.1:1", "native")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = String::new();
        child
            .stderr
            .as_mut()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (child.wait().unwrap().code(), log)
    }

    /// The running application of an instance.
    pub(crate) fn application(&self, instance: InstanceId) -> Option<Running> {
        let folder = Folder::new(self.path().join("instances").join(instance.to_string()));
        match folder.state() {
            Some(State::Running(running)) if lives(running.pid) => Some(running),
            Some(State::Running(_) | State::Failed { .. }) | None => None,
        }
    }

    pub(crate) fn pid(&self, instance: InstanceId) -> i32 {
        self.application(instance).expect("it runs").pid
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Ok(folders) = std::fs::read_dir(self.path().join("instances")) else {
            return;
        };
        for folder in folders.flatten() {
            if let Some(State::Running(running)) = Folder::new(folder.path()).state() {
                kill(running.pid);
            }
        }
    }
}

impl Engine {
    fn of(mut command: Command) -> Self {
        Self::begun(command.spawn().unwrap())
    }

    fn begun(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).expect("a ready line");
        Self { child, ready }
    }

    /// Ends it without a chance to do anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits until it has: how it ended, and after how long.
    pub(crate) fn stop(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        (self.child.wait().unwrap(), began.elapsed())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Fails for one that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn kill(pid: i32) {
    let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

/// Waits until something holds.
pub(crate) async fn wait(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
