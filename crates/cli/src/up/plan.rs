//! The configuration of every tier, out of the options of `up`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use daemon::exit;
use model::name::Name;
use model::units::{Bytes, Millicores};
use node_engine::config::Capacity;
use node_engine::facts::Machine;
use node_engine::runtime::native::ShimCommand;
use orchestrator::access::ADMIN_TOKEN;

use super::Options;
use super::system::Fault;

/// What is to be started.
#[derive(Debug)]
pub(super) struct Plan {
    /// The directory of all of it.
    pub(super) dir: PathBuf,
    /// The root.
    pub(super) root: root_orchestrator::Config,
    /// The clusters; where their root is, is known when it serves.
    pub(super) clusters: Vec<ClusterPlan>,
}

/// A cluster with its workers.
#[derive(Debug)]
pub(super) struct ClusterPlan {
    /// Its name.
    pub(super) name: Name,
    /// The cluster.
    pub(super) config: cluster_orchestrator::Config,
    /// Its workers; where their cluster is, is known when it serves.
    pub(super) workers: Vec<node_engine::Config>,
}

impl Plan {
    /// What the options say, with everything on disk below `dir`, which is made if it is not there.
    pub(super) fn new(options: &Options, dir: &Path) -> Result<Self, Fault> {
        let ip = options.http.ip().to_canonical();
        if !ip.is_loopback() && !ip.is_unspecified() {
            return Err(Fault {
                code: exit::CONFIG,
                error: anyhow!(
                    "the parts of `up` reach each other on this machine's own address, and --http {} is another one; use \
                     0.0.0.0:{} to be reached from other machines as well",
                    options.http,
                    options.http.port()
                ),
            });
        }
        std::fs::create_dir_all(dir).map_err(|error| Fault {
            code: exit::STORE_UNUSABLE,
            error: anyhow::Error::new(error)
                .context(format!("cannot make the data directory {}", dir.display())),
        })?;
        let all = usize::from(options.clusters) * usize::from(options.workers);
        let mut capacities = capacities(dir, all).into_iter();
        let shim = ShimCommand {
            program: std::env::current_exe().context("cannot find this program's own file")?,
            args: vec!["shim".into()],
        };
        let mut worker = 0;
        let mut clusters = Vec::new();
        for number in 1..=options.clusters {
            let mut workers = Vec::new();
            for capacity in capacities.by_ref().take(usize::from(options.workers)) {
                worker += 1;
                workers.push(node_engine::Config {
                    name: Some(name("worker", worker)?),
                    data_dir: dir.join(format!("worker-{worker}")),
                    capacity,
                    shim: Some(shim.clone()),
                    ..node_engine::Config::default()
                });
            }
            let name = name("cluster", usize::from(number))?;
            clusters.push(ClusterPlan {
                config: cluster(options, (usize::from(number), name.clone()), dir)?,
                name,
                workers,
            });
        }
        let root = root_orchestrator::Config {
            http: options.http,
            data_dir: dir.join("root"),
            admin_token_file: Some(dir.join(ADMIN_TOKEN)),
            scrape_token_file: options.scrape_token_file.clone(),
            store: if options.ephemeral {
                root_orchestrator::StoreAt::Memory
            } else {
                root_orchestrator::StoreAt::Embedded
            },
            ..root_orchestrator::Config::default()
        };
        Ok(Self {
            dir: dir.to_owned(),
            root,
            clusters,
        })
    }

    /// All workers.
    pub(super) fn workers(&self) -> impl Iterator<Item = &node_engine::Config> {
        self.clusters.iter().flat_map(|cluster| &cluster.workers)
    }
}

fn cluster(
    options: &Options,
    (number, name): (usize, Name),
    dir: &Path,
) -> Result<cluster_orchestrator::Config, Fault> {
    Ok(cluster_orchestrator::Config {
        data_dir: dir.join(name.as_str()),
        name: Some(name),
        http: port(options.http, number, 1)?,
        mqtt: port(options.http, number, 3)?,
        admin_token_file: Some(dir.join(ADMIN_TOKEN)),
        scrape_token_file: options.scrape_token_file.clone(),
        store: if options.ephemeral {
            cluster_orchestrator::StoreAt::Memory
        } else {
            cluster_orchestrator::StoreAt::Embedded
        },
        ..cluster_orchestrator::Config::default()
    })
}

/// Where a cluster's port is. On this machine any free one will do; others keep it for ever, so there it follows from the
/// root's: 10001 and 10003 for the first cluster of a root at 10000, 10011 and 10013 for the next.
fn port(root: SocketAddr, number: usize, offset: usize) -> Result<SocketAddr, Fault> {
    if root.ip().to_canonical().is_loopback() || root.port() == 0 {
        return Ok(SocketAddr::from((root.ip(), 0)));
    }
    let port = usize::from(root.port()) + 10 * (number - 1) + offset;
    let port = u16::try_from(port).map_err(|_| Fault {
        code: exit::CONFIG,
        error: anyhow!(
            "--http {root} leaves no ports for the clusters, which follow on it; take a smaller port"
        ),
    })?;
    Ok(SocketAddr::new(root.ip(), port))
}

fn name(kind: &str, number: usize) -> anyhow::Result<Name> {
    Ok(Name::new(&format!("{kind}-{number}"))?)
}

/// What each of `all` workers may use, so that together they have this machine and no more; one alone has all of it.
fn capacities(dir: &Path, all: usize) -> Vec<Capacity> {
    if all <= 1 {
        return vec![Capacity::default()];
    }
    let machine = Machine::read(dir).capacity;
    let disk = shares(machine.disk.mb(), all);
    let memory = shares(machine.memory.mb(), all);
    shares(machine.cpu.0, all)
        .zip(memory)
        .zip(disk)
        .map(|((cpu, memory), disk)| Capacity {
            cpu: Some(Millicores(cpu)),
            memory: Some(Bytes::from_mb(memory)),
            disk: Some(Bytes::from_mb(disk)),
        })
        .collect()
}

/// `whole` in so many parts that differ by one at most.
fn shares(whole: u64, parts: usize) -> impl Iterator<Item = u64> {
    let count = parts.max(1) as u64;
    let rest = whole % count;
    (0..count).map(move |part| whole / count + u64::from(part < rest))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn plan(args: &[&str]) -> Result<Plan, Fault> {
        let dir = tempfile::tempdir().unwrap();
        let args = std::iter::once(&"edgeio up").chain(args);
        Plan::new(&Options::parse_from(args), dir.path())
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        let table: [(u64, usize, &[u64]); 4] = [
            (2_000, 1, &[2_000]),
            (2_000, 3, &[667, 667, 666]),
            (1, 2, &[1, 0]),
            (0, 2, &[0, 0]),
        ];
        for (whole, parts, expected) in table {
            assert_eq!(shares(whole, parts).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn workers_are_numbered_through_and_share_the_machine() {
        let plan = plan(&["--clusters", "2", "--workers", "2"]).unwrap();
        let clusters: Vec<_> = plan.clusters.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(clusters, ["cluster-1", "cluster-2"]);
        let workers: Vec<_> = plan.workers().flat_map(|w| &w.name).collect();
        let workers: Vec<_> = workers.iter().map(|name| name.as_str()).collect();
        assert_eq!(workers, ["worker-1", "worker-2", "worker-3", "worker-4"]);
        let cores: u64 = plan
            .workers()
            .filter_map(|w| w.capacity.cpu)
            .map(|c| c.0)
            .sum();
        assert_eq!(cores, node_engine::facts::cores() as u64 * 1_000);
    }

    #[test]
    fn one_worker_has_the_machine() {
        let one = plan(&[]).unwrap();
        assert!(
            one.workers()
                .all(|worker| worker.capacity == Capacity::default())
        );
    }

    #[test]
    fn ports_that_other_machines_reach_are_the_same_at_each_start() {
        let ports = |http: &str| {
            let plan = plan(&["--clusters", "2", "--http", http])?;
            let ports = |plan: &ClusterPlan| [plan.config.http.port(), plan.config.mqtt.port()];
            Ok::<_, Fault>(plan.clusters.iter().flat_map(ports).collect::<Vec<_>>())
        };
        assert_eq!(ports("127.0.0.1:10000").unwrap(), [0; 4]);
        let far = ports("0.0.0.0:10000").unwrap();
        assert_eq!(far, [10_001, 10_003, 10_011, 10_013]);
        for bad in ["0.0.0.0:65530", "192.0.2.1:10000"] {
            assert_eq!(ports(bad).unwrap_err().code, exit::CONFIG, "{bad}");
        }
    }
}
