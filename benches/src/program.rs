//! One program as a process, which ends with the value that owns it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How long a program may take until it is ready.
const READY: Duration = Duration::from_secs(30);
/// Lines of its log that are shown when it does not start.
const TAIL: usize = 12;

/// The token of the administrator of every orchestrator that is measured.
pub(crate) const TOKEN: &str =
    "eio_pat_00000000000000000000000001_dGhlLXRlc3RzLWFkbWluaXN0cmF0b3ItaGFzLXRoaXM_ed3b8846";

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// The tiers' names.
    pub(crate) const TIERS: [&'static str; 3] =
        ["root-orchestrator", "cluster-orchestrator", "node-engine"];

    /// Those beside this program, or in a directory that is named; all must be there.
    pub(crate) fn beside_own(named: Option<&Path>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let own = own.parent().unwrap_or_else(|| Path::new("."));
        let profile = match own.file_name().and_then(std::ffi::OsStr::to_str) {
            None | Some("debug") => String::new(),
            Some("release") => "--release ".to_owned(),
            Some(other) => format!("--profile {other} "),
        };
        Self::within(named.unwrap_or(own), &profile)
    }

    /// Those in a directory; `how` is the part of the cargo command that builds them there.
    pub(crate) fn within(directory: &Path, how: &str) -> anyhow::Result<Self> {
        let is_missing = |name: &&&str| !directory.join(name).is_file();
        let missing: Vec<&&str> = Self::TIERS.iter().filter(is_missing).collect();
        if missing.is_empty() {
            let directory = directory.to_owned();
            return Ok(Self { directory });
        }
        let builds: Vec<String> = missing.iter().map(|name| format!("-p {name}")).collect();
        bail!(
            "not in {}; build what is missing with: cargo build {how}{}",
            directory.display(),
            builds.join(" ")
        )
    }

    /// A program's file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its process.
    pub(crate) pid: u32,
    /// What its ready line said.
    ready: Value,
    _child: Child,
    /// Kept open, since a closed one would be an error for it.
    _out: BufReader<ChildStdout>,
}

impl Program {
    /// Starts a program and waits until it says that it is ready. Its log is `<directory>/<name>.log`.
    pub(crate) async fn start(
        path: &Path,
        name: &str,
        directory: &Path,
        args: &[String],
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new(path);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("EDGEIO_") {
                command.env_remove(variable);
            }
        }
        if path.to_string_lossy().ends_with("-orchestrator") {
            let token = directory.join("admin.token");
            let mut file = File::options();
            file.write(true).create(true).truncate(true).mode(0o600);
            file.open(&token)?.write_all(TOKEN.as_bytes())?;
            command.arg("--admin-token-file").arg(token);
        }
        command
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", path.display()))?;
        let pid = child.id().context("it has ended already")?;
        let out = child.stdout.take().context("it has no standard output")?;
        let mut out = BufReader::new(out);
        let mut line = String::new();
        let read = tokio::time::timeout(READY, out.read_line(&mut line)).await;
        let ready = match read {
            Ok(Ok(_)) => serde_json::from_str(&line).ok(),
            Ok(Err(_)) | Err(_) => None,
        };
        let Some(ready) = ready else {
            bail!("{name} is not ready:\n{}", tail(&log));
        };
        Ok(Self {
            pid,
            ready,
            _child: child,
            _out: out,
        })
    }

    /// A text of its ready line; empty where there is none.
    pub(crate) fn said(&self, field: &str) -> &str {
        let value = self.ready.get(field).and_then(Value::as_str);
        value.unwrap_or_default()
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_missing_are_named_with_the_command_that_builds_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("node-engine"), "").unwrap();
        let error = Programs::within(folder.path(), "--release ").unwrap_err();
        let command = "cargo build --release -p root-orchestrator -p cluster-orchestrator";
        assert!(error.to_string().ends_with(command), "{error}");
    }
}
