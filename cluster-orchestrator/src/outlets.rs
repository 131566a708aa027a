//! Where actions go after the commit.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use cluster_core::{Action, Answer, RequestId, State};
use model::id::NodeId;
use mqtt::endpoint::Published;
use mqtt::link::Link;
use protocol::message::question::Ask;
use protocol::message::{control, question};
use protocol::topic::Topic;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::uplink::{Up, Upward};

/// Hashes of the workers' credentials, as committed: what the MQTT endpoint checks logins against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials(Arc<RwLock<HashMap<NodeId, [u8; 32]>>>);

impl Credentials {
    /// The hash that is kept of a password. Passwords are random, so a plain hash is enough.
    pub(crate) fn hash(password: &[u8]) -> [u8; 32] {
        Sha256::digest(password).into()
    }

    /// Whether this is the worker's password.
    pub(crate) fn fit(&self, node: NodeId, password: &[u8]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&node) == Some(&Self::hash(password))
    }

    fn set(&self, node: NodeId, hash: [u8; 32]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(node, hash);
    }

    fn replace(&self, hashes: HashMap<NodeId, [u8; 32]>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hashes;
    }
}

/// All links that actions go out on. Nothing here waits.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) link: Link,
    pub(crate) credentials: Credentials,
    /// `None`: this cluster has no root.
    pub(crate) uplink: Option<Upward>,
}

impl Outlets {
    /// Takes the credentials of a whole state.
    pub(crate) fn set_credentials(&self, state: &State) {
        self.credentials.replace(state.credentials().collect());
    }

    /// Takes the credential of one worker.
    pub(crate) fn set_credential(&self, node: NodeId, hash: [u8; 32]) {
        self.credentials.set(node, hash);
    }

    /// Performs actions in their order.
    pub(crate) fn perform(
        &mut self,
        actions: Vec<Action>,
        waiters: &mut HashMap<RequestId, oneshot::Sender<Answer>>,
    ) {
        for action in actions {
            match action {
                Action::Answer(request, answer) => {
                    if let Some(waiter) = waiters.remove(&request) {
                        // Whoever asked may have gone away.
                        let _ = waiter.send(answer);
                    }
                }
                Action::Control(node, changes) => {
                    for change in &changes {
                        self.publish(&Topic::Control(node), control::encode(change));
                    }
                }
                Action::AskWhole(node) => self.ask_whole(node),
                Action::AskAdopt(node) => {
                    self.publish(&Topic::Request(node), question::encode(Ask::Adopt));
                }
                Action::Acknowledge { held, beat } => self.up(Up::Acknowledge { held, beat }),
                Action::Report { report, held } => self.up(Up::Report { report, held }),
                Action::Adopt { held, desired } => self.up(Up::Adopt { held, desired }),
                Action::Aggregate(aggregate) => self.up(Up::Aggregate(aggregate)),
            }
        }
    }

    /// Asks a worker for a whole report.
    pub(crate) fn ask_whole(&self, node: NodeId) {
        self.publish(&Topic::Request(node), question::encode(Ask::WholeReport));
    }

    /// What is not taken is sent again by the sync protocol.
    fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        let bytes = payload.len();
        match self.link.publish(topic, Bytes::from(payload)) {
            Published::Published => {}
            Published::TooLarge => {
                tracing::error!(%topic, bytes, "a message is too large for MQTT and cannot be sent");
            }
            outcome @ (Published::NoSession | Published::Full) => {
                tracing::debug!(%topic, bytes, ?outcome, "a message was not taken");
            }
        }
    }

    fn up(&self, up: Up) {
        if let Some(uplink) = &self.uplink {
            uplink.send(up);
        }
    }
}
