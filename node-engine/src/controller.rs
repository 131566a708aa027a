//! The one task that owns the state: it takes inputs, commits what was decided, and only then acts.
//!
//! # Guarantees
//! - A failed commit leaves nothing behind: the state is rebuilt from the store, under a new boot number so that the
//!   cluster takes its reports, and the runtimes are asked again.
//! - It never waits for the network: what the link has no room for is dropped, and the sync protocol sends it again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use daemon::crashpoint;
use model::id::InstanceId;
use model::instance::Observed;
use model::node::Leaving;
use model::time::{Instant, Now, Wall};
use model::workload::RuntimeKind;
use node_core::{Action, Input, State, Write, turn};
use protocol::message::information::{Information, Row};
use protocol::message::{Beat, adopt, events, information, instances, sync};
use protocol::skew;
use store::Writer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{EngineError, Ready, core_config};
use crate::facts::usage::Sampler;
use crate::link::{FromLink, Outgoing};
use crate::logs::Runtimes;
use crate::logs::standing::{Standing, Standings};
use crate::perform::{Performer, runtimes};
use crate::policy::Policy;
use crate::record;
use crate::runtime::{Asked, Exited, chain};
use crate::secrets::Secrets;

/// Inputs that are decided together, at most.
const BATCH: usize = 256;
/// Free places of the link's queue below which no report is made; acknowledgements and the use need few.
const ROOM: usize = 32;
/// The engine says that it is ready after this long, whatever is still starting.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Between two attempts to use a store that fails.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What a controller is made from.
#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) config: Config,
    pub(crate) policy: Arc<Policy>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) kinds: BTreeSet<RuntimeKind>,
    pub(crate) state: State,
    pub(crate) writer: Writer,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
    pub(crate) exits: mpsc::Sender<Exited>,
    /// Told which runtimes there are.
    pub(crate) runtimes: watch::Sender<Runtimes>,
    /// Told about the instances whose output is read.
    pub(crate) standings: Standings,
    pub(crate) shutdown: CancellationToken,
    /// Ends the link.
    pub(crate) linking: CancellationToken,
}

/// The owner of the state.
#[derive(Debug)]
pub(crate) struct Controller {
    deps: Deps,
    performer: Performer,
    sampler: Sampler,
    /// When the use of the machine is reported next.
    information_at: Instant,
    connected: bool,
    /// The link's queue has room for reports.
    room: bool,
    /// It was said that the cluster is of a newer version.
    said_unknown: bool,
    /// The runtimes that the cluster was told do not answer.
    said_silent: BTreeSet<RuntimeKind>,
}

/// The two clocks.
pub(crate) fn now() -> Now {
    Now {
        steady: Instant(daemon::clock::steady_millis()),
        wall: Wall(daemon::clock::wall_millis()),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(now().steady)).await,
        None => std::future::pending().await,
    }
}

impl Controller {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            sampler: Sampler::new(deps.config.data_dir.clone()),
            performer: Performer::new(Arc::clone(&deps.policy), Arc::clone(&deps.secrets)),
            information_at: now().steady,
            connected: false,
            room: true,
            said_unknown: false,
            said_silent: BTreeSet::new(),
            deps,
        }
    }

    /// Runs until the token is cancelled; ends with everything that was decided committed.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<FromLink>,
        mut exits: mpsc::Receiver<Exited>,
        ready: impl FnOnce(Ready) + Send,
    ) -> Result<(), EngineError> {
        let shutdown = self.deps.shutdown.clone();
        let outgoing = self.deps.outgoing.clone();
        let ready_by = now().steady.plus(READY_WITHIN);
        let mut ready = Some(ready);
        self.make_runtimes()?;
        let mut batch = vec![Input::Reconcile];
        let result = loop {
            if let Err(error) = self.turn(std::mem::take(&mut batch)).await {
                break Err(error);
            }
            // What was decided last may not be stored.
            if shutdown.is_cancelled() {
                break Ok(());
            }
            self.report_use();
            let state = &self.deps.state;
            self.deps
                .standings
                .tell(|instance| standing(state, instance));
            let unready = ready.is_some();
            // Asked only until it is answered: it looks at every instance.
            if ready.is_some()
                && (self.deps.state.is_settled() || now().steady >= ready_by)
                && let Some(ready) = ready.take()
            {
                ready(Ready {
                    node_id: self.deps.state.node(),
                    connected: self.connected,
                });
            }
            self.deps.config.notifier.alive();
            let deadline = self.deadline(unready.then_some(ready_by));
            // Every branch is safe to cancel: two channels, a join set, a timer and a token.
            let input = tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                input = inputs.recv() => match input {
                    Some(input) => self.note(input),
                    None => break Err(EngineError::Ended { part: "link" }),
                },
                Some(exited) = exits.recv() => translate_exit(exited),
                input = self.performer.next() => input,
                // The permit is given back at once: it only says that there is room again.
                _room = outgoing.reserve_many(ROOM), if !self.room => {
                    self.room = true;
                    Input::Room(true)
                }
                () = until(deadline) => Input::Reconcile,
            };
            batch.push(input);
            while batch.len() < BATCH
                && let Ok(input) = inputs.try_recv()
            {
                batch.push(self.note(input));
            }
            while batch.len() < BATCH
                && let Ok(exited) = exits.try_recv()
            {
                batch.push(translate_exit(exited));
            }
            while batch.len() < BATCH
                && let Some(input) = self.performer.try_next()
            {
                batch.push(input);
            }
            if self.room && self.deps.outgoing.capacity() < ROOM {
                self.room = false;
                batch.push(Input::Room(false));
            }
        };
        self.end().await;
        result
    }

    async fn end(mut self) {
        // The link says goodbye while the last things are done here.
        self.deps.linking.cancel();
        match self.deps.config.on_stop {
            Leaving::Restart => tracing::info!("applications go on running"),
            Leaving::Gone => {
                let all = self.deps.state.desired_instances();
                self.performer.end_all(all).await;
            }
        }
        self.performer.close().await;
        self.deps.writer.close().await;
        tracing::info!("the engine has stopped");
    }

    fn deadline(&self, ready_by: Option<Instant>) -> Option<Instant> {
        let information = self.connected.then_some(self.information_at);
        let alive = self.deps.config.notifier.alive_within();
        let alive = alive.map(|within| now().steady.plus(within));
        [
            self.deps.state.next_deadline(),
            information,
            ready_by,
            alive,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Notes what the link says of itself.
    fn note(&mut self, input: FromLink) -> Input {
        if input == Input::Connected {
            self.connected = true;
            self.information_at = now().steady;
        } else if input == Input::Disconnected {
            self.connected = false;
        }
        input
    }

    /// Decides a batch, commits it, and performs what it says.
    async fn turn(&mut self, mut batch: Vec<Input>) -> Result<(), EngineError> {
        // The link says it once.
        let registered = batch.iter().rev().find_map(|input| match input {
            Input::Registered(node) => Some(Input::Registered(*node)),
            _ => None,
        });
        let decision = loop {
            let decision = turn(&mut self.deps.state, now(), batch);
            let ops = record::ops(&decision.writes);
            if ops.is_empty() {
                break decision;
            }
            let stored = if decision.writes.iter().all(Write::can_wait) {
                self.deps.writer.put_off(ops).await
            } else {
                crashpoint!("node.turn.before_commit");
                self.deps.writer.commit(ops).await
            };
            match stored {
                Ok(()) => break decision,
                Err(error) => tracing::error!(
                    error = chain(&error),
                    "the store fails; nothing of this turn is done"
                ),
            }
            if !self.rebuild().await {
                return Ok(());
            }
            // The runtimes are asked, and the cluster is told.
            let again = if self.connected {
                Input::Connected
            } else {
                Input::Reconcile
            };
            batch = registered.iter().cloned().chain([again]).collect();
        };
        let joined = decision
            .writes
            .iter()
            .any(|write| matches!(write, Write::Node(_)));
        if joined {
            self.make_runtimes()?;
        }
        crashpoint!("node.turn.after_commit", if !decision.writes.is_empty());
        crashpoint!("node.exit.recorded", if decision.writes.iter().any(ends));
        let acts = !decision.actions.is_empty();
        for (before, action) in decision.actions.into_iter().enumerate() {
            crashpoint!("node.turn.between_actions", if before > 0);
            self.perform(action);
        }
        crashpoint!("node.turn.acted", if acts);
        Ok(())
    }

    /// Takes the store's word for everything that is durable, and forgets the rest; `false`: the engine ends.
    async fn rebuild(&mut self) -> bool {
        let boot = self.deps.state.boot() + 1;
        let writes = loop {
            tokio::select! {
                () = self.deps.shutdown.cancelled() => return false,
                () = tokio::time::sleep(STORE_RETRY) => {}
            }
            // It waits for the disk, which a restart would not repair.
            self.deps.config.notifier.alive();
            let records = match self.deps.writer.load().await {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(error = chain(&error), "the store cannot be read");
                    continue;
                }
            };
            match record::writes(&records) {
                Ok(writes) => break writes,
                Err(error) => tracing::error!(error = chain(&error), "the store is damaged"),
            }
        };
        let config = core_config(&self.deps.config);
        let mut state = State::new(config, self.deps.kinds.iter().copied());
        state.apply(now(), &writes);
        // What this run numbered was not stored, and is numbered again.
        state.apply(now(), &[Write::Line(daemon::random()), Write::Boot(boot)]);
        self.deps.state = state;
        true
    }

    /// Once this worker has an id, its runtimes can tell what is theirs.
    fn make_runtimes(&mut self) -> Result<(), EngineError> {
        let node = self.deps.state.node();
        let Some(node) = node.filter(|_| node != self.performer.node()) else {
            return Ok(());
        };
        let kinds = self.deps.kinds.iter().copied();
        let runtimes = {
            let Deps {
                config,
                policy,
                exits,
                ..
            } = &self.deps;
            runtimes(config, policy, node, kinds, exits)?
        };
        if let Some(former) = self.performer.node() {
            tracing::warn!(worker.id = %node, former = %former, "the cluster knows this worker by another id; containers of the former one are left alone");
        }
        self.deps.runtimes.send_replace(runtimes.clone());
        self.performer.adopt(node, runtimes);
        Ok(())
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(desired) => self.performer.start(desired),
            Action::Stop {
                instance,
                runtime,
                grace,
            } => self.performer.stop(instance, runtime, grace),
            Action::Probe {
                instance,
                id,
                runtime,
                probe,
                timeout,
                endpoints,
            } => {
                let asked = Asked::new(probe, timeout, endpoints);
                self.performer.probe(instance, id, runtime, asked);
            }
            Action::List(runtime) => self.performer.list(runtime),
            Action::Acknowledge { held, beat } => {
                crashpoint!("node.part.staged", if held.staged.is_some());
                self.send(Outgoing::Sync(sync::encode(&held, &wire(beat))));
            }
            Action::Report { report, held } => {
                self.send(Outgoing::Instances(instances::encode(&report, &held)));
            }
            Action::Tell(telling) => self.send(Outgoing::Events(events::encode(&telling))),
            Action::Adopt { held, desired } => {
                self.send(Outgoing::Adopt(adopt::encode(&held, &desired)));
            }
            Action::ReportInterval(interval) => {
                tracing::info!(?interval, "the report interval changes");
                self.information_at = self.information_at.min(now().steady.plus(interval));
            }
        }
    }

    /// Sends the machine's use, where it is time for that, or where a runtime stopped or began to answer.
    fn report_use(&mut self) {
        let steady = now().steady;
        let news = *self.deps.state.silent() != self.said_silent;
        if !self.connected || (steady < self.information_at && !news) {
            return;
        }
        self.say_unknown();
        let state = &self.deps.state;
        self.said_silent.clone_from(state.silent());
        self.information_at = steady.plus(state.report_interval());
        let information = Information {
            usage: self.sampler.usage(),
            silent: self.said_silent.clone(),
            held: state.held(),
            beat: wire(state.beat()),
        };
        let payload = information::encode(&information, state.observed().map(Row::of));
        self.send(Outgoing::Information(payload));
    }

    /// Says once that the cluster is of a newer version; nobody reads a worker's counters.
    fn say_unknown(&mut self) {
        let (fields, words) = (skew::unknown_fields(), skew::unknown_words());
        if fields + words > 0 && !std::mem::replace(&mut self.said_unknown, true) {
            let example = skew::last_unknown();
            tracing::info!(
                fields,
                words,
                example,
                "the cluster says more than this version knows, which is ignored; update this engine"
            );
        }
    }

    fn send(&self, message: Outgoing) {
        if self.connected && self.deps.outgoing.try_send(message).is_err() {
            tracing::debug!("the link is full; the message will be asked for again");
        }
    }
}

fn standing(state: &State, instance: InstanceId) -> Standing {
    let mut observed = state.observed();
    let report = observed.find(|report| report.instance == instance);
    match report.map(|report| &report.report.observed) {
        Some(Observed::Starting | Observed::Running { .. }) => Standing::Lives,
        Some(Observed::Failed { next_attempt, .. }) if next_attempt.is_some() => Standing::Lives,
        Some(Observed::Failed { .. } | Observed::Ended) => Standing::Over,
        None if state.desired(instance).is_some() => Standing::Lives,
        None => Standing::Absent,
    }
}

const fn wire(beat: node_core::Beat) -> Beat {
    Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}

/// Whether a write says that an application ended for good.
fn ends(write: &Write) -> bool {
    matches!(write, Write::Journal { record: Some(journal), .. } if journal.ended.is_some())
}

fn translate_exit(exited: Exited) -> Input {
    crashpoint!("node.exit.heard");
    tracing::info!(
        instance.id = %exited.instance,
        code = exited.exit.code,
        signal = exited.exit.signal,
        oom = exited.exit.oom,
        "an application ended"
    );
    Input::Exited {
        instance: exited.instance,
        exit: exited.exit,
    }
}

#[cfg(test)]
mod tests;
