//! Making and starting a container, which is never left half done.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use model::workload::Workload;
use tokio::sync::OwnedMutexGuard;

use super::Shared;
use super::account::Account;
use super::containers::Adopted;
use super::fault::{is_image_missing, start_failed, status};
use crate::runtime::{Given, Identity, StartError, Started};

/// How often the name of a container may be taken: by the last run, or by a request that nobody waits for any more.
const ATTEMPTS: usize = 20;
/// Before the next attempt while the engine makes or removes something under the name.
const NEXT: Duration = Duration::from_millis(100);

/// One container to make and start.
pub(super) struct Placing {
    pub(super) shared: Arc<Shared>,
    pub(super) docker: bollard::Docker,
    pub(super) identity: Identity,
    pub(super) workload: Workload,
    pub(super) given: Arc<Given>,
    /// Held until this is done, so that a `stop` finds all or nothing.
    pub(super) _turn: Arc<OwnedMutexGuard<()>>,
}

/// What was found out before its container was made.
pub(super) struct Made {
    /// As whom it runs.
    pub(super) account: Account,
    /// Named volumes that its instance made.
    pub(super) volumes: Vec<String>,
}

/// What became of it.
pub(super) enum Placed {
    Running(Started),
    ImageMissing(Error),
}

impl Placing {
    /// Does it in a task of its own: the engine finishes what it was asked for also when nobody waits for the answer, so
    /// somebody has to.
    pub(super) async fn detached(self) -> Result<Placed, StartError> {
        let operation = format!(
            "start {}",
            self.workload.image.as_deref().unwrap_or_default()
        );
        match tokio::spawn(self.place()).await {
            Ok(placed) => placed,
            Err(error) => Err(StartError::Fault {
                operation,
                source: error.into(),
            }),
        }
    }

    async fn create(&self) -> Result<(Made, String), Error> {
        let Self {
            shared,
            docker,
            identity,
            workload,
            given,
            ..
        } = self;
        let account = shared.account(docker, identity, workload).await?;
        let volumes = shared.make_volumes(docker, identity, workload).await?;
        let container = shared
            .create(docker, (identity, workload, given), account)
            .await?;
        Ok((Made { account, volumes }, container))
    }

    async fn place(self) -> Result<Placed, StartError> {
        let Self {
            shared,
            docker,
            identity,
            workload,
            ..
        } = &self;
        let image = workload.image.as_deref().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let permit = shared.starts.acquire().await;
            match self.create().await {
                Ok((made, container)) => {
                    let started = shared.run(&self, &made, container).await;
                    return started.map(Placed::Running);
                }
                Err(error) if is_image_missing(&error) => return Ok(Placed::ImageMissing(error)),
                Err(error) if status(&error) == Some(409) => {
                    match shared.adopt(docker, identity).await? {
                        Adopted::Running(started) => return Ok(Placed::Running(started)),
                        Adopted::Removed => {}
                        Adopted::Absent => {
                            drop(permit);
                            tokio::time::sleep(NEXT).await;
                        }
                    }
                }
                Err(error) => return Err(start_failed(image, error)),
            }
        }
        Err(StartError::Fault {
            operation: format!("make the container of {image}"),
            source: "its name is taken, though no container has it".into(),
        })
    }
}
