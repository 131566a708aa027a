//! A worker with its disk, and the cluster that it talks to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use model::access::TenantPath;
use model::desired::{Desired, JobHead, NodeItem, NodeKey, NodeSettings};
use model::id::{InstanceId, JobId};
use model::instance::{Exit, Observed};
use model::job::{OnPartition, Owner, PlacementRules, ServiceSpec};
use model::name::Name;
use model::slot::{Generation, Slot};
use model::telling::Told;
use model::time::{Instant, Now, Wall};
use model::units::Resources;
use model::workload::{HealthCheck, Probe, Pull, Restart, RuntimeKind, SpecHash, Workload};
use node_core::{
    Action, Config, Decision, DesiredEntry, Found, FoundStatus, Input, ProbeId, ProbeOutcome,
    State, Write, desired_entry, turn,
};
use sync::{Change, Incarnation, Parent, Term, Timing};

pub(crate) fn id(number: u128) -> InstanceId {
    InstanceId::from_bits(number)
}

pub(crate) fn exit(code: i32) -> Exit {
    Exit {
        code: Some(code),
        ..Exit::default()
    }
}

pub(crate) fn exited(number: u128, code: i32) -> Input {
    Input::Exited {
        instance: id(number),
        exit: exit(code),
    }
}

pub(crate) fn started(number: u128) -> Input {
    Input::Started {
        instance: id(number),
        since: Wall(0),
        endpoints: Vec::new(),
    }
}

pub(crate) fn stopped(number: u128) -> Input {
    Input::Stopped {
        instance: id(number),
    }
}

pub(crate) fn listed(found: &[(u128, FoundStatus)]) -> Input {
    let found = found.iter().map(|(number, status)| Found {
        instance: id(*number),
        status: status.clone(),
    });
    Input::Listed {
        runtime: RuntimeKind::Noop,
        found: found.collect(),
    }
}

pub(crate) fn running() -> FoundStatus {
    FoundStatus::Running {
        since: Wall(1),
        endpoints: Vec::new(),
    }
}

pub(crate) fn workload(runtime: RuntimeKind, restart: Restart) -> Workload {
    Workload {
        hash: SpecHash::default(),
        runtime,
        image: None,
        pull: Pull::IfAbsent,
        command: Vec::new(),
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources::default(),
        restart,
        health: None,
        security: model::security::Security::default(),
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_secs(5),
    }
}

/// The same with a check of a port: every 10 s, three failures, nothing counts in the first 20 s.
pub(crate) fn checked(restart: Restart) -> Workload {
    Workload {
        health: Some(HealthCheck {
            probe: Probe::Tcp { port: 80 },
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            retries: 3,
            start_period: Duration::from_secs(20),
        }),
        ..workload(RuntimeKind::Noop, restart)
    }
}

pub(crate) fn probed(number: u128, id: ProbeId, good: bool) -> Input {
    Input::Probed {
        instance: InstanceId::from_bits(number),
        id,
        outcome: if good {
            ProbeOutcome::Good
        } else {
            ProbeOutcome::Bad("connection refused".to_owned())
        },
    }
}

/// One that is ready as soon as it runs.
pub(crate) fn desired(number: u128, placement: u64, workload: Workload) -> NodeItem {
    on_trial(number, placement, workload, Duration::ZERO)
}

/// One that is ready when it has run for that long.
pub(crate) fn on_trial(
    number: u128,
    placement: u64,
    workload: Workload,
    min_ready: Duration,
) -> NodeItem {
    let name = |text: &str| Name::new(text).unwrap();
    NodeItem::Instance(Desired {
        handover: model::desired::Handover::default(),
        instance: id(number),
        slot: Slot {
            job: JobId::from_bits(1),
            service: name("web"),
            index: number as u32,
        },
        generation: Generation {
            assignment: 1,
            placement,
        },
        job: Arc::new(JobHead {
            reconcile: model::job::Reconcile::default(),
            id: JobId::from_bits(1),
            name: name("web"),
            tenant: TenantPath::root(),
            owner: Owner::Root,
            lost_after: None,
            on_partition: OnPartition::Stay,
            created_at: Wall(0),
        }),
        service: Arc::new(ServiceSpec {
            takeover: model::job::Takeover {
                min_ready,
                ..model::job::Takeover::default()
            },
            name: name("web"),
            workload: Arc::new(workload),
            placement: PlacementRules::default(),
            replicas: 1,
        }),
    })
}

/// The worker under test: its state, what its disk has, and its clock.
pub(crate) struct Worker {
    pub(crate) state: State,
    pub(crate) now: Now,
    disk: State,
    runtimes: Vec<RuntimeKind>,
    pub(crate) cluster: Cluster,
    /// What the cluster was told.
    pub(crate) told: Vec<Told>,
    /// Whether it confirms that.
    pub(crate) confirms: bool,
    /// How often the engine was started.
    starts: u64,
}

/// What the cluster wants of the worker.
pub(crate) struct Cluster {
    pub(crate) incarnation: Incarnation,
    pub(crate) term: Term,
    pub(crate) set: Parent<DesiredEntry>,
}

impl Cluster {
    pub(crate) fn new(incarnation: u128) -> Self {
        Self {
            incarnation: Incarnation(incarnation),
            term: Term::default().next(7),
            set: Parent::default(),
        }
    }

    /// What is due to a worker that holds this.
    pub(crate) fn due(&mut self, held: sync::Held) -> Vec<Change<DesiredEntry>> {
        let timing = Timing::default();
        self.set.disconnected();
        self.set.acknowledge(held, self.incarnation, &timing);
        let due = self
            .set
            .due(u64::MAX, self.incarnation, &self.term, &timing);
        due.unwrap_or_default().to_vec()
    }
}

impl Worker {
    /// A worker with the noop runtime, on an empty disk; its runtime was asked and has not answered.
    pub(crate) fn new() -> Self {
        Self::with(&[RuntimeKind::Noop])
    }

    pub(crate) fn with(runtimes: &[RuntimeKind]) -> Self {
        let blank = || State::new(Config::default(), runtimes.iter().copied());
        let mut worker = Self {
            state: blank(),
            now: Now::default(),
            disk: blank(),
            runtimes: runtimes.to_vec(),
            cluster: Cluster::new(1),
            told: Vec::new(),
            confirms: true,
            starts: 0,
        };
        worker.boot();
        worker
    }

    /// A worker whose runtime has nothing and whose link is up.
    pub(crate) fn ready() -> Self {
        let mut worker = Self::new();
        worker.turn([listed(&[]), Input::Connected]);
        worker
    }

    /// A worker that runs instance 1.
    pub(crate) fn running(restart: Restart) -> Self {
        let mut worker = Self::ready();
        worker.want(desired(1, 1, workload(RuntimeKind::Noop, restart)));
        worker.sync();
        worker.turn([started(1)]);
        worker
    }

    fn boot(&mut self) -> String {
        let began = [Write::Boot(self.disk.boot() + 1)];
        self.starts += 1;
        self.state.apply(self.now, &[Write::Line(self.starts)]);
        self.state.apply(self.now, &began);
        self.disk.apply(self.now, &began);
        self.turn([])
    }

    /// The engine is killed and started again: only its disk is left. What it does first.
    pub(crate) fn restart(&mut self) -> String {
        self.state = State::new(Config::default(), self.runtimes.iter().copied());
        self.state.apply(self.now, &self.disk.snapshot());
        assert_eq!(self.state.snapshot(), self.disk.snapshot());
        self.boot()
    }

    /// One turn; the cluster confirms at once what it is told in it.
    pub(crate) fn decide(&mut self, inputs: impl IntoIterator<Item = Input>) -> Decision {
        let mut decision = self.decide_once(inputs);
        let mut from = 0;
        while let Some(action) = decision.actions.get(from) {
            from += 1;
            if let Action::Tell(telling) = action {
                let last = telling.last().filter(|_| self.confirms);
                self.told.extend(telling.events.clone());
                if let Some(last) = last {
                    let next = self.decide_once([Input::Confirmed(last)]);
                    decision.actions.extend(next.actions);
                }
            }
        }
        decision
    }

    /// "RUNNING -> FAILED at 2000: exited": what the cluster was told of an instance.
    pub(crate) fn history(&self, number: u128) -> Vec<String> {
        let told = self.told.iter().map(|told| &told.event);
        told.filter(|event| event.instance == Some(id(number)))
            .map(|event| {
                let (from, to, at) = (event.from, event.to, event.at.0);
                format!("{from} -> {to} at {at}: {}", event.cause)
            })
            .collect()
    }

    /// The disk is that of an engine that told no events.
    pub(crate) fn forget_said(&mut self) {
        let said = |write: &Write| matches!(write, Write::Said { .. });
        let mut writes = self.disk.snapshot();
        writes.retain(|write| !said(write));
        self.disk = State::new(Config::default(), self.runtimes.iter().copied());
        self.disk.apply(self.now, &writes);
    }

    fn decide_once(&mut self, inputs: impl IntoIterator<Item = Input>) -> Decision {
        let decision = turn(&mut self.state, self.now, inputs);
        self.disk.apply(self.now, &decision.writes);
        assert_eq!(
            self.disk.snapshot(),
            self.state.snapshot(),
            "the disk has what the worker knows"
        );
        decision
    }

    /// The actions of one turn, a line each.
    pub(crate) fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> String {
        lines(&self.decide(inputs).actions)
    }

    pub(crate) fn pass(&mut self, time: Duration) -> String {
        self.now.steady = self.now.steady.plus(time);
        self.now.wall = Wall(self.now.wall.0 + time.as_millis() as i64);
        self.turn([])
    }

    pub(crate) fn want(&mut self, item: NodeItem) {
        self.cluster.set.put(desired_entry(item));
    }

    pub(crate) fn want_web(&mut self, number: u128) {
        self.want(desired(
            number,
            1,
            workload(RuntimeKind::Noop, Restart::Always),
        ));
    }

    pub(crate) fn want_interval(&mut self, seconds: u64) {
        self.want(NodeItem::Settings(NodeSettings {
            report_interval: Duration::from_secs(seconds),
        }));
    }

    pub(crate) fn drop_web(&mut self, number: u128) {
        self.cluster.set.remove(&NodeKey::Instance(id(number)));
    }

    /// The cluster sends what is due.
    pub(crate) fn sync(&mut self) -> String {
        let changes = self.cluster.due(self.state.held());
        self.turn(changes.into_iter().map(Input::Control))
    }

    /// A worker that runs instance 1, which has a check; its first probe is under way.
    pub(crate) fn probing(restart: Restart) -> (Self, ProbeId) {
        let mut worker = Self::ready();
        worker.want(desired(1, 1, checked(restart)));
        worker.sync();
        let decision = worker.decide([started(1)]);
        let id = probe_of(&decision.actions).unwrap();
        (worker, id)
    }

    /// Answers a probe, and lets time pass until the next one is asked for, if any is.
    pub(crate) fn answer(&mut self, probe: ProbeId, good: bool) -> Option<ProbeId> {
        self.turn([probed(1, probe, good)]);
        let wait = self.deadline()?.since(self.now.steady);
        self.now.steady = self.now.steady.plus(wait);
        self.now.wall = Wall(self.now.wall.0 + wait.as_millis() as i64);
        probe_of(&self.decide([]).actions)
    }

    /// "1 running, 2 crash_loop": what a report would say now.
    pub(crate) fn observed(&self) -> String {
        let rows = self.state.observed().map(|report| {
            let failed = match &report.report.observed {
                Observed::Failed {
                    next_attempt: Some(at),
                    ..
                } => format!(" until {}", at.0),
                _ => String::new(),
            };
            let number = report.instance.bits();
            let health = report.report.health();
            let health = health.map_or_else(String::new, |health| format!(" {health}"));
            format!("{number} {}{health}{failed}", report.report.word())
        });
        rows.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.state.next_deadline()
    }
}

/// The probe among these actions.
pub(crate) fn probe_of(actions: &[Action]) -> Option<ProbeId> {
    actions.iter().find_map(|action| match action {
        Action::Probe { id, .. } => Some(*id),
        _ => None,
    })
}

/// Actions for people: one line each.
pub(crate) fn lines(actions: &[Action]) -> String {
    let mut text = String::new();
    for action in actions {
        let line = match action {
            Action::Start(desired) => {
                format!("start {} {}", desired.instance.bits(), desired.generation)
            }
            Action::Stop {
                instance, grace, ..
            } => format!("stop {} within {grace:?}", instance.bits()),
            Action::Probe { instance, .. } => format!("probe {}", instance.bits()),
            Action::List(runtime) => format!("list {runtime}"),
            Action::Acknowledge { held, .. } => {
                let whole = if held.want_whole {
                    ", wants the whole"
                } else {
                    ""
                };
                let superseded = if held.superseded { ", superseded" } else { "" };
                format!("acknowledge {}{whole}{superseded}", held.revision)
            }
            Action::Report { report, held } => {
                let kind = if report.whole { "all" } else { "news" };
                let mut line = format!("report {kind} at {}:", held.revision);
                for entry in &report.states {
                    let state = &entry.value;
                    let word = state.report.word();
                    let health = state.report.health();
                    let health = health.map_or_else(String::new, |health| format!(" {health}"));
                    let _ = write!(line, " {} {word}{health},", state.instance.bits());
                }
                for gone in &report.gone {
                    let _ = write!(line, " {} gone,", gone.bits());
                }
                line.trim_end_matches([',', ':']).to_owned()
            }
            Action::Adopt { desired, .. } => format!("adopt {}", desired.len()),
            // Tests of it look at what was told.
            Action::Tell(_) => continue,
            Action::ReportInterval(every) => format!("report every {every:?}"),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}
