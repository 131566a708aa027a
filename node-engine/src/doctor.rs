//! What keeps a worker from working, found before anybody waits for it: `edgeio doctor`, `node-engine doctor`.
//!
//! # Guarantees
//! - Nothing is changed: no registration, no container, no store. A file and a control group are made and removed again
//!   where only that shows whether it is allowed.
//! - A worker that runs is not disturbed: neither its store's lock nor its MQTT session is taken.
//! - It ends within half a minute, whatever does not answer.

mod cluster;
mod container;
mod local;
mod membership;
mod policy;

use std::process::ExitCode;
use std::time::Duration;

use joining::Approach;
use serde::Serialize;
use tokio::time::timeout;

use crate::config::Config;

/// How long the container engine may take where somebody waits for the worker.
const BRIEF: Duration = Duration::from_secs(2);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The worker works, and something of it does not, or will not.
    Warn,
    /// The worker does not work.
    Bad,
}

impl Level {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable snake_case word.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in a sentence.
    pub what: String,
    /// What to do about it; `None` where nothing is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            what: what.into(),
            remedy: None,
        }
    }

    fn warn(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Warn,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn bad(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Bad,
            ..Self::warn(check, what, remedy)
        }
    }

    /// `level  check  what`, and what to do about it in a line of its own.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<4}  {:<13} {}",
            self.level.as_str(),
            self.check,
            self.what
        )];
        lines.extend(
            self.remedy
                .iter()
                .map(|remedy| format!("{:21}{remedy}", "")),
        );
        lines
    }
}

/// Looks at a worker with the options that its engine is started with.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = local::examine(config);
    findings.extend(policy::examine(config));
    findings.push(membership::examine(config));
    findings.extend(container::examine(config).await);
    findings.extend(cluster::examine(config).await);
    findings
}

/// Whether an engine works here: it runs, it is somebody's worker, and it can start what it is told. Whether its cluster is heard
/// is not asked: a worker goes on without.
pub(crate) async fn work(config: &Config) -> Vec<Finding> {
    let mut findings = local::work(config);
    findings.push(membership::work(config));
    // Beside the container engine it is told which runtimes there are, which is nothing that could be bad.
    findings.extend(container::examine(config).await);
    findings
}

/// What of it is about the machine, before anybody is dialled.
pub(crate) async fn machine(config: &Config) -> Vec<Finding> {
    let mut findings = local::examine(config);
    findings.extend(policy::examine(config));
    // A container engine that hangs is told of, and not waited for.
    match timeout(BRIEF, container::examine(config)).await {
        Ok(more) => findings.extend(more),
        Err(_) => findings.push(Finding::warn(
            "docker",
            format!(
                "the container engine at {} does not answer",
                config.docker_host
            ),
            "restart it: systemctl restart docker",
        )),
    }
    findings
}

/// Whether the cluster is reached, and how far its clock is from this machine's.
pub(crate) async fn reached(approach: &Approach) -> Vec<Finding> {
    cluster::reach(approach).await
}

/// Tells findings to who looks on, on standard error.
pub(crate) fn say(findings: &[Finding]) {
    // Nobody may be there to read it, which keeps nothing from working.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), text(findings).as_bytes());
}

fn text(findings: &[Finding]) -> String {
    findings
        .iter()
        .flat_map(Finding::lines)
        .map(|line| line + "\n")
        .collect()
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Level {
    let levels = findings.iter().map(|finding| finding.level);
    levels.max().unwrap_or(Level::Ok)
}

/// Runs it as a program of its own: the findings on standard output, and exit code 1 where one is bad.
///
/// # Errors
/// When nothing can be printed, or the system refuses timers and sockets.
pub fn main(config: &Config) -> std::io::Result<ExitCode> {
    tell(examine(config))
}

/// The same for who asks every few seconds whether an engine works, as the check of a container does: the engine is asked for, and
/// nobody on another machine is dialled.
///
/// # Errors
/// As [`main`].
pub fn healthy(config: &Config) -> std::io::Result<ExitCode> {
    tell(work(config))
}

fn tell(findings: impl Future<Output = Vec<Finding>>) -> std::io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(findings);
    std::io::Write::write_all(&mut std::io::stdout().lock(), text(&findings).as_bytes())?;
    Ok(if worst(&findings) == Level::Bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests;
