//! What a root-orchestrator knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::aggregate::Aggregate;
use model::book::JobBook;
use model::brake::Brake;
use model::desired::{Desired, Handover, JobHead};
use model::history::History;
use model::id::{ClusterId, InstanceId, JobId};
use model::location::Location;
use model::name::Name;
use model::node::{Liveness, Scheduling};
use model::operation::Rollouts;
use model::reason::{Reason, Rejections};
use model::slot::{Generation, Slot};
use model::telling::Heard;
use model::time::{Instant, Wall};
use model::units::Resources;
use schedulers::{Asks, Policy, Questions};
use sync::{Incarnation, Observed, Parent, Run, Term, Timing};

use crate::{AssignmentEntry, SlotEntry};

/// Settings of the decisions; the defaults are those of protocol, section 5.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// After this long without its uplink a cluster's movable work is placed elsewhere.
    pub lost_after: Duration,
    /// Longest silence of an uplink before it is closed (ping and timeout).
    pub silence: Duration,
    /// Between two aggregates of a cluster.
    pub report_interval: Duration,
    /// The longest reconnect back-off of a cluster.
    pub reconnect_max: Duration,
    /// Resends and parts.
    pub timing: Timing,
    /// How long a deleted job can be seen.
    pub retention: Duration,
    /// Between two questions to the same cluster.
    pub ask_again: Duration,
    /// After a failure of the scheduler, until it is asked about the same again.
    pub scheduler_pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_mins(1),
            silence: Duration::from_millis(7_500),
            report_interval: Duration::from_secs(15),
            reconnect_max: Duration::from_secs(5),
            timing: Timing::default(),
            retention: Duration::from_hours(24),
            ask_again: Duration::from_secs(2),
            scheduler_pause: Duration::from_mins(1),
        }
    }
}

impl Config {
    /// One grace: after our own outage nobody is lost before it has passed.
    pub fn grace(&self) -> Duration {
        self.reconnect_max
            .saturating_mul(2)
            .saturating_add(self.silence)
    }
}

/// One assignment of a slot. Durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// To which cluster.
    pub cluster: ClusterId,
    /// What it was told.
    pub desired: Desired,
    /// It is taken back; it counts until the cluster has confirmed that.
    pub leaving: bool,
    /// Another cluster has taken over from it; it stands for the service's drain delay, and is then taken back.
    pub draining: bool,
    /// Who chose this cluster, for people; empty: nobody remembers.
    pub by: String,
}

impl Holding {
    /// It has a right to fill its slot.
    pub const fn counts(&self) -> bool {
        !self.leaving && !self.draining
    }
}

/// A slot on the move. Durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The operation that moves it; 0: its cluster or worker is drained.
    pub number: u64,
    /// How far it is.
    pub stage: Stage,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its cluster was told to replace this copy.
    Inside {
        /// The copy.
        instance: InstanceId,
    },
    /// A second cluster has the slot beside the first, and takes over when its copy is ready.
    Across {
        /// The second one.
        to: ClusterId,
    },
    /// The first cluster gives the slot back before another one gets it.
    Away {
        /// Which gets it then, if it can have it.
        to: ClusterId,
    },
}

/// A slot and its assignments. Durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlotRecord {
    /// The greatest assignment issued for the slot.
    pub assignment: u64,
    /// The generation of the job's service that the last assignment follows.
    pub service_generation: u64,
    /// Where it is going, if it is.
    pub moving: Option<Moving>,
    /// The assignments; few.
    pub holdings: Vec<Holding>,
}

impl SlotRecord {
    /// Whether an assignment is the one that is to take over.
    pub fn is_successor(&self, holding: &Holding) -> bool {
        let to = self.moving.as_ref().and_then(|moving| match moving.stage {
            Stage::Across { to } => Some(to),
            Stage::Inside { .. } | Stage::Away { .. } => None,
        });
        holding.counts() && to == Some(holding.cluster)
    }
}

/// A cluster. Durable.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRecord {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub location: Location,
    /// Where its own REST interface is reached, as far as it says so.
    pub http: Option<String>,
    /// Whether it gets new work.
    pub scheduling: Scheduling,
    /// The last run of its store that was let in.
    pub run: Option<Run>,
    /// The incarnation of this store whose set it was seen to hold: after that it cannot come with another one's.
    pub synced: Option<Incarnation>,
}

/// Why a slot waits. Soft.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The sentence and the code.
    pub reason: Reason,
    /// Counted over the clusters.
    pub rejections: Rejections,
    /// Requirements; slots of one class fit or do not fit together.
    pub class: String,
    /// The scheduler failed on it, and is asked again then.
    pub again_at: Option<Instant>,
    /// It waits for the answer of a scheduler elsewhere to this.
    pub asks: Option<Box<Asks<ClusterId>>>,
}

impl Waiting {
    /// One that waits for room, or for what its reason says.
    pub(crate) const fn because(reason: Reason, rejections: Rejections, class: String) -> Self {
        Self {
            reason,
            rejections,
            class,
            again_at: None,
            asks: None,
        }
    }

    /// Whether it waits for a scheduler's answer: it is on its way.
    pub const fn is_asking(&self) -> bool {
        self.asks.is_some()
    }
}

/// What was assigned, by revision, and is not yet in the cluster's aggregate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    by_revision: BTreeMap<u64, Resources>,
    /// Their sum, kept since every slot that is placed looks at it.
    total: Resources,
}

impl Pending {
    pub(crate) const fn total(&self) -> Resources {
        self.total
    }

    pub(crate) fn insert(&mut self, revision: u64, resources: Resources) {
        self.total = self.total.plus(resources);
        if self.by_revision.insert(revision, resources).is_some() {
            self.sum();
        }
    }

    /// The aggregate now holds everything up to this revision. Whether that was something.
    pub(crate) fn reflected(&mut self, revision: u64) -> bool {
        let before = self.by_revision.len();
        self.by_revision.retain(|at, _| *at > revision);
        let fewer = self.by_revision.len() < before;
        if fewer {
            self.sum();
        }
        fewer
    }

    /// Sums saturate, so that what leaves cannot be taken off them.
    fn sum(&mut self) {
        let all = self.by_revision.values();
        self.total = all.fold(Resources::default(), |sum, one| sum.plus(*one));
    }
}

/// A cluster with all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) record: ClusterRecord,
    pub(crate) aggregate: Aggregate,
    pub(crate) scheduler: String,
    /// Its start and capacity revision of the last aggregate.
    pub(crate) capacity: (u64, u64),
    pub(crate) pending: Pending,
    pub(crate) desired: Parent<AssignmentEntry>,
    /// The revision that the store has.
    pub(crate) stored_revision: u64,
    /// How far it was heard of what happened.
    pub(crate) heard: Heard,
    pub(crate) observed: Observed<SlotEntry>,
    /// What is observed was true when the cluster held this revision.
    pub(crate) observed_at: u64,
    /// Nonce of the start that it registered from.
    pub(crate) start: u64,
    /// Slots by service, for spreading.
    pub(crate) services: BTreeMap<(JobId, Name), u32>,
    pub(crate) slots: BTreeSet<Slot>,
    /// The jobs that it has something of, or had since this root started.
    pub(crate) had: BTreeSet<JobId>,
    pub(crate) liveness: Liveness,
    pub(crate) proof: Instant,
    pub(crate) last_seen: Option<Wall>,
    pub(crate) session: Option<u64>,
    pub(crate) spared_until: Instant,
    pub(crate) check_at: Option<Instant>,
    pub(crate) asked_at: Option<Instant>,
}

impl Cluster {
    pub(crate) fn new(record: ClusterRecord) -> Self {
        Self {
            record,
            aggregate: Aggregate::default(),
            scheduler: String::new(),
            capacity: (0, 0),
            pending: Pending::default(),
            desired: Parent::default(),
            stored_revision: 0,
            heard: Heard::default(),
            observed: Observed::default(),
            observed_at: 0,
            start: 0,
            services: BTreeMap::new(),
            slots: BTreeSet::new(),
            had: BTreeSet::new(),
            liveness: Liveness::Reconnecting,
            proof: Instant::default(),
            last_seen: None,
            session: None,
            spared_until: Instant::default(),
            check_at: None,
            asked_at: None,
        }
    }

    /// One whose set begins above a revision, since it may be one that was forgotten and hold a set made for it then.
    pub(crate) fn above(floor: u64, record: ClusterRecord) -> Self {
        let mut cluster = Self::new(record);
        if floor > 0 {
            cluster.desired.restore(floor + 1);
        }
        cluster
    }

    /// It is heard, and all that it has is known.
    pub(crate) const fn is_heard(&self) -> bool {
        matches!(self.liveness, Liveness::Alive) && self.observed.is_whole()
    }
}

/// Everything that a root-orchestrator knows.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) config: Config,
    pub(crate) incarnation: Incarnation,
    pub(crate) term: Term,
    /// The store is loaded and this run has begun.
    pub(crate) started: bool,
    pub(crate) fenced: bool,
    pub(crate) policy: Policy,
    /// What the scheduler elsewhere was asked.
    pub(crate) questions: Questions<Slot>,
    /// When it is asked again about slots that it failed on.
    pub(crate) again: BTreeSet<(Instant, Slot)>,
    pub(crate) book: JobBook,
    pub(crate) heads: BTreeMap<JobId, Arc<JobHead>>,
    pub(crate) slots: BTreeMap<Slot, SlotRecord>,
    pub(crate) clusters: BTreeMap<ClusterId, Cluster>,
    pub(crate) names: BTreeMap<Name, ClusterId>,
    /// The greatest revision that a forgotten cluster may hold.
    pub(crate) floor: u64,
    /// Which cluster had refused which slot at which capacity.
    pub(crate) refusals: BTreeMap<Slot, BTreeMap<ClusterId, (u64, u64)>>,
    /// The revision of its cluster's set from which on a slot is not in it.
    pub(crate) left_at: BTreeMap<(ClusterId, Slot), u64>,
    pub(crate) waiting: BTreeMap<Slot, Waiting>,
    pub(crate) classes: BTreeMap<String, BTreeSet<Slot>>,
    /// Classes that may fit since something became free.
    pub(crate) awake: BTreeSet<String>,
    pub(crate) dirty: BTreeSet<Slot>,
    pub(crate) revised: BTreeSet<ClusterId>,
    /// Clusters that do not hold their present set.
    pub(crate) unsynced: BTreeSet<ClusterId>,
    pub(crate) checks: BTreeSet<(Instant, ClusterId)>,
    pub(crate) hold: Option<Instant>,
    /// The hold of a new or restored store was not seen through; a restart begins it again.
    pub(crate) unsettled: bool,
    pub(crate) last_turn: Option<Instant>,
    pub(crate) deleted: BTreeSet<(Instant, JobId)>,
    pub(crate) history: History,
    /// What the operations that run have before them.
    pub(crate) rollouts: Rollouts,
    /// Against moving most of what there is at once.
    pub(crate) brake: Brake<ClusterId>,
    /// Slots that wait for it.
    pub(crate) braked: BTreeSet<Slot>,
    /// Until when assignments that were replaced stand.
    pub(crate) drains: BTreeMap<Slot, Instant>,
}

impl State {
    /// A root with nothing in its store but its incarnation.
    pub fn new(config: Config, incarnation: Incarnation) -> Self {
        Self {
            config,
            incarnation,
            term: Term::default(),
            started: false,
            fenced: false,
            policy: Policy::default(),
            questions: Questions::default(),
            again: BTreeSet::new(),
            book: JobBook::default(),
            heads: BTreeMap::new(),
            slots: BTreeMap::new(),
            clusters: BTreeMap::new(),
            names: BTreeMap::new(),
            floor: 0,
            refusals: BTreeMap::new(),
            left_at: BTreeMap::new(),
            waiting: BTreeMap::new(),
            classes: BTreeMap::new(),
            awake: BTreeSet::new(),
            dirty: BTreeSet::new(),
            revised: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            checks: BTreeSet::new(),
            hold: None,
            unsettled: false,
            last_turn: None,
            deleted: BTreeSet::new(),
            history: History::default(),
            rollouts: Rollouts::default(),
            brake: Brake::default(),
            braked: BTreeSet::new(),
            drains: BTreeMap::new(),
        }
    }

    /// What should fill a slot: without generation and instance, which an assignment gives it.
    pub(crate) fn wanted(&self, slot: &Slot) -> Option<Desired> {
        let job = self.book.get(slot.job)?;
        let service = job.service(&slot.service).filter(|_| job.wants(slot))?;
        Some(Desired {
            instance: InstanceId::from_bits(0),
            slot: slot.clone(),
            generation: Generation {
                assignment: job.service_generation(&slot.service),
                placement: 0,
            },
            job: Arc::clone(self.heads.get(&slot.job)?),
            service: Arc::clone(service),
            handover: Handover::default(),
        })
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

    /// The cluster of that name or id.
    pub(crate) fn find_cluster(&self, key: &str) -> Option<ClusterId> {
        let by_id = key
            .parse::<ClusterId>()
            .ok()
            .filter(|id| self.clusters.contains_key(id));
        by_id.or_else(|| self.names.get(key).copied())
    }
}
