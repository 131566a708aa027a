//! Applications as containers of an engine that speaks the Docker API (1.41 or newer).
//!
//! The engine is the record: everything is found again by its labels, and only containers that carry this worker's id
//! are ever touched. A deploy costs three calls (one of them asks as whom the image runs, unless its document says that), and
//! a fourth only where ports were published.

mod about;
mod account;
mod body;
mod containers;
mod events;
mod fault;
mod files;
mod holder;
mod host;
mod images;
mod logs;
mod place;
mod probe;
mod pull;
mod read;
mod volumes;
mod watched;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::StopContainerOptionsBuilder;
use daemon::crashpoint;
use futures_util::stream::{self, StreamExt};
use model::id::{InstanceId, NodeId};
use model::workload::{Pull, RuntimeKind, Workload};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::logs::Wanted;
use crate::logs::kept::Kept;
use crate::logs::standing::Known;
use account::Named;
use fault::{gone_is_fine, start_failed};
use images::Images;
use place::{Placed, Placing};
use pull::Pulls;
use watched::{Phase, Watched};

pub(crate) use about::About;
pub use host::{DEFAULT_HOST, DEFAULT_USER, Host, Patience};
pub use images::ImageLimit;
pub use logs::LogReader;

use super::keyed::Keyed;
use super::{Exited, Found, Given, Identity, ListError, StartError, Started, StopError};

/// Containers inspected at once by `list`.
const INSPECTED_AT_ONCE: usize = 8;

/// The runtime of a container engine.
#[derive(Debug)]
pub struct Docker {
    shared: Arc<Shared>,
    events: JoinHandle<()>,
    images: Option<JoinHandle<()>>,
}

/// What calls and the event task share.
struct Shared {
    host: Host,
    node: NodeId,
    client: tokio::sync::Mutex<Option<bollard::Docker>>,
    /// More starts at once than cores only make each slower (figures, "The floor").
    starts: Semaphore,
    locks: Keyed,
    exits: mpsc::Sender<Exited>,
    watched: Watched,
    /// Why the engine does not answer; nothing while it does.
    fault: watch::Sender<Option<String>>,
    /// The output of containers that are gone.
    kept: Kept,
    images: Images,
    /// Users that images have by a name.
    named: Named,
    pulls: Pulls,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("host", &self.host.address)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Whether an engine answers at `host` (`unix://…`) within a second.
pub async fn probe(host: &str) -> bool {
    let ping = async { connect(&Host::from(host))?.ping().await };
    matches!(
        tokio::time::timeout(Duration::from_secs(1), ping).await,
        Ok(Ok(_))
    )
}

fn connect(host: &Host) -> Result<bollard::Docker, Error> {
    // The library counts in whole seconds; what is shorter is the caller's own limit.
    let call = host.patience.call.as_secs().max(1);
    bollard::Docker::connect_with_unix(&host.address, call, bollard::API_DEFAULT_VERSION)
}

impl Docker {
    /// The runtime of `node` with the engine at `host` (`unix://…`), which need not be there yet. At most `cores`
    /// containers are started at once; ends are told to `exits`; the output of what is gone is kept in `data_dir`. Call it
    /// within a tokio runtime.
    pub fn new(
        node: NodeId,
        host: impl Into<Host>,
        cores: usize,
        data_dir: &Path,
        exits: mpsc::Sender<Exited>,
    ) -> Self {
        let shared = Arc::new(Shared {
            host: host.into(),
            node,
            client: tokio::sync::Mutex::default(),
            starts: Semaphore::new(cores.max(1)),
            locks: Keyed::default(),
            exits,
            watched: Watched::default(),
            fault: watch::Sender::new(None),
            kept: Kept::new(data_dir),
            images: Images::new(data_dir),
            named: Named::default(),
            pulls: Pulls::default(),
        });
        let events = tokio::spawn(events::follow(Arc::clone(&shared)));
        Self {
            shared,
            events,
            images: None,
        }
    }

    /// Removes images that this worker fetched and nobody uses, from some minutes after the start on.
    #[must_use]
    pub fn with_image_limit(mut self, limit: ImageLimit) -> Self {
        self.shared.images.may_go();
        let looking = images::look_after(Arc::clone(&self.shared), limit);
        self.images = Some(tokio::spawn(looking));
        self
    }

    /// Removes them now; the ids of those that went.
    ///
    /// # Errors
    /// When the engine does not answer; what is left is removed another time.
    pub async fn collect_images(&self, limit: ImageLimit) -> Result<Vec<String>, ListError> {
        let disk = self.shared.disk().await;
        let percent = || disk.as_deref().and_then(images::percent_used);
        let gone = self.shared.collect(limit, percent).await;
        gone.map_err(|error| ListError {
            runtime: RuntimeKind::Docker,
            source: error.into(),
        })
    }

    pub(super) fn fault(&self) -> Option<String> {
        self.shared.fault.borrow().clone()
    }

    /// Waits until the engine answers, or until it does not.
    pub(super) async fn until(&self, answers: bool) {
        let mut fault = self.shared.fault.subscribe();
        // The sender lives as long as this does.
        let _ = fault.wait_for(|fault| fault.is_none() == answers).await;
    }

    pub(super) async fn start(
        &self,
        identity: &Identity,
        workload: &Workload,
        given: Given,
    ) -> Result<Started, StartError> {
        let shared = &self.shared;
        let image = workload.image.as_deref().unwrap_or_default();
        let failed = |error| start_failed(image, error);
        let given = Arc::new(given);
        let login = given.login.as_ref();
        let turn = shared.locks.lock(identity.instance).await;
        shared.images.desire(identity.instance, image);
        let docker = shared.client().await.map_err(failed)?;
        // A restart of an instance that was started before keeps the image that it had.
        if workload.pull == Pull::Always
            && shared
                .of_instance(&docker, identity.instance)
                .await
                .map_err(failed)?
                .is_empty()
        {
            shared.pull_once(&docker, image, login).await?;
        }
        let turn = Arc::new(turn);
        let place = || Placing {
            shared: Arc::clone(shared),
            docker: docker.clone(),
            identity: identity.clone(),
            workload: workload.clone(),
            given: Arc::clone(&given),
            _turn: Arc::clone(&turn),
        };
        if let Placed::Running(started) = place().detached().await? {
            return Ok(started);
        }
        shared.pull_once(&docker, image, login).await?;
        match place().detached().await? {
            Placed::Running(started) => Ok(started),
            Placed::ImageMissing(error) => Err(pull::failed(image, error)),
        }
    }

    pub(super) async fn stop(
        &self,
        instance: InstanceId,
        grace: Duration,
    ) -> Result<(), StopError> {
        let shared = &self.shared;
        let _turn = shared.locks.lock(instance).await;
        shared.images.release(instance);
        let failed = |operation, error: Error| StopError {
            instance,
            operation,
            source: error.into(),
        };
        let docker = shared
            .client()
            .await
            .map_err(|error| failed("reach the engine of", error))?;
        // `docker stop` counts in whole seconds, and answers only when the container has ended.
        let seconds = grace.as_millis().div_ceil(1000).min(i32::MAX as u128) as i32;
        let patient = docker
            .clone()
            .with_timeout(shared.host.patience.call + grace);
        for summary in shared
            .of_instance(&docker, instance)
            .await
            .map_err(|error| failed("find", error))?
        {
            let Some(container) = summary.id else {
                continue;
            };
            crashpoint!("docker.stop.asked");
            shared.watched.remember(instance, &container, Phase::Over);
            let options = StopContainerOptionsBuilder::new().t(seconds).build();
            gone_is_fine(patient.stop_container(&container, Some(options)).await)
                .map_err(|error| failed("stop", error))?;
            crashpoint!("docker.stop.stopped");
            shared.keep_output(&docker, &container, instance).await;
            shared
                .remove(&docker, &container)
                .await
                .map_err(|error| failed("remove", error))?;
            crashpoint!("docker.stop.removed");
        }
        shared.watched.forget(instance);
        Ok(())
    }

    pub(super) async fn list(&self) -> Result<Vec<Found>, ListError> {
        let failed = |error: Error| ListError {
            runtime: RuntimeKind::Docker,
            source: error.into(),
        };
        let docker = self.shared.client().await.map_err(failed)?;
        let all = self.shared.all(&docker).await.map_err(failed)?;
        let all = self.shared.without_holders(&docker, all).await;
        let all = all.map_err(failed)?;
        let all = self.shared.with_left_out(&docker, all).await;
        let found: Vec<Result<Option<Found>, Error>> = stream::iter(all)
            .map(|summary| self.shared.found(&docker, summary))
            .buffer_unordered(INSPECTED_AT_ONCE)
            .collect()
            .await;
        found
            .into_iter()
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()
            .map_err(failed)
    }

    /// Reads its output; `None` when there is none of it.
    pub(super) async fn logs(
        &self,
        instance: InstanceId,
        wanted: Wanted,
        standing: Known,
    ) -> Option<LogReader> {
        LogReader::open(Arc::clone(&self.shared), instance, wanted, standing).await
    }

    pub(super) async fn logs_tail(&self, instance: InstanceId, lines: usize) -> Vec<String> {
        let Ok(docker) = self.shared.client().await else {
            return Vec::new();
        };
        let containers = self
            .shared
            .of_instance(&docker, instance)
            .await
            .unwrap_or_default();
        match containers.into_iter().find_map(|summary| summary.id) {
            Some(container) => read::tail(&docker, &container, lines, 64 << 10).await,
            None => Vec::new(),
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.events.abort();
        if let Some(images) = &self.images {
            images.abort();
        }
    }
}

impl Shared {
    /// The connection; made and negotiated with the first call, since the engine may come later than we.
    async fn client(&self) -> Result<bollard::Docker, Error> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let negotiated = connect(&self.host)?.negotiate_version().await?;
        Ok(client.insert(negotiated).clone())
    }

    fn set_fault(&self, fault: Option<String>) {
        let host = &self.host.address;
        self.fault.send_if_modified(|known| {
            let news = known.is_some() != fault.is_some();
            match &fault {
                Some(why) if news => tracing::warn!(
                    host,
                    why,
                    "the container engine does not answer; what it runs is left alone"
                ),
                None if news => tracing::info!(host, "the container engine answers again"),
                Some(_) | None => {}
            }
            *known = fault;
            news
        });
    }
}
