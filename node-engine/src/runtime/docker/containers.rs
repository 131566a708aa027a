//! Calls about containers. Each asks for, or checks, the label of this worker.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use daemon::crashpoint;
use model::id::InstanceId;
use model::workload::Workload;

use super::account::Account;
use super::fault::{gone_is_fine, start_failed, status};
use super::place::{Made, Placing};
use super::watched::Phase;
use super::{Shared, body, files, read};
use crate::runtime::{Found, Given, Identity, StartError, Started, Status, chain, wall};

/// What had the name of an instance's container.
pub(super) enum Adopted {
    /// The instance, and it runs.
    Running(Started),
    /// Something of the instance that did not run, and is gone now.
    Removed,
    /// Nothing: it is being made or removed at this moment.
    Absent,
}

impl Shared {
    pub(super) async fn create(
        &self,
        docker: &bollard::Docker,
        asked: (&Identity, &Workload, &Given),
        account: Account,
    ) -> Result<String, Error> {
        crashpoint!("docker.start.uncreated");
        let options = CreateContainerOptionsBuilder::new()
            .name(&body::name(asked.0))
            .build();
        Ok(docker
            .create_container(Some(options), body::body(asked, account))
            .await?
            .id)
    }

    /// Does what must be done with a container before its first program runs.
    async fn prepare(
        &self,
        placing: &Placing,
        made: &Made,
        container: &str,
    ) -> Result<(), StartError> {
        let Placing {
            docker, workload, ..
        } = placing;
        if !workload.files.is_empty() {
            files::put(docker, container, &workload.files).await?;
        }
        let given = self.give_volumes(placing, made).await;
        given.map_err(|error| start_failed("the container with its volumes", error))
    }

    /// Starts a container that was just made; removes it again when that fails.
    pub(super) async fn run(
        &self,
        placing: &Placing,
        made: &Made,
        container: String,
    ) -> Result<Started, StartError> {
        crashpoint!("docker.start.created");
        let Placing {
            docker,
            identity,
            workload,
            ..
        } = placing;
        let image = workload.image.as_deref().unwrap_or_default();
        if let Err(error) = self.prepare(placing, made, &container).await {
            self.discard(docker, identity, &container).await;
            return Err(error);
        }
        // Before the start, since its end may be heard before the start has returned.
        self.watched
            .remember(identity.instance, &container, Phase::Running);
        if let Err(error) = docker
            .start_container(&container, None::<StartContainerOptions>)
            .await
        {
            self.watched.forget(identity.instance);
            self.discard(docker, identity, &container).await;
            return Err(start_failed(image, error));
        }
        crashpoint!("docker.start.started");
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

    async fn discard(&self, docker: &bollard::Docker, identity: &Identity, container: &str) {
        if let Err(error) = self.remove(docker, container).await {
            tracing::warn!(instance.id = %identity.instance, error = chain(&error), "cannot remove a container that did not start");
        }
    }

    /// Answers with what runs already under the instance's name; removes what does not run first.
    pub(super) async fn adopt(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
    ) -> Result<Adopted, StartError> {
        crashpoint!("docker.start.taken");
        let name = body::name(identity);
        let failed = |error| start_failed(&name, error);
        let inspected = match docker
            .inspect_container(&name, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspected) => inspected,
            // It went in the meantime.
            Err(error) if status(&error) == Some(404) => return Ok(Adopted::Absent),
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
            // Also one whose end was told already: somebody started it again, and its next end counts.
            self.watched
                .remember(identity.instance, &container, Phase::Running);
            return Ok(Adopted::Running(read::started(&inspected)));
        }
        self.keep_output(docker, &container, identity.instance)
            .await;
        self.remove(docker, &container).await.map_err(failed)?;
        Ok(Adopted::Removed)
    }

    pub(super) fn is_ours(
        &self,
        inspected: &ContainerInspectResponse,
        instance: InstanceId,
    ) -> bool {
        let labels = inspected
            .config
            .as_ref()
            .and_then(|config| config.labels.as_ref());
        let has = |label: &str, value: String| {
            labels.and_then(|labels| labels.get(label)) == Some(&value)
        };
        has("edgeio.worker", self.node.to_string()) && has("edgeio.instance", instance.to_string())
    }

    pub(super) async fn remove(
        &self,
        docker: &bollard::Docker,
        container: &str,
    ) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        gone_is_fine(docker.remove_container(container, Some(options)).await)
    }

    /// Every container of this worker, running or not.
    pub(super) async fn all(
        &self,
        docker: &bollard::Docker,
    ) -> Result<Vec<ContainerSummary>, Error> {
        self.labelled(docker, Vec::new()).await
    }

    /// A list with what it should have named: a container that ran a moment ago is looked for by its id, since its absence
    /// would be told as its end.
    pub(super) async fn with_left_out(
        &self,
        docker: &bollard::Docker,
        mut all: Vec<ContainerSummary>,
    ) -> Vec<ContainerSummary> {
        for (_, container) in self.watched.running() {
            if all.iter().any(|it| it.id.as_ref() == Some(&container)) {
                continue;
            }
            let inspected = docker
                .inspect_container(&container, None::<InspectContainerOptions>)
                .await;
            let Ok(inspected) = inspected else { continue };
            let running = read::is_running(&inspected);
            all.push(ContainerSummary {
                id: inspected.id,
                labels: inspected.config.and_then(|config| config.labels),
                state: running.then_some(ContainerSummaryStateEnum::RUNNING),
                ..ContainerSummary::default()
            });
        }
        all
    }

    /// The containers of one instance of this worker: one, or none.
    pub(super) async fn of_instance(
        &self,
        docker: &bollard::Docker,
        instance: InstanceId,
    ) -> Result<Vec<ContainerSummary>, Error> {
        self.labelled(docker, vec![format!("edgeio.instance={instance}")])
            .await
    }

    pub(super) async fn labelled(
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
    pub(super) async fn found(
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
        // In this order: an end before this moment is in the inspection, and one after it is told. What has ended already
        // is not watched at all, since the stream of events may still repeat its end.
        let runs = summary.state == Some(ContainerSummaryStateEnum::RUNNING);
        let is_new = runs && self.watched.remember_new(made.instance, &container);
        let inspected = match docker
            .inspect_container(&container, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspected) => inspected,
            Err(error) if status(&error) == Some(404) => {
                if is_new {
                    self.watched.forget(made.instance);
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let status = if read::is_running(&inspected) {
            Status::Running(read::started(&inspected))
        } else {
            if is_new {
                self.watched.forget(made.instance);
            }
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
}
