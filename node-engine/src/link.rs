//! The link to the cluster: registration, then MQTT, again and again.
//!
//! # Flow
//! 1. Register over Socket.IO: the cluster says who we are and where its broker is; that is saved on the disk.
//! 2. Connect to the broker, subscribe to our own `control` and `request`, say that we are online; only then the
//!    controller hears `Connected` and tells what it holds.
//! 3. When the connection ends, the next attempt goes to the broker at once; when that fails too, register again,
//!    since the broker may have moved or forgotten us.
//!
//! Every start registers once when it can. When the cluster does not answer, what was saved is tried, so that a worker
//! can come back while the Cluster Manager is away.
//!
//! # Guarantees
//! No message of one connection is sent on another. Waits between attempts grow from 0.2 s with full jitter.

mod registration;
pub(crate) mod saved;
mod session;

use std::time::Duration;

use daemon::crashpoint;
use model::id::NodeId;
use model::node::NodeFacts;
use mqtt::backoff::Backoff;
use node_core::Input;
use protocol::message::register::Refused;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::link::registration::{Failure, Run};
use crate::link::saved::Saved;
use crate::link::session::{End, Session};
use crate::logs::Sources;
use crate::runtime::chain;

/// A connection of this length was a good one.
const HELD: Duration = Duration::from_secs(5);

/// What the link tells the controller.
pub(crate) type FromLink = Input;

/// A message for the cluster, written already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// What is held.
    Sync(Vec<u8>),
    /// What is observed, in parts.
    Instances(Vec<Vec<u8>>),
    /// The machine's use.
    Information(Vec<u8>),
    /// The former set, in parts.
    Adopt(Vec<Vec<u8>>),
}

/// The link, before it runs.
#[derive(Debug)]
pub(crate) struct Link {
    /// The host in the cluster's URL.
    pub(crate) cluster_host: String,
    pub(crate) facts: NodeFacts,
    pub(crate) node: Option<NodeId>,
    /// The number of this start.
    pub(crate) boot: u64,
    /// What the disk says of the last registration.
    pub(crate) saved: Option<Saved>,
    pub(crate) config: Config,
    pub(crate) inputs: mpsc::Sender<FromLink>,
    /// What answers in chunks are made from.
    pub(crate) sources: Sources,
    /// The last thing that was logged as not working.
    pub(crate) complained: Option<String>,
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

/// The controller is gone, so nobody wants a link.
#[derive(Debug)]
struct Unwanted;

impl Link {
    /// Keeps the link up until the token is cancelled.
    pub(crate) async fn run(
        mut self,
        mut outgoing: mpsc::Receiver<Outgoing>,
        shutdown: CancellationToken,
    ) {
        let run = Run::new(self.boot);
        let mut backoff = Backoff::new(
            Duration::from_millis(200).min(self.config.reconnect_max),
            self.config.reconnect_max,
        );
        let mut must_register = true;
        let mut connects = 0;
        loop {
            let mut asked = Asked::Registered;
            if must_register {
                // Cancel-safe: a registration that is given up has no effect but a new password.
                let asking = tokio::select! {
                    () = shutdown.cancelled() => return,
                    asking = self.register(&run) => asking,
                };
                match asking {
                    Ok(answer) => asked = answer,
                    Err(Unwanted) => return,
                }
                must_register = asked != Asked::Registered;
            }
            let known = self.saved.clone();
            let known = known.filter(|saved| Some(saved.node) == self.node);
            if let Some(saved) = known.filter(|_| asked != Asked::Refused) {
                connects += 1;
                let session = Session {
                    saved,
                    boot_id: &run.boot_id,
                    connect: (self.boot << 16) + connects,
                    inputs: &self.inputs,
                    sources: &self.sources,
                    leaving: self.config.on_stop,
                };
                let began = Instant::now();
                match session.run(&mut outgoing, &shutdown).await {
                    End::Stopped => return,
                    End::Never(reason) => {
                        self.complain(&format!("cannot connect to the cluster's broker: {reason}"));
                        must_register = true;
                    }
                    // One that breaks at once, again and again, must not be hurried.
                    End::Broken if began.elapsed() >= HELD => backoff.reset(),
                    End::Broken => {}
                }
            }
            let wait = backoff.next_wait();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Asks the cluster to let us in. Only its word keeps us from the broker that we know; its silence does not.
    async fn register(&mut self, run: &Run) -> Result<Asked, Unwanted> {
        let welcome = match registration::register(&self.config, &self.facts, self.node, run).await
        {
            Ok(welcome) => welcome,
            Err(Failure::Refused(Refused { code, message })) => {
                self.complain(&format!(
                    "the cluster refuses this worker ({code}): {message}"
                ));
                return Ok(Asked::Refused);
            }
            Err(failure @ (Failure::Connect(_) | Failure::Answer(_) | Failure::Message(_))) => {
                self.complain(&format!("cannot register yet: {}", chain(&failure)));
                return Ok(Asked::Unheard);
            }
        };
        let saved = Saved::of(welcome, &self.cluster_host);
        if !self.config.may_reach(&saved.host) {
            self.complain(&format!(
                "the cluster's broker {} is another machine, and the connection would be in plain text; allow that with --insecure",
                saved.host
            ));
            return Ok(Asked::Refused);
        }
        crashpoint!("node.register.answered");
        if let Err(error) = saved::store(&self.config.data_dir, &saved) {
            // Only the next start without its cluster misses it.
            tracing::warn!(error = %error, "cannot save where the broker is");
        }
        tracing::info!(worker.id = %saved.node, broker = saved.host, port = saved.port, "registered");
        crashpoint!("node.register.saved");
        self.complained = None;
        self.node = Some(saved.node);
        self.inputs
            .send(Input::Registered(saved.node))
            .await
            .map_err(|_| Unwanted)?;
        self.saved = Some(saved);
        Ok(Asked::Registered)
    }

    /// Warns, but not each time of the same: a cluster may be away for a month.
    fn complain(&mut self, text: &str) {
        if self.complained.as_deref() == Some(text) {
            tracing::debug!("{text}");
        } else {
            tracing::warn!("{text}");
            self.complained = Some(text.to_owned());
        }
    }
}
