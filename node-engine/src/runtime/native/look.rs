//! What the folder of an instance says.

use std::io;

use model::id::InstanceId;

use super::{LOOK, SHIM, remains};
use crate::shim::record::{ExitRecord, Folder, Running, State};

/// What a folder says.
pub(super) enum Look {
    Running(Running),
    Exited(ExitRecord),
    Created,
}

/// Reads a folder, and settles what a shim that was killed has left.
pub(super) async fn look(instance: InstanceId, folder: &Folder) -> io::Result<Look> {
    let deadline = tokio::time::Instant::now() + SHIM;
    loop {
        // In this order: a shim that ends between the two looks has left its record.
        let shim_lives = folder.has_shim();
        if let Some(record) = folder.exit() {
            return Ok(Look::Exited(record));
        }
        match (folder.state(), shim_lives) {
            (Some(State::Running(running)), true) => return Ok(Look::Running(running)),
            (Some(State::Running(running)), false) => {
                return Ok(Look::Exited(
                    remains::settle(instance, folder, &running).await,
                ));
            }
            (Some(State::Failed { .. }) | None, false) | (Some(State::Failed { .. }), true) => {
                return Ok(Look::Created);
            }
            (None, true) if tokio::time::Instant::now() >= deadline => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "its shim lives and says nothing",
                ));
            }
            (None, true) => tokio::time::sleep(LOOK).await,
        }
    }
}
