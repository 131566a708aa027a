//! The rules of our own endpoint, for a Mosquitto that the operator runs in its place.
//!
//! # Guarantees
//! - Nobody connects without a certificate of the cluster's authority, and is who that certificate says: the common name takes
//!   the place of the user name and of the client id, whatever CONNECT says. So nobody takes the session of another.
//! - A worker reads its own `control` and `request` and writes its own upward topics; the cluster reads all upward topics and
//!   writes all downward ones; nobody does anything else, and nothing is retained.
//!
//! # Where Mosquitto differs
//! It says yes to a SUBSCRIBE that its rules do not allow, and delivers nothing; it acknowledges a publish that they do not
//! allow, lets in who leaves a will there, and drops both; and it tells nobody. A certificate that ended is refused by its own clock. Who was
//! revoked is let in until then and may do nothing once Mosquitto has read the rules that say so (SIGHUP). These options exist from version 2.0 on.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::id::{ClusterId, NodeId};

use crate::link::UPWARD;

/// As our own endpoint's.
const MAX_PACKET: u32 = 256 * 1024;

/// Where Mosquitto listens, and the files that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener<'a> {
    /// Where workers and the cluster dial.
    pub address: SocketAddr,
    /// The certificate of the cluster's authority.
    pub authority: &'a Path,
    /// The broker's own certificate, of that authority.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
    /// What [`rules`] says.
    pub rules: &'a Path,
}

/// A path cannot stand in a configuration of Mosquitto.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {0:?} is not one line of text")]
pub struct NoLine(PathBuf);

/// The configuration of a Mosquitto that serves this and nothing else.
///
/// # Errors
/// When a path is no text, or more than a line of it.
pub fn configuration(listener: &Listener<'_>) -> Result<String, NoLine> {
    let address = listener.address;
    Ok(format!(
        "\
# Written by edgeIO. One listener, where certificates are asked for; what each may do stands in the acl_file.
per_listener_settings true
persistence false
retain_available false
max_packet_size {MAX_PACKET}

listener {port} {ip}
protocol mqtt
cafile {authority}
certfile {certificate}
keyfile {key}
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {rules}
",
        port = address.port(),
        ip = address.ip(),
        authority = line(listener.authority)?,
        certificate = line(listener.certificate)?,
        key = line(listener.key)?,
        rules = line(listener.rules)?,
    ))
}

/// Who may read and write what (`acl_file`). The cluster is known by the certificate with its id as common name; who was
/// revoked may do nothing, whatever it shows.
pub fn rules(cluster: ClusterId, revoked: impl IntoIterator<Item = NodeId>) -> String {
    let mut rules =
        format!("# Written by edgeIO. What stands nowhere here is refused.\nuser {cluster}\n");
    for topic in UPWARD {
        // Writing into a String cannot fail.
        let _ = writeln!(rules, "topic read {topic}");
    }
    rules.push_str(
        "\
topic write nodes/+/control
topic write nodes/+/request

# Each worker; %u is the common name of its certificate.
pattern read nodes/%u/control
pattern read nodes/%u/request
",
    );
    for topic in UPWARD {
        let topic = topic.replacen('+', "%u", 1).replace('#', "+");
        let _ = writeln!(rules, "pattern write {topic}");
    }
    let mut revoked = revoked.into_iter().peekable();
    if revoked.peek().is_some() {
        rules.push_str("\n# Revoked.\n");
    }
    for node in revoked {
        let _ = writeln!(rules, "user {node}\ntopic deny #");
    }
    rules
}

fn line(path: &Path) -> Result<&str, NoLine> {
    path.to_str()
        .filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| NoLine(path.to_owned()))
}

#[cfg(test)]
mod tests;
