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
mod health;
mod reconcile;
mod runs;
mod state;
mod telling;

use std::time::Duration;

use model::desired::{Desired, InstanceReport, NodeItem, NodeKey};
use model::id::{InstanceId, NodeId};
use model::instance::{Endpoint, Exit, Health};
use model::reason::Reason;
use model::slot::Generation;
use model::telling::{Sent, Stamp, Telling, Told, Untell};
use model::time::{Instant, Now, Wall};
use model::workload::{Probe, RuntimeKind};
use sync::{Change, Digest, Entry, Held, UpReport, Update};

pub use state::State;

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
    /// The longest time between two probes of what was not healthy yet.
    pub probe_early: Duration,
    /// Events that are kept until the cluster has confirmed them; 0: none are told.
    pub untold: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_mins(5),
            backoff_reset: Duration::from_mins(10),
            report_interval: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            probe_early: Duration::from_secs(1),
            untold: 1_000,
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

/// Names one probe: the number of this start of the engine, and that of the probe in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    /// The start.
    pub boot: u64,
    /// The probe.
    pub number: u64,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The application is well.
    Good,
    /// It is not, or did not answer in time; why, in a few words.
    Bad(String),
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
    /// A runtime does not answer, when it was asked or as far as the shell watches it.
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
    /// The worker's owner does not let an instance run here: no attempt follows while this engine runs.
    StartForbidden {
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
    /// A probe was answered, or gave up; each one that was asked for is, unless its instance is stopped meanwhile.
    Probed {
        /// Of which.
        instance: InstanceId,
        /// Which probe.
        id: ProbeId,
        /// What it found.
        outcome: ProbeOutcome,
    },
    /// The cluster has this event, and all before it.
    Confirmed(Stamp),
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
    /// Durable: an event that the cluster is to be told, or another one in the place of one that is kept.
    Tell(Told),
    /// Durable: an event is confirmed, or left out.
    Untell(Untell),
    /// Durable: the state of an instance after its last event; `None` forgets it.
    Said {
        /// Which.
        instance: InstanceId,
        /// The state.
        said: Option<Said>,
    },
    /// Soft: the nonce of this start, under which its events are numbered; after what the disk has, and before all else.
    Line(u64),
    /// Soft: events went out.
    Sent(Sent),
    /// Soft: where an instance is in its life here.
    Run {
        /// Which.
        instance: InstanceId,
        /// Where; `None` forgets it.
        run: Option<Run>,
    },
    /// Soft: how the health check of a running instance stands.
    Checkup {
        /// Which.
        instance: InstanceId,
        /// How; `None`: it is not asked any more.
        checkup: Option<Checkup>,
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
            Self::Node(_)
                | Self::Boot(_)
                | Self::Desired(_)
                | Self::Journal { .. }
                | Self::Tell(_)
                | Self::Untell(_)
                | Self::Said { .. }
        )
    }

    /// Whether it may be stored with the next write that cannot wait.
    pub const fn can_wait(&self) -> bool {
        matches!(self, Self::Untell(Untell { can_wait: true, .. }))
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
    /// Find out whether an instance is well.
    Probe {
        /// Which.
        instance: InstanceId,
        /// Goes back with the answer.
        id: ProbeId,
        /// The runtime that has it.
        runtime: RuntimeKind,
        /// How.
        probe: Probe,
        /// Without an answer by then it is not well.
        timeout: Duration,
        /// Its published ports.
        endpoints: Vec<Endpoint>,
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
    /// Tell the cluster what happened.
    Tell(Telling),
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

    fn and(mut self, other: Self) -> Self {
        self.writes.extend(other.writes);
        self.actions.extend(other.actions);
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
    /// It is being stopped because it is unhealthy, and is started again.
    pub restarting: bool,
}

/// The state of an instance as its last event left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It was given to this worker, and does not run yet.
    Scheduled,
    /// It runs.
    Running,
    /// It does not run though it should, or ended with a failure for good.
    Failed,
    /// It ended for good, as it should.
    Ended,
}

impl Said {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::Running, Self::Failed, Self::Ended];

    /// The name of the state in events and on the disk.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED_NODE",
            Self::Running => "RUNNING",
            Self::Failed => "FAILED",
            Self::Ended => "TERMINATED",
        }
    }
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
        /// How its health check stands; `None` where it has none.
        checkup: Option<Checkup>,
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
    /// The worker's owner does not let it run here; the next engine asks again.
    Forbidden {
        /// Why.
        reason: Reason,
    },
    /// Its runtime was asked to stop it.
    Stopping {
        /// When to ask again.
        retry_at: Instant,
        /// What follows when nothing of it is left, if it is to run again.
        again: Option<Again>,
    },
}

/// What is started again after a stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Again {
    /// See [`Run::Starting`].
    pub failures: u32,
    /// Why it was stopped.
    pub reason: Reason,
}

/// How the health check of a running instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// What is reported.
    pub said: Health,
    /// Failures in a row that count.
    pub failed: u32,
    /// Failures before this moment do not count.
    pub counts_from: Instant,
    /// The next probe.
    pub next: NextProbe,
}

/// The next probe of a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextProbe {
    /// It is asked for then.
    Due(Instant),
    /// It was asked for, and is not answered yet.
    UnderWay(ProbeId),
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
        // After each input, so that a change that the next one takes back is told too.
        total.writes.extend(state.take_news(now));
        total.actions.extend(decision.actions);
        idle
    };
    for input in inputs {
        take(state, &input);
    }
    while !take(state, &Input::Reconcile) {}
    total
}
