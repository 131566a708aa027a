//! The decisions of a root-orchestrator: coarse placement on clusters, known by their aggregates.
//!
//! [`Input`], [`Write`] and [`Action`] are the feature list. `decide` is total and synchronous; `apply` cannot fail.
//! The shell drains its queue through [`turn`], commits the durable writes, and only then performs the actions.
//!
//! # Path of one job
//! `Input::Job` -> `Write::Job` marks its slots dirty -> `Input::Reconcile` assigns each (`slots`) -> `Write::Slot`
//! puts it into the cluster's desired set -> commit -> `Action::Answer` and `Action::Assign` -> the cluster's
//! `Input::Held` and `Input::Reported` -> what users see.

mod adopt;
mod apply;
mod brake;
mod choosing;
mod clusters;
mod fence;
mod forget;
mod jobs;
mod leftovers;
mod moving;
mod operations;
mod slots;
mod state;
mod telling;
mod view;
mod waking;

pub use state::{ClusterRecord, Config, Holding, Moving, SlotRecord, Stage, State, Waiting};
pub use view::Page;

use model::access::{Quota, TenantPath};
use model::aggregate::Aggregate;
use model::book::{Asked, BookWrite, JobAnswer, JobRequest, Submission};
use model::brake::Engaged;
use model::desired::{Desired, SlotReport};
use model::event::Event;
use model::id::{ClusterId, EventId, JobId};
use model::job::Job;
use model::location::Location;
use model::name::Name;
use model::node::{Liveness, Scheduling};
use model::slot::Slot;
use model::telling::{Heard, Stamp, Telling, keep_last};
use model::time::{Instant, Now};
use schedulers::{Answer as Advice, Note, Policy, Question};
use sync::{Digest, Entry, Held, Incarnation, Parcel, Term, UpReport};

/// An item of a cluster's desired set.
pub type AssignmentEntry = Entry<Slot, Desired>;
/// An item of a cluster's reports.
pub type SlotEntry = Entry<Slot, SlotReport>;

/// The entry of an assignment.
pub fn assignment_entry(desired: Desired) -> AssignmentEntry {
    let (key, identity, weight) = (desired.slot.clone(), desired.identity(), desired.weight());
    let shared = Some(desired.shared());
    Entry::new(key, desired, &identity, weight).sharing(shared)
}

/// The entry of a slot's report.
pub fn slot_entry(report: SlotReport) -> SlotEntry {
    let identity = report.identity();
    Entry::new(report.slot.clone(), report, &identity, 512)
}

/// Names a waiting request, so that the shell can answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Numbers of a cluster's reports, as messages without a report carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Number of the cluster's start (its term).
    pub boot: u64,
    /// Number of its last report.
    pub sequence: u64,
    /// Digest of everything that the last report said.
    pub observed_digest: Digest,
    /// Nothing changed since that report.
    pub settled: bool,
}

/// A cluster asks to join.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Its name, unique at this root.
    pub name: Name,
    /// Where it is.
    pub location: Location,
    /// Where its own REST interface is reached, as far as it says so.
    pub http: Option<String>,
    /// The id on its disk.
    pub saved: Option<ClusterId>,
    /// The id that it gets if it has none; minted by the shell.
    pub fresh: ClusterId,
    /// The number of its start: a report of another one is not of now.
    pub boot: u64,
    /// Random for each start, since an emptied or restored disk counts the same numbers again.
    pub start: u64,
    /// Its store, and its run of it with those before; not from a version that does not say it.
    pub store: Option<(Incarnation, Term)>,
}

/// What a cluster says is free, and which of the root's assignments that reflects.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The figures.
    pub aggregate: Aggregate,
    /// Which scheduler it runs.
    pub scheduler: String,
    /// Its start that counts `capacity_revision`.
    pub boot: u64,
    /// Incarnation of the root's set that it holds.
    pub incarnation: Option<Incarnation>,
    /// Revision of that set: later assignments are not in the figures.
    pub revision: u64,
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
    /// Cordons a cluster or opens it.
    Patch {
        /// To be answered.
        request: RequestId,
        /// Name or id.
        key: String,
        /// Whether it gets new work.
        scheduling: Scheduling,
    },
    /// A cluster that is not heard any more is not to be expected any longer.
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
    /// A cluster asks to join.
    Register {
        /// To be answered.
        request: RequestId,
        /// What it brings.
        registration: Box<Registration>,
    },
    /// A cluster's uplink opened.
    Connected {
        /// Which.
        cluster: ClusterId,
        /// Greater for later connections.
        session: u64,
    },
    /// A cluster's uplink ended.
    Closed {
        /// Which.
        cluster: ClusterId,
        /// Which of its connections.
        session: u64,
        /// Nothing was heard for longer than a ping and its time allow (rather than closed by the other side).
        silent: bool,
    },
    /// A cluster says what it holds.
    Held {
        /// Which.
        cluster: ClusterId,
        /// The acknowledgement.
        held: Held,
        /// Numbers of its reports.
        beat: Beat,
    },
    /// A cluster says what it observes.
    Reported {
        /// Which.
        cluster: ClusterId,
        /// The report.
        report: UpReport<SlotEntry>,
        /// What it held while it made the report.
        held: Held,
    },
    /// A cluster says what is free.
    Aggregate {
        /// Which.
        cluster: ClusterId,
        /// The figures.
        report: Box<Report>,
    },
    /// A cluster sent the set that it holds of another store.
    Adopt {
        /// Which.
        cluster: ClusterId,
        /// What it holds.
        held: Held,
        /// All of it.
        desired: Vec<Desired>,
    },
    /// A cluster tells what happened.
    Told {
        /// Which.
        cluster: ClusterId,
        /// What, in its order.
        telling: Telling,
    },
    /// An operator lets replacements go on that the brake holds back.
    ReleaseBrake {
        /// To be answered.
        request: RequestId,
    },
    /// Time has passed; also after every other input.
    Reconcile,
}

/// One change of the state. The durable ones are committed before anything is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Durable: the term of this start.
    Term(Term),
    /// Durable: somebody goes on with another copy of this store, or this one is older than what was decided.
    Superseded,
    /// Durable: the scheduler in force.
    Policy(Policy),
    /// Durable: a job, as it now is.
    Job(Job),
    /// Durable: a deleted job is forgotten.
    ForgetJob(JobId),
    /// Durable: whether the store is new or restored, and clusters that it does not know of may still have work.
    Unsettled(bool),
    /// Durable: a submission under a key.
    Submission(Submission),
    /// Durable: the submission of that key is forgotten.
    ForgetSubmission(String),
    /// Durable: a slot and where it is assigned; `None`: nothing of it is left.
    Slot {
        /// Which.
        slot: Slot,
        /// What.
        record: Option<SlotRecord>,
    },
    /// Durable: a cluster.
    Cluster {
        /// Which.
        cluster: ClusterId,
        /// What.
        record: Box<ClusterRecord>,
    },
    /// Durable: a cluster is not expected any longer; nothing of it is kept.
    ForgetCluster(ClusterId),
    /// Durable: the greatest revision that a forgotten cluster may hold. The sets of clusters that register later begin above.
    Floor(u64),
    /// Durable: the revision of a cluster's desired set.
    Revision {
        /// Which.
        cluster: ClusterId,
        /// How far its set is.
        revision: u64,
    },
    /// Durable: something happened.
    Event(Event),
    /// Durable: an old event is forgotten.
    ForgetEvent(JobId, EventId),
    /// Durable: how far a cluster was heard.
    Heard {
        /// Which.
        cluster: ClusterId,
        /// How far.
        heard: Heard,
    },
    /// Soft: everything that is rebuilt by asking.
    Soft(Soft),
}

/// Writes that need not survive a restart.
#[derive(Debug, Clone, PartialEq)]
pub enum Soft {
    /// This start: every known cluster is to be heard again.
    Started,
    /// Until then nothing is assigned, since clusters that are not heard yet may have it.
    Hold(Option<Instant>),
    /// Our own loop stood still: everybody gets one grace.
    Outage,
    /// All quotas that tenants have here.
    Quotas(Vec<(TenantPath, Quota)>),
    /// This turn.
    Turn,
    /// A cluster's uplink.
    Session {
        /// Which.
        cluster: ClusterId,
        /// The open connection; `None`: it ended.
        session: Option<u64>,
        /// It ended since nothing was heard.
        silent: bool,
    },
    /// A cluster gave a sign of life.
    Proof(ClusterId),
    /// Whether a cluster is heard.
    Liveness {
        /// Which.
        cluster: ClusterId,
        /// What is believed now.
        liveness: Liveness,
    },
    /// When a cluster is looked at again.
    Check {
        /// Which.
        cluster: ClusterId,
        /// When.
        at: Instant,
    },
    /// Which of its starts a cluster is in.
    Boot {
        /// Which.
        cluster: ClusterId,
        /// The number of the start.
        boot: u64,
        /// Its random nonce.
        start: u64,
    },
    /// A cluster's acknowledgement.
    Held {
        /// Which.
        cluster: ClusterId,
        /// What it holds.
        held: Held,
        /// What is known of its slots was true when it held that.
        current: bool,
    },
    /// A cluster's report.
    Reported(ClusterId, UpReport<SlotEntry>),
    /// A cluster's figures.
    Aggregate(ClusterId, Box<Report>),
    /// A cluster was asked for a whole report, or for its set.
    Asked(ClusterId),
    /// A cluster's former set is in the store.
    Adopted(ClusterId, Digest),
    /// A change went out to a cluster.
    Sent(ClusterId, Parcel<AssignmentEntry>),
    /// A cluster refused a slot with what it had then.
    Refused {
        /// Which slot.
        slot: Slot,
        /// Which cluster.
        cluster: ClusterId,
        /// Its start and its capacity revision.
        capacity: (u64, u64),
    },
    /// The brake engages, is released, or lets go.
    Brake(Option<Engaged>),
    /// What was in a lost cluster was placed elsewhere.
    Replaced,
    /// The copy of a slot is being replaced, by an operation.
    Begun(Slot),
    /// A slot of an operation needs nothing more.
    Settled(Slot),
    /// Until when an assignment that was replaced stands; `None`: no longer.
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
    /// The first slot of a waiting class is tried again.
    Wake(Slot),
    /// What becomes of the questions to a scheduler elsewhere.
    Scheduler(Note<Slot>),
    /// A slot that the scheduler failed on is tried again.
    Again(Slot),
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
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What became of a request about jobs.
    Job(JobAnswer),
    /// The cluster was changed.
    Patched(ClusterId),
    /// Another scheduler chooses from now on.
    Scheduled,
    /// Whether a brake was engaged, which now is released.
    Released(bool),
    /// The cluster has this id.
    Registered(ClusterId),
    /// The cluster is forgotten.
    Forgotten(ClusterId),
    /// The cluster of that name is heard, or expected back after a start of this root.
    ClusterIsThere(Name, Liveness),
    /// There is no such cluster.
    NoSuchCluster(String),
    /// Another cluster, which is there, has the name.
    ClusterNameInUse(Name),
    /// A run of the cluster's store was here that this run of it does not descend from.
    ClusterOvertaken(Name),
}

/// What the shell does after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer a request.
    Answer(RequestId, Answer),
    /// Send a cluster parts of a change.
    Assign(ClusterId, Parcel<AssignmentEntry>),
    /// Ask a cluster for a whole report.
    AskWhole(ClusterId),
    /// Ask a cluster for the set that it holds of another store.
    AskAdopt(ClusterId),
    /// Tell a cluster that this event, and all before it, is stored.
    Confirm(ClusterId, Stamp),
    /// Ask the scheduler elsewhere which cluster is to have a slot.
    AskScheduler(Slot, Box<Question>),
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
    pub(crate) fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    pub(crate) fn soft(self, soft: Soft) -> Self {
        self.write(Write::Soft(soft))
    }

    pub(crate) fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.writes.extend(other.writes);
        self.actions.extend(other.actions);
        self
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.actions.is_empty()
    }
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
                scheduling,
            } => self.patch(*request, key, *scheduling),
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
            Input::Connected { cluster, session } => self.cluster_connected(*cluster, *session),
            Input::Closed {
                cluster,
                session,
                silent,
            } => self.cluster_closed(*cluster, *session, *silent),
            Input::Held {
                cluster,
                held,
                beat,
            } => self.cluster_held(now, *cluster, held, beat),
            Input::Reported {
                cluster,
                report,
                held,
            } => self.cluster_reported(now, *cluster, report, held),
            Input::Aggregate { cluster, report } => self.cluster_aggregate(*cluster, report),
            Input::Adopt {
                cluster,
                held,
                desired,
            } => self.adopt(*cluster, held, desired),
            Input::Told { cluster, telling } => self.cluster_told(*cluster, telling),
            Input::ReleaseBrake { request } => self.release_brake(*request),
            Input::Reconcile => self.reconcile(now),
        }
    }

    /// The next thing to do, or nothing: what is due by time, dirty slots one by one, waiting classes that may fit,
    /// and last what goes out, so that one turn sends each cluster one message.
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
            .or_else(|| self.wake_one(now))
            .or_else(|| self.ask_next(now))
            .or_else(|| self.finished_operation())
            .or_else(|| self.expired_job(now))
            .or_else(|| self.expired_submission(now))
            .or_else(|| self.excess_event())
            .or_else(|| self.next_revision())
            .or_else(|| self.next_adoption(now))
            .or_else(|| self.next_assign(now))
            .unwrap_or_default()
    }
}

/// Decides a batch one after another on the working state, then reconciles until nothing is left to do.
///
/// The answer has the durable writes only. The caller commits them and only then performs the actions; if the commit fails it
/// rebuilds the state from its store.
pub fn turn(state: &mut State, now: Now, inputs: impl IntoIterator<Item = Input>) -> Decision {
    turn_of(state, now, &inputs.into_iter().collect::<Vec<_>>())
}

/// The same of inputs that the caller keeps.
pub fn turn_of(state: &mut State, now: Now, inputs: &[Input]) -> Decision {
    let mut total = Decision::default();
    let mut take = |state: &mut State, mut decision: Decision| {
        let idle = decision.is_empty();
        state.number_events(now, &mut decision.writes);
        state.apply(now, &decision.writes);
        // What need not survive is in the state now, and nobody's business any more.
        let durable = decision.writes.into_iter().filter(Write::is_durable);
        total.writes.extend(durable);
        total.actions.extend(decision.actions);
        idle
    };
    let outage = state.own_outage(now);
    take(state, outage);
    for input in inputs {
        let decision = state.decide(now, input);
        take(state, decision);
    }
    loop {
        let decision = state.decide(now, &Input::Reconcile);
        if take(state, decision) {
            break;
        }
    }
    // One confirmation stands for all that were to be sent to the same cluster before it.
    keep_last(&mut total.actions, |action| match action {
        Action::Confirm(cluster, _) => Some(*cluster),
        _ => None,
    });
    total
}
