//! The decisions of a node-engine: what to start, stop, restart and report.
//!
//! [`Input`], [`Write`] and [`Action`] are the feature list. `decide` is total and synchronous: no clock, no random
//! numbers, no I/O; `apply` cannot fail. The shell drains its queue through [`turn`], commits the durable writes, and
//! only then performs the actions.
//!
//! # Guarantees
//! What runs is what the last desired set on this disk says, with or without a link. A new desired set is one durable
//! write together with the journal of what leaves; it is acknowledged after that and acted on after that. An instance
//! is absent from the reports only when nothing of it is left.

mod control;
mod reconcile;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::desired::{Desired, InstanceReport, NodeItem, NodeKey};
use model::id::{InstanceId, NodeId};
use model::instance::{Endpoint, Exit};
use model::reason::Reason;
use model::slot::Generation;
use model::time::{Instant, Now, Wall};
use model::workload::RuntimeKind;
use sync::{Change, Child, Digest, Entry, Held, Observer, UpReport, Update};

/// An item of this worker's desired set.
pub type DesiredEntry = Entry<NodeKey, NodeItem>;
/// An item of its reports.
pub type ReportEntry = Entry<InstanceId, InstanceReport>;

/// The desired entry of an item.
pub fn desired_entry(item: NodeItem) -> DesiredEntry {
    let (key, identity) = (item.key(), item.identity());
    let (weight, shared) = (item.weight(), item.shared());
    Entry::new(key, item, &identity, weight).sharing(shared)
}

/// The report entry of an instance.
pub fn report_entry(report: InstanceReport) -> ReportEntry {
    let identity = report.identity();
    Entry::new(report.instance, report, &identity, 256)
}

/// Settings of the decisions; all durations have the defaults of protocol, section 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// First wait after a crash.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Running this long forgets earlier crashes.
    pub backoff_reset: Duration,
    /// Between two reports of use, until the cluster says otherwise.
    pub report_interval: Duration,
    /// Between two attempts to stop what does not stop, or to list a runtime that does not answer.
    pub retry: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_mins(5),
            backoff_reset: Duration::from_mins(10),
            report_interval: Duration::from_secs(15),
            retry: Duration::from_secs(2),
        }
    }
}

/// What a runtime has of this worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The instance.
    pub instance: InstanceId,
    /// What it does.
    pub status: FoundStatus,
}

/// What a found instance does.
#[derive(Debug, Clone, PartialEq)]
pub enum FoundStatus {
    /// It runs.
    Running {
        /// Since when.
        since: Wall,
        /// Published ports.
        endpoints: Vec<Endpoint>,
    },
    /// It ended.
    Exited(Exit),
    /// It was made and never started.
    Created,
}

/// What the shell tells the core.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The cluster knows this worker under this id.
    Registered(NodeId),
    /// The link to the cluster is up.
    Connected,
    /// It is down.
    Disconnected,
    /// Whether the link takes messages as fast as they come: no report is made for one that does not, and what
    /// gathers meanwhile is the next one.
    Room(bool),
    /// The cluster sent a part of a change.
    Control(Change<DesiredEntry>),
    /// The cluster wants a whole report.
    AskWhole,
    /// The cluster wants to take over the set that this worker holds of another store.
    AskAdopt,
    /// A runtime said all that it has of this worker.
    Listed {
        /// Which runtime.
        runtime: RuntimeKind,
        /// All of it.
        found: Vec<Found>,
    },
    /// A runtime does not answer.
    ListFailed {
        /// Which runtime.
        runtime: RuntimeKind,
    },
    /// A start succeeded.
    Started {
        /// Which.
        instance: InstanceId,
        /// Since when.
        since: Wall,
        /// Published ports.
        endpoints: Vec<Endpoint>,
    },
    /// A start failed.
    StartFailed {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: Reason,
    },
    /// An application ended.
    Exited {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
    },
    /// Nothing is left of an instance.
    Stopped {
        /// Which.
        instance: InstanceId,
    },
    /// It could not be stopped.
    StopFailed {
        /// Which.
        instance: InstanceId,
    },
    /// Time has passed; also after every other input.
    Reconcile,
}

/// One change of the state. The durable ones are committed before anything is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Durable: the id that the cluster gave.
    Node(NodeId),
    /// Durable: the number of this start.
    Boot(u64),
    /// Durable: a new desired set.
    Desired(Update<DesiredEntry>),
    /// Durable: what must be remembered of an instance; `None` forgets it.
    Journal {
        /// Which.
        instance: InstanceId,
        /// What.
        record: Option<Journal>,
    },
    /// Soft: where an instance is in its life here.
    Run {
        /// Which.
        instance: InstanceId,
        /// Where; `None` forgets it.
        run: Option<Run>,
    },
    /// Soft: how it last ended.
    Exit {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
    },
    /// Soft: a part was staged.
    Staged(Change<DesiredEntry>),
    /// Soft: what the next acknowledgement says beside what is held.
    Refused {
        /// Only the whole set helps.
        want_whole: bool,
        /// The sender is superseded.
        superseded: bool,
    },
    /// Soft: the link.
    Link(bool),
    /// Soft: whether the link has room for a report.
    Room(bool),
    /// Soft: the next report is a whole one.
    WholeDue,
    /// Soft: a report went out.
    Reported,
    /// Soft: whether a runtime's list is known, and when it is asked again.
    Runtime {
        /// Which.
        runtime: RuntimeKind,
        /// What is known.
        listing: Listing,
    },
    /// Soft: an instance needs no look until something changes.
    Clean(InstanceId),
}

impl Write {
    /// Whether it must survive a restart.
    pub const fn is_durable(&self) -> bool {
        matches!(
            self,
            Self::Node(_) | Self::Boot(_) | Self::Desired(_) | Self::Journal { .. }
        )
    }
}

/// What the shell does after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start an instance; idempotent (what runs already is found).
    Start(Box<Desired>),
    /// Stop it and remove what is left; idempotent.
    Stop {
        /// Which.
        instance: InstanceId,
        /// In which runtime.
        runtime: RuntimeKind,
        /// Between the polite signal and the kill.
        grace: Duration,
    },
    /// Ask a runtime for all that it has of this worker.
    List(RuntimeKind),
    /// Tell the cluster what is held.
    Acknowledge {
        /// The set held.
        held: Held,
        /// Boot, sequence and digest of the reports.
        beat: Beat,
    },
    /// Tell the cluster what is observed.
    Report {
        /// The report.
        report: UpReport<ReportEntry>,
        /// The set held while it was made.
        held: Held,
    },
    /// Send the cluster the desired set that is held of another store.
    Adopt {
        /// Which set: its digest among it.
        held: Held,
        /// All of it.
        desired: Vec<Desired>,
    },
    /// The report interval changed.
    ReportInterval(Duration),
}

/// Numbers of the reports, for messages that carry none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Number of this start.
    pub boot: u64,
    /// Number of the last report.
    pub sequence: u64,
    /// Digest of everything that the last report said.
    pub observed_digest: Digest,
    /// Nothing changed since that report.
    pub settled: bool,
}

/// First persist `writes`, then perform `actions`.
#[must_use = "a decision that is dropped never happens"]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// In order.
    pub writes: Vec<Write>,
    /// In order.
    pub actions: Vec<Action>,
}

impl Decision {
    fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.actions.is_empty()
    }
}

/// What survives of an instance on this disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// The runtime that has it.
    pub runtime: RuntimeKind,
    /// How long it may take to stop.
    pub grace: Duration,
    /// Generation under which it runs.
    pub generation: Generation,
    /// It is no longer desired, and something of it may be left.
    pub leaving: bool,
    /// It ended and its restart policy leaves it ended.
    pub ended: Option<Exit>,
}

/// Where an instance is in its life on this worker. Soft: rebuilt from the runtimes.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// Its runtime was asked to start it.
    Starting {
        /// Starts that failed, or runs that ended, since it last ran long enough.
        failures: u32,
    },
    /// It runs.
    Running {
        /// Since when, by the wall clock.
        since: Wall,
        /// Since when this engine knows, by the steady clock.
        seen: Instant,
        /// Published ports.
        endpoints: Vec<Endpoint>,
        /// See `Starting`.
        failures: u32,
    },
    /// It does not run; the next start waits.
    Waiting {
        /// Until then, by the steady clock.
        until: Instant,
        /// The same, shown.
        until_wall: Wall,
        /// See `Starting`.
        failures: u32,
        /// Why.
        reason: Reason,
    },
    /// Its runtime was asked to stop it.
    Stopping {
        /// When to ask again.
        retry_at: Instant,
    },
}

/// What is known of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// It was asked and has not answered.
    Asked,
    /// It answered since this engine started.
    Known,
    /// It did not answer; asked again then.
    Silent {
        /// When, by the steady clock.
        retry_at: Instant,
    },
}

/// Everything that a node-engine knows.
#[derive(Debug, Clone)]
pub struct State {
    config: Config,
    node: Option<NodeId>,
    boot: u64,
    desired: Child<DesiredEntry>,
    journal: BTreeMap<InstanceId, Journal>,
    runs: BTreeMap<InstanceId, Run>,
    /// Those of `runs` that something is due for by time: few among many that run.
    timed: BTreeSet<InstanceId>,
    restarts: BTreeMap<InstanceId, u32>,
    exits: BTreeMap<InstanceId, Exit>,
    observer: Observer<ReportEntry>,
    runtimes: BTreeMap<RuntimeKind, Option<Listing>>,
    connected: bool,
    room: bool,
    dirty: BTreeSet<InstanceId>,
}

impl State {
    /// An engine with these runtimes and nothing on its disk.
    pub fn new(config: Config, runtimes: impl IntoIterator<Item = RuntimeKind>) -> Self {
        Self {
            config,
            node: None,
            boot: 0,
            desired: Child::default(),
            journal: BTreeMap::new(),
            runs: BTreeMap::new(),
            timed: BTreeSet::new(),
            restarts: BTreeMap::new(),
            exits: BTreeMap::new(),
            observer: Observer::new(0),
            runtimes: runtimes.into_iter().map(|kind| (kind, None)).collect(),
            connected: false,
            room: true,
            dirty: BTreeSet::new(),
        }
    }

    /// The id that the cluster gave.
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The number of this start.
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// What this worker holds.
    pub fn held(&self) -> Held {
        self.desired.held()
    }

    /// What this worker observes, for reports that go out at an interval.
    pub fn observed(&self) -> impl Iterator<Item = &InstanceReport> {
        self.observer.states().values().map(|entry| &entry.value)
    }

    /// The numbers that every message carries.
    pub fn beat(&self) -> Beat {
        let (boot, sequence, observed_digest) = self.observer.stamp();
        Beat {
            boot,
            sequence,
            observed_digest,
            settled: !self.observer.is_due(),
        }
    }

    /// The desired instance of that id.
    pub fn desired(&self, instance: InstanceId) -> Option<&Desired> {
        match self
            .desired
            .set()
            .get(&NodeKey::Instance(instance))
            .map(|entry| &entry.value)
        {
            Some(NodeItem::Instance(desired)) => Some(desired),
            Some(NodeItem::Settings(_)) | None => None,
        }
    }

    /// All desired instances.
    pub fn desired_instances(&self) -> impl Iterator<Item = &Desired> {
        self.desired
            .set()
            .values()
            .filter_map(|entry| match &entry.value {
                NodeItem::Instance(desired) => Some(desired),
                NodeItem::Settings(_) => None,
            })
    }

    /// The report interval in force.
    pub fn report_interval(&self) -> Duration {
        match self
            .desired
            .set()
            .get(&NodeKey::Settings)
            .map(|entry| &entry.value)
        {
            Some(NodeItem::Settings(settings)) => settings.report_interval,
            Some(NodeItem::Instance(_)) | None => self.config.report_interval,
        }
    }

    /// Whether everything that the disk says is started, as far as the runtimes answer.
    pub fn is_settled(&self) -> bool {
        self.runtimes
            .values()
            .all(|listing| !matches!(listing, None | Some(Listing::Asked)))
            && self.desired_instances().all(|desired| {
                self.journal
                    .get(&desired.instance)
                    .is_some_and(|journal| journal.ended.is_some())
                    || matches!(
                        self.runs.get(&desired.instance),
                        Some(Run::Running { .. } | Run::Waiting { .. })
                    )
                    || !self
                        .runtimes
                        .contains_key(&desired.service.workload.runtime)
            })
    }

    /// The durable part, as the writes that rebuild it.
    pub fn snapshot(&self) -> Vec<Write> {
        let mut writes: Vec<Write> = self.node.map(Write::Node).into_iter().collect();
        writes.push(Write::Boot(self.boot));
        writes.push(Write::Desired(Update {
            mark: self.desired.mark().clone(),
            put: self.desired.set().values().cloned().collect(),
            remove: Vec::new(),
        }));
        writes.extend(
            self.journal
                .iter()
                .map(|(instance, journal)| Write::Journal {
                    instance: *instance,
                    record: Some(journal.clone()),
                }),
        );
        writes
    }

    /// What `input` means: total and pure.
    pub fn decide(&self, now: Now, input: &Input) -> Decision {
        match input {
            Input::Registered(node) => self.registered(*node),
            Input::Connected => self.connected(),
            Input::Disconnected => Decision::default().write(Write::Link(false)),
            Input::Room(room) => Decision::default().write(Write::Room(*room)),
            Input::Control(change) => self.control(change),
            Input::AskWhole => Decision::default().write(Write::WholeDue),
            Input::AskAdopt => self.adopt(),
            Input::Listed { runtime, found } => self.listed(now, *runtime, found),
            Input::ListFailed { runtime } => self.list_failed(now, *runtime),
            Input::Started {
                instance,
                since,
                endpoints,
            } => self.started(now, *instance, *since, endpoints),
            Input::StartFailed { instance, reason } => self.start_failed(now, *instance, reason),
            Input::Exited { instance, exit } => self.exited(now, *instance, exit),
            Input::Stopped { instance } => self.stopped(*instance),
            Input::StopFailed { instance } => self.stop_failed(now, *instance),
            Input::Reconcile => self.reconcile(now),
        }
    }

    /// Takes writes in; cannot fail.
    pub fn apply(&mut self, now: Now, writes: &[Write]) {
        for write in writes {
            self.take(now, write);
        }
    }

    /// When the next [`Input::Reconcile`] is due, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        // What waits for its runtime is started when that answers, whatever the time.
        let runs = self.timed_runs().filter_map(|(instance, run)| match run {
            Run::Waiting { until, .. } => self.may_start(instance).then_some(*until),
            Run::Stopping { retry_at } => Some(*retry_at),
            Run::Starting { .. } | Run::Running { .. } => None,
        });
        let lists = self.runtimes.values().filter_map(|listing| match listing {
            Some(Listing::Silent { retry_at }) => Some(*retry_at),
            Some(Listing::Asked | Listing::Known) | None => None,
        });
        runs.chain(lists).min()
    }
}

/// Decides a batch one after another on the working state, then reconciles until nothing is left to do.
///
/// The answer has the durable writes only. The caller commits them and only then performs the actions; if the commit fails it
/// rebuilds the state from its store.
pub fn turn(state: &mut State, now: Now, inputs: impl IntoIterator<Item = Input>) -> Decision {
    let mut total = Decision::default();
    let mut take = |state: &mut State, input: &Input| {
        let decision = state.decide(now, input);
        let idle = decision.is_empty();
        state.apply(now, &decision.writes);
        // What need not survive is in the state now, and nobody's business any more.
        let durable = decision.writes.into_iter().filter(Write::is_durable);
        total.writes.extend(durable);
        total.actions.extend(decision.actions);
        idle
    };
    for input in inputs {
        take(state, &input);
    }
    while !take(state, &Input::Reconcile) {}
    total
}
