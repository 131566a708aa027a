//! Waiting for the end of an instance, also of one that an earlier engine started.

use std::os::fd::OwnedFd;
use std::time::Duration;

use model::id::InstanceId;
use rustix::process::{Pid, PidfdFlags, WaitOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::remains;
use crate::shim::process;
use crate::shim::record::{ExitRecord, Folder, Running};

/// Between two looks where the kernel has no process descriptors (before 5.3).
const LOOK: Duration = Duration::from_secs(1);

/// Waits until the shim has ended, and returns how its application ended. Nothing of either is left then.
///
/// Dropping the future loses nothing: the record is on disk, and a second call finds it.
pub(super) async fn ended(instance: InstanceId, folder: &Folder, running: &Running) -> ExitRecord {
    shim_ended(running).await;
    match folder.exit() {
        Some(record) => record,
        None => remains::settle(instance, folder, running).await,
    }
}

async fn shim_ended(running: &Running) {
    let Some(pid) = Pid::from_raw(running.shim_pid) else {
        return;
    };
    let is_shim = || process::start_time(running.shim_pid) == Some(running.shim_start);
    match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
        // The descriptor was opened before the check, so it means the shim and no later process.
        Ok(descriptor) if is_shim() => {
            readable(descriptor).await;
        }
        Ok(_) | Err(_) => {}
    }
    while process::is(running.shim_pid, running.shim_start) {
        tokio::time::sleep(LOOK).await;
    }
    if is_shim() {
        // A zombie, if it is a child of this process; otherwise init reaps it.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Waits until a process descriptor is readable, which it is when the process has ended.
async fn readable(descriptor: OwnedFd) {
    #[expect(
        deprecated,
        reason = "sound for a descriptor that is owned; the call that replaces it is unsafe for every type"
    )]
    let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE);
    if let Ok(descriptor) = descriptor {
        let _ = descriptor.readable().await;
    }
}
