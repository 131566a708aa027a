//! Whether all tiers have met, seen through their own APIs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use model::id::NodeId;
use protocol::rest::{ClusterBody, NodeBody};

use crate::client::Client;
use crate::failure::Failure;

use super::plan::Plan;
use super::system::Site;

/// How long they may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Who is to meet.
#[derive(Debug)]
pub(super) struct Meeting {
    root: Client,
    clusters: Vec<Member>,
}

/// A cluster with the names of its workers.
#[derive(Debug)]
struct Member {
    name: String,
    client: Client,
    workers: BTreeSet<String>,
}

impl Meeting {
    /// All that is planned, asked with that token; `sites` are in the order of the plan.
    pub(super) fn new<'a>(
        root: Client,
        token: Option<&str>,
        plan: &Plan,
        sites: impl Iterator<Item = &'a Site>,
    ) -> anyhow::Result<Arc<Self>> {
        let members = plan.clusters.iter().zip(sites).map(|(cluster, site)| {
            let names = cluster.workers.iter().flat_map(|worker| &worker.name);
            Ok(Member {
                name: cluster.name.to_string(),
                client: super::client_of(&site.http, token.map(str::to_owned))?,
                workers: names.map(ToString::to_string).collect(),
            })
        });
        let clusters = members.collect::<Result<_, Failure>>()?;
        Ok(Arc::new(Self { root, clusters }))
    }

    /// Waits until the root knows all clusters and these hear all their workers; the ids of the workers by name.
    ///
    /// # Errors
    /// Who is missing after 30 seconds.
    pub(super) async fn wait(self: Arc<Self>) -> anyhow::Result<BTreeMap<String, NodeId>> {
        // A thread of its own, since the client blocks; when nobody waits any more it ends within the limit.
        tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + LIMIT;
            loop {
                match self.look() {
                    Ok((met, missing)) if missing.is_empty() => return Ok(met),
                    Ok((_, missing)) if Instant::now() >= deadline => {
                        bail!("not connected after {LIMIT:?}: {}", missing.join(", "))
                    }
                    Err(failure) if Instant::now() >= deadline => return Err(failure.into()),
                    Ok(_) | Err(_) => std::thread::park_timeout(LOOK),
                }
            }
        })
        .await
        .context("nobody waits for the tiers any more")?
    }

    /// Who is there, and who is not.
    fn look(&self) -> Result<(BTreeMap<String, NodeId>, Vec<String>), Failure> {
        let path = "/api/v1/clusters";
        let mut known = Vec::new();
        for value in self.root.list(path)? {
            known.push(self.root.read::<ClusterBody>(value, path)?);
        }
        let mut met = BTreeMap::new();
        let mut missing = Vec::new();
        for member in &self.clusters {
            let serves = |cluster: &&ClusterBody| {
                cluster.cluster_name == member.name && cluster.state == "ACTIVE"
            };
            let Some(cluster) = known.iter().find(serves) else {
                missing.push(member.name.clone());
                continue;
            };
            let alive = member.alive_workers()?;
            let absent = member
                .workers
                .iter()
                .filter(|name| !alive.contains_key(*name));
            let before = missing.len();
            missing.extend(absent.cloned());
            let counted = cluster.number_of_nodes as usize;
            if missing.len() == before && counted < member.workers.len() {
                missing.push(format!("the workers of {} at the root", member.name));
            }
            met.extend(alive);
        }
        Ok((met, missing))
    }
}

impl Member {
    fn alive_workers(&self) -> Result<BTreeMap<String, NodeId>, Failure> {
        let path = "/api/v1/nodes";
        let mut alive = BTreeMap::new();
        for value in self.client.list(path)? {
            let node: NodeBody = self.client.read(value, path)?;
            if node.state == "ALIVE" {
                alive.insert(node.name, node.node_id);
            }
        }
        Ok(alive)
    }
}
