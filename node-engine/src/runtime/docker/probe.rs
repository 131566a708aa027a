//! Whether an application in a container is well.
//!
//! A port is asked at the container's own address, since the engine's proxy in front of a published port takes every
//! connection, whether anybody listens behind it or not. Only where that address cannot be reached from here (an engine
//! in a virtual machine, a network that is not routed) the published port is asked instead. A container in the network
//! of its host is asked there.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::InspectContainerOptions;
use futures_util::StreamExt;
use model::id::InstanceId;
use model::instance::Endpoint;
use model::workload::{Probe, Transport};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Docker, Patience};
use crate::runtime::chain;
use crate::runtime::probe::{
    Asked, Unwell, WORDS, connect, get, last_words, refused, too_late, within,
};
use crate::shim::process;

/// A proxy that finds nobody behind it closes the connection at once.
const PROXY: Duration = Duration::from_millis(100);

impl Docker {
    pub(in crate::runtime) async fn probe(
        &self,
        instance: InstanceId,
        asked: &Asked,
    ) -> Result<(), Unwell> {
        let Some(container) = self.shared.watched.container(instance) else {
            return Err("it has no container".to_owned());
        };
        let client = self.shared.client().await.map_err(|error| chain(&error))?;
        match &asked.probe {
            Probe::Http { port, path } => {
                let probe = async {
                    let mut reached = reach(&client, &container, *port, asked).await?;
                    get(&mut reached.stream, reached.at, path).await
                };
                within(asked.timeout, probe).await
            }
            Probe::Tcp { port } => {
                let probe = async {
                    let reached = reach(&client, &container, *port, asked).await?;
                    if reached.by_proxy {
                        stays_open(reached.stream).await
                    } else {
                        Ok(())
                    }
                };
                within(asked.timeout, probe).await
            }
            Probe::Command(command) => run(&client, &container, command, asked.timeout).await,
        }
    }
}

/// A connection to an application.
struct Reached {
    stream: TcpStream,
    at: SocketAddr,
    /// The engine stands between.
    by_proxy: bool,
}

async fn reach(
    client: &bollard::Docker,
    container: &str,
    port: u16,
    asked: &Asked,
) -> Result<Reached, Unwell> {
    let inspected = client
        .inspect_container(container, None::<InspectContainerOptions>)
        .await
        .map_err(|error| chain(&error))?;
    let published = published(&asked.endpoints, port);
    let mut last = "it has no address, and the port is not published".to_owned();
    for address in addresses(&inspected) {
        let at = SocketAddr::new(address, port);
        // Where there is another way, this one must leave it some time.
        let patience = match published {
            Some(_) => asked.timeout / 2,
            None => asked.timeout,
        };
        match tokio::time::timeout(patience, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => {
                return Ok(Reached {
                    stream,
                    at,
                    by_proxy: false,
                });
            }
            Ok(Err(error)) if is_answer(error.kind()) => return Err(refused(&error)),
            Ok(Err(error)) => last = refused(&error),
            Err(_) => last = too_late(patience),
        }
    }
    let Some(at) = published else {
        return Err(last);
    };
    Ok(Reached {
        stream: connect(at).await?,
        at,
        by_proxy: true,
    })
}

/// Whether an error came from the container rather than from the way to it.
const fn is_answer(kind: std::io::ErrorKind) -> bool {
    matches!(
        kind,
        std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset
    )
}

/// The addresses of a container, as seen from its host.
fn addresses(inspected: &ContainerInspectResponse) -> Vec<IpAddr> {
    let config = inspected.host_config.as_ref();
    let network = config.and_then(|config| config.network_mode.as_deref());
    if network == Some("host") {
        return vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    }
    let settings = inspected.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    let mut addresses: Vec<IpAddr> = networks
        .into_iter()
        .flatten()
        .filter_map(|(_, network)| network.ip_address.as_deref()?.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses
}

/// Where a port is published on this machine.
fn published(endpoints: &[Endpoint], port: u16) -> Option<SocketAddr> {
    endpoints
        .iter()
        .find(|endpoint| endpoint.container_port == port && endpoint.transport == Transport::Tcp)
        .map(|endpoint| SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.host_port)))
}

/// Whether somebody is behind a proxy that takes every connection.
async fn stays_open(mut stream: TcpStream) -> Result<(), Unwell> {
    let mut byte = [0];
    match tokio::time::timeout(PROXY, stream.read(&mut byte)).await {
        // Silence, or a greeting.
        Err(_) | Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0)) => Err("the connection was closed at once".to_owned()),
        Ok(Err(error)) => Err(refused(&error)),
    }
}

/// Runs a command in the container; one that takes longer is killed.
async fn run(
    client: &bollard::Docker,
    container: &str,
    command: &[String],
    timeout: Duration,
) -> Result<(), Unwell> {
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let made = client.create_exec(container, options).await;
    let exec = made.map_err(|error| chain(&error))?.id;
    if let Ok(result) = tokio::time::timeout(timeout, attend(client, &exec)).await {
        return result;
    }
    // The engine itself never ends it, and hundreds of them would be left after an hour.
    let killing = kill(client, container, &exec);
    let _ = tokio::time::timeout(Patience::default().call, killing).await;
    Err(too_late(timeout))
}

/// Starts it, reads what it says, and asks how it ended.
async fn attend(client: &bollard::Docker, exec: &str) -> Result<(), Unwell> {
    let failed = |error: bollard::errors::Error| chain(&error);
    let started = client.start_exec(exec, None).await.map_err(failed)?;
    let StartExecResults::Attached { mut output, .. } = started else {
        return Err("the engine does not show its output".to_owned());
    };
    let mut words: Vec<u8> = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        let (LogOutput::StdErr { message }
        | LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message }) = piece;
        words.extend_from_slice(&message);
        let surplus = words.len().saturating_sub(WORDS);
        words.drain(..surplus);
    }
    let inspected = client.inspect_exec(exec).await.map_err(failed)?;
    match inspected.exit_code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("exit code {code}{}", last_words(&words))),
        None => Err("its exit code is not known".to_owned()),
    }
}

/// Kills the process of an exec, where the engine's processes are those of this machine.
async fn kill(client: &bollard::Docker, container: &str, exec: &str) {
    let Ok(inspected) = client.inspect_exec(exec).await else {
        return;
    };
    let pid = inspected.pid.and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = pid.filter(|pid| *pid > 0 && inspected.running == Some(true)) else {
        return;
    };
    // An engine elsewhere counts other processes: this one must be of that very container.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if groups.contains(container)
        && let Err(error) = process::signal(pid, Signal::KILL)
    {
        tracing::warn!(container, %error, "a health check that took too long cannot be killed");
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{EndpointSettings, HostConfig, NetworkSettings};

    use super::*;

    fn inspected(mode: &str, networks: &[&str]) -> ContainerInspectResponse {
        let settings = |address: &&str| {
            let settings = EndpointSettings {
                ip_address: Some((*address).to_owned()),
                ..EndpointSettings::default()
            };
            (format!("net-{address}"), settings)
        };
        ContainerInspectResponse {
            host_config: Some(HostConfig {
                network_mode: Some(mode.to_owned()),
                ..HostConfig::default()
            }),
            network_settings: Some(NetworkSettings {
                networks: Some(networks.iter().map(settings).collect()),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn a_container_is_asked_at_its_own_address_or_in_its_hosts_network() {
        let shown = |mode, networks: &[&str]| {
            let addresses = addresses(&inspected(mode, networks));
            addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown("default", &["172.17.0.2"]), ["172.17.0.2"]);
        assert_eq!(
            shown("a", &["10.1.0.2", "10.0.0.2"]),
            ["10.0.0.2", "10.1.0.2"]
        );
        assert_eq!(shown("host", &[""]), ["127.0.0.1"]);
        assert_eq!(shown("none", &[""]), [""; 0]);
        let endpoint = |container_port, host_port, transport| Endpoint {
            container_port,
            host_port,
            transport,
        };
        let endpoints = [
            endpoint(80, 1, Transport::Udp),
            endpoint(80, 2, Transport::Tcp),
        ];
        assert_eq!(published(&endpoints, 80), "127.0.0.1:2".parse().ok());
        assert_eq!(published(&endpoints, 81), None);
    }

    /// A proxy takes the connection and drops it when nobody is behind it; a server waits or greets.
    #[tokio::test]
    async fn a_proxy_with_nobody_behind_it_is_told_from_a_server() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let opened = TcpStream::connect(at).await.unwrap();
        let (behind, _) = listener.accept().await.unwrap();
        drop(behind);
        assert!(stays_open(opened).await.is_err());
        let opened = TcpStream::connect(at).await.unwrap();
        let (_behind, _) = listener.accept().await.unwrap();
        assert_eq!(stays_open(opened).await, Ok(()));
    }
}
