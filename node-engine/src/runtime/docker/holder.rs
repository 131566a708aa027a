//! Containers that are never started: through one, files of an image and folders of volumes can be reached.
//!
//! An engine that was killed may leave one; the next start of its instance, and the next list, remove it.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerSummary, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::Shared;
use super::fault::status;
use crate::runtime::Identity;

/// The label of such a container, beside that of its worker.
const HOLDER: &str = "edgeio.holder";

impl Shared {
    /// Makes one of an image, for an instance, with these volumes; whoever asked for it removes it.
    pub(super) async fn hold(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
        image: &str,
        binds: Vec<String>,
    ) -> Result<String, Error> {
        let name = format!("edgeio-holder-{}", identity.instance.short());
        let labels = [
            ("edgeio.worker", self.node.to_string()),
            (HOLDER, identity.instance.to_string()),
        ];
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // An image may have no command, and this one is never used.
            entrypoint: Some(vec!["/never".to_owned()]),
            labels: Some(HashMap::from(
                labels.map(|(label, value)| (label.to_owned(), value)),
            )),
            network_disabled: Some(true),
            host_config: Some(HostConfig {
                binds: Some(binds),
                cap_drop: Some(vec!["ALL".to_owned()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = docker.create_container(Some(options.clone()), body.clone());
        let made = match made.await {
            Err(error) if status(&error) == Some(409) => {
                self.remove(docker, &name).await?;
                docker.create_container(Some(options), body).await?
            }
            made => made?,
        };
        Ok(made.id)
    }

    /// All but these, which are removed.
    pub(super) async fn without_holders(
        &self,
        docker: &bollard::Docker,
        all: Vec<ContainerSummary>,
    ) -> Result<Vec<ContainerSummary>, Error> {
        let is_holder = |summary: &ContainerSummary| {
            let labels = summary.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key(HOLDER))
        };
        let (holders, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_holder);
        for id in holders.into_iter().filter_map(|summary| summary.id) {
            self.remove(docker, &id).await?;
        }
        Ok(others)
    }
}
