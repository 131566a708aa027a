//! The link to the cluster: registration, then MQTT, again and again.
//!
//! # Flow
//! 1. Register over Socket.IO: the cluster says who we are and where its broker is; that is saved on the disk.
//! 2. Connect to the broker, subscribe to our own `control` and `request`, say that we are online; only then the
//!    controller hears `Connected` and tells what it holds.
//! 3. When the connection ends, the next attempt goes to the broker at once; when that fails too, register again,
//!    since the broker may have moved or forgotten us.
//! 4. When the broker is out of reach for `--fallback-after`, and the cluster told us of a relay of its root, the same goes
//!    through that. The broker is tried on meanwhile, every `--fallback-probe`: once it lets us in, it is used again, and the
//!    other connection ends. Until then that one is not given up.
//!
//! Every start registers once when it can. When the cluster does not answer, what was saved is tried, so that a worker
//! can come back while the Cluster Manager is away, or by the other way.
//!
//! # Guarantees
//! No message of one connection is sent on another. Waits between attempts grow from 0.2 s with full jitter. A registration
//! that is under way is not given up, since the cluster may have changed our password by then. Each connection shows the
//! certificate of that moment; one that has ended is renewed first, and where that fails the attempt is made all the same. A worker
//! that knows its cluster's authority carries out nothing that this has not signed, whoever brings it ([`orders`]).

mod direct;
pub(crate) mod orders;
mod registration;
pub(crate) mod saved;
mod session;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use joining::Approach;
use model::id::NodeId;
use model::node::Leaving;
use model::node::NodeFacts;
use mqtt::backoff::Backoff;
use node_core::Input;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::link::direct::Direct;
use crate::link::orders::Orders;
use crate::link::registration::Run;
use crate::link::saved::{Known, RelayAt, Saved};
use crate::link::session::{End, Opened, Session};
use crate::logs::Sources;
use crate::secrets::Secrets;

/// A connection of this length was a good one.
const HELD: Duration = Duration::from_secs(5);
/// Where a connection through the root ends while the broker is being dialled, the reason is mostly that the broker lets us
/// in: it has so long to say so.
const CHANGING: Duration = Duration::from_secs(1);

/// What the link tells the controller.
pub(crate) type FromLink = Input;

/// A message for the cluster, written already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// What is held.
    Sync(Vec<u8>),
    /// What is observed, in parts.
    Instances(Vec<Vec<u8>>),
    /// What happened.
    Events(Vec<u8>),
    /// The machine's use.
    Information(Vec<u8>),
    /// The former set, in parts.
    Adopt(Vec<Vec<u8>>),
}

/// The link, before it runs.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) facts: NodeFacts,
    pub(crate) node: Option<NodeId>,
    /// The number of this start.
    pub(crate) boot: u64,
    /// What the disk says of the last registration.
    pub(crate) known: Known,
    pub(crate) config: Config,
    /// Where the cluster is, and what is shown to it.
    pub(crate) approach: Approach,
    /// Whose orders are taken.
    pub(crate) orders: Orders,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) inputs: mpsc::Sender<FromLink>,
    /// What answers in chunks are made from.
    pub(crate) sources: Sources,
}

/// The controller is gone, so nobody wants a link.
#[derive(Debug)]
struct Unwanted;

/// What every connection of this start has in common.
#[derive(Debug, Clone)]
struct Dialler {
    run: Run,
    connects: Arc<AtomicU64>,
    known: Known,
    approach: Approach,
    orders: Orders,
    secrets: Arc<Secrets>,
    inputs: mpsc::Sender<FromLink>,
    sources: Sources,
    leaving: Leaving,
}

impl Dialler {
    /// A connection to be made: to the broker, or through a relay.
    fn session(&self, saved: Saved, relay: Option<RelayAt>) -> Session {
        let connects = self.connects.fetch_add(1, Ordering::Relaxed) + 1;
        // Through a relay it ends at the cluster as well.
        let secure = relay.as_ref().map_or(saved.tls, |relay| relay.tls);
        Session {
            tls: self.approach.credentials.tls().filter(|_| secure),
            orders: self.orders.clone(),
            secrets: Arc::clone(&self.secrets),
            saved,
            relay,
            boot_id: self.run.boot_id.clone(),
            connect: (self.run.boot << 16) + connects,
            inputs: self.inputs.clone(),
            sources: self.sources.clone(),
            known: self.known.clone(),
            leaving: self.leaving,
        }
    }
}

/// The last thing that was logged as not working.
#[derive(Debug, Default)]
struct Complaints(Option<String>);

impl Complaints {
    /// Warns, but not each time of the same: a cluster may be away for a month.
    fn add(&mut self, text: &str) {
        if self.0.as_deref() == Some(text) {
            tracing::debug!("{text}");
        } else {
            tracing::warn!("{text}");
            self.0 = Some(text.to_owned());
        }
    }

    fn clear(&mut self) {
        self.0 = None;
    }
}

impl Link {
    /// Keeps the link up until the token is cancelled.
    pub(crate) async fn run(
        self,
        mut outgoing: mpsc::Receiver<Outgoing>,
        shutdown: CancellationToken,
    ) {
        let dialler = Dialler {
            run: Run::new(self.boot),
            connects: Arc::default(),
            known: self.known,
            approach: self.approach,
            orders: self.orders,
            secrets: self.secrets,
            inputs: self.inputs,
            sources: self.sources,
            leaving: self.config.on_stop,
        };
        let mut direct = Direct::new(&self.config, self.facts, self.node, dialler.clone());
        let detour = Detour {
            dialling: direct.dialling(),
            dialler,
            config: &self.config,
            relayed: direct.relayed(),
        };
        let mut lost = Instant::now();
        loop {
            let reached = {
                let mut reach = pin!(direct.reach());
                let due = lost + self.config.fallback_after;
                detour
                    .until(reach.as_mut(), due, &mut outgoing, &shutdown)
                    .await
            };
            let Some(Ok(opened)) = reached else { return };
            let began = Instant::now();
            let never = std::future::pending::<Infallible>();
            match opened.run(&mut outgoing, &shutdown, never).await {
                End::Stopped => return,
                End::Replaced(never) => match never {},
                // One that breaks at once, again and again, must not be hurried, and is no reason to wait for it.
                End::Broken if began.elapsed() >= HELD => {
                    direct.held();
                    lost = Instant::now();
                }
                End::Broken => {}
                // A cluster whose store was brought back may have forgotten what this worker wants.
                End::Unsigned => direct.must_register(),
            }
        }
    }
}

/// The way through the root.
struct Detour<'l> {
    config: &'l Config,
    dialler: Dialler,
    /// Whether the broker is being dialled.
    dialling: watch::Receiver<bool>,
    /// Told whether the cluster is reached by this way.
    relayed: watch::Sender<bool>,
}

impl Detour<'_> {
    /// Waits for the broker to be reached, and from `due` on serves the cluster through the root meanwhile.
    ///
    /// `None`: the token was cancelled.
    async fn until<R>(
        &self,
        mut reach: Pin<&mut impl Future<Output = R>>,
        due: Instant,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        shutdown: &CancellationToken,
    ) -> Option<R> {
        let mut backoff = backoff(self.config);
        let mut complaints = Complaints::default();
        // Many workers lose their broker at the same moment.
        let spread = self.config.fallback_after / 4;
        let mut wait = Backoff::new(spread, spread).next_wait();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            reached = reach.as_mut() => return Some(reached),
            () = sleep_until(due) => {}
        }
        loop {
            let dialled = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                reached = reach.as_mut() => return Some(reached),
                dialled = self.dial(wait) => dialled,
            };
            let opened = match dialled {
                Ok(opened) => opened,
                Err(reason) => {
                    complaints.add(&reason);
                    wait = backoff.next_wait();
                    continue;
                }
            };
            complaints.clear();
            self.relayed.send_replace(true);
            let began = Instant::now();
            let end = opened.run(outgoing, shutdown, reach.as_mut()).await;
            self.relayed.send_replace(false);
            match end {
                End::Stopped => return None,
                End::Replaced(reached) => return Some(reached),
                End::Broken if began.elapsed() >= HELD => backoff.reset(),
                End::Broken | End::Unsigned => {}
            }
            wait = backoff.next_wait();
            if *self.dialling.borrow() {
                wait = wait.max(CHANGING);
            }
        }
    }

    /// Waits, also for a way that may be gone, and goes it.
    ///
    /// # Errors
    /// Why it cannot be gone, for the log.
    async fn dial(&self, wait: Duration) -> Result<Opened, String> {
        sleep(wait).await;
        let mut ways = self.dialler.known.watch();
        let known = ways.wait_for(|ways| ways.relayed().is_some()).await;
        let known = known.map(|ways| ways.clone());
        // The other end is held by us.
        let ways = known.map_err(|gone| gone.to_string())?;
        let way = ways
            .relayed()
            .map(|(saved, relay)| (saved.clone(), relay.clone()));
        let (saved, relay) = way.ok_or("the way through the root was taken back")?;
        let host = relay.host.clone();
        let session = self.dialler.session(saved, Some(relay));
        if session.tls.is_none() && !self.config.may_reach(&host) {
            return Err(format!(
                "the root's relay {host} is another machine, and the connection would be in plain text; join the cluster with a token, \
                 or allow that with --insecure"
            ));
        }
        let dialled = session.dial().await;
        dialled.map_err(|reason| format!("cannot reach the cluster through its root: {reason}"))
    }
}

fn backoff(config: &Config) -> Backoff {
    let first = Duration::from_millis(200).min(config.reconnect_max);
    Backoff::new(first, config.reconnect_max)
}
