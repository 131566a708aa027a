//! A broker that the operator runs: how this cluster proves itself there, and the rules that hold for workers.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::authority::{Authority, Life};
use identity::files::{self, FileError, Readers};
use identity::{Holder, Trust};
use model::id::{ClusterId, NodeId};
use mqtt::{client, mosquitto};
use orchestrator::access::Access;
use orchestrator::clock;
use tokio_util::sync::CancellationToken;

/// As whom a cluster comes to its broker. The root may not have given it an id yet, and its authority knows no other cluster.
pub(crate) const OWNER: ClusterId = ClusterId::from_bits(0);
/// The rules in the data directory, as they are now.
pub(crate) const RULES: &str = "broker/acl";
/// How long a certificate for one connection lasts; a broker looks at it when the connection is made.
const LASTING: Duration = Duration::from_hours(24);
/// The broker's clock may be so far behind.
const BEHIND: Duration = Duration::from_hours(1);
/// Between two looks at who is revoked.
const LOOK: Duration = Duration::from_secs(1);

/// How a connection is made: with a certificate of our own authority, if there is one to show.
///
/// # Errors
/// When that cannot be made.
pub(crate) fn dial(
    options: &client::Options,
    authority: Option<&Authority>,
) -> io::Result<client::Options> {
    let mut options = options.clone();
    if let Some(authority) = authority {
        let now = clock::now().wall;
        let life = Life {
            from: model::time::Wall(now.0.saturating_sub(BEHIND.as_millis() as i64)),
            lasting: BEHIND + LASTING,
        };
        let own = authority.client(Holder::Cluster(OWNER), life);
        let own = own.map_err(io::Error::other)?;
        let trust = Trust::authority(&authority.certificate()).map_err(io::Error::other)?;
        options.tls = Some(trust.client(Some(&own)).map_err(io::Error::other)?);
    }
    Ok(options)
}

/// Keeps the rules in a file as they have to be, until the token is cancelled.
pub(crate) async fn keep_rules(access: Access, file: PathBuf, shutdown: CancellationToken) {
    let (mut written, mut failed) = (None, false);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            // Cancel-safe.
            _ = look.tick() => {}
        }
        let book = access.book();
        let revoked: Vec<NodeId> = book.joins.revoked().map(NodeId::from_bits).collect();
        if written.as_ref() == Some(&revoked) {
            continue;
        }
        let rules = mosquitto::rules(OWNER, revoked.iter().copied());
        let to = file.clone();
        let done = tokio::task::spawn_blocking(move || write(&to, &rules)).await;
        match done {
            Ok(Ok(())) => {
                tracing::info!(
                    file = %file.display(),
                    revoked = revoked.len(),
                    "the rules of the broker are written; it knows them once `cluster-orchestrator mosquitto` has brought \
                     them there and it was told (SIGHUP)"
                );
                (written, failed) = (Some(revoked), false);
            }
            Ok(Err(error)) if !failed => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "the rules of the broker cannot be written; it is tried again"
                );
                failed = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

fn write(file: &Path, rules: &str) -> Result<(), FileError> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|source| FileError::Io {
            operation: "make the folder of",
            path: file.to_owned(),
            source,
        })?;
    }
    files::write(file, rules, Readers::Everybody)
}
