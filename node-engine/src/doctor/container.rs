//! The container engine, and which runtimes there are.

use std::path::Path;
use std::time::Duration;

use model::workload::RuntimeKind;
use tokio::time::timeout;

use super::{Finding, Level};
use crate::config::Config;
use crate::runtime::chain;
use crate::runtime::docker::About;

/// How long the engine may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The oldest API that is spoken.
const API: (u32, u32) = (1, 41);
/// A disk that is fuller than this is soon full.
const FULL: u8 = 90;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let named = config.runtimes.as_ref();
    if named.is_some_and(|named| !named.0.contains(&RuntimeKind::Docker)) {
        return vec![runtimes(config, false)];
    }
    let mut findings = match ask(config).await {
        Ok(about) => answered(&about),
        Err(finding) => vec![finding],
    };
    let answers = findings.iter().all(|finding| finding.level != Level::Bad);
    if !answers && named.is_none() {
        // Nobody asked for it, so the worker works without.
        for finding in &mut findings {
            finding.level = finding.level.min(Level::Warn);
        }
    }
    findings.push(runtimes(config, answers));
    findings
}

async fn ask(config: &Config) -> Result<About, Finding> {
    let host = &config.docker_host;
    if let Some(path) = host.strip_prefix("unix://").map(Path::new)
        && !path.exists()
    {
        return Err(Finding::bad(
            "docker",
            format!("there is no container engine at {host}"),
            "install and start Docker, name its socket with --docker-host, or leave docker out of --runtimes",
        ));
    }
    match timeout(PATIENCE, About::ask(host)).await {
        Ok(Ok(about)) => Ok(about),
        Ok(Err(error)) => Err(refused(host, &chain(&error))),
        Err(_) => Err(Finding::bad(
            "docker",
            format!("the container engine at {host} does not answer"),
            "restart it: systemctl restart docker",
        )),
    }
}

fn refused(host: &str, why: &str) -> Finding {
    let remedy = if why.to_lowercase().contains("permission denied") {
        "run the engine as root, or add its user to the group docker and log in again"
    } else {
        "start the container engine: systemctl start docker"
    };
    Finding::bad(
        "docker",
        format!("the container engine at {host} cannot be used: {why}"),
        remedy,
    )
}

fn answered(about: &About) -> Vec<Finding> {
    let version = &about.api;
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let api = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let server = about.server.as_deref().unwrap_or("of an unknown version");
    let what = format!("Docker {server} answers with API {version}");
    let mut findings = vec![if api < API {
        let remedy = format!(
            "update it: API {}.{} (Docker 20.10) is the oldest that is spoken",
            API.0, API.1
        );
        Finding::bad("docker", what, remedy)
    } else {
        Finding::ok("docker", what)
    }];
    let driver = about.driver.as_deref().unwrap_or("unknown");
    let what = format!("images are kept by the storage driver {driver}");
    findings.push(if driver == "vfs" {
        let remedy = "use overlay2: vfs copies an image for each container, which is slow and fills the disk";
        Finding::warn("docker_disk", what, remedy)
    } else {
        Finding::ok("docker_disk", what)
    });
    if !about.lacks.is_empty() {
        findings.push(Finding::warn(
            "docker_limits",
            format!("the engine sets no limit of {} for containers", about.lacks.join(", ")),
            "switch the controllers on in the kernel's command line: cgroup_enable=memory swapaccount=1",
        ));
    }
    if let Some(percent) = about.disk
        && percent >= FULL
    {
        findings.push(Finding::warn(
            "docker_disk",
            format!("the disk of the container engine is {percent} % full"),
            "remove what is not needed: docker system prune",
        ));
    }
    findings
}

fn runtimes(config: &Config, docker: bool) -> Finding {
    let found = match &config.runtimes {
        Some(named) => named.0.iter().map(|kind| kind.as_str()).collect(),
        None if docker => vec!["docker", "native"],
        None => vec!["native"],
    };
    Finding::ok(
        "runtimes",
        format!("applications run by {}", found.join(", ")),
    )
}
