//! Applications as containers of an engine that speaks the Docker API (1.41 or newer).
//!
//! The engine is the record: everything is found again by its labels, and only containers that carry this worker's id
//! are ever touched. A deploy costs two calls, and a third only where ports were published.

mod body;
mod events;
mod pull;
mod read;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::stream::{self, StreamExt};
use model::id::{InstanceId, NodeId};
use model::instance::Endpoint;
use model::workload::{Pull, RuntimeKind, Workload};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::keyed::Keyed;
use super::{
    Exited, Found, Identity, ListError, StartError, Started, Status, StopError, chain, wall,
};

/// How long the engine may take for an ordinary call.
const CALL: Duration = Duration::from_secs(60);
/// Containers inspected at once by `list`.
const INSPECTED_AT_ONCE: usize = 8;
/// Where the Docker engine listens unless it is told otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The runtime of a container engine.
#[derive(Debug)]
pub struct Docker {
    shared: Arc<Shared>,
    events: JoinHandle<()>,
}

/// What calls and the event task share.
struct Shared {
    host: String,
    node: NodeId,
    client: tokio::sync::Mutex<Option<bollard::Docker>>,
    /// More starts at once than cores only make each slower (figures, "The floor").
    starts: Semaphore,
    locks: Keyed,
    exits: mpsc::Sender<Exited>,
    watched: Mutex<HashMap<InstanceId, Watched>>,
    fault: Mutex<Option<String>>,
}

/// A container whose end is to be told, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    container: String,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its end will be told.
    Running,
    /// Its end was told, or is `stop`'s doing.
    Over,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("host", &self.host)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Whether an engine answers at `host` (`unix://…`) within a second.
pub async fn probe(host: &str) -> bool {
    let ping = async { connect(host)?.ping().await };
    matches!(
        tokio::time::timeout(Duration::from_secs(1), ping).await,
        Ok(Ok(_))
    )
}

fn connect(host: &str) -> Result<bollard::Docker, Error> {
    bollard::Docker::connect_with_unix(host, CALL.as_secs(), bollard::API_DEFAULT_VERSION)
}

impl Docker {
    /// The runtime of `node` with the engine at `host` (`unix://…`), which need not be there yet. At most `cores`
    /// containers are started at once; ends are told to `exits`. Call it within a tokio runtime.
    pub fn new(node: NodeId, host: &str, cores: usize, exits: mpsc::Sender<Exited>) -> Self {
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            node,
            client: tokio::sync::Mutex::default(),
            starts: Semaphore::new(cores.max(1)),
            locks: Keyed::default(),
            exits,
            watched: Mutex::default(),
            fault: Mutex::default(),
        });
        let events = tokio::spawn(events::follow(Arc::clone(&shared)));
        Self { shared, events }
    }

    pub(super) fn fault(&self) -> Option<String> {
        self.shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) async fn start(
        &self,
        identity: &Identity,
        workload: &Workload,
    ) -> Result<Started, StartError> {
        let shared = &self.shared;
        let image = workload.image.as_deref().unwrap_or_default();
        let failed = |error| start_failed(image, error);
        let _turn = shared.locks.lock(identity.instance).await;
        let docker = shared.client().await.map_err(failed)?;
        // A restart of an instance that was started before keeps the image that it had.
        if workload.pull == Pull::Always
            && shared
                .of_instance(&docker, identity.instance)
                .await
                .map_err(failed)?
                .is_empty()
        {
            pull::pull(&docker, image).await?;
        }
        let mut pulled = false;
        // Twice for what may stand in the way once: an image that is not here, and the container of the last run.
        for _ in 0..4 {
            let permit = shared.starts.acquire().await;
            match shared.create(&docker, identity, workload).await {
                Ok(container) => return shared.run(&docker, identity, workload, container).await,
                Err(error) if is_image_missing(&error) && !pulled => {
                    drop(permit);
                    pull::pull(&docker, image).await?;
                    pulled = true;
                }
                Err(error) if status(&error) == Some(409) => {
                    if let Some(started) = shared.adopt(&docker, identity).await? {
                        return Ok(started);
                    }
                }
                Err(error) if is_image_missing(&error) => {
                    return Err(StartError::ImagePull {
                        image: image.to_owned(),
                        source: error.into(),
                    });
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(StartError::Fault {
            operation: format!("make the container of {image}"),
            source: "something makes a container of the same name again and again".into(),
        })
    }

    pub(super) async fn stop(
        &self,
        instance: InstanceId,
        grace: Duration,
    ) -> Result<(), StopError> {
        let shared = &self.shared;
        let _turn = shared.locks.lock(instance).await;
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
        let patient = docker.clone().with_timeout(CALL + grace);
        for summary in shared
            .of_instance(&docker, instance)
            .await
            .map_err(|error| failed("find", error))?
        {
            let Some(container) = summary.id else {
                continue;
            };
            shared.remember(instance, &container, Phase::Over);
            let options = StopContainerOptionsBuilder::new().t(seconds).build();
            gone_is_fine(patient.stop_container(&container, Some(options)).await)
                .map_err(|error| failed("stop", error))?;
            shared
                .remove(&docker, &container)
                .await
                .map_err(|error| failed("remove", error))?;
        }
        shared.forget(instance);
        Ok(())
    }

    pub(super) async fn list(&self) -> Result<Vec<Found>, ListError> {
        let failed = |error: Error| ListError {
            runtime: RuntimeKind::Docker,
            source: error.into(),
        };
        let docker = self.shared.client().await.map_err(failed)?;
        let all = self.shared.all(&docker).await.map_err(failed)?;
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

    async fn create(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
        workload: &Workload,
    ) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::new()
            .name(&body::name(identity))
            .build();
        Ok(docker
            .create_container(Some(options), body::body(identity, workload))
            .await?
            .id)
    }

    /// Starts a container that was just made; removes it again when that fails.
    async fn run(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
        workload: &Workload,
        container: String,
    ) -> Result<Started, StartError> {
        let image = workload.image.as_deref().unwrap_or_default();
        // Before the start, since its end may be heard before the start has returned.
        self.remember(identity.instance, &container, Phase::Running);
        if let Err(error) = docker
            .start_container(&container, None::<StartContainerOptions>)
            .await
        {
            self.forget(identity.instance);
            if let Err(error) = self.remove(docker, &container).await {
                tracing::warn!(instance.id = %identity.instance, error = chain(&error), "cannot remove a container that did not start");
            }
            return Err(start_failed(image, error));
        }
        if workload.ports.is_empty() {
            return Ok(Started {
                since: wall(),
                endpoints: Vec::new(),
            });
        }
        let inspected = docker
            .inspect_container(&container, None::<InspectContainerOptions>)
            .await;
        Ok(read::started(
            &inspected.map_err(|error| start_failed(image, error))?,
        ))
    }

    /// Answers with what runs already under the instance's name; removes what does not run and gives `None`.
    async fn adopt(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
    ) -> Result<Option<Started>, StartError> {
        let name = body::name(identity);
        let failed = |error| start_failed(&name, error);
        let inspected = match docker
            .inspect_container(&name, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspected) => inspected,
            // It went in the meantime.
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !self.is_ours(&inspected, identity.instance) {
            return Err(StartError::Start {
                subject: format!("container {name}"),
                advice: "rename or remove it; containers of others are never touched",
                source: "a container that is not this instance has the name".into(),
            });
        }
        let container = inspected.id.clone().unwrap_or_default();
        if read::is_running(&inspected) {
            self.remember_new(identity.instance, &container);
            return Ok(Some(read::started(&inspected)));
        }
        self.remove(docker, &container).await.map_err(failed)?;
        Ok(None)
    }

    fn is_ours(&self, inspected: &ContainerInspectResponse, instance: InstanceId) -> bool {
        let labels = inspected
            .config
            .as_ref()
            .and_then(|config| config.labels.as_ref());
        let has = |label: &str, value: String| {
            labels.and_then(|labels| labels.get(label)) == Some(&value)
        };
        has("edgeio.worker", self.node.to_string()) && has("edgeio.instance", instance.to_string())
    }

    async fn remove(&self, docker: &bollard::Docker, container: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        gone_is_fine(docker.remove_container(container, Some(options)).await)
    }

    /// Every container of this worker, running or not.
    async fn all(&self, docker: &bollard::Docker) -> Result<Vec<ContainerSummary>, Error> {
        self.labelled(docker, Vec::new()).await
    }

    /// The containers of one instance of this worker: one, or none.
    async fn of_instance(
        &self,
        docker: &bollard::Docker,
        instance: InstanceId,
    ) -> Result<Vec<ContainerSummary>, Error> {
        self.labelled(docker, vec![format!("edgeio.instance={instance}")])
            .await
    }

    async fn labelled(
        &self,
        docker: &bollard::Docker,
        mut labels: Vec<String>,
    ) -> Result<Vec<ContainerSummary>, Error> {
        labels.push(format!("edgeio.worker={}", self.node));
        let filters = HashMap::from([("label".to_owned(), labels)]);
        docker
            .list_containers(Some(
                ListContainersOptionsBuilder::new()
                    .all(true)
                    .filters(&filters)
                    .build(),
            ))
            .await
    }

    /// What `list` says of a container, which is watched from now on if it runs; `None` when it just went.
    async fn found(
        &self,
        docker: &bollard::Docker,
        summary: ContainerSummary,
    ) -> Result<Option<Found>, Error> {
        let Some((container, made)) = summary
            .id
            .zip(read::made(summary.labels.unwrap_or_default()))
        else {
            return Ok(None);
        };
        // In this order: an end before this moment is in the inspection, and one after it is told.
        let is_new = self.remember_new(made.instance, &container);
        let inspected = match docker
            .inspect_container(&container, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspected) => inspected,
            Err(error) if status(&error) == Some(404) => {
                self.forget_if(is_new, made.instance);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let status = if read::is_running(&inspected) {
            Status::Running(read::started(&inspected))
        } else {
            self.forget_if(is_new, made.instance);
            read::ended(docker, &container, &inspected)
                .await
                .map_or(Status::Created, Status::Exited)
        };
        Ok(Some(Found {
            instance: made.instance,
            spec_hash: made.spec_hash,
            generation: made.generation,
            status,
        }))
    }

    fn remember(&self, instance: InstanceId, container: &str, phase: Phase) {
        let watched = Watched {
            container: container.to_owned(),
            phase,
        };
        self.watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(instance, watched);
    }

    /// Watches a container unless it is known already; whether it was new.
    fn remember_new(&self, instance: InstanceId, container: &str) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = watched
            .get(&instance)
            .is_none_or(|known| known.container != container);
        if is_new {
            watched.insert(
                instance,
                Watched {
                    container: container.to_owned(),
                    phase: Phase::Running,
                },
            );
        }
        is_new
    }

    fn forget(&self, instance: InstanceId) {
        self.watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&instance);
    }

    fn forget_if(&self, is_new: bool, instance: InstanceId) {
        if is_new {
            self.forget(instance);
        }
    }

    fn set_fault(&self, fault: Option<String>) {
        let mut known = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() != fault.is_some() {
            match &fault {
                Some(why) => tracing::warn!(
                    host = self.host,
                    why,
                    "the container engine does not answer; what it runs is left alone"
                ),
                None => tracing::info!(host = self.host, "the container engine answers again"),
            }
        }
        *known = fault;
    }
}

/// The published ports of an inspected container.
fn endpoints(inspected: &ContainerInspectResponse) -> Vec<Endpoint> {
    let ports = inspected
        .network_settings
        .as_ref()
        .and_then(|settings| settings.ports.as_ref());
    let mut endpoints: Vec<Endpoint> = ports
        .into_iter()
        .flatten()
        .filter_map(read::endpoint)
        .collect();
    endpoints.sort_unstable();
    endpoints
}

/// The engine's status code, when it was the engine that answered.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn is_image_missing(error: &Error) -> bool {
    status(error) == Some(404) && error.to_string().to_lowercase().contains("no such image")
}

/// Stopping what has stopped (304) and removing what is gone (404, or 409 while it goes) is what was wanted.
fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
        Err(error)
            if status(&error) == Some(409) && error.to_string().contains("already in progress") =>
        {
            Ok(())
        }
        other => other,
    }
}

fn start_failed(subject: &str, error: Error) -> StartError {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if status(&error).is_none() || says(&["no space left on device"]) {
        return StartError::Fault {
            operation: format!("start {subject}"),
            source: error.into(),
        };
    }
    let advice = if says(&["port is already allocated", "address already in use"]) {
        "free the host port, or leave it out to have one chosen"
    } else if says(&[
        "executable file not found",
        "no such file or directory",
        "permission denied",
    ]) {
        "check command and args against what the image holds"
    } else {
        "check the service's fields against the engine's words"
    };
    StartError::Start {
        subject: subject.to_owned(),
        advice,
        source: error.into(),
    }
}
