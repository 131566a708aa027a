//! What a container engine says of itself, for the doctor.

use std::path::Path;

use bollard::errors::Error;
use bollard::models::SystemInfo;

use super::images::percent_used;
use super::{Host, connect};

/// An engine that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    /// The newest API that both sides speak (`1.41`); empty when it does not say.
    pub(crate) api: String,
    /// Its version, when it says it.
    pub(crate) server: Option<String>,
    /// The storage driver of its images, when it says it.
    pub(crate) driver: Option<String>,
    /// Limits of containers that it says it cannot set.
    pub(crate) lacks: Vec<&'static str>,
    /// How full the disk of its images is, in percent, when that disk is of this machine.
    pub(crate) disk: Option<u8>,
}

impl About {
    /// Asks the engine at `host` (`unix://…`).
    ///
    /// # Errors
    /// When it cannot be reached or refuses to answer.
    pub(crate) async fn ask(host: &str) -> Result<Self, Error> {
        let docker = connect(&Host::from(host))?.negotiate_version().await?;
        let api = docker.version().await?.api_version.unwrap_or_default();
        Ok(Self::of(api, docker.info().await?))
    }

    fn of(api: String, info: SystemInfo) -> Self {
        let limits = [
            ("memory", info.memory_limit),
            ("swap", info.swap_limit),
            ("cpu", info.cpu_cfs_quota),
        ];
        let lacking = limits.into_iter().filter(|(_, has)| *has == Some(false));
        let disk = info.docker_root_dir.as_deref().map(Path::new);
        Self {
            api,
            server: info.server_version,
            driver: info.driver,
            lacks: lacking.map(|(what, _)| what).collect(),
            disk: disk.and_then(percent_used),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_that_the_engine_denies_is_lacking() {
        let info = SystemInfo {
            memory_limit: Some(false),
            swap_limit: None,
            cpu_cfs_quota: Some(true),
            docker_root_dir: Some("/no/such/folder".to_owned()),
            ..SystemInfo::default()
        };
        let about = About::of("1.41".to_owned(), info);
        assert_eq!(about.lacks, ["memory"]);
        assert_eq!(about.disk, None);
    }
}
