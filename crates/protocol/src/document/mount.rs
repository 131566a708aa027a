//! Ports and volumes: what a service shares with its worker.

use std::collections::BTreeSet;

use model::workload::{Port, RuntimeKind, Transport, Volume, VolumeSource};

use super::fault::{Faults, clip};
use super::fields::Fields;

/// Folders of a worker that no application may have: through them one speaks with the kernel or the container engine.
const FORBIDDEN: [&str; 8] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/boot",
    "/var/lib/docker",
    "/var/lib/containerd",
];
/// Longest path or volume name.
pub(super) const MAX_PATH: usize = 4_096;

/// Reads `ports`.
pub(super) fn ports(fields: &Fields<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Vec<Port> {
    let Some(items) = fields.get("ports").and_then(|spot| spot.items(faults)) else {
        return Vec::new();
    };
    let mut taken = BTreeSet::new();
    let mut ports = Vec::new();
    for spot in &items {
        let Some(text) = spot.text(faults) else {
            continue;
        };
        let port = match port(text) {
            Ok(port) if runtime == RuntimeKind::Native => own_port(port, text),
            other => other,
        };
        match port {
            Ok(port) => {
                // A port that the runtime chooses collides with nothing.
                let key = (
                    port.host,
                    port.host.map_or(port.container, |_| 0),
                    port.transport,
                );
                if !taken.insert(key) {
                    spot.fault(
                        faults,
                        format!("port {text} is published twice; remove one of them"),
                    );
                }
                ports.push(port);
            }
            Err(wrong) => spot.fault(faults, wrong),
        }
    }
    ports
}

/// `[host:]container[/tcp|/udp]`; host 0 or absent: chosen by the runtime.
fn port(text: &str) -> Result<Port, String> {
    let wrong = || {
        format!(
            "\"{}\" is no port; write \"8080:80\", \"80\", \"0:80\" or \"53:53/udp\" (1 to 65535)",
            clip(text)
        )
    };
    let (numbers, transport) = match text.split_once('/') {
        None => (text, Transport::Tcp),
        Some((numbers, "tcp")) => (numbers, Transport::Tcp),
        Some((numbers, "udp")) => (numbers, Transport::Udp),
        Some(_) => return Err(wrong()),
    };
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        plain
            .then(|| digits.parse::<u16>().ok())
            .flatten()
            .ok_or_else(wrong)
    };
    let (host, container) = match numbers.split_once(':') {
        None => (None, number(numbers)?),
        Some((host, container)) => (
            Some(number(host)?).filter(|host| *host > 0),
            number(container)?,
        ),
    };
    if container == 0 {
        return Err(wrong());
    }
    Ok(Port {
        host,
        container,
        transport,
    })
}

/// A native program binds its port itself, so nobody can choose or move it.
fn own_port(port: Port, text: &str) -> Result<Port, String> {
    let moved = port.host.is_some_and(|host| host != port.container) || text.starts_with("0:");
    if moved {
        return Err(format!(
            "a native program binds its port itself; write \"{}\"",
            port.container
        ));
    }
    Ok(Port {
        host: Some(port.container),
        ..port
    })
}

/// Reads `volumes`.
pub(super) fn volumes(fields: &Fields<'_>, faults: &mut Faults) -> Vec<Volume> {
    let Some(items) = fields.get("volumes").and_then(|spot| spot.items(faults)) else {
        return Vec::new();
    };
    let mut targets = BTreeSet::new();
    let mut volumes = Vec::new();
    for spot in &items {
        let Some(text) = spot.text(faults) else {
            continue;
        };
        match volume(text) {
            Ok(volume) => {
                if !targets.insert(volume.target.clone()) {
                    spot.fault(
                        faults,
                        format!("{} is mounted twice; remove one of them", volume.target),
                    );
                }
                volumes.push(volume);
            }
            Err(wrong) => spot.fault(faults, wrong),
        }
    }
    volumes
}

/// `name:/path[:ro]` or `/host:/path[:ro]`.
fn volume(text: &str) -> Result<Volume, String> {
    let shape = || {
        format!(
            "\"{}\" is no volume; write \"name:/path\", \"/host/path:/path\", with :ro for read-only",
            clip(text)
        )
    };
    let mut parts = text.split(':');
    let (Some(source), Some(target), mode, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(shape());
    };
    let read_only = match mode {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return Err(shape()),
    };
    if target == "/" || !is_clean_path(target) {
        return Err(format!(
            "\"{}\" is no place for a volume; write an absolute path without . and .. and without / at its end",
            clip(target)
        ));
    }
    let source = if source.starts_with('/') {
        VolumeSource::HostPath(host_path(source)?)
    } else if is_volume_name(source) {
        VolumeSource::Named(source.to_owned())
    } else {
        return Err(shape());
    };
    Ok(Volume {
        source,
        target: target.to_owned(),
        read_only,
    })
}

/// Whether a path of a worker is one that no application gets, whatever the worker's owner says.
pub fn is_never_given(path: &str) -> bool {
    let inside = |folder: &str| {
        path == folder
            || path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    path == "/" || FORBIDDEN.into_iter().any(inside) || path.ends_with("/docker.sock")
}

fn host_path(path: &str) -> Result<String, String> {
    if is_never_given(path) {
        return Err(format!(
            "{} of a worker is not given to applications; use a folder of your own, or a named volume",
            clip(path)
        ));
    }
    if !is_clean_path(path) {
        return Err(format!(
            "\"{}\" is no path of a worker; write an absolute path without . and .. and without / at its end",
            clip(path)
        ));
    }
    Ok(path.to_owned())
}

/// Whether it is an absolute path that no two readers understand differently.
pub fn is_clean_path(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.starts_with('/')
        && !path.chars().any(char::is_control)
        && path
            .split('/')
            .skip(1)
            .all(|part| !matches!(part, "" | "." | ".."))
}

/// Whether it is a name that Docker gives volumes: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn is_volume_name(name: &str) -> bool {
    (2..=255).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_to_the_letter() {
        let read = |text: &str| port(text).map(|port| (port.host, port.container, port.transport));
        assert_eq!(read("8080:80/tcp"), Ok((Some(8080), 80, Transport::Tcp)));
        assert_eq!(read("80"), Ok((None, 80, Transport::Tcp)));
        assert_eq!(read("0:53/udp"), Ok((None, 53, Transport::Udp)));
        for bad in [
            "",
            "0",
            "80/sctp",
            "65536",
            "1:65536",
            "-1",
            "+80",
            "127.0.0.1:80:80",
            "80:",
            ":80",
            "a",
            "80/",
            "8 0",
            "８０",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_are_read_to_the_letter() {
        assert_eq!(
            volume("data:/var/lib/x"),
            Ok(Volume {
                source: VolumeSource::Named("data".to_owned()),
                target: "/var/lib/x".to_owned(),
                read_only: false
            })
        );
        assert!(volume("/srv/models:/models:ro").unwrap().read_only);
        for bad in [
            "",
            "data",
            "data:",
            "data:x",
            ":/x",
            "data:/x:rw:z",
            "data:/x:zz",
            "data:/",
            "data:/a/../b",
            "data:/a//b",
            "../x:/y",
            "/:/host",
            "/proc:/p",
            "/proc/1:/p",
            "/var/run/docker.sock:/s",
            "/srv/docker.sock:/s",
            "/a/../b:/x",
            "/srv/:/x",
            "-v:/x",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        assert!(volume("/processes:/p").is_ok());
    }
}
