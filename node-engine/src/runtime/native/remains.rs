//! What is left of an instance whose shim was killed or said nothing, or whose machine was started again.

use std::process::Child;
use std::time::Duration;

use model::id::InstanceId;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::runtime::wall;
use crate::shim::cgroup::Cgroup;
use crate::shim::process;
use crate::shim::record::{ExitRecord, Folder, Running};

/// The variable that names a shim's instance, to it and to a child of it that is not its application yet.
pub(super) const SHIM_OF: &str = "EDGEIO_SHIM_OF";
/// How long killed processes may take to go.
const GONE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Kills what still runs of an instance without a shim and records its end, so that there are never two copies.
///
/// The application itself is known by pid and start time; its process group and control groups go with it, and whatever
/// else carries its instance in the environment.
pub(super) async fn settle(instance: InstanceId, folder: &Folder, running: &Running) -> ExitRecord {
    let same_boot = running.boot_id == process::boot_id();
    if same_boot {
        kill(instance, running).await;
    }
    let record = ExitRecord {
        code: None,
        signal: same_boot.then_some(9),
        oom: false,
        at: wall(),
    };
    if let Err(error) = folder.set_exit(&record) {
        tracing::warn!(instance.id = %instance, %error, "cannot record the end of a native instance");
    }
    record
}

async fn kill(instance: InstanceId, running: &Running) {
    let what = "processes of an instance whose shim was killed";
    until_gone(instance, &["EDGEIO_INSTANCE"], what, || {
        let alive = process::is(running.pid, running.pid_start);
        if alive {
            let _ = process::signal_group(running.pid, Signal::KILL);
        }
        Cgroup::of(running.cgroups.clone()).kill();
        alive
    })
    .await;
}

/// Kills a shim that did not say what became of its application, and all that it has started.
pub(super) async fn end_shim(instance: InstanceId, mut shim: Child) {
    let what = "the processes of a shim that said nothing";
    until_gone(instance, &["EDGEIO_INSTANCE", SHIM_OF], what, || {
        // Nobody else reaps it, so its number means no other process.
        let alive = matches!(shim.try_wait(), Ok(None));
        if alive {
            let _ = shim.kill();
        }
        alive
    })
    .await;
}

/// Kills until nothing is left: `first`, which says whether it still lives, and all that has the instance in one of these
/// variables.
async fn until_gone(
    instance: InstanceId,
    variables: &[&str],
    what: &str,
    mut first: impl FnMut() -> bool,
) {
    let deadline = Instant::now() + GONE;
    loop {
        let alive = first();
        let others: Vec<i32> = variables
            .iter()
            .flat_map(|name| process::with_variable(&format!("{name}={instance}")))
            .collect();
        for pid in &others {
            let _ = process::signal(*pid, Signal::KILL);
        }
        if !alive && others.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            tracing::error!(instance.id = %instance, "{what} do not end");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Removes the control groups of an instance that has ended; the kernel takes a moment to see that they are empty.
pub(super) async fn remove_groups(running: &Running) {
    let groups = Cgroup::of(running.cgroups.clone());
    let deadline = Instant::now() + GONE;
    groups.remove();
    while !groups.is_gone() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        groups.remove();
    }
}
