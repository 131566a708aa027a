//! Ending what the workers left running, once nobody would start it again.
//!
//! Jobs are not deleted: where the data directory stays, the next start runs them again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::id::NodeId;
use node_engine::facts;
use node_engine::runtime::Runtime;
use node_engine::runtime::docker::{self, Docker};
use node_engine::runtime::native::{Native, ShimCommand};
use node_engine::shim::record::Folder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::plan::Plan;

/// How long an application may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long all of it may take, so that stopping stays within ten seconds.
const LIMIT: Duration = Duration::from_millis(2_500);

/// Ends all applications of the workers of this plan; `nodes` are their ids by name, as far as they are known. What
/// cannot be ended is logged.
pub(super) async fn applications(plan: &Plan, nodes: &BTreeMap<String, NodeId>) {
    let mut sweeps = JoinSet::new();
    for worker in plan.workers() {
        let name = worker.name.as_ref().map(ToString::to_string);
        let node = name.and_then(|name| nodes.get(&name)).copied();
        let (config, ids) = (worker.clone(), makers(&worker.data_dir));
        sweeps.spawn(async move {
            for runtime in runtimes(&config, node, ids).await {
                sweep(Arc::new(runtime)).await;
            }
        });
    }
    let all = async { while sweeps.join_next().await.is_some() {} };
    if tokio::time::timeout(LIMIT, all).await.is_err() {
        tracing::warn!("some applications did not end in time and may still run");
    }
}

/// The runtimes that may still have something: `makers` made native instances, `node` may have made containers.
async fn runtimes(
    config: &node_engine::Config,
    node: Option<NodeId>,
    makers: BTreeSet<NodeId>,
) -> Vec<Runtime> {
    // Ends are not told to anybody any more.
    let (exits, _) = mpsc::channel(1);
    let mut runtimes = Vec::new();
    for maker in makers {
        // It starts nothing, so any shim does.
        let shim = config.shim.clone().unwrap_or_else(|| ShimCommand {
            program: "/bin/false".into(),
            args: Vec::new(),
        });
        match Native::new(maker, &config.data_dir, shim, exits.clone()) {
            Ok(native) => runtimes.push(Runtime::Native(native)),
            Err(error) => tracing::warn!(%error, "cannot look for native applications"),
        }
    }
    if let Some(node) = node
        && docker::probe(&config.docker_host).await
    {
        let docker = Docker::new(
            node,
            config.docker_host.as_str(),
            facts::cores(),
            &config.data_dir,
            exits,
        );
        runtimes.push(Runtime::Docker(docker));
    }
    runtimes
}

/// The workers that made the native instances in a data directory.
fn makers(data_dir: &Path) -> BTreeSet<NodeId> {
    let entries = std::fs::read_dir(data_dir.join("instances"));
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(Folder::new(entry.ok()?.path()).spec()?.node))
        .collect()
}

async fn sweep(runtime: Arc<Runtime>) {
    let found = match runtime.list().await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "applications may still run");
            return;
        }
    };
    let mut stops = JoinSet::new();
    for instance in found {
        let runtime = Arc::clone(&runtime);
        stops.spawn(async move { runtime.stop(instance.instance, GRACE).await });
    }
    while let Some(stopped) = stops.join_next().await {
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "an application may still run");
        }
    }
}
