//! What a node-engine knows, and what others may ask of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::desired::{Desired, InstanceReport, NodeItem, NodeKey};
use model::id::{InstanceId, NodeId};
use model::instance::Exit;
use model::telling::Untold;
use model::time::{Instant, Now};
use model::workload::RuntimeKind;
use sync::{Child, Held, Observer, Update};

use crate::telling::News;
use crate::{
    Beat, Config, Decision, DesiredEntry, Input, Journal, Listing, ReportEntry, Run, Said, Write,
};

/// Everything that a node-engine knows.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) config: Config,
    pub(crate) node: Option<NodeId>,
    pub(crate) boot: u64,
    pub(crate) desired: Child<DesiredEntry>,
    pub(crate) journal: BTreeMap<InstanceId, Journal>,
    pub(crate) runs: BTreeMap<InstanceId, Run>,
    /// Those of `runs` that something is due for by time, but for probes: few among many that run.
    pub(crate) timed: BTreeSet<InstanceId>,
    /// The probes that are due or will be, by time.
    pub(crate) probes: BTreeSet<(Instant, InstanceId)>,
    /// The number of the last probe of this start.
    pub(crate) last_probe: u64,
    pub(crate) restarts: BTreeMap<InstanceId, u32>,
    pub(crate) exits: BTreeMap<InstanceId, Exit>,
    pub(crate) observer: Observer<ReportEntry>,
    pub(crate) runtimes: BTreeMap<RuntimeKind, Option<Listing>>,
    /// Those that did not answer when they were asked last, until they answer again.
    pub(crate) silent: BTreeSet<RuntimeKind>,
    pub(crate) connected: bool,
    pub(crate) room: bool,
    pub(crate) dirty: BTreeSet<InstanceId>,
    /// What the cluster has not confirmed.
    pub(crate) untold: Untold,
    /// The state of each instance after its last event.
    pub(crate) said: BTreeMap<InstanceId, Said>,
    /// The disk is read, and this start has begun: what is observed from now on may be news.
    pub(crate) begun: bool,
    /// Changes that are no events yet; empty between two inputs.
    pub(crate) news: VecDeque<News>,
}

impl State {
    /// An engine with these runtimes and nothing on its disk.
    pub fn new(config: Config, runtimes: impl IntoIterator<Item = RuntimeKind>) -> Self {
        Self {
            untold: Untold::new(config.untold),
            said: BTreeMap::new(),
            begun: false,
            news: VecDeque::new(),
            config,
            node: None,
            boot: 0,
            desired: Child::default(),
            journal: BTreeMap::new(),
            runs: BTreeMap::new(),
            timed: BTreeSet::new(),
            probes: BTreeSet::new(),
            last_probe: 0,
            restarts: BTreeMap::new(),
            exits: BTreeMap::new(),
            observer: Observer::new(0),
            runtimes: runtimes.into_iter().map(|kind| (kind, None)).collect(),
            silent: BTreeSet::new(),
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
                        Some(Run::Running { .. } | Run::Waiting { .. } | Run::Forbidden { .. })
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
        writes.extend(self.untold.iter().cloned().map(Write::Tell));
        // Before the journal: what is known of an instance again must not seem to be news.
        writes.extend(self.said.iter().map(|(instance, said)| Write::Said {
            instance: *instance,
            said: Some(*said),
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
            Input::StartForbidden { instance, reason } => self.forbidden(*instance, reason),
            Input::Exited { instance, exit } => self.exited(now, *instance, exit),
            Input::Stopped { instance } => self.stopped(now, *instance),
            Input::StopFailed { instance } => self.stop_failed(now, *instance),
            Input::Probed {
                instance,
                id,
                outcome,
            } => self.probed(now, *instance, *id, outcome),
            Input::Confirmed(stamp) => self.confirmed(*stamp),
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
            Run::Stopping { retry_at, .. } => Some(*retry_at),
            Run::Starting { .. } | Run::Running { .. } | Run::Forbidden { .. } => None,
        });
        let lists = self.runtimes.values().filter_map(|listing| match listing {
            Some(Listing::Silent { retry_at }) => Some(*retry_at),
            Some(Listing::Asked | Listing::Known) | None => None,
        });
        let probe = self.probes.first().map(|(at, _)| *at);
        let resend = self.untold.resend_at().filter(|_| self.may_send());
        runs.chain(lists).chain(probe).chain(resend).min()
    }
}
