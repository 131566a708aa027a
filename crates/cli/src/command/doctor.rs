//! `edgeio doctor`: what keeps a worker on this machine from working.

use std::ffi::OsString;
use std::path::PathBuf;

use node_engine::doctor::{self, Finding, Level};

use crate::context::Environment;
use crate::failure::Failure;
use crate::output::{self, Format};

/// Looks at this machine as a worker: its disk, limits and clock, its container engine, and the way to its cluster.
///
/// It changes nothing, and disturbs no worker that runs. Give it the options that the node-engine is started with; the
/// variables EDGEIO_… and the file of --config count as they do there. Exit code 1 says that something is bad.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio doctor
  edgeio doctor --cluster http://192.0.2.1:10001 --insecure --data-dir /var/lib/edgeio-node
  edgeio doctor -o json")]
pub(crate) struct Options {
    /// The node-engine's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The worker's name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The cluster-orchestrator that it joins.
    #[arg(long, value_name = "URL")]
    cluster: Option<String>,
    /// Its data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Which runtimes it uses: docker, native, or both with a comma between them.
    #[arg(long, value_name = "LIST")]
    runtimes: Option<String>,
    /// Where the container engine listens.
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
}

/// Prints what was found; fails where something is bad.
pub(super) fn run(
    options: &Options,
    insecure: bool,
    environment: Environment<'_>,
    format: Format,
) -> Result<(), Failure> {
    let config = daemon::config::load::<node_engine::Config>(options.args(insecure), environment)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Usage(format!("cannot open sockets: {error}")))?;
    let findings = runtime.block_on(doctor::examine(&config));
    if format.is_raw() {
        output::value(&findings, format)?;
    } else {
        output::print(findings.iter().flat_map(Finding::lines))?;
    }
    let bad = |finding: &&Finding| finding.level == Level::Bad;
    match findings.iter().filter(bad).count() {
        0 => Ok(()),
        failed => Err(Failure::Some {
            failed,
            all: findings.len(),
        }),
    }
}

impl Options {
    /// As the node-engine's own command line.
    fn args(&self, insecure: bool) -> Vec<OsString> {
        let text = |text: &Option<String>| text.as_ref().map(OsString::from);
        let path = |path: &Option<PathBuf>| path.as_ref().map(OsString::from);
        let given = [
            ("--config", path(&self.config)),
            ("--name", text(&self.name)),
            ("--cluster", text(&self.cluster)),
            ("--data-dir", path(&self.data_dir)),
            ("--runtimes", text(&self.runtimes)),
            ("--docker-host", text(&self.docker_host)),
        ];
        let mut args = vec![OsString::from("node-engine")];
        for (option, value) in given {
            if let Some(value) = value {
                args.extend([OsString::from(option), value]);
            }
        }
        if insecure {
            args.push("--insecure".into());
        }
        args
    }
}
