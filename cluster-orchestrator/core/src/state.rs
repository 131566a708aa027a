//! What a cluster-orchestrator knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::access::TenantPath;
use model::book::{Asked, JobBook};
use model::brake::Brake;
use model::desired::{Desired, JobHead, Offer};
use model::history::History;
use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::instance::InstanceState;
use model::job::Owner;
use model::name::Name;
use model::node::{Leaving, Liveness, NodeFacts, Scheduling, Usage};
use model::operation::Rollouts;
use model::reason::{Reason, Rejections};
use model::slot::Slot;
use model::telling::{Heard, Untold};
use model::time::{Instant, Wall};
use model::units::Resources;
use model::workload::RuntimeKind;
use schedulers::{Asks, Policy, PortKey, Questions};
use sync::{Child, Incarnation, Observed, Observer, Parent, Term, Timing};

use crate::{AssignmentEntry, DesiredEntry, ReportEntry, SlotEntry};

/// Settings of the decisions; the defaults are those of protocol, section 5.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The cluster's name.
    pub name: Name,
    /// After this long without a proof of life a worker's instances are replaced.
    pub lost_after: Duration,
    /// MQTT keep-alive of the workers.
    pub keep_alive: Duration,
    /// Between two reports of use.
    pub report_interval: Duration,
    /// The longest reconnect back-off of a worker.
    pub reconnect_max: Duration,
    /// Resends and parts.
    pub timing: Timing,
    /// How long a deleted job can be seen.
    pub retention: Duration,
    /// How long a copy may take to run on a worker that is heard.
    pub deploy_deadline: Duration,
    /// A worker whose engine said that it restarts is not lost before this has passed.
    pub restart_grace: Duration,
    /// Between two questions to the same worker.
    pub ask_again: Duration,
    /// Between two aggregates, at least.
    pub aggregate_pause: Duration,
    /// After a failure of the scheduler, until it is asked about the same again.
    pub scheduler_pause: Duration,
    /// Events that are kept until the root has confirmed them; 0: none are told.
    pub untold: usize,
}

impl Config {
    /// The defaults, for a cluster of that name.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            lost_after: Duration::from_secs(10),
            keep_alive: Duration::from_secs(5),
            report_interval: Duration::from_secs(15),
            reconnect_max: Duration::from_secs(5),
            timing: Timing::default(),
            retention: Duration::from_hours(24),
            deploy_deadline: Duration::from_mins(10),
            restart_grace: Duration::from_mins(1),
            ask_again: Duration::from_secs(2),
            aggregate_pause: Duration::from_millis(250),
            scheduler_pause: Duration::from_mins(1),
            untold: 10_000,
        }
    }

    /// One and a half keep-alives: the silence that makes a worker suspect.
    pub fn silence(&self) -> Duration {
        self.keep_alive.mul_f64(1.5)
    }

    /// One grace: after our own outage nobody is lost before it has passed.
    pub fn grace(&self) -> Duration {
        self.reconnect_max
            .saturating_mul(2)
            .saturating_add(self.silence())
    }
}

/// One copy of a slot, on one worker. Durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// What runs, under which id and generation.
    pub desired: Desired,
    /// Where.
    pub node: NodeId,
    /// It must end; its resources stay reserved until it has.
    pub leaving: bool,
    /// Another copy has taken over from it; it runs on for the service's drain delay, and then leaves.
    pub draining: bool,
}

impl Copy {
    /// It has a right to fill its slot.
    pub const fn counts(&self) -> bool {
        !self.leaving && !self.draining
    }
}

/// A takeover that cannot be done here. Durable, so that it is not tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedTakeover {
    /// The order's number.
    pub number: u64,
    /// Why.
    pub offer: Offer,
}

/// A slot and its copies. Durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlotRecord {
    /// The greatest placement issued for the slot.
    pub placement: u64,
    /// The last id that the owner gave for a first copy, and that was used.
    pub used: Option<InstanceId>,
    /// Taken over from a worker; not confirmed by the owner yet.
    pub provisional: bool,
    /// The worker that a copy was taken from because it did not run in time. That happens once; the next copy fails.
    pub withdrawn: Option<NodeId>,
    /// The worker that a copy had to leave before its successor was placed: the last to get that.
    pub avoid: Option<NodeId>,
    /// The last takeover that could not be done.
    pub refused: Option<RefusedTakeover>,
    /// The copies; few.
    pub copies: Vec<Copy>,
}

/// A worker. Durable.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRecord {
    /// What it said of itself.
    pub facts: NodeFacts,
    /// Whether it gets new work.
    pub scheduling: Scheduling,
    /// An operator's report interval.
    pub report_interval: Option<Duration>,
    /// An operator's labels: set, or taken away.
    pub labels: BTreeMap<String, Option<String>>,
    /// Hash of its credential.
    pub credential: [u8; 32],
    /// It takes no changes of what it runs that are not signed.
    pub verifies: bool,
    /// For what keys to secrets are encrypted that it gets.
    pub sealing: Option<[u8; 32]>,
    /// The incarnation of the store whose set it was seen to hold: after that it cannot come with another one's.
    pub synced: Option<Incarnation>,
}

impl NodeRecord {
    /// The labels in force: the worker's own, overridden by an operator's.
    pub fn labels_in_force(&self) -> BTreeMap<String, String> {
        let mut labels = self.facts.labels.clone();
        for (key, value) in &self.labels {
            match value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        labels
    }
}

/// Why a slot waits. Soft.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The sentence and the code.
    pub reason: Reason,
    /// Counted over the workers.
    pub rejections: Rejections,
    /// The capacity revision of the try.
    pub capacity_revision: u64,
    /// Requirements; slots of one class fit or do not fit together.
    pub class: String,
    /// It waits for time to pass rather than for room.
    pub held_back: bool,
    /// Workers that may have room are not heard, and not lost either.
    pub unheard: bool,
    /// It is ordered to take over from a copy that stands. Where that is told by more than its class, so it tries itself.
    pub takes_over: bool,
    /// The scheduler failed on it, and is asked again then.
    pub again_at: Option<Instant>,
    /// It waits for the answer of a scheduler elsewhere to this.
    pub asks: Option<Box<Asks<NodeId>>>,
}

impl Waiting {
    /// Whether it waits for a scheduler's answer: it is on its way.
    pub const fn is_asking(&self) -> bool {
        self.asks.is_some()
    }

    /// Whether it is too early to say that it cannot be placed: the root is not offered it, and no operation fails of it.
    pub const fn is_held_back(&self) -> bool {
        self.held_back || self.unheard
    }
}

/// The state of a copy. Soft.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyState {
    /// Of which slot.
    pub slot: Slot,
    /// On which worker.
    pub node: NodeId,
    /// As last heard.
    pub state: InstanceState,
    /// Since when.
    pub since: Wall,
    /// Until when it is to run, while its worker was told to and has not said that it does.
    pub deadline: Option<Instant>,
    /// The revision of the worker's set from which on it is not in it; `None` while it is.
    pub left_at: Option<u64>,
}

/// For how long a worker that was lost and returned is given more time.
pub(crate) const FLAPPING: Duration = Duration::from_hours(1);
/// How much at most.
const MOST_PATIENCE: Duration = Duration::from_mins(10);

/// A worker with all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) record: NodeRecord,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) desired: Parent<DesiredEntry>,
    /// The revision that the store has.
    pub(crate) stored_revision: u64,
    pub(crate) observed: Observed<ReportEntry>,
    /// How far it was heard of what happened.
    pub(crate) heard: Heard,
    /// What is observed was true when the worker held this revision.
    pub(crate) observed_at: u64,
    /// Nonce of the start that it registered from.
    pub(crate) start: u64,
    /// Copies that must end here and have not.
    pub(crate) leaving: BTreeSet<InstanceId>,
    pub(crate) reserved: Resources,
    pub(crate) ports: BTreeSet<PortKey>,
    /// Copies by service, for spreading.
    pub(crate) services: BTreeMap<(JobId, Name), u32>,
    pub(crate) liveness: Liveness,
    /// The last proof of life.
    pub(crate) proof: Instant,
    pub(crate) last_seen: Option<Wall>,
    pub(crate) session: Option<u64>,
    /// What it said when its last connection ended.
    pub(crate) leaving_word: Option<Leaving>,
    /// When it became suspect the last time.
    pub(crate) suspected_at: Option<Instant>,
    /// Until then it is not lost, whatever is not heard.
    pub(crate) spared_until: Instant,
    /// It was lost, and has not been heard since.
    pub(crate) lost: bool,
    /// How often it was lost and returned, each within an hour of the time before.
    pub(crate) returns: u32,
    /// When it returned last after it had been lost.
    pub(crate) returned_at: Option<Instant>,
    pub(crate) check_at: Option<Instant>,
    pub(crate) asked_at: Option<Instant>,
    pub(crate) usage: Option<Usage>,
    /// Runtimes that do not answer, as the worker said last.
    pub(crate) silent: BTreeSet<RuntimeKind>,
    /// When two machines used its identity last.
    pub(crate) cloned_at: Option<Wall>,
}

impl Node {
    pub(crate) fn new(record: NodeRecord) -> Self {
        Self {
            labels: record.labels_in_force(),
            record,
            desired: Parent::default(),
            stored_revision: 0,
            observed: Observed::default(),
            heard: Heard::default(),
            observed_at: 0,
            start: 0,
            leaving: BTreeSet::new(),
            reserved: Resources::default(),
            ports: BTreeSet::new(),
            services: BTreeMap::new(),
            liveness: Liveness::Reconnecting,
            proof: Instant::default(),
            last_seen: None,
            session: None,
            leaving_word: None,
            suspected_at: None,
            spared_until: Instant::default(),
            lost: false,
            returns: 0,
            returned_at: None,
            check_at: None,
            asked_at: None,
            usage: None,
            silent: BTreeSet::new(),
            cloned_at: None,
        }
    }

    pub(crate) fn room(&self) -> Resources {
        self.record.facts.allocatable.minus(self.reserved)
    }

    /// A worker that was lost and returned gets twice the time, each time, for an hour.
    pub(crate) fn patience(&self, lost_after: Duration) -> Duration {
        let lately = self
            .returned_at
            .is_some_and(|at| self.proof.since(at) <= FLAPPING);
        if !lately {
            return lost_after;
        }
        let longer = lost_after.saturating_mul(1 << self.returns.min(16));
        longer.min(MOST_PATIENCE.max(lost_after))
    }

    /// It is not heard, or the runtime of a copy does not answer: nothing new is known of the copy.
    pub(crate) fn is_silent_about(&self, copy: &Copy) -> bool {
        self.liveness != Liveness::Alive
            || self.silent.contains(&copy.desired.service.workload.runtime)
    }

    /// It is heard, and all that it runs is known.
    pub(crate) const fn is_heard(&self) -> bool {
        matches!(self.liveness, Liveness::Alive) && self.observed.is_whole()
    }
}

/// Everything that a cluster-orchestrator knows.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state machine"
)]
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) config: Config,
    pub(crate) incarnation: Incarnation,
    pub(crate) term: Term,
    /// The store is loaded and this run has begun.
    pub(crate) started: bool,
    pub(crate) fenced: bool,
    /// The root's ids for first copies are known to be unused here.
    pub(crate) trusting: bool,
    pub(crate) policy: Policy,
    /// What the scheduler elsewhere was asked.
    pub(crate) questions: Questions<Slot>,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) book: JobBook,
    pub(crate) heads: BTreeMap<JobId, Arc<JobHead>>,
    pub(crate) upstream: Child<AssignmentEntry>,
    pub(crate) slots: BTreeMap<Slot, SlotRecord>,
    pub(crate) copies: BTreeMap<InstanceId, CopyState>,
    pub(crate) on_node: BTreeMap<NodeId, BTreeSet<InstanceId>>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) names: BTreeMap<Name, NodeId>,
    /// The greatest revision that a forgotten worker may hold.
    pub(crate) floor: u64,
    pub(crate) waiting: BTreeMap<Slot, Waiting>,
    pub(crate) classes: BTreeMap<String, BTreeSet<Slot>>,
    /// Classes that may fit since something became free.
    pub(crate) awake: BTreeSet<String>,
    /// Classes that the scheduler failed on lately.
    pub(crate) faulted: BTreeMap<String, Waiting>,
    pub(crate) dirty: BTreeSet<Slot>,
    pub(crate) revised: BTreeSet<NodeId>,
    /// Workers that do not hold their present set.
    pub(crate) unsynced: BTreeSet<NodeId>,
    pub(crate) checks: BTreeSet<(Instant, NodeId)>,
    /// Copies that are to run by then.
    pub(crate) deadlines: BTreeSet<(Instant, InstanceId)>,
    pub(crate) hold: Option<Instant>,
    /// The hold of a new or restored store was not seen through; a restart begins it again.
    pub(crate) unsettled: bool,
    pub(crate) last_turn: Option<Instant>,
    /// The broker is away: nobody can be heard, and nobody is lost for that.
    pub(crate) deaf: bool,
    pub(crate) capacity_revision: u64,
    pub(crate) root_connected: bool,
    pub(crate) observer: Observer<SlotEntry>,
    pub(crate) aggregate_changed: bool,
    pub(crate) aggregated_at: Option<Instant>,
    pub(crate) deleted: BTreeSet<(Instant, JobId)>,
    pub(crate) history: History,
    /// What the root has not confirmed.
    pub(crate) untold: Untold,
    /// What the operations on this cluster's own jobs have before them.
    pub(crate) rollouts: Rollouts,
    /// Against replacing most of the cluster at once.
    pub(crate) brake: Brake<NodeId>,
    /// Slots that wait for it.
    pub(crate) braked: BTreeSet<Slot>,
    /// Until when copies that were replaced run on.
    pub(crate) drains: BTreeMap<Slot, Instant>,
}

impl State {
    /// A cluster with nothing in its store but its incarnation.
    pub fn new(config: Config, incarnation: Incarnation) -> Self {
        Self {
            untold: Untold::new(config.untold),
            config,
            incarnation,
            term: Term::default(),
            started: false,
            fenced: false,
            trusting: true,
            policy: Policy::default(),
            questions: Questions::default(),
            cluster: None,
            book: JobBook::default(),
            heads: BTreeMap::new(),
            upstream: Child::default(),
            slots: BTreeMap::new(),
            copies: BTreeMap::new(),
            on_node: BTreeMap::new(),
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            floor: 0,
            waiting: BTreeMap::new(),
            classes: BTreeMap::new(),
            awake: BTreeSet::new(),
            faulted: BTreeMap::new(),
            dirty: BTreeSet::new(),
            revised: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            checks: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            hold: None,
            unsettled: false,
            last_turn: None,
            deaf: false,
            capacity_revision: 0,
            root_connected: false,
            observer: Observer::new(0),
            aggregate_changed: true,
            aggregated_at: None,
            deleted: BTreeSet::new(),
            history: History::default(),
            rollouts: Rollouts::default(),
            brake: Brake::default(),
            braked: BTreeSet::new(),
            drains: BTreeMap::new(),
        }
    }

    /// Who this cluster is as an owner; a cluster that never met a root still owns its jobs.
    pub(crate) fn owner(&self) -> Owner {
        Owner::Cluster(self.cluster.unwrap_or(ClusterId::from_bits(0)))
    }

    /// What should fill a slot: the root's assignment, a job of this cluster's own, or what a worker brought along.
    pub(crate) fn wanted(&self, slot: &Slot) -> Option<Desired> {
        let assigned = self.upstream.set().get(slot).map(|entry| &entry.value);
        if self.awaits_root(slot) {
            return self.latest_copy(slot).or(assigned).cloned();
        }
        if let Some(assigned) = assigned {
            return Some(assigned.clone());
        }
        if let Some(job) = self.book.get(slot.job) {
            return self.wanted_of(job, slot);
        }
        None
    }

    /// Whether the root, which decides about this slot, is still to say what it wants: this store is new or restored, so
    /// what it has of that is nothing, or older than what workers have.
    pub(crate) fn awaits_root(&self, slot: &Slot) -> bool {
        !self.root_answered() && self.book.get(slot.job).is_none()
    }

    /// What the copy with the greatest generation is told.
    fn latest_copy(&self, slot: &Slot) -> Option<&Desired> {
        let copies = self.slots.get(slot)?.copies.iter();
        let told = copies
            .filter(|copy| !copy.leaving)
            .map(|copy| &copy.desired);
        told.max_by_key(|desired| desired.generation)
    }

    /// The root has said, in this incarnation of our store, what it wants here.
    pub(crate) fn root_answered(&self) -> bool {
        self.trusting && self.upstream.mark().incarnation.is_some()
    }

    /// The slots of a job that have a record.
    pub(crate) fn slots_of(&self, job: JobId) -> impl Iterator<Item = (&Slot, &SlotRecord)> {
        let first = Slot {
            job,
            service: model::name::least(),
            index: 0,
        };
        self.slots
            .range(first..)
            .take_while(move |(slot, _)| slot.job == job)
    }

    /// The slots of a job that the root assigned here.
    pub(crate) fn assigned_of(&self, job: JobId) -> impl Iterator<Item = &Desired> {
        let first = Slot {
            job,
            service: model::name::least(),
            index: 0,
        };
        self.upstream
            .set()
            .range(first..)
            .take_while(move |(slot, _)| slot.job == job)
            .map(|(_, entry)| &entry.value)
    }

    /// The tenant of a job of which something is, or was, here; where nothing says any more whose it was, the root's.
    pub(crate) fn tenant_of(&self, job: JobId) -> TenantPath {
        let own = self.book.get(job).map(|job| &job.tenant);
        let assigned = || Some(&self.assigned_of(job).next()?.job.tenant);
        let placed = || {
            let mut copies = self.slots_of(job).flat_map(|(_, record)| &record.copies);
            Some(&copies.next()?.desired.job.tenant)
        };
        let told = || Some(&self.history.of(job).next_back()?.tenant);
        own.or_else(assigned)
            .or_else(placed)
            .or_else(told)
            .map_or_else(TenantPath::root, Clone::clone)
    }

    /// The head of a job that the root owns and that has something here, by name or id.
    pub(crate) fn find_foreign(&self, asked: &Asked, key: &str) -> Option<Arc<JobHead>> {
        let id = key.parse::<JobId>().ok();
        let is_named = |head: &JobHead| head.tenant == asked.tenant && head.name.as_str() == key;
        let matches =
            |head: &JobHead| (id == Some(head.id) || is_named(head)) && asked.sees(&head.tenant);
        let assigned = self.upstream.set().values().map(|entry| &entry.value.job);
        let leaving = self
            .slots
            .values()
            .flat_map(|record| &record.copies)
            .map(|copy| &copy.desired.job);
        assigned
            .chain(leaving)
            .find(|head| matches!(head.owner, Owner::Root) && matches(head))
            .cloned()
    }

    /// The worker of that name or id.
    pub(crate) fn find_node(&self, key: &str) -> Option<NodeId> {
        let by_id = key
            .parse::<NodeId>()
            .ok()
            .filter(|id| self.nodes.contains_key(id));
        by_id.or_else(|| self.names.get(key).copied())
    }
}
