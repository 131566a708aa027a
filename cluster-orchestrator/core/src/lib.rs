//! The decisions of a cluster-orchestrator: exact placement on its workers, and what it tells them and its root.
//!
//! [`Input`], [`Write`] and [`Action`] are the feature list. `decide` is total and synchronous; `apply` cannot fail.
//! The shell drains its queue through [`turn`], commits the durable writes, and only then performs the actions.
//!
//! # Path of one assignment
//! `Input::Assigned` -> `Write::Upstream` marks its slot dirty -> `Input::Reconcile` places it (`slots`) -> `Write::Slot`
//! reserves and puts it into the worker's desired set -> commit -> `Action::Control` -> the worker's `Input::Held` and
//! `Input::Reported` -> `Write::Copy` -> `Action::Report` to the root.

mod adopt;
mod apply;
mod brake;
mod choosing;
mod copies;
mod decision;
mod entry;
mod faults;
mod fence;
mod forget;
mod jobs;
mod leftovers;
mod liveness;
mod nodes;
mod operations;
mod overdue;
mod slots;
mod state;
mod takeover;
mod telling;
mod turn;
mod upstream;
mod view;
mod waking;

pub use decision::Decision;
pub use entry::{
    AssignmentEntry, DesiredEntry, ReportEntry, SlotEntry, assignment_entry, desired_entry,
    report_entry, slot_entry,
};
pub use state::{Config, Copy, CopyState, NodeRecord, RefusedTakeover, SlotRecord, State, Waiting};
pub use turn::{turn, turn_of};
pub use view::Page;

use std::collections::BTreeSet;

use model::access::{Quota, TenantPath};
use model::aggregate::Aggregate;
use model::book::{Asked, BookWrite, JobAnswer, JobRequest, Submission};
use model::brake::Engaged;
use model::desired::Desired;
use model::event::Event;
use model::id::{ClusterId, EventId, InstanceId, JobId, NodeId};
use model::job::Job;
use model::name::Name;
use model::node::{Leaving, NodeFacts, Scheduling, Usage};
use model::slot::Slot;
use model::telling::{Heard, Sent, Stamp, Telling, Told, Untell};
use model::time::{Instant, Now};
use model::workload::RuntimeKind;
use schedulers::{Answer as Advice, Note, Policy, Question};
use sync::{Change, Digest, Held, Parcel, Term, UpReport, Update};

/// Names a waiting request, so that the shell can answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Numbers of a worker's reports, as messages without a report carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Number of the worker's start.
    pub boot: u64,
    /// Number of its last report.
    pub sequence: u64,
    /// Digest of everything that the last report said.
    pub observed_digest: Digest,
    /// Nothing changed since that report.
    pub settled: bool,
}

/// A worker asks to join.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// What it says of itself.
    pub facts: NodeFacts,
    /// The id on its disk.
    pub saved: Option<NodeId>,
    /// The id that it gets if it has none; minted by the shell.
    pub fresh: NodeId,
    /// Hash of the credential that the shell makes for it.
    pub credential: [u8; 32],
    /// It takes no changes of what it runs that are not signed.
    pub verifies: bool,
    /// For what keys to secrets are encrypted that it gets.
    pub sealing: Option<[u8; 32]>,
    /// The number of its start: a report of another one is not of now.
    pub boot: u64,
    /// Random for each start, since an emptied or restored disk counts the same numbers again.
    pub start: u64,
}

/// What the shell tells the core.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The orchestrator starts; `fresh`: on a store that was created or restored just now.
    Started {
        /// Number and nonce of this start.
        term: Term,
        /// The store has a new incarnation.
        fresh: bool,
    },
    /// A user asks something of the jobs.
    Job {
        /// To be answered.
        request: RequestId,
        /// For which tenant.
        asked: Asked,
        /// What.
        ask: JobRequest,
    },
    /// All quotas that tenants have here, instead of those before. Nothing of it is stored: it is said at every start, before
    /// anybody is served, and whenever one changes; until then there is none.
    Quotas(Vec<(TenantPath, Quota)>),
    /// Changes what an operator may change of a worker.
    Patch {
        /// To be answered.
        request: RequestId,
        /// Name or id.
        key: String,
        /// What.
        patch: NodePatch,
    },
    /// An operator lets replacements go on that the brake holds back.
    ReleaseBrake {
        /// To be answered.
        request: RequestId,
    },
    /// A worker that is not heard any more is not to be expected any longer.
    Forget {
        /// To be answered.
        request: RequestId,
        /// Name or id.
        key: String,
    },
    /// Another scheduler from now on; nothing placed is touched.
    Schedule {
        /// To be answered; `None`: the options of the program say so.
        request: Option<RequestId>,
        /// Which.
        policy: Policy,
    },
    /// The scheduler elsewhere has answered, or has not.
    Advised {
        /// About which slot.
        slot: Slot,
        /// The number of the question.
        number: u64,
        /// What.
        advice: Advice,
    },
    /// A worker asks to join.
    Register {
        /// To be answered.
        request: RequestId,
        /// What it brings.
        registration: Box<Registration>,
    },
    /// A worker's connection opened.
    Connected {
        /// Which.
        node: NodeId,
        /// Greater for later connections.
        session: u64,
    },
    /// A worker's connection ended.
    Closed {
        /// Which.
        node: NodeId,
        /// Which of its connections.
        session: u64,
        /// It was silent for one and a half keep-alives (rather than closed by the other side).
        silent: bool,
        /// What the worker said of it; `None`: nothing.
        leaving: Option<Leaving>,
    },
    /// A worker says what it holds.
    Held {
        /// Which.
        node: NodeId,
        /// The acknowledgement.
        held: Held,
        /// Numbers of its reports.
        beat: Beat,
        /// Measured use, where the message carries it.
        usage: Option<Usage>,
    },
    /// A worker says what it observes.
    Reported {
        /// Which.
        node: NodeId,
        /// The report.
        report: UpReport<ReportEntry>,
        /// What it held while it made the report.
        held: Held,
    },
    /// A worker says which of its runtimes do not answer.
    Silent {
        /// Which.
        node: NodeId,
        /// Those runtimes.
        runtimes: BTreeSet<RuntimeKind>,
    },
    /// Two machines use the identity of a worker.
    Cloned(NodeId),
    /// A worker sent the set that it holds of another store.
    Adopt {
        /// Which.
        node: NodeId,
        /// What it holds.
        held: Held,
        /// All of it.
        desired: Vec<Desired>,
    },
    /// A worker tells what happened.
    Told {
        /// Which.
        node: NodeId,
        /// What, in its order.
        telling: Telling,
    },
    /// The broker that stands between this cluster and its workers can be reached, or cannot: then nobody can be heard.
    Broker {
        /// Whether it can.
        reachable: bool,
    },
    /// The uplink is up; the root knows this cluster by this id.
    RootConnected(ClusterId),
    /// The uplink is down.
    RootClosed,
    /// The root sent a part of a change.
    Assigned(Change<AssignmentEntry>),
    /// The root wants a whole report.
    RootAsksWhole,
    /// The root wants to take over the set that this cluster holds of another store.
    RootAsksAdopt,
    /// The root has this event, and all before it.
    RootConfirmed(Stamp),
    /// The root has met a run of this store that this run does not descend from.
    RootKnowsLater,
    /// Time has passed; also after every other input.
    Reconcile,
}

/// What an operator may change of a worker at run time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodePatch {
    /// Whether it gets new work.
    pub scheduling: Option<Scheduling>,
    /// How often it reports; the inner `None` goes back to the cluster's interval.
    pub report_interval: Option<Option<std::time::Duration>>,
    /// Labels to set (`Some`) or to take away (`None`).
    pub labels: std::collections::BTreeMap<String, Option<String>>,
}

/// One change of the state. The durable ones are committed before anything is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Durable: the term of this start.
    Term(Term),
    /// Durable: somebody goes on with another copy of this store, or this one is older than what was decided.
    Superseded,
    /// Durable: the id that the root gave.
    Cluster(ClusterId),
    /// Durable: the scheduler in force.
    Policy(Policy),
    /// Durable: a job of this cluster's own, as it now is.
    Job(Job),
    /// Durable: a deleted job is forgotten.
    ForgetJob(JobId),
    /// Durable: whether the store is new or restored, and workers that it does not know of may still have work.
    Unsettled(bool),
    /// Durable: whether the root's ids for first copies are known to be unused here.
    Trust(bool),
    /// Durable: a submission under a key.
    Submission(Submission),
    /// Durable: the submission of that key is forgotten.
    ForgetSubmission(String),
    /// Durable: a slot and its copies; `None`: nothing of it is left.
    Slot {
        /// Which.
        slot: Slot,
        /// What.
        record: Option<SlotRecord>,
    },
    /// Durable: a worker.
    Node {
        /// Which.
        node: NodeId,
        /// What.
        record: Box<NodeRecord>,
    },
    /// Durable: a worker is not expected any longer; nothing of it is kept.
    ForgetNode(NodeId),
    /// Durable: the greatest revision that a forgotten worker may hold. The sets of workers that register later begin above.
    Floor(u64),
    /// Durable: the revision of a worker's desired set, and what was taken over from it.
    Revision {
        /// Which.
        node: NodeId,
        /// How far its set is.
        revision: u64,
    },
    /// Durable: the root's desired set for this cluster.
    Upstream(Update<AssignmentEntry>),
    /// Durable: something happened.
    Event(Event),
    /// Durable: an old event is forgotten.
    ForgetEvent(JobId, EventId),
    /// Durable: how far a worker was heard.
    Heard {
        /// Which.
        node: NodeId,
        /// How far.
        heard: Heard,
    },
    /// Durable: an event that the root is to be told, or another one in the place of one that is kept.
    Tell(Told),
    /// Durable: an event is confirmed by the root, or left out.
    Untell(Untell),
    /// Soft: everything that is rebuilt by asking.
    Soft(Soft),
}

/// Writes that need not survive a restart.
#[derive(Debug, Clone, PartialEq)]
pub enum Soft {
    /// This start: every known worker is to be heard again.
    Started,
    /// Until then nothing is placed, since workers that are not heard yet may run it.
    Hold(Option<Instant>),
    /// Our own loop stood still: everybody gets one grace.
    Outage,
    /// All quotas that tenants have here.
    Quotas(Vec<(TenantPath, Quota)>),
    /// Whether the broker is away, so that nobody's silence says anything; when it is back everybody gets one grace.
    Deaf(bool),
    /// This turn.
    Turn,
    /// A worker's connection.
    Session {
        /// Which.
        node: NodeId,
        /// The open connection; `None`: it ended.
        session: Option<u64>,
        /// It ended by silence.
        silent: bool,
        /// What the worker said of its end.
        leaving: Option<Leaving>,
    },
    /// A worker gave a sign of life.
    Proof(NodeId),
    /// Whether a worker is heard.
    Liveness {
        /// Which.
        node: NodeId,
        /// What is believed now.
        liveness: model::node::Liveness,
    },
    /// When a worker is looked at again.
    Check {
        /// Which.
        node: NodeId,
        /// When.
        at: Instant,
    },
    /// Which of its starts a worker is in.
    Boot {
        /// Which.
        node: NodeId,
        /// The number of the start.
        boot: u64,
        /// Its random nonce.
        start: u64,
    },
    /// A worker's acknowledgement.
    Held {
        /// Which.
        node: NodeId,
        /// What it holds.
        held: Held,
        /// What is known of its instances was true when it held that.
        current: bool,
    },
    /// Measured use.
    Usage(NodeId, Usage),
    /// Which of its runtimes do not answer.
    Silent(NodeId, BTreeSet<RuntimeKind>),
    /// Two machines use the identity of a worker.
    Cloned(NodeId),
    /// A worker's report.
    Reported(NodeId, UpReport<ReportEntry>),
    /// A worker was asked for a whole report, or for its set.
    Asked(NodeId),
    /// A worker's former set is in the store.
    Adopted(NodeId, Digest),
    /// A change went out to a worker.
    Sent(NodeId, Parcel<DesiredEntry>),
    /// The state of a copy.
    Copy {
        /// Which.
        instance: InstanceId,
        /// Its state.
        state: model::instance::InstanceState,
    },
    /// Until when a copy that does not run yet has time; `None`: its time is up.
    Deadline {
        /// Which.
        instance: InstanceId,
        /// Until when.
        until: Option<Instant>,
    },
    /// The brake engages, is released, or lets go.
    Brake(Option<Engaged>),
    /// A lost copy was replaced.
    Replaced,
    /// The copy of a slot is being replaced, by an operation of this cluster's own job.
    Begun(Slot),
    /// A slot of an operation needs nothing more.
    Settled(Slot),
    /// Until when a copy that was replaced runs on; `None`: no longer.
    Drain {
        /// Of which slot.
        slot: Slot,
        /// Until when.
        until: Option<Instant>,
    },
    /// A slot waits for room, or no longer.
    Waiting {
        /// Which.
        slot: Slot,
        /// Why.
        waiting: Option<Waiting>,
    },
    /// A slot needs no look until something changes.
    Clean(Slot),
    /// A class of waiting slots was looked at and does not fit.
    Asleep(String),
    /// A class that the scheduler failed on may be tried again.
    Forgiven(String),
    /// The first slot of a waiting class is tried again.
    Wake(Slot),
    /// What becomes of the questions to a scheduler elsewhere.
    Scheduler(Note<Slot>),
    /// An event that the root is told, and nobody remembers here.
    Pass(Box<Event>),
    /// Events went out to the root.
    SentUp(Sent),
    /// The uplink.
    Root(bool),
    /// A part of the root's change was staged.
    Staged(Change<AssignmentEntry>),
    /// What the next acknowledgement to the root says beside what is held.
    Refused {
        /// Only the whole set helps.
        want_whole: bool,
        /// The sender is superseded.
        superseded: bool,
    },
    /// The next report to the root is a whole one.
    WholeDue,
    /// A report to the root went out.
    ReportedUp,
    /// An aggregate went out.
    Aggregated,
}

impl From<BookWrite> for Write {
    fn from(write: BookWrite) -> Self {
        match write {
            BookWrite::Job(job) => Self::Job(job),
            BookWrite::Submission(submission) => Self::Submission(submission),
            BookWrite::ForgetSubmission(key) => Self::ForgetSubmission(key),
        }
    }
}

impl Write {
    /// Whether it must survive a restart.
    pub const fn is_durable(&self) -> bool {
        !matches!(self, Self::Soft(_))
    }

    /// Whether it may be stored with the next write that cannot wait.
    pub const fn can_wait(&self) -> bool {
        matches!(self, Self::Untell(Untell { can_wait: true, .. }))
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What became of a request about jobs.
    Job(JobAnswer),
    /// The worker was changed.
    Patched(NodeId),
    /// Another scheduler chooses from now on.
    Scheduled,
    /// Whether a brake was engaged, which now is released.
    Released(bool),
    /// The worker has this id.
    Registered(NodeId),
    /// The worker is forgotten.
    Forgotten(NodeId),
    /// The worker of that name is heard, or expected back after a start of this cluster.
    NodeIsThere(Name, model::node::Liveness),
    /// There is no such worker.
    NoSuchNode(String),
    /// Another worker, which is there, has the name.
    NodeNameInUse(Name),
}

/// What the shell does after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer a request.
    Answer(RequestId, Answer),
    /// Send a worker parts of a change.
    Control(NodeId, Parcel<DesiredEntry>),
    /// Ask a worker for a whole report.
    AskWhole(NodeId),
    /// Ask a worker for the set that it holds of another store.
    AskAdopt(NodeId),
    /// Tell a worker that this event, and all before it, is stored.
    Confirm(NodeId, Stamp),
    /// Tell the root what happened.
    Tell(Telling),
    /// Tell the root what is held.
    Acknowledge {
        /// The set held.
        held: Held,
        /// Numbers of the reports.
        beat: Beat,
    },
    /// Tell the root what is observed.
    Report {
        /// The report.
        report: UpReport<SlotEntry>,
        /// The set held while it was made.
        held: Held,
    },
    /// Send the root the set that is held of another store.
    Adopt {
        /// The set held.
        held: Held,
        /// All of it.
        desired: Vec<Desired>,
    },
    /// Tell the root what is free.
    Aggregate(Box<Aggregate>),
    /// Ask the scheduler elsewhere where the copy of a slot is to run.
    AskScheduler(Slot, Box<Question>),
}

impl State {
    /// What `input` means: total and pure.
    pub fn decide(&self, now: Now, input: &Input) -> Decision {
        if let Some(refused) = self.refuse_fenced(input) {
            return refused;
        }
        match input {
            Input::Started { term, fresh } => self.started(now, term, *fresh),
            Input::Job {
                request,
                asked,
                ask,
            } => self.job_request(now, *request, asked, ask),
            Input::Quotas(quotas) => Decision::default().soft(Soft::Quotas(quotas.clone())),
            Input::Patch {
                request,
                key,
                patch,
            } => self.patch(*request, key, patch),
            Input::ReleaseBrake { request } => self.release_brake(*request),
            Input::Forget { request, key } => self.forget(now, *request, key),
            Input::Schedule { request, policy } => {
                let decision = Decision::default().write(Write::Policy(policy.clone()));
                match request {
                    Some(request) => decision.act(Action::Answer(*request, Answer::Scheduled)),
                    None => decision,
                }
            }
            Input::Advised {
                slot,
                number,
                advice,
            } => self.advised(now, slot, *number, advice),
            Input::Register {
                request,
                registration,
            } => self.register(*request, registration),
            Input::Connected { node, session } => self.node_connected(*node, *session),
            Input::Closed {
                node,
                session,
                silent,
                leaving,
            } => self.node_closed(*node, *session, *silent, *leaving),
            Input::Held {
                node,
                held,
                beat,
                usage,
            } => self.node_held(now, *node, held, beat, *usage),
            Input::Reported { node, report, held } => self.node_reported(now, *node, report, held),
            Input::Silent { node, runtimes } => self.node_silent(*node, runtimes),
            Input::Cloned(node) => Decision::default().soft(Soft::Cloned(*node)),
            Input::Adopt {
                node,
                held,
                desired,
            } => self.adopt(*node, held, desired),
            Input::Told { node, telling } => self.node_told(*node, telling),
            Input::RootConfirmed(stamp) => self.root_confirmed(*stamp),
            Input::Broker { reachable } => self.broker(*reachable),
            Input::RootConnected(cluster) => self.root_connected(now, *cluster),
            Input::RootClosed => Decision::default().soft(Soft::Root(false)),
            Input::Assigned(change) => self.assigned(now, change),
            Input::RootAsksWhole => Decision::default().soft(Soft::WholeDue),
            Input::RootAsksAdopt => self.adopt_me(),
            Input::RootKnowsLater => Self::overtaken(),
            Input::Reconcile => self.reconcile(now),
        }
    }

    /// The next thing to do, or nothing: what is due by time, dirty slots one by one, waiting classes that may fit,
    /// and last what goes out, so that one turn sends each child and the root one message.
    fn reconcile(&self, now: Now) -> Decision {
        if self.fenced {
            return self.due_check(now).unwrap_or_default();
        }
        self.due_check(now)
            .or_else(|| {
                self.dirty
                    .first()
                    .map(|slot| self.reconcile_slot(now, slot))
            })
            .or_else(|| self.due_question(now))
            .or_else(|| self.due_again(now))
            .or_else(|| self.wake_one(now))
            .or_else(|| self.ask_next(now))
            .or_else(|| self.finished_operation())
            .or_else(|| self.expired_job(now))
            .or_else(|| self.expired_submission(now))
            .or_else(|| self.excess_event())
            .or_else(|| self.next_revision())
            .or_else(|| self.next_adoption(now))
            .or_else(|| self.next_control(now))
            .or_else(|| self.report_up())
            .or_else(|| self.tell_up(now))
            .or_else(|| self.aggregate_up(now))
            .unwrap_or_default()
    }
}
