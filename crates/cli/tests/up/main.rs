//! `edgeio up` from start to stop, as users run it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

mod readme;
mod tour;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn edgeio(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeio"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EDGEIO_") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Processes, with their numbers, that work below this directory: native applications work in their instance's folder, and their shims name
/// it on their command line.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap();
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid = path.file_name()?.to_str()?.to_owned();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let works = std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        (works || line.contains(dir)).then(|| format!("{pid} {line}"))
    });
    named.collect()
}

/// Waits for `done`; what it last said is told when that takes too long.
fn eventually(what: &str, mut done: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(status) = done() {
        assert!(Instant::now() < deadline, "{what}: {status}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A system that runs, killed when the test ends.
struct Running {
    child: Child,
    /// Where its applications work.
    dir: std::path::PathBuf,
    stdout: BufReader<std::process::ChildStdout>,
    root: String,
}

impl Running {
    fn start(dir: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", dir, more)
    }

    /// Starts it at this address.
    fn start_at(http: &str, dir: &Path, more: &[&str]) -> Self {
        let mut args = vec!["up", "--http", http, "--data-dir"];
        args.push(dir.to_str().unwrap());
        args.extend(more);
        Self::spawn(&mut edgeio(&args), dir)
    }

    /// Starts one that leaves nothing behind, with its temporary directory in this one.
    fn start_ephemeral(dir: &Path, more: &[&str]) -> Self {
        let args = [&["up", "--http", "127.0.0.1:0", "--ephemeral"], more].concat();
        Self::spawn(edgeio(&args).env("TMPDIR", dir), dir)
    }

    fn spawn(command: &mut Command, dir: &Path) -> Self {
        let command = command.env("XDG_STATE_HOME", dir.join("state"));
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready");
        let root = ready["root"].as_str().unwrap().to_owned();
        Self {
            child,
            dir: dir.to_owned(),
            stdout,
            root,
        }
    }

    /// Reads what it prints up to a line that begins so.
    fn read_until(&mut self, beginning: &str) {
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "it ended");
        }
    }

    /// A command that asks it, and finds its token by itself.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = edgeio(args);
        command
            .env("EDGEIO_URL", &self.root)
            .env("XDG_STATE_HOME", self.dir.join("state"));
        command
    }

    fn client(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        output
    }

    /// Stops it, and gives the exit code and the rest of what it printed.
    fn stop(mut self) -> (i32, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let begun = Instant::now();
        kill_process(pid, Signal::TERM).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        (code, rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ended already, or the test failed.
        let _ = self.child.kill();
        if std::thread::panicking() {
            let lines = processes_of(&self.dir);
            let pids = lines
                .iter()
                .filter_map(|line| line.split(' ').next()?.parse().ok());
            for pid in pids.filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

#[test]
fn the_demonstration_runs_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let args = [
        "up",
        "--demo",
        "--once",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        path,
    ];
    let output = edgeio(&args).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let ready: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["clusters"].as_array().unwrap().len(), 1);
    let row = out.lines().find(|line| line.starts_with("hello")).unwrap();
    assert!(row.contains("RUNNING") && row.contains("1/1"), "{out}");
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn an_ephemeral_system_of_several_clusters_leaves_nothing_at_a_signal() {
    let temporary = tempfile::tempdir().unwrap();
    let more = ["--clusters", "2", "--workers", "2"];
    let running = Running::start_ephemeral(temporary.path(), &more);
    let clusters = running.client(&["get", "clusters", "-o", "name"]);
    assert_eq!(clusters.stdout, b"cluster/cluster-1\ncluster/cluster-2\n");
    let nodes = running.client(&["get", "nodes"]);
    let nodes = String::from_utf8(nodes.stdout).unwrap();
    for worker in 1..=4 {
        assert!(nodes.contains(&format!("worker-{worker} ")), "{nodes}");
    }
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../sla-examples/two-services.yaml"
    );
    running.client(&["apply", "-f", example]);
    running.client(&["wait", "job/pipeline"]);
    assert!(!processes_of(temporary.path()).is_empty());
    let (code, _) = running.stop();
    assert_eq!(code, 0);
    assert_eq!(processes_of(temporary.path()), [""; 0]);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn applications_outlive_the_system_and_are_adopted_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), &["--demo"]);
    running.read_until("Ctrl-C");
    let (code, rest) = running.stop();
    assert_eq!(code, 0);
    assert!(
        rest.lines().last().unwrap().contains("adopts them"),
        "{rest}"
    );
    let before = processes_of(dir.path());
    assert!(!before.is_empty());

    let running = Running::start(dir.path(), &[]);
    running.client(&["wait", "job/hello"]);
    let after = processes_of(dir.path());
    assert!(
        before.iter().all(|process| after.contains(process)),
        "{before:?} {after:?}"
    );
    // The system itself names the directory, too.
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    running.client(&["delete", "job/hello"]);
    eventually("the application ends", || {
        let left = processes_of(dir.path());
        if left.len() == 1 {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    assert_eq!(running.stop().0, 0);
}

#[test]
fn an_address_in_use_is_told_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let path = dir.path().to_str().unwrap();
    let output = edgeio(&["up", "--http", &address, "--data-dir", path])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains(&address) && err.contains("--http"), "{err}");
}

#[test]
fn options_of_up_that_mean_nothing_are_a_wrong_configuration() {
    let table: [(&[&str], &str); 4] = [
        (&["up", "--once"], "--demo"),
        (&["up", "--clusters", "0", "--workers", "x"], "--workers"),
        (&["up", "--http", "192.0.2.1:1", "--ephemeral"], "0.0.0.0:1"),
        (&["up", "--ephemeral", "--data-dir", "x"], "--data-dir"),
    ];
    for (args, told) in table {
        let output = edgeio(args).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {err}");
        assert!(err.contains(told), "{args:?}: {err}");
    }
}
