//! What the engine's answers say.

use std::collections::HashMap;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, PortBinding,
};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use model::id::InstanceId;
use model::instance::{Endpoint, Exit};
use model::slot::Generation;
use model::time::Wall;
use model::workload::{SpecHash, Transport};

use crate::runtime::{Started, TAIL_BYTES, TAIL_LINES, wall};
use crate::shim::output;

/// What a container's labels say.
pub(super) struct Made {
    pub(super) instance: InstanceId,
    pub(super) spec_hash: SpecHash,
    pub(super) generation: Generation,
}

/// Reads the labels; `None` when they name no instance. A hash or generation that cannot be read is the lowest one.
pub(super) fn made(mut labels: HashMap<String, String>) -> Option<Made> {
    let instance = labels.get("edgeio.instance")?.parse().ok()?;
    let spec_hash = labels
        .remove("edgeio.spec_hash")
        .and_then(|text| SpecHash::try_from(text).ok())
        .unwrap_or_default();
    let generation = labels.get("edgeio.generation").and_then(|text| {
        let (assignment, placement) = text.split_once('.')?;
        Some(Generation {
            assignment: assignment.parse().ok()?,
            placement: placement.parse().ok()?,
        })
    });
    Some(Made {
        instance,
        spec_hash,
        generation: generation.unwrap_or_default(),
    })
}

/// Whether it runs.
pub(super) fn is_running(inspected: &ContainerInspectResponse) -> bool {
    inspected
        .state
        .as_ref()
        .and_then(|state| state.running)
        .unwrap_or_default()
}

/// What is told of one that runs.
pub(super) fn started(inspected: &ContainerInspectResponse) -> Started {
    let since = inspected
        .state
        .as_ref()
        .and_then(|state| state.started_at.as_deref())
        .and_then(timestamp);
    Started {
        since: since.unwrap_or_else(wall),
        endpoints: endpoints(inspected),
    }
}

/// How it ended, with the end of its output; `None` when it was never started.
pub(super) async fn ended(
    docker: &bollard::Docker,
    container: &str,
    inspected: &ContainerInspectResponse,
) -> Option<Exit> {
    let state = inspected.state.as_ref()?;
    if state.status == Some(ContainerStateStatusEnum::CREATED) {
        return None;
    }
    let log_tail = tail(docker, container, TAIL_LINES, TAIL_BYTES).await;
    Some(Exit {
        log_tail,
        ..exit(state)
    })
}

fn exit(state: &ContainerState) -> Exit {
    let at = state
        .finished_at
        .as_deref()
        .and_then(timestamp)
        .unwrap_or_else(wall);
    let (code, signal) = code_or_signal(state.exit_code.unwrap_or_default());
    Exit {
        code,
        signal,
        oom: state.oom_killed.unwrap_or_default(),
        at,
        log_tail: Vec::new(),
    }
}

/// The engine shows a killing signal as 128 and its number, as shells do.
pub(super) fn code_or_signal(code: i64) -> (Option<i32>, Option<i32>) {
    let code = i32::try_from(code).unwrap_or(i32::MAX);
    if (129..=192).contains(&code) {
        (None, Some(code - 128))
    } else {
        (Some(code), None)
    }
}

/// The published ports of an inspected container.
fn endpoints(inspected: &ContainerInspectResponse) -> Vec<Endpoint> {
    let ports = inspected
        .network_settings
        .as_ref()
        .and_then(|settings| settings.ports.as_ref());
    let mut endpoints: Vec<Endpoint> = ports.into_iter().flatten().filter_map(endpoint).collect();
    endpoints.sort_unstable();
    endpoints
}

/// One published port.
fn endpoint((key, bindings): (&String, &Option<Vec<PortBinding>>)) -> Option<Endpoint> {
    let (port, transport) = key.split_once('/')?;
    let transport = if transport == "udp" {
        Transport::Udp
    } else {
        Transport::Tcp
    };
    // One for IPv4 and one for IPv6, with the same port.
    let host_port = bindings
        .as_ref()?
        .iter()
        .find_map(|binding| binding.host_port.as_deref()?.parse().ok())?;
    Some(Endpoint {
        container_port: port.parse().ok()?,
        host_port,
        transport,
    })
}

/// The last lines of its output; what cannot be read is left out.
pub(super) async fn tail(
    docker: &bollard::Docker,
    container: &str,
    lines: usize,
    bytes: usize,
) -> Vec<String> {
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .tail(&lines.to_string())
        .build();
    let mut log = Box::pin(docker.logs(container, Some(options)));
    let mut end: Vec<u8> = Vec::new();
    while let Some(Ok(output)) = log.next().await {
        let (LogOutput::StdErr { message }
        | LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message }) = output;
        end.extend_from_slice(&message);
        let excess = end.len().saturating_sub(bytes);
        end.drain(..excess);
    }
    output::last_lines(&end, lines, bytes)
}

/// An RFC 3339 time, to the millisecond; `None` for the engine's "never", which is the year 1.
fn timestamp(text: &str) -> Option<Wall> {
    let at = text.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    (at >= 0).then_some(Wall(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_times_are_read() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some(Wall(0)));
        assert_eq!(
            timestamp("2026-11-23T13:26:58.014446285Z"),
            Some(Wall(1_795_440_418_014))
        );
        assert_eq!(
            timestamp("2024-02-29T23:59:59.9Z"),
            Some(Wall(1_709_251_199_900))
        );
        assert_eq!(
            timestamp("2024-03-01T00:59:59.9+01:00"),
            Some(Wall(1_709_251_199_900))
        );
        for never in ["0001-01-01T00:00:00Z", "", "soon"] {
            assert_eq!(timestamp(never), None, "{never}");
        }
    }

    #[test]
    fn a_killing_signal_is_told_from_an_exit_code() {
        assert_eq!(code_or_signal(0), (Some(0), None));
        assert_eq!(code_or_signal(137), (None, Some(9)));
        assert_eq!(code_or_signal(255), (Some(255), None));
    }

    #[test]
    fn labels_that_cannot_be_read_mean_the_lowest_generation() {
        let instance = InstanceId::from_bits(7);
        let labels = |generation: &str| {
            HashMap::from([
                ("edgeio.instance".to_owned(), instance.to_string()),
                ("edgeio.generation".to_owned(), generation.to_owned()),
            ])
        };
        assert_eq!(
            made(labels("3.4")).unwrap().generation,
            Generation {
                assignment: 3,
                placement: 4
            }
        );
        assert_eq!(made(labels("x")).unwrap().generation, Generation::default());
        assert!(made(HashMap::new()).is_none());
    }
}
