//! What the engine is asked to make.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};
use model::secret::Secrets;
use model::workload::{Port, Transport, Volume, VolumeSource, Workload};

use super::account::Account;
use crate::runtime::{Given, Identity};

/// Where programs expect to be able to write.
const ROOMS: [&str; 3] = ["/tmp", "/run", "/var/run"];
/// What they find there: little, for everybody, and nothing of it is executed.
const ROOM: &str = "rw,noexec,nosuid,nodev,size=64m,mode=1777";

/// The container's name (contract, "Documents").
pub(super) fn name(identity: &Identity) -> String {
    let Identity {
        job_name,
        service,
        index,
        instance,
        ..
    } = identity;
    format!("edgeio-{job_name}-{service}-{index}-{}", instance.short())
}

/// The whole request of a container that runs as `account`.
pub(super) fn body(
    (identity, workload, given): (&Identity, &Workload, &Given),
    account: Account,
) -> ContainerCreateBody {
    let some = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
    // Without a command the image keeps its entry point; with one, the image's arguments would not fit it.
    let args = if workload.command.is_empty() {
        some(&workload.args)
    } else {
        Some(workload.args.clone())
    };
    let mut labels: HashMap<String, String> = identity
        .words()
        .into_iter()
        .map(|(word, value)| (format!("edgeio.{word}"), value))
        .collect();
    labels.insert("edgeio.spec_hash".to_owned(), workload.hash.to_string());
    let own = workload.environment.iter();
    let own = own.map(|(key, value)| format!("{key}={value}"));
    let secret = given.variables.iter();
    let secret = secret.map(|(key, value)| format!("{key}={}", value.text()));
    ContainerCreateBody {
        image: workload.image.clone(),
        user: account.asked(),
        entrypoint: some(&workload.command),
        cmd: args,
        env: Some(own.chain(secret).collect()),
        labels: Some(labels),
        exposed_ports: Some(workload.ports.iter().copied().map(port_key).collect()),
        stop_timeout: Some(workload.stop_grace.as_millis().div_ceil(1000) as i64),
        host_config: Some(host_config(workload, given)),
        ..ContainerCreateBody::default()
    }
}

/// The least that a container can do with, and what its document asked for. Namespaces and the filter of system calls are
/// those that the engine makes by itself: nothing here names the host's.
fn host_config(workload: &Workload, given: &Given) -> HostConfig {
    let resources = &workload.resources;
    let security = &workload.security;
    let capabilities = security.capabilities.iter();
    let read_only = workload.is_read_only();
    // Memory and memory with swap are the same: an application that is over its limit ends, it does not slow the worker.
    let memory = (resources.memory.0 > 0).then_some(resources.memory.0 as i64);
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in workload.ports.iter().copied() {
        let host_port = port
            .host
            .filter(|host| *host != 0)
            .map_or_else(String::new, |host| host.to_string());
        let binding = PortBinding {
            host_ip: None,
            host_port: Some(host_port),
        };
        bindings
            .entry(port_key(port))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    let volumes = workload.volumes.iter().map(bind);
    let secrets = given.folder.iter();
    let secrets = secrets.map(|folder| format!("{}:{}:ro", folder.display(), Secrets::FOLDER));
    let log_options = [("max-size", "10m"), ("max-file", "2")];
    HostConfig {
        memory,
        memory_swap: memory,
        nano_cpus: (resources.cpu.0 > 0).then_some(resources.cpu.0 as i64 * 1_000_000),
        binds: Some(volumes.chain(secrets).collect()),
        port_bindings: Some(bindings),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities.map(ToString::to_string).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(read_only),
        tmpfs: read_only.then(|| rooms(workload)),
        // To the engine 0 means any number.
        pids_limit: Some(i64::from(security.pids.max(1))),
        ipc_mode: Some("private".to_owned()),
        // We restart, also without a network; two who restart would fight.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                log_options
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
        }),
        ..HostConfig::default()
    }
}

/// Where a container with a read-only root file system can write: in its memory, which counts towards its limit.
fn rooms(workload: &Workload) -> HashMap<String, String> {
    let taken = |room: &str| workload.volumes.iter().any(|volume| volume.target == room);
    ROOMS
        .into_iter()
        .filter(|room| !taken(room))
        .map(|room| (room.to_owned(), ROOM.to_owned()))
        .collect()
}

fn port_key(port: Port) -> String {
    let transport = match port.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    format!("{}/{transport}", port.container)
}

fn bind(volume: &Volume) -> String {
    let source = match &volume.source {
        VolumeSource::Named(name) => name,
        VolumeSource::HostPath(path) => path,
    };
    format!(
        "{source}:{}{}",
        volume.target,
        if volume.read_only { ":ro" } else { "" }
    )
}

#[cfg(test)]
mod tests;
