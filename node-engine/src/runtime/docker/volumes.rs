//! Named volumes that a container makes are its user's.
//!
//! A container engine makes a new volume as root's, which a container that is not root could not use. The engine has no call
//! to change that; but an archive that is put into a container can say whose a folder is. The container itself is no good
//! for that, since its root file system is read-only: another one holds the volumes for the moment.
//!
//! # Guarantees
//! - A volume that an instance made is given to its user before each of its starts: also after a crash between the two.
//! - A volume that was there before is never changed, whoever made it.
//! - Only the volume's own folder changes hands, not what the image has put into it.

use bollard::errors::Error;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use model::workload::{VolumeSource, Workload};

use super::account::Account;
use super::place::{Made, Placing};
use super::{Shared, files};
use crate::runtime::Identity;

/// What a volume has that an instance made, beside `edgeio.worker`.
const MAKER: &str = "edgeio.instance";
/// Where the volumes are in the container that holds them.
const PLACE: &str = "edgeio";

impl Shared {
    /// Makes the named volumes of an instance that are not there yet; the names of those that it made, now or earlier.
    pub(super) async fn make_volumes(
        &self,
        docker: &bollard::Docker,
        identity: &Identity,
        workload: &Workload,
    ) -> Result<Vec<String>, Error> {
        let maker = identity.instance.to_string();
        let mut made = Vec::new();
        for volume in workload.volumes.iter().filter(|volume| !volume.read_only) {
            let VolumeSource::Named(name) = &volume.source else {
                continue;
            };
            let labels = [
                (MAKER.to_owned(), maker.clone()),
                ("edgeio.worker".to_owned(), self.node.to_string()),
            ];
            let wanted = VolumeCreateRequest {
                name: Some(name.clone()),
                labels: Some(labels.into()),
                ..VolumeCreateRequest::default()
            };
            // One that is there keeps its own labels.
            let volume = docker.create_volume(wanted).await?;
            if volume.labels.get(MAKER) == Some(&maker) {
                made.push(name.clone());
            }
        }
        Ok(made)
    }

    /// Gives the volumes that an instance made to its user; root needs no gift.
    pub(super) async fn give_volumes(&self, placing: &Placing, made: &Made) -> Result<(), Error> {
        let Placing {
            docker,
            identity,
            workload,
            ..
        } = placing;
        let (Account::User { uid, .. } | Account::OfImage { uid }) = &made.account else {
            return Ok(());
        };
        if made.volumes.is_empty() {
            return Ok(());
        }
        let place = |number| format!("{PLACE}/{number}");
        let volumes = made.volumes.iter().enumerate();
        let binds = volumes.map(|(number, volume)| format!("{volume}:/{}", place(number)));
        let folders: Vec<String> = (0..made.volumes.len()).map(place).collect();
        let image = workload.image.as_deref().unwrap_or_default();
        let holder = self.hold(docker, identity, image, binds.collect()).await?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let body = bollard::body_full(files::folders(&folders, *uid).into());
        let given = docker
            .upload_to_container(&holder, Some(options), body)
            .await;
        let removed = self.remove(docker, &holder).await;
        given.and(removed)
    }
}
