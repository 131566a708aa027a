//! Where the tiers' CPU goes, as `perf` sees it: for those who make them faster.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::fleet::Fleet;

/// Until `perf` has attached itself.
const ATTACH: Duration = Duration::from_millis(500);
/// How long it may take to write its file.
const WRITE: Duration = Duration::from_secs(10);

/// Recordings under way; none where none is wanted.
#[derive(Debug)]
pub(crate) struct Profile(Vec<Child>);

impl Profile {
    /// Begins to record each tier, to `<directory>/<name>-<tier>.data`.
    pub(crate) async fn start(
        directory: Option<&Path>,
        name: &str,
        fleet: &Fleet,
    ) -> anyhow::Result<Self> {
        let mut recordings = Vec::new();
        let Some(directory) = directory else {
            return Ok(Self(recordings));
        };
        for (tier, pids) in fleet.tiers() {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let recording = Command::new("perf")
                .args(["record", "-q", "-F", "999", "-p", &pids.join(","), "-o"])
                .arg(directory.join(format!("{name}-{tier}.data")))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("cannot run perf")?;
            recordings.push(recording);
        }
        tokio::time::sleep(ATTACH).await;
        Ok(Self(recordings))
    }

    /// Ends the recordings.
    pub(crate) async fn finish(self) {
        for mut recording in self.0 {
            let pid = recording.id().and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::INT);
            }
            // One that does not end is killed when it is dropped.
            let _ = tokio::time::timeout(WRITE, recording.wait()).await;
        }
    }
}
