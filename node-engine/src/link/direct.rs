//! The way to the cluster's own broker: tried until it is there.

use daemon::crashpoint;
use model::id::NodeId;
use model::node::NodeFacts;
use mqtt::backoff::{Backoff, spread};
use node_core::Input;
use protocol::message::register::Refused;
use tokio::sync::watch;
use tokio::time::sleep;

use super::registration::{self, Failure};
use super::session::Opened;
use super::{Complaints, Dialler, Unwanted, backoff};
use crate::config::Config;
use crate::runtime::chain;

/// While the cluster is reached by the other way, only each so many attempts register first: the broker may have moved, but
/// a registration is a commit of the cluster's, and mostly only the path is broken.
const REGISTER_EACH: u32 = 10;

/// The cluster wants a certificate, and was shown none that counts.
const NO_IDENTITY: &str = "no_identity";
/// The certificate that was shown has ended.
const EXPIRED: &str = "expired";
/// The certificate that was shown is not this worker's.
const WRONG_IDENTITY: &str = "wrong_identity";

/// Attempts, and what they remember of each other.
#[derive(Debug)]
pub(super) struct Direct<'l> {
    config: &'l Config,
    facts: NodeFacts,
    node: Option<NodeId>,
    dialler: Dialler,
    backoff: Backoff,
    must_register: bool,
    /// Attempts of this start.
    attempts: u32,
    complaints: Complaints,
    dialling: watch::Sender<bool>,
    /// Whether the cluster is reached by the other way.
    relayed: watch::Sender<bool>,
}

/// What came of asking the cluster to let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It did.
    Registered,
    /// It does not answer.
    Unheard,
    /// It does not want us, as we are.
    Refused,
}

impl<'l> Direct<'l> {
    pub(super) fn new(
        config: &'l Config,
        facts: NodeFacts,
        node: Option<NodeId>,
        dialler: Dialler,
    ) -> Self {
        Self {
            config,
            facts,
            node,
            dialler,
            backoff: backoff(config),
            must_register: true,
            attempts: 0,
            complaints: Complaints::default(),
            dialling: watch::Sender::new(false),
            relayed: watch::Sender::new(false),
        }
    }

    /// Whether the broker is being dialled.
    pub(super) fn dialling(&self) -> watch::Receiver<bool> {
        self.dialling.subscribe()
    }

    /// To be told whether the cluster is reached by the other way: then there is time.
    pub(super) fn relayed(&self) -> watch::Sender<bool> {
        self.relayed.clone()
    }

    /// The last connection was a good one.
    pub(super) fn held(&mut self) {
        self.backoff.reset();
    }

    /// The cluster has to hear again what this worker wants.
    pub(super) fn must_register(&mut self) {
        self.must_register = true;
    }

    /// Tries until the broker lets us in. The first attempt of this start is made at once, each other one after a wait.
    pub(super) async fn reach(&mut self) -> Result<Opened, Unwanted> {
        loop {
            if self.attempts > 0 {
                self.rest().await;
            }
            self.attempts = self.attempts.wrapping_add(1);
            if let Some(opened) = self.attempt().await? {
                return Ok(opened);
            }
        }
    }

    /// Waits for the next attempt; not for long once the other way is lost.
    async fn rest(&mut self) {
        let mut relayed = self.relayed.subscribe();
        if *relayed.borrow_and_update() {
            tokio::select! {
                () = sleep(spread(self.config.fallback_probe)) => return,
                // The other end is held by us.
                _ = relayed.wait_for(|relayed| !relayed) => self.backoff.reset(),
            }
        }
        sleep(self.backoff.next_wait()).await;
    }

    async fn attempt(&mut self) -> Result<Option<Opened>, Unwanted> {
        self.dialler.approach.credentials.freshen().await;
        let has_time = *self.relayed.borrow();
        if self.must_register && (!has_time || self.attempts.is_multiple_of(REGISTER_EACH)) {
            let asked = self.register().await?;
            self.must_register = asked != Asked::Registered;
            let refused = asked == Asked::Refused;
            self.dialler.known.set_refused(refused);
            if refused {
                return Ok(None);
            }
        }
        let Some(saved) = self.dialler.known.now().saved else {
            return Ok(None);
        };
        self.dialling.send_replace(true);
        let dialled = self.dialler.session(saved, None).dial().await;
        self.dialling.send_replace(false);
        match dialled {
            Ok(opened) => {
                self.complaints.clear();
                Ok(Some(opened))
            }
            Err(reason) => {
                self.complaints
                    .add(&format!("cannot connect to the cluster's broker: {reason}"));
                self.must_register = true;
                Ok(None)
            }
        }
    }

    /// Asks the cluster to let us in. Only its word keeps us from the broker that we know; its silence does not.
    async fn register(&mut self) -> Result<Asked, Unwanted> {
        let run = &self.dialler.run;
        let approach = &self.dialler.approach;
        let Dialler {
            orders, secrets, ..
        } = &self.dialler;
        let run = (run, orders.are_verified(), secrets.sealing_key());
        let registered = registration::register(approach, &self.facts, self.node, run).await;
        let welcome = match registered {
            Ok(welcome) => welcome,
            Err(Failure::Refused(refused)) => {
                self.refused(&refused);
                return Ok(Asked::Refused);
            }
            Err(failure @ (Failure::Connect(_) | Failure::Answer(_) | Failure::Message(_))) => {
                self.complaints
                    .add(&format!("cannot register yet: {}", chain(&failure)));
                return Ok(Asked::Unheard);
            }
        };
        let host = self.dialler.known.broker_host(&welcome);
        let secure = welcome.broker_tls && self.dialler.approach.credentials.tls().is_some();
        if !secure && !self.config.may_reach(&host) {
            self.complaints.add(&format!(
                "the cluster's broker {host} is another machine, and the connection would be in plain text; allow that with --insecure"
            ));
            return Ok(Asked::Refused);
        }
        crashpoint!("node.register.answered");
        let saved = self.dialler.known.registered(welcome);
        crashpoint!("node.register.saved");
        tracing::info!(worker.id = %saved.node, broker = saved.host, port = saved.port, "registered");
        self.complaints.clear();
        self.node = Some(saved.node);
        self.dialler
            .inputs
            .send(Input::Registered(saved.node))
            .await
            .map_err(|_| Unwanted)?;
        Ok(Asked::Registered)
    }

    /// Says why the cluster does not want us, and what to do about it where that is known here.
    fn refused(&mut self, Refused { code, message }: &Refused) {
        let credentials = &self.dialler.approach.credentials;
        let has_joined = credentials.holder().is_some();
        let remedy = match code.as_str() {
            NO_IDENTITY | EXPIRED if has_joined => {
                // It may have ended by the cluster's clock, which is the one that counts.
                credentials.doubt();
                "; the certificate is renewed first now, and if that is refused as well, join again with a new token: node-engine join TOKEN"
            }
            NO_IDENTITY => {
                "; join with a token (edgeio token create at the cluster): node-engine join TOKEN"
            }
            WRONG_IDENTITY => {
                "; the data directory is another worker's, or a copy of one: join with a new token and an empty --data-dir"
            }
            _ => "",
        };
        self.complaints.add(&format!(
            "the cluster refuses this worker ({code}): {message}{remedy}"
        ));
    }
}
