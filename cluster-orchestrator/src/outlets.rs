//! Where actions go after the commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use cluster_core::{Action, Input, State, Write};
use daemon::crashpoint;
use identity::authority::Authority;
use model::access::{Quota, TenantPath};
use model::desired::NodeItem;
use model::id::{ClusterId, NodeId};
use mqtt::endpoint::Published;
use mqtt::link::Link;
use orchestrator::access::Access;
use orchestrator::scheduler::Advisor;
use protocol::message::question::Ask;
use protocol::message::{DesiredEntry, SecretKey, control, question, signed};
use protocol::topic::Topic;
use secrets::PublicKey;
use sha2::{Digest, Sha256};
use sync::Change;

use crate::metrics::Metrics;
use crate::places::Places;
use crate::tier::Cluster;
use crate::uplink::{Up, Upward};

/// Hashes of the workers' credentials, as committed: what the MQTT endpoint checks logins against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials(Arc<RwLock<HashMap<NodeId, Hashes>>>);

/// What one worker may come with.
#[derive(Debug, Clone, Copy)]
struct Hashes {
    /// Of its last registration.
    newest: [u8; 32],
    /// The one it came with last, until it comes with the newest: the answer to a registration may be lost on a path that
    /// breaks just then, and the worker has to be let in by the way that is left.
    used: [u8; 32],
}

impl Credentials {
    /// The hash that is kept of a password. Passwords are random, so a plain hash is enough.
    pub(crate) fn hash(password: &[u8]) -> [u8; 32] {
        Sha256::digest(password).into()
    }

    /// Whether this is the worker's password.
    pub(crate) fn fit(&self, node: NodeId, password: &[u8]) -> bool {
        let hash = Self::hash(password);
        let known = self.known().get(&node).copied();
        let Some(Hashes { newest, used }) = known else {
            return false;
        };
        if hash == newest && hash != used {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            // A registration that came meanwhile keeps what is used now.
            if let Some(hashes) = known.get_mut(&node) {
                hashes.used = hash;
            }
        }
        hash == newest || hash == used
    }

    fn known(&self) -> RwLockReadGuard<'_, HashMap<NodeId, Hashes>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, node: NodeId, hash: [u8; 32]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(node)
            .and_modify(|hashes| hashes.newest = hash)
            .or_insert_with(|| Hashes::of(hash));
    }

    fn remove(&self, node: NodeId) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(&node);
    }

    fn replace(&self, hashes: HashMap<NodeId, [u8; 32]>) {
        let hashes = hashes
            .into_iter()
            .map(|(node, hash)| (node, Hashes::of(hash)));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hashes.collect();
    }
}

impl Hashes {
    const fn of(hash: [u8; 32]) -> Self {
        Self {
            newest: hash,
            used: hash,
        }
    }
}

/// All links that actions go out on.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) link: Link,
    pub(crate) credentials: Credentials,
    /// `None`: this cluster has no root.
    pub(crate) uplink: Option<Upward>,
    pub(crate) metrics: Metrics,
    pub(crate) open: Open,
    pub(crate) places: Places,
    pub(crate) signing: Signing,
    pub(crate) sealing: Sealing,
    pub(crate) advisor: Advisor<Cluster>,
}

/// Who hands on the keys to secrets, and for what they are encrypted on the way.
#[derive(Debug)]
pub(crate) struct Sealing {
    access: Access,
    workers: BTreeMap<NodeId, PublicKey>,
}

impl Sealing {
    pub(crate) const fn new(access: Access) -> Self {
        Self {
            access,
            workers: BTreeMap::new(),
        }
    }

    /// The keys that a change needs.
    fn keys(&self, node: NodeId, change: &Change<DesiredEntry>) -> Vec<SecretKey> {
        let items = change.put.iter().map(|entry| &entry.value);
        let desired = items.filter_map(|item| match item {
            NodeItem::Instance(desired) => Some(desired),
            NodeItem::Settings(_) => None,
        });
        self.access.secret_keys(self.workers.get(&node), desired)
    }
}

/// Who signs what workers are to run, for those who verify it. Others may be older than signatures, and could not read it.
#[derive(Debug)]
pub(crate) struct Signing {
    authority: Arc<Authority>,
    verifying: BTreeSet<NodeId>,
}

impl Signing {
    pub(crate) fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            verifying: BTreeSet::new(),
        }
    }

    /// The payload as that worker takes it; `None`: it cannot be signed.
    fn signed(&self, topic: &Topic, payload: Vec<u8>) -> Option<Vec<u8>> {
        if !self.verifying.contains(&topic.node()) {
            return Some(payload);
        }
        match self.authority.sign(&topic.to_string(), &payload) {
            Ok(signature) => Some(signed::seal(payload, &signature.to_string())),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(%topic, error, "a message cannot be signed and is not sent");
                None
            }
        }
    }
}

/// Which links are open, and what else a state does not store.
#[derive(Debug, Default)]
pub(crate) struct Open {
    sessions: BTreeMap<NodeId, u64>,
    root: Option<ClusterId>,
    /// The broker cannot be reached.
    deaf: bool,
    /// The quotas that the state was told last: it does not store them.
    quotas: Vec<(TenantPath, Quota)>,
}

impl orchestrator::Outlets<Cluster> for Outlets {
    fn note(&mut self, input: &Input) {
        match input {
            Input::Connected { node, session } => {
                self.open.sessions.insert(*node, *session);
            }
            Input::Closed { node, session, .. } => {
                if self.open.sessions.get(node) == Some(session) {
                    self.open.sessions.remove(node);
                }
            }
            Input::Broker { reachable } => {
                self.open.deaf = !reachable;
                self.metrics.broker_reachable(*reachable);
            }
            Input::RootConnected(cluster) => self.open.root = Some(*cluster),
            Input::RootClosed => self.open.root = None,
            Input::Quotas(quotas) => self.open.quotas.clone_from(quotas),
            Input::Started { .. }
            | Input::Job { .. }
            | Input::Patch { .. }
            | Input::ReleaseBrake { .. }
            | Input::Forget { .. }
            | Input::Schedule { .. }
            | Input::Advised { .. }
            | Input::Register { .. }
            | Input::Held { .. }
            | Input::Reported { .. }
            | Input::Silent { .. }
            | Input::Cloned(_)
            | Input::Adopt { .. }
            | Input::Assigned(_)
            | Input::Told { .. }
            | Input::RootConfirmed(_)
            | Input::RootAsksWhole
            | Input::RootAsksAdopt
            | Input::RootKnowsLater
            | Input::Reconcile => {}
        }
    }

    fn links(&self) -> Vec<Input> {
        let sessions = self.open.sessions.iter();
        let connected = |(node, session): (&NodeId, &u64)| Input::Connected {
            node: *node,
            session: *session,
        };
        let root = self.open.root.map(Input::RootConnected);
        let deaf = self.open.deaf.then_some(Input::Broker { reachable: false });
        let quotas = std::iter::once(Input::Quotas(self.open.quotas.clone()));
        let links = sessions.map(connected).chain(root).chain(deaf);
        quotas.chain(links).collect()
    }

    fn loaded(&mut self, state: &State) {
        self.credentials.replace(state.credentials().collect());
        self.signing.verifying = state.verifying().collect();
        let sealing = state.sealing();
        self.sealing.workers = sealing
            .map(|(node, key)| (node, PublicKey::from_bytes(key)))
            .collect();
        self.sealing.access.tidy_secret_keys(state.workloads());
        self.places.load(state, orchestrator::clock::now());
        self.give_up_if_fenced(state);
    }

    fn committed(&mut self, state: &State, writes: &[Write]) {
        self.metrics.happened(state, writes);
        for write in writes {
            if let Write::Node { node, record } = write {
                self.credentials.set(*node, record.credential);
                if record.verifies {
                    self.signing.verifying.insert(*node);
                } else {
                    self.signing.verifying.remove(node);
                }
                match record.sealing.map(PublicKey::from_bytes) {
                    Some(key) => self.sealing.workers.insert(*node, key),
                    None => self.sealing.workers.remove(node),
                };
            }
            if let Write::ForgetNode(node) = write {
                self.credentials.remove(*node);
                self.signing.verifying.remove(node);
                self.sealing.workers.remove(node);
            }
        }
        self.give_up_if_fenced(state);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Control(node, changes) => {
                self.places.sent(node, &changes);
                crashpoint!("cluster.control.unsent");
                let topic = Topic::Control(node);
                for change in &changes {
                    let payload = control::encode(change, &self.sealing.keys(node, change));
                    if let Some(payload) = self.signing.signed(&topic, payload) {
                        self.publish(&topic, payload);
                    }
                }
                crashpoint!("cluster.control.sent");
            }
            Action::Confirm(node, stamp) => {
                crashpoint!("cluster.confirm.unsent");
                self.publish(&Topic::Request(node), question::encode_confirmed(stamp));
            }
            Action::Tell(telling) => self.up(Up::Tell(telling)),
            Action::AskWhole(node) => self.ask(node, Ask::WholeReport),
            Action::AskAdopt(node) => self.ask(node, Ask::Adopt),
            Action::Acknowledge { held, beat } => {
                crashpoint!("cluster.part.staged", if held.staged.is_some());
                self.up(Up::Acknowledge { held, beat });
            }
            Action::Report { report, held } => self.up(Up::Report { report, held }),
            Action::Adopt { held, desired } => self.up(Up::Adopt { held, desired }),
            Action::Aggregate(aggregate) => self.up(Up::Aggregate(aggregate)),
            Action::AskScheduler(slot, question) => self.advisor.ask(slot, question),
            // The controller answers.
            Action::Answer(..) => {}
        }
    }

    fn ask_whole(&mut self) {
        for node in self.open.sessions.keys() {
            self.ask(*node, Ask::WholeReport);
        }
    }
}

impl Outlets {
    fn ask(&self, node: NodeId, ask: Ask) {
        self.publish(&Topic::Request(node), question::encode(ask));
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

    fn give_up_if_fenced(&self, state: &State) {
        if let Some(uplink) = self.uplink.as_ref().filter(|_| state.is_fenced()) {
            uplink.give_up();
        }
    }

    fn up(&self, up: Up) {
        if let Some(uplink) = &self.uplink {
            uplink.send(up);
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::Verifier;
    use model::time::Wall;

    use super::*;

    #[test]
    fn what_a_worker_is_to_run_is_signed_for_it_alone_if_it_verifies() {
        let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
        let verifier = Verifier::of_authority_pem(&authority.certificate()).unwrap();
        let (new, old) = (NodeId::from_bits(1), NodeId::from_bits(2));
        let mut signing = Signing::new(Arc::new(authority));
        signing.verifying.insert(new);
        let topic = Topic::Control(new);
        let sealed = signing.signed(&topic, b"{}".to_vec()).unwrap();
        let signed::Signed { payload, signature } = signed::open(&sealed);
        let signature = signature.unwrap().parse().unwrap();
        assert_eq!(payload, b"{}");
        assert_eq!(
            verifier.verify(&topic.to_string(), payload, &signature),
            Ok(())
        );
        let elsewhere = Topic::Control(old).to_string();
        assert!(verifier.verify(&elsewhere, payload, &signature).is_err());
        let plain = signing.signed(&Topic::Control(old), b"{}".to_vec());
        assert_eq!(plain.as_deref(), Some(b"{}".as_slice()));
    }

    #[test]
    fn a_credential_holds_until_a_later_one_was_used() {
        let credentials = Credentials::default();
        let (node, other) = (NodeId::from_bits(1), NodeId::from_bits(2));
        let fits = |password: &str| credentials.fit(node, password.as_bytes());
        let register =
            |password: &str| credentials.set(node, Credentials::hash(password.as_bytes()));
        assert!(!fits("a"));
        register("a");
        assert!(fits("a") && !fits("") && !credentials.fit(other, b"a"));
        // The answers to two registrations were lost.
        register("b");
        register("c");
        assert!(fits("a") && !fits("b"));
        assert!(fits("c"));
        assert!(!fits("a") && !fits("b") && fits("c"));
        // A state that is loaded again knows the newest only.
        register("d");
        let hash = Credentials::hash(b"d");
        credentials.replace(HashMap::from([(node, hash)]));
        assert!(fits("d") && !fits("c"));
    }
}
