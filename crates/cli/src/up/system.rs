//! The tiers as tasks of this process: started from the top, stopped from the bottom.

use std::time::Duration;

use anyhow::anyhow;
use daemon::exit;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::plan::{ClusterPlan, Plan};

/// How long all tiers may take to stop, which leaves some of the ten seconds for what they ran.
const STOP: Duration = Duration::from_secs(7);

/// Why the system does not run, and the program's exit code for it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u8,
    pub(super) error: anyhow::Error,
}

/// Where a cluster serves.
#[derive(Debug)]
pub(super) struct Site {
    /// REST.
    pub(super) http: String,
    /// MQTT.
    pub(super) mqtt: String,
}

/// What runs.
#[derive(Debug, Default)]
pub(super) struct System {
    root: Level,
    clusters: Level,
    workers: Level,
    root_url: String,
    sites: Vec<Site>,
}

/// All tasks of one tier.
#[derive(Debug, Default)]
struct Level {
    stop: CancellationToken,
    running: JoinSet<Ended>,
}

/// A task that ended.
#[derive(Debug)]
struct Ended {
    name: String,
    result: Result<(), Fault>,
}

impl System {
    /// Starts all tiers; returns when each of them serves.
    ///
    /// # Errors
    /// What kept one of them from it; the others then still run.
    pub(super) async fn start(&mut self, plan: &Plan) -> Result<(), Fault> {
        let (tell, told) = oneshot::channel();
        let (config, stop) = (plan.root.clone(), self.root.stop.clone());
        self.root.spawn("the root".to_owned(), async move {
            let ready = |ready: root_orchestrator::Ready| drop(tell.send(here(&ready.http)));
            let ended = Box::pin(root_orchestrator::run(config, stop, ready)).await;
            ended.map_err(|error| Fault::of(error.exit_code(), error))
        });
        self.root_url = self.root.serves(told).await?;
        for cluster in &plan.clusters {
            let site = self.start_cluster(cluster).await?;
            for worker in &cluster.workers {
                let config = node_engine::Config {
                    cluster: Some(site.http.clone()),
                    ..worker.clone()
                };
                self.start_worker(config).await?;
            }
            self.sites.push(site);
        }
        Ok(())
    }

    async fn start_cluster(&mut self, plan: &ClusterPlan) -> Result<Site, Fault> {
        let (tell, told) = oneshot::channel();
        let stop = self.clusters.stop.clone();
        let config = cluster_orchestrator::Config {
            root: Some(self.root_url.clone()),
            ..plan.config.clone()
        };
        self.clusters.spawn(plan.name.to_string(), async move {
            let ready = |ready: cluster_orchestrator::Ready| {
                drop(tell.send(Site {
                    http: here(&ready.http),
                    mqtt: ready.mqtt,
                }));
            };
            let ended = Box::pin(cluster_orchestrator::run(config, stop, ready)).await;
            ended.map_err(|error| Fault::of(error.exit_code(), error))
        });
        self.clusters.serves(told).await
    }

    async fn start_worker(&mut self, config: node_engine::Config) -> Result<(), Fault> {
        let (tell, told) = oneshot::channel();
        let stop = self.workers.stop.clone();
        let name = config.name.as_ref().map(ToString::to_string);
        self.workers.spawn(name.unwrap_or_default(), async move {
            let ready = |_| {
                let _ = tell.send(());
            };
            let ended = Box::pin(node_engine::run(config, stop, ready)).await;
            ended.map_err(|error| Fault::of(error.exit_code(), error))
        });
        self.workers.serves(told).await
    }

    /// The root's address.
    pub(super) fn root(&self) -> &str {
        &self.root_url
    }

    /// Where the clusters serve, in the order of their numbers.
    pub(super) fn clusters(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter()
    }

    /// Waits until one of the tiers ends, which none does unasked.
    pub(super) async fn ended(&mut self) -> Fault {
        // Cancel-safe: an end that was taken is returned at once.
        let ended = tokio::select! {
            Some(ended) = self.root.running.join_next() => ended,
            Some(ended) = self.clusters.running.join_next() => ended,
            Some(ended) = self.workers.running.join_next() => ended,
            else => std::future::pending().await,
        };
        unasked(ended)
    }

    /// Stops all tiers, from the bottom; what does not end in time is left and named.
    pub(super) async fn stop(self) -> Result<(), Fault> {
        let deadline = tokio::time::Instant::now() + STOP;
        let mut result = Ok(());
        for mut level in [self.workers, self.clusters, self.root] {
            level.stop.cancel();
            loop {
                match tokio::time::timeout_at(deadline, level.running.join_next()).await {
                    Ok(None) => break,
                    Ok(Some(Ok(Ended { result: Ok(()), .. }))) => {}
                    Ok(Some(ended)) => result = result.and(Err(unasked(ended))),
                    Err(_) => {
                        let left = level.running.len();
                        let error = anyhow!("{left} parts did not stop within {STOP:?}");
                        result = result.and(Err(Fault::of(exit::FAILURE, error)));
                        break;
                    }
                }
            }
        }
        result
    }
}

/// The URL by which this machine reaches a port on all of its addresses.
fn here(url: &str) -> String {
    for (all, this) in [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")] {
        if let Some(port) = url.strip_prefix(&format!("https://{all}:")) {
            return format!("http://{this}:{port}");
        }
    }
    url.to_owned()
}

impl Level {
    fn spawn(
        &mut self,
        name: String,
        future: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        self.running.spawn(async move {
            let result = future.await;
            Ended { name, result }
        });
    }

    /// What the task that was started last tells when it serves.
    async fn serves<T>(&mut self, told: oneshot::Receiver<T>) -> Result<T, Fault> {
        match told.await {
            Ok(told) => Ok(told),
            // It ended without a word; so its end is here, or on its way.
            Err(_) => Err(match self.running.join_next().await {
                Some(ended) => unasked(ended),
                None => Fault::of(exit::FAILURE, anyhow!("a tier did not start")),
            }),
        }
    }
}

impl Fault {
    fn of(code: u8, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        Self { code, error }
    }
}

/// The fault in an end that nobody asked for.
fn unasked(ended: Result<Ended, tokio::task::JoinError>) -> Fault {
    match ended {
        Ok(Ended {
            name,
            result: Err(Fault { code, error }),
        }) => {
            let error = error.context(format!("{name} failed"));
            Fault { code, error }
        }
        Ok(Ended {
            name,
            result: Ok(()),
        }) => Fault::of(exit::FAILURE, anyhow!("{name} ended unasked")),
        Err(error) => Fault::of(
            exit::FAILURE,
            anyhow::Error::new(error).context("a tier panicked"),
        ),
    }
}
