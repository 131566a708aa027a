//! Which cluster is dialled, and how this worker comes to have something to show there.

use std::path::PathBuf;
use std::time::Duration;

use daemon::dial::Dialled;
use identity::{Holder, JoinToken, Joining};
use joining::{Address, Approach, Membership, Wanted};
use model::id::NodeId;

use crate::EngineError;
use crate::config::Config;
use crate::runtime::chain;

/// The cluster of who says nothing and has joined none.
pub(crate) const DEFAULT_CLUSTER: &str = "http://127.0.0.1:10001";
/// How long the cluster may take to let a worker join.
const PATIENCE: Duration = Duration::from_secs(15);
/// The folder of the membership in the data directory.
const FOLDER: &str = "identity";

/// The cluster that a worker joins.
const CLUSTER: Dialled = Dialled {
    option: "--cluster",
    schemes: &["http", "ws"],
    secure: &["https", "wss"],
    path: true,
    example: "http://192.0.2.1:10001",
};

/// The worker that the cluster knows this one as, where it has joined.
pub(crate) fn node(approach: &Approach) -> Option<NodeId> {
    match approach.holder() {
        Some(Holder::Worker(node)) => Some(node),
        Some(Holder::Cluster(_) | Holder::Root) | None => None,
    }
}

impl Config {
    /// Where the membership is kept.
    fn identity_dir(&self) -> PathBuf {
        self.data_dir.join(FOLDER)
    }

    /// As whom this worker has joined, if it has.
    ///
    /// # Errors
    /// When that is there and cannot be used.
    pub(crate) fn membership(&self) -> Result<Option<Membership>, EngineError> {
        let Some(membership) = Membership::load(&self.identity_dir())? else {
            return Ok(None);
        };
        if membership.joining() != Joining::Worker {
            return Err(EngineError::Config(format!(
                "{} is of a cluster-orchestrator; give the engine a --data-dir of its own",
                self.identity_dir().display()
            )));
        }
        Ok(Some(membership))
    }

    /// The token that was given.
    fn token(&self, is_needed: bool) -> Result<Option<JoinToken>, EngineError> {
        let file = self.join_token_file.as_deref();
        let token = joining::given(self.join_token.as_deref(), file, is_needed);
        let token = token.map_err(|error| EngineError::Config(chain(&error)))?;
        if token.is_none() && self.is_joining && is_needed {
            let fault = "say by which token: node-engine join TOKEN";
            return Err(EngineError::Config(fault.to_owned()));
        }
        Ok(token)
    }

    /// What is wrong with the options that say where the cluster is and what it is shown.
    ///
    /// # Errors
    /// When what is on the disk cannot be used.
    pub(crate) fn wrong_approach(&self) -> Result<Vec<String>, EngineError> {
        let membership = self.membership()?;
        let has_joined = membership.is_some();
        let token = self.token(!has_joined);
        // Who is to join learns from the token where the cluster is and whom to believe.
        let approach = if has_joined || matches!(token, Ok(None)) {
            self.approach(membership).map(drop)
        } else {
            let url = self.cluster.as_deref().unwrap_or(DEFAULT_CLUSTER);
            let read = CLUSTER.read(url, true).map(drop);
            read.map_err(|error| EngineError::Config(error.to_string()))
        };
        let mut faults = Vec::new();
        for error in [token.err(), approach.err()].into_iter().flatten() {
            match error {
                EngineError::Config(fault) => faults.push(fault),
                other => return Err(other),
            }
        }
        Ok(faults)
    }

    /// Which cluster is dialled: that of `--cluster`, or the one that was joined.
    ///
    /// # Errors
    /// A URL that is none, plain text to another machine without `--insecure`, or TLS with nobody to believe.
    pub(crate) fn approach(&self, membership: Option<Membership>) -> Result<Approach, EngineError> {
        let url = self.cluster.as_deref();
        let approach = match membership {
            Some(membership) => Approach::joined(membership, CLUSTER, url),
            None => Approach::open(Address {
                dialled: CLUSTER,
                server: "cluster",
                url: url.unwrap_or(DEFAULT_CLUSTER),
                insecure: self.insecure,
                ca: self.ca.as_deref(),
            }),
        };
        approach.map_err(|error| EngineError::Config(chain(&error)))
    }

    /// Joins where a token says so. `node`: who this worker was by its store, in which case only a membership of the same
    /// is of use.
    ///
    /// # Errors
    /// When it cannot join, or is somebody else.
    pub(crate) async fn enter(
        &self,
        node: Option<NodeId>,
    ) -> Result<Option<Membership>, EngineError> {
        let there = self.membership()?;
        let token = self.token(there.is_none())?;
        let stranger = |node| EngineError::Stranger {
            path: self.data_dir.clone(),
            node,
        };
        if let (None, Some(_), Some(node)) = (&there, &token, node) {
            return Err(stranger(node));
        }
        let membership = joining::enter(Wanted {
            folder: &self.identity_dir(),
            joining: Joining::Worker,
            token: token.as_ref(),
            anew: self.is_joining,
            patience: PATIENCE,
        })
        .await?;
        let Some(membership) = membership else {
            return Ok(None);
        };
        if let Some(node) = node
            && membership.holder() != Holder::Worker(node)
        {
            return Err(stranger(node));
        }
        let id = membership.holder().id();
        if there.is_none() {
            tracing::info!(worker.id = id, cluster = membership.place(), "joined");
        } else if token.is_some() {
            tracing::info!(worker.id = id, "has joined before; the token is not used");
        }
        Ok(Some(membership))
    }
}

#[cfg(test)]
mod tests;
