//! The world of a run: programs, stores, links, messages in flight, faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_core::{Action as ClusterAction, Input as ClusterInput};
use model::book::Draft;
use model::desired::Desired;
use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::job::JobSpec;
use model::node::NodeFacts;
use model::time::{Instant, Now, Wall};
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use node_core::{Action as NodeAction, Input as NodeInput};
use root_core::{Action as RootAction, Input as RootInput};
use sync::{Change, Held, Incarnation, UpReport};

use super::checks::{self, Violation};
use super::rng::Rng;
use super::runtime::Runtime;
use super::users;

/// How long the faults go on, in milliseconds of the simulation.
const CHAOS: u64 = 150_000;
/// After the faults stop everything must agree within this: a lost cluster's 60 s, one grace and the last backoff.
const SETTLE: u64 = 200_000;
/// Wall and steady clocks start here.
const START: u64 = 1_000_000;

/// A rule that the run breaks on purpose, to test the checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Actions are performed though their commit was lost.
    ActBeforeCommit,
    /// Workers leave what runs out of their reports.
    ForgedGone,
    /// A runtime starts a second process where one runs.
    SecondProcess,
    /// A worker's store silently goes back to an older state.
    WorkerForgets,
    /// A runtime says that it stopped what it did not.
    LyingStop,
}

/// Figures of a run that held.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Jobs accepted.
    pub accepted: u64,
    /// Messages sent, lost and doubled.
    pub messages: u64,
    /// Crashes of programs.
    pub crashes: u64,
    /// Stores emptied or restored.
    pub stores: u64,
    /// Instances running at the end.
    pub running: u64,
}

impl Outcome {
    /// Sums up.
    pub const fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.stores += other.stores;
        self.running += other.running;
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Message {
    Assign(usize, Change<root_core::AssignmentEntry>),
    RootAsks {
        cluster: usize,
        adopt: bool,
    },
    UpHeld(usize, Held, root_core::Beat),
    UpReport(usize, UpReport<root_core::SlotEntry>, Held),
    UpAggregate(usize, Box<root_core::Report>),
    UpAdopt(usize, Held, Vec<Desired>),
    Control(usize, Change<cluster_core::DesiredEntry>),
    ClusterAsks {
        worker: usize,
        adopt: bool,
    },
    Held(usize, Held, cluster_core::Beat),
    Report(usize, UpReport<cluster_core::ReportEntry>, Held),
    Adopt(usize, Held, Vec<Desired>),
    /// From a worker's own runtime: reliable, but for the engine that asked only.
    Runtime {
        worker: usize,
        epoch: u64,
        input: NodeInput,
    },
    /// The runtime finishes a stop.
    Stop {
        worker: usize,
        epoch: u64,
        instance: InstanceId,
    },
    /// The runtime finishes a start.
    Start {
        worker: usize,
        epoch: u64,
        desired: Box<Desired>,
    },
    /// The end of a connection is noticed.
    UplinkClosed {
        cluster: usize,
        session: u64,
        by_root: bool,
    },
    LinkClosed {
        worker: usize,
        session: u64,
        by_cluster: bool,
        silent: bool,
    },
    Restart(Who),
    Tick(Who),
    Report15(Who),
    Reconnect(Who),
    Heal(Link),
    Fault,
    User,
    End,
}

impl Message {
    /// The cluster over whose uplink it goes: one TCP connection, whose messages die with it.
    const fn uplink(&self) -> Option<usize> {
        match self {
            Self::Assign(cluster, _)
            | Self::RootAsks { cluster, .. }
            | Self::UpHeld(cluster, ..)
            | Self::UpReport(cluster, ..)
            | Self::UpAggregate(cluster, _)
            | Self::UpAdopt(cluster, ..) => Some(*cluster),
            _ => None,
        }
    }

    /// The worker that sent it to its cluster.
    const fn inward(&self) -> Option<usize> {
        match self {
            Self::Held(worker, ..) | Self::Report(worker, ..) | Self::Adopt(worker, ..) => {
                Some(*worker)
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Root,
    Cluster(usize),
    Worker(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    Uplink(usize),
    Worker(usize),
}

/// A program with its store: `durable` gets the durable writes only.
#[derive(Debug)]
pub(crate) struct Program<S> {
    pub(crate) live: Option<S>,
    pub(crate) durable: S,
    pub(crate) backup: Option<S>,
    /// The store has a new incarnation that no run has begun on.
    pub(crate) fresh: bool,
    /// Number of starts: answers to earlier ones are not heard.
    pub(crate) epoch: u64,
    pub(crate) tick_at: Option<u64>,
    /// Nonce of the present start.
    pub(crate) start: u64,
}

#[derive(Debug)]
pub(crate) struct ClusterSim {
    pub(crate) program: Program<cluster_core::State>,
    pub(crate) id: Option<ClusterId>,
    pub(crate) session: Option<u64>,
    pub(crate) link: bool,
    /// When the path to the root was last broken.
    pub(crate) broken_at: u64,
}

#[derive(Debug)]
pub(crate) struct WorkerSim {
    pub(crate) program: Program<node_core::State>,
    pub(crate) cluster: usize,
    pub(crate) runtime: Runtime,
    pub(crate) session: Option<u64>,
    pub(crate) link: bool,
    pub(crate) broken_at: u64,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) root: Program<root_core::State>,
    pub(crate) root_broken_at: u64,
    pub(crate) clusters: Vec<ClusterSim>,
    pub(crate) workers: Vec<WorkerSim>,
    queue: BTreeMap<(u64, u64), Message>,
    issued: u64,
    sessions: u64,
    requests: u64,
    loss: u64,
    double: u64,
    slow: u64,
    pub(crate) stores_at_risk: bool,
    pub(crate) calm: bool,
    /// Accepted by the root, with the last document; not those of stores that were lost since.
    pub(crate) accepted: BTreeMap<JobId, Arc<JobSpec>>,
    pub(crate) deleted: BTreeSet<JobId>,
    waiting: BTreeMap<u64, Asked>,
    pub(crate) ended: BTreeSet<InstanceId>,
    pub(crate) outcome: Outcome,
    pub(crate) trace: Vec<String>,
    version: u64,
}

#[derive(Debug, Clone)]
enum Asked {
    Submit(JobId, Arc<JobSpec>),
    Put(Arc<JobSpec>),
    Delete,
}

impl World {
    /// The world of a seed: two clusters, two or three workers each.
    pub fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut rng = Rng::new(seed);
        let config = root_core::Config::default();
        let root = root_core::State::new(config, Incarnation(rng.bits()));
        let clusters = (0..2).map(|index| ClusterSim {
            program: program(new_cluster(index, &mut rng)),
            id: None,
            session: None,
            link: true,
            broken_at: 0,
        });
        let clusters: Vec<ClusterSim> = clusters.collect();
        let count = rng.between(3, 5) as usize;
        let workers = (0..count).map(|index| WorkerSim {
            program: program(new_worker()),
            cluster: index % 2,
            runtime: Runtime::default(),
            session: None,
            link: true,
            broken_at: 0,
        });
        let mut world = Self {
            seed,
            sabotage,
            now: START,
            root: program(root),
            root_broken_at: 0,
            clusters,
            workers: workers.collect(),
            queue: BTreeMap::new(),
            issued: 0,
            sessions: 0,
            requests: 0,
            loss: if rng.percent(60) {
                rng.between(0, 20)
            } else {
                0
            },
            double: rng.between(0, 15),
            slow: rng.between(0, 20),
            stores_at_risk: rng.percent(30),
            calm: false,
            accepted: BTreeMap::new(),
            deleted: BTreeSet::new(),
            waiting: BTreeMap::new(),
            ended: BTreeSet::new(),
            outcome: Outcome::default(),
            trace: Vec::new(),
            version: 0,
            rng,
        };
        world.later(0, Message::Restart(Who::Root));
        for index in 0..world.clusters.len() {
            world.later(10, Message::Restart(Who::Cluster(index)));
        }
        for index in 0..world.workers.len() {
            world.later(20, Message::Restart(Who::Worker(index)));
        }
        world.later(2_000, Message::User);
        world.later(5_000, Message::Fault);
        world.later(CHAOS, Message::End);
        world
    }

    /// Runs the seed to its end.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn run(mut self) -> Result<Outcome, Box<Violation>> {
        let end = START + CHAOS + SETTLE;
        while let Some(((at, _), message)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.step(message);
            checks::always(&self)?;
        }
        checks::settled(&self)?;
        self.outcome.running = self
            .workers
            .iter()
            .map(|worker| worker.runtime.running().count() as u64)
            .sum();
        Ok(self.outcome)
    }

    pub(crate) const fn time(&self) -> Now {
        Now {
            steady: Instant(self.now),
            wall: Wall(self.now as i64),
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.trace
            .push(format!("{:>7} {}", self.now - START, text.into()));
        if self.trace.len() > 400 {
            self.trace.remove(0);
        }
    }

    fn later(&mut self, delay: u64, message: Message) {
        self.issued += 1;
        self.queue.insert((self.now + delay, self.issued), message);
    }

    /// Over the network: late, lost or doubled.
    fn send(&mut self, message: Message) {
        self.outcome.messages += 1;
        if !self.calm && self.rng.percent(self.loss) {
            return;
        }
        let copies = if !self.calm && self.rng.percent(self.double) {
            self.rng.between(2, 4)
        } else {
            1
        };
        for _ in 0..copies {
            let slow = !self.calm && self.rng.percent(self.slow);
            let delay = if slow {
                self.rng.between(100, 8_000)
            } else {
                self.rng.between(1, 40)
            };
            self.later(delay, message.clone());
        }
    }

    fn step(&mut self, message: Message) {
        match message {
            Message::Assign(cluster, change) => {
                if self.uplink(cluster) {
                    self.cluster(cluster, ClusterInput::Assigned(change));
                }
            }
            Message::RootAsks { cluster, adopt } => {
                if self.uplink(cluster) {
                    self.cluster(
                        cluster,
                        if adopt {
                            ClusterInput::RootAsksAdopt
                        } else {
                            ClusterInput::RootAsksWhole
                        },
                    );
                }
            }
            Message::UpHeld(cluster, held, beat) => self.up(cluster, |cluster| RootInput::Held {
                cluster,
                held,
                beat,
            }),
            Message::UpReport(cluster, report, held) => {
                self.up(cluster, |cluster| RootInput::Reported {
                    cluster,
                    report,
                    held,
                })
            }
            Message::UpAggregate(cluster, report) => {
                self.up(cluster, |cluster| RootInput::Aggregate { cluster, report })
            }
            Message::UpAdopt(cluster, held, desired) => {
                self.up(cluster, |cluster| RootInput::Adopt {
                    cluster,
                    held,
                    desired,
                })
            }
            Message::Control(worker, change) => {
                if self.link(worker) {
                    self.worker(worker, NodeInput::Control(change));
                }
            }
            Message::ClusterAsks { worker, adopt } => {
                if self.link(worker) {
                    self.worker(
                        worker,
                        if adopt {
                            NodeInput::AskAdopt
                        } else {
                            NodeInput::AskWhole
                        },
                    );
                }
            }
            Message::Held(worker, held, beat) => self.inward(worker, |node| ClusterInput::Held {
                node,
                held,
                beat,
                usage: None,
            }),
            Message::Report(worker, report, held) => {
                self.inward(worker, |node| ClusterInput::Reported { node, report, held })
            }
            Message::Adopt(worker, held, desired) => {
                self.inward(worker, |node| ClusterInput::Adopt {
                    node,
                    held,
                    desired,
                })
            }
            Message::Runtime {
                worker,
                epoch,
                input,
            } => {
                if self.workers[worker].program.epoch == epoch {
                    self.worker(worker, input);
                }
            }
            Message::Start {
                worker,
                epoch,
                desired,
            } => self.runtime_start(worker, epoch, &desired),
            Message::Stop {
                worker,
                epoch,
                instance,
            } => self.runtime_stop(worker, epoch, instance),
            Message::UplinkClosed {
                cluster,
                session,
                by_root,
            } => self.uplink_closed(cluster, session, by_root),
            Message::LinkClosed {
                worker,
                session,
                by_cluster,
                silent,
            } => self.link_closed(worker, session, by_cluster, silent),
            Message::Restart(who) => self.restart(who),
            Message::Tick(who) => self.tick(who),
            Message::Report15(who) => self.beat(who),
            Message::Reconnect(who) => self.reconnect(who),
            Message::Heal(link) => self.heal(link),
            Message::Fault => self.fault(),
            Message::User => self.user(),
            Message::End => self.end(),
        }
    }

    // --- programs -------------------------------------------------------------------------------------------------

    /// One turn of the root: decide, commit, act; or a crash before the commit or between commit and actions.
    fn root(&mut self, input: RootInput) {
        let now = self.time();
        let Some(state) = &mut self.root.live else {
            return;
        };
        let decision = root_core::turn(state, now, [input]);
        let durable: Vec<root_core::Write> = decision
            .writes
            .iter()
            .filter(|write| write.is_durable())
            .cloned()
            .collect();
        let fate = self.fate(!durable.is_empty());
        if fate.commits {
            self.root.durable.apply(now, &durable);
        }
        if fate.crashes {
            self.crash(Who::Root);
        }
        if fate.acts {
            for action in decision.actions {
                self.root_action(action);
            }
        }
        self.plan(Who::Root);
    }

    fn cluster(&mut self, index: usize, input: ClusterInput) {
        let now = self.time();
        let Some(state) = &mut self.clusters[index].program.live else {
            return;
        };
        let decision = cluster_core::turn(state, now, [input]);
        let durable: Vec<cluster_core::Write> = decision
            .writes
            .iter()
            .filter(|write| write.is_durable())
            .cloned()
            .collect();
        let fate = self.fate(!durable.is_empty());
        if fate.commits {
            self.note_ended(index, &durable);
            self.clusters[index].program.durable.apply(now, &durable);
        }
        if fate.crashes {
            self.crash(Who::Cluster(index));
        }
        if fate.acts {
            for action in decision.actions {
                self.cluster_action(index, action);
            }
        }
        self.plan(Who::Cluster(index));
    }

    fn worker(&mut self, index: usize, input: NodeInput) {
        let now = self.time();
        let Some(state) = &mut self.workers[index].program.live else {
            return;
        };
        let decision = node_core::turn(state, now, [input]);
        let durable: Vec<node_core::Write> = decision
            .writes
            .iter()
            .filter(|write| write.is_durable())
            .cloned()
            .collect();
        let fate = self.fate(!durable.is_empty());
        if fate.commits {
            self.workers[index].program.durable.apply(now, &durable);
        }
        if fate.crashes {
            self.crash(Who::Worker(index));
        }
        if fate.acts {
            for action in decision.actions {
                self.worker_action(index, action);
            }
        }
        self.plan(Who::Worker(index));
    }

    fn fate(&mut self, durable: bool) -> Fate {
        let crashes = !self.calm && durable && self.rng.below(400) == 0;
        let commits = !crashes || self.rng.percent(50);
        let honest = !crashes;
        let acts = honest || (self.sabotage == Some(Sabotage::ActBeforeCommit) && !commits);
        Fate {
            commits,
            crashes,
            acts,
        }
    }

    /// A copy that a cluster forgot because its end was confirmed must never run again.
    fn note_ended(&mut self, index: usize, writes: &[cluster_core::Write]) {
        for write in writes {
            if let cluster_core::Write::Slot { slot, record } = write {
                let before = self.clusters[index].program.durable.copies_of(slot);
                let after: Vec<InstanceId> = record
                    .iter()
                    .flat_map(|record| &record.copies)
                    .map(|copy| copy.desired.instance)
                    .collect();
                self.ended.extend(
                    before
                        .into_iter()
                        .filter(|instance| !after.contains(instance)),
                );
            }
        }
    }

    fn plan(&mut self, who: Who) {
        let now = self.now;
        let deadline = match who {
            Who::Root => self
                .root
                .live
                .as_ref()
                .and_then(root_core::State::next_deadline),
            Who::Cluster(index) => self.clusters[index]
                .program
                .live
                .as_ref()
                .and_then(cluster_core::State::next_deadline),
            Who::Worker(index) => self.workers[index]
                .program
                .live
                .as_ref()
                .and_then(node_core::State::next_deadline),
        };
        let Some(at) = deadline.map(|at| at.0.max(now + 1)) else {
            return;
        };
        let planned = match who {
            Who::Root => &mut self.root.tick_at,
            Who::Cluster(index) => &mut self.clusters[index].program.tick_at,
            Who::Worker(index) => &mut self.workers[index].program.tick_at,
        };
        if planned.is_none_or(|planned| planned <= now || planned > at) {
            *planned = Some(at);
            self.later(at - now, Message::Tick(who));
        }
    }

    fn tick(&mut self, who: Who) {
        match who {
            Who::Root => self.root(RootInput::Reconcile),
            Who::Cluster(index) => self.cluster(index, ClusterInput::Reconcile),
            Who::Worker(index) => self.worker(index, NodeInput::Reconcile),
        }
    }

    fn root_action(&mut self, action: RootAction) {
        match action {
            RootAction::Answer(request, answer) => self.answered(request.0, &answer),
            RootAction::Assign(id, changes) => {
                if let Some(cluster) = self.cluster_index(id) {
                    for change in changes {
                        self.send(Message::Assign(cluster, change));
                    }
                }
            }
            RootAction::AskWhole(id) | RootAction::AskAdopt(id) => {
                let adopt = matches!(action, RootAction::AskAdopt(_));
                if let Some(cluster) = self.cluster_index(id) {
                    self.send(Message::RootAsks { cluster, adopt });
                }
            }
        }
    }

    fn cluster_action(&mut self, index: usize, action: ClusterAction) {
        match action {
            ClusterAction::Answer(..) => {}
            ClusterAction::Control(id, changes) => {
                if let Some(worker) = self.worker_index(index, id) {
                    for change in changes {
                        self.send(Message::Control(worker, change));
                    }
                }
            }
            ClusterAction::AskWhole(id) | ClusterAction::AskAdopt(id) => {
                let adopt = matches!(action, ClusterAction::AskAdopt(_));
                if let Some(worker) = self.worker_index(index, id) {
                    self.send(Message::ClusterAsks { worker, adopt });
                }
            }
            ClusterAction::Acknowledge { held, beat } => {
                self.send(Message::UpHeld(index, held, up_beat(beat)))
            }
            ClusterAction::Report { report, held } => {
                self.send(Message::UpReport(index, report, held))
            }
            ClusterAction::Adopt { held, desired } => {
                self.send(Message::UpAdopt(index, held, desired))
            }
            ClusterAction::Aggregate(aggregate) => {
                if let Some(state) = &self.clusters[index].program.live {
                    let held = state.held();
                    let report = root_core::Report {
                        aggregate: *aggregate,
                        scheduler: "first-fit".to_owned(),
                        boot: state.term().number,
                        incarnation: held.incarnation,
                        revision: held.revision,
                    };
                    self.send(Message::UpAggregate(index, Box::new(report)));
                }
            }
        }
    }

    fn worker_action(&mut self, index: usize, action: NodeAction) {
        let epoch = self.workers[index].program.epoch;
        match action {
            NodeAction::Start(desired) => {
                let delay = self.rng.between(5, 500);
                self.later(
                    delay,
                    Message::Start {
                        worker: index,
                        epoch,
                        desired,
                    },
                );
            }
            NodeAction::Stop { instance, .. } => {
                let delay = self.rng.between(500, 5_000);
                self.later(
                    delay,
                    Message::Stop {
                        worker: index,
                        epoch,
                        instance,
                    },
                );
            }
            NodeAction::List(runtime) => {
                let found = self.workers[index].runtime.list();
                let answers = self.calm || !self.rng.percent(10);
                let input = if answers {
                    NodeInput::Listed { runtime, found }
                } else {
                    NodeInput::ListFailed { runtime }
                };
                self.later(
                    5,
                    Message::Runtime {
                        worker: index,
                        epoch,
                        input,
                    },
                );
            }
            NodeAction::Acknowledge { held, beat } => {
                self.send(Message::Held(index, held, down_beat(beat)))
            }
            NodeAction::Report { mut report, held } => {
                if self.sabotage == Some(Sabotage::ForgedGone)
                    && !self.calm
                    && !report.states.is_empty()
                    && self.rng.percent(30)
                {
                    let lost = report.states.remove(0);
                    report.digest = report.digest.minus(sync::Item::mark(&lost));
                    report.gone.push(lost.key);
                }
                self.send(Message::Report(index, report, held));
            }
            NodeAction::Adopt { held, desired } => self.send(Message::Adopt(index, held, desired)),
            NodeAction::ReportInterval(_) => {}
        }
    }

    fn runtime_start(&mut self, worker: usize, epoch: u64, desired: &Desired) {
        // A start that a dead engine asked for may still happen a moment later; after a reboot it does not.
        if self.workers[worker].program.epoch != epoch {
            return;
        }
        let idempotent = self.sabotage != Some(Sabotage::SecondProcess);
        let now = self.now;
        let ended = self.ended.contains(&desired.instance);
        if ended {
            self.note(format!(
                "worker {worker} starts {} again, which had ended",
                desired.instance
            ));
        }
        let since = self.workers[worker].runtime.start(desired, now, idempotent);
        let input = NodeInput::Started {
            instance: desired.instance,
            since,
            endpoints: Vec::new(),
        };
        self.later(
            3,
            Message::Runtime {
                worker,
                epoch,
                input,
            },
        );
    }

    fn runtime_stop(&mut self, worker: usize, epoch: u64, instance: InstanceId) {
        let lies = self.sabotage == Some(Sabotage::LyingStop);
        if !lies {
            self.workers[worker].runtime.apps.remove(&instance);
        }
        self.later(
            3,
            Message::Runtime {
                worker,
                epoch,
                input: NodeInput::Stopped { instance },
            },
        );
    }

    // --- links ----------------------------------------------------------------------------------------------------

    fn uplink(&self, cluster: usize) -> bool {
        let sim = &self.clusters[cluster];
        sim.link && sim.program.live.is_some() && self.root.live.is_some()
    }

    fn link(&self, worker: usize) -> bool {
        let sim = &self.workers[worker];
        sim.link && sim.program.live.is_some() && self.clusters[sim.cluster].program.live.is_some()
    }

    fn up(&mut self, cluster: usize, input: impl FnOnce(ClusterId) -> RootInput) {
        if let (true, Some(id)) = (self.uplink(cluster), self.clusters[cluster].id) {
            self.root(input(id));
        }
    }

    fn inward(&mut self, worker: usize, input: impl FnOnce(NodeId) -> ClusterInput) {
        let id = self.workers[worker]
            .program
            .live
            .as_ref()
            .and_then(node_core::State::node);
        if let (true, Some(id)) = (self.link(worker), id) {
            self.cluster(self.workers[worker].cluster, input(id));
        }
    }

    fn cluster_index(&self, id: ClusterId) -> Option<usize> {
        self.clusters.iter().position(|sim| sim.id == Some(id))
    }

    fn worker_index(&self, cluster: usize, id: NodeId) -> Option<usize> {
        let is = |sim: &WorkerSim| sim.cluster == cluster && sim.program.durable.node() == Some(id);
        self.workers.iter().position(is)
    }

    fn reconnect(&mut self, who: Who) {
        match who {
            Who::Root => {}
            Who::Cluster(index) => {
                let retry = self.clusters[index].program.live.is_some()
                    && self.clusters[index].session.is_none();
                if retry && self.uplink(index) {
                    self.join_root(index);
                }
                if self.clusters[index].program.live.is_some()
                    && self.clusters[index].session.is_none()
                {
                    let delay = self.rng.between(200, 5_000);
                    self.later(delay, Message::Reconnect(who));
                }
            }
            Who::Worker(index) => {
                let retry = self.workers[index].program.live.is_some()
                    && self.workers[index].session.is_none();
                if retry && self.link(index) {
                    self.join_cluster(index);
                }
                if self.workers[index].program.live.is_some()
                    && self.workers[index].session.is_none()
                {
                    let delay = self.rng.between(200, 5_000);
                    self.later(delay, Message::Reconnect(who));
                }
            }
        }
    }

    fn join_root(&mut self, index: usize) {
        let now = self.time();
        let fresh = ClusterId::from_bits(self.rng.bits());
        let saved = self.clusters[index]
            .program
            .live
            .as_ref()
            .and_then(cluster_core::State::cluster);
        let (boot, start) = self.clusters[index]
            .program
            .live
            .as_ref()
            .map_or((0, 0), |state| (state.term().number, state.term().nonce));
        let registration = root_core::Registration {
            name: users::new_name(&format!("cluster-{index}")),
            location: model::location::Location::default(),
            saved,
            fresh,
            boot,
            start,
        };
        self.queue
            .retain(|_, message| message.uplink() != Some(index));
        let Some(root) = &mut self.root.live else {
            return;
        };
        self.requests += 1;
        let input = RootInput::Register {
            request: root_core::RequestId(self.requests),
            registration: Box::new(registration),
        };
        let decision = root_core::turn(root, now, [input]);
        let durable: Vec<root_core::Write> = decision
            .writes
            .iter()
            .filter(|write| write.is_durable())
            .cloned()
            .collect();
        self.root.durable.apply(now, &durable);
        let mut id = None;
        for action in decision.actions {
            match action {
                RootAction::Answer(_, root_core::Answer::Registered(given)) => id = Some(given),
                other => self.root_action(other),
            }
        }
        let Some(id) = id else { return };
        self.sessions += 1;
        let session = self.sessions;
        self.clusters[index].id = Some(id);
        self.clusters[index].session = Some(session);
        self.note(format!("cluster {index} joins the root"));
        self.root(RootInput::Connected {
            cluster: id,
            session,
        });
        self.cluster(index, ClusterInput::RootConnected(id));
    }

    fn join_cluster(&mut self, index: usize) {
        let now = self.time();
        let cluster = self.workers[index].cluster;
        let saved = self.workers[index]
            .program
            .live
            .as_ref()
            .and_then(node_core::State::node);
        let boot = self.workers[index]
            .program
            .live
            .as_ref()
            .map_or(0, node_core::State::boot);
        let registration = cluster_core::Registration {
            facts: facts(index),
            saved,
            fresh: NodeId::from_bits(self.rng.bits()),
            credential: [0; 32],
            boot,
            start: self.workers[index].program.start,
        };
        if saved.is_none() {
            self.queue
                .retain(|_, message| message.inward() != Some(index));
        }
        let Some(state) = &mut self.clusters[cluster].program.live else {
            return;
        };
        self.requests += 1;
        let input = ClusterInput::Register {
            request: cluster_core::RequestId(self.requests),
            registration: Box::new(registration),
        };
        let decision = cluster_core::turn(state, now, [input]);
        let durable: Vec<cluster_core::Write> = decision
            .writes
            .iter()
            .filter(|write| write.is_durable())
            .cloned()
            .collect();
        self.clusters[cluster].program.durable.apply(now, &durable);
        let mut id = None;
        for action in decision.actions {
            match action {
                ClusterAction::Answer(_, cluster_core::Answer::Registered(given)) => {
                    id = Some(given)
                }
                other => self.cluster_action(cluster, other),
            }
        }
        let Some(id) = id else { return };
        self.sessions += 1;
        let session = self.sessions;
        self.workers[index].session = Some(session);
        self.note(format!("worker {index} joins cluster {cluster}"));
        self.worker(index, NodeInput::Registered(id));
        self.cluster(cluster, ClusterInput::Connected { node: id, session });
        self.worker(index, NodeInput::Connected);
    }

    fn uplink_closed(&mut self, cluster: usize, session: u64, by_root: bool) {
        if by_root {
            if let Some(id) = self.clusters[cluster].id {
                self.root(RootInput::Closed {
                    cluster: id,
                    session,
                });
            }
        } else if self.clusters[cluster].session == Some(session) {
            self.clusters[cluster].session = None;
            self.cluster(cluster, ClusterInput::RootClosed);
            self.later(200, Message::Reconnect(Who::Cluster(cluster)));
        }
    }

    fn link_closed(&mut self, worker: usize, session: u64, by_cluster: bool, silent: bool) {
        let cluster = self.workers[worker].cluster;
        if by_cluster {
            if let Some(node) = self.workers[worker].program.durable.node() {
                self.cluster(
                    cluster,
                    ClusterInput::Closed {
                        node,
                        session,
                        silent,
                    },
                );
            }
        } else if self.workers[worker].session == Some(session) {
            self.workers[worker].session = None;
            self.worker(worker, NodeInput::Disconnected);
            self.later(200, Message::Reconnect(Who::Worker(worker)));
        }
    }

    /// Both ends notice: at once when a side closed, by silence when the link was cut.
    fn break_uplink(&mut self, cluster: usize, silent: bool) {
        self.clusters[cluster].broken_at = self.now;
        if let Some(session) = self.clusters[cluster].session {
            let delay = if silent {
                7_500
            } else {
                self.rng.between(1, 50)
            };
            self.later(
                delay,
                Message::UplinkClosed {
                    cluster,
                    session,
                    by_root: true,
                },
            );
            self.later(
                delay,
                Message::UplinkClosed {
                    cluster,
                    session,
                    by_root: false,
                },
            );
        }
    }

    fn break_link(&mut self, worker: usize, silent: bool) {
        self.workers[worker].broken_at = self.now;
        if let Some(session) = self.workers[worker].session {
            let delay = if silent {
                7_500
            } else {
                self.rng.between(1, 50)
            };
            self.later(
                delay,
                Message::LinkClosed {
                    worker,
                    session,
                    by_cluster: true,
                    silent,
                },
            );
            self.later(
                delay,
                Message::LinkClosed {
                    worker,
                    session,
                    by_cluster: false,
                    silent,
                },
            );
        }
    }

    fn heal(&mut self, link: Link) {
        self.note(format!("healed {link:?}"));
        match link {
            Link::Uplink(index) => {
                self.clusters[index].link = true;
                self.clusters[index].broken_at = self.now;
            }
            Link::Worker(index) => {
                self.workers[index].link = true;
                self.workers[index].broken_at = self.now;
            }
        }
    }

    // --- faults ---------------------------------------------------------------------------------------------------

    fn crash(&mut self, who: Who) {
        self.outcome.crashes += 1;
        self.note(format!("crash of {who:?}"));
        let now = self.now;
        match who {
            Who::Root => {
                self.root.live = None;
                self.root.epoch += 1;
                self.root_broken_at = now;
                for index in 0..self.clusters.len() {
                    self.break_uplink(index, false);
                }
                self.waiting.clear();
            }
            Who::Cluster(index) => {
                self.clusters[index].program.live = None;
                self.clusters[index].program.epoch += 1;
                self.break_uplink(index, false);
                self.clusters[index].session = None;
                for worker in 0..self.workers.len() {
                    if self.workers[worker].cluster == index {
                        self.break_link(worker, false);
                    }
                }
            }
            Who::Worker(index) => {
                self.workers[index].program.live = None;
                self.workers[index].program.epoch += 1;
                self.break_link(index, false);
                self.workers[index].session = None;
            }
        }
        let delay = self.rng.between(300, 25_000);
        self.later(delay, Message::Restart(who));
    }

    fn restart(&mut self, who: Who) {
        let now = self.time();
        let nonce = self.rng.next();
        match who {
            Who::Root => {
                if self.root.live.is_some() {
                    return;
                }
                let mut state = root_core::State::new(
                    self.root.durable.config().clone(),
                    self.root.durable.incarnation(),
                );
                state.apply(now, &self.root.durable.snapshot());
                let term = state.term().next(nonce);
                let fresh = std::mem::take(&mut self.root.fresh);
                self.root.live = Some(state);
                self.root_broken_at = self.now;
                self.root.tick_at = None;
                self.note("the root starts");
                self.root(RootInput::Started { term, fresh });
            }
            Who::Cluster(index) => {
                let program = &mut self.clusters[index].program;
                if program.live.is_some() {
                    return;
                }
                let mut state = cluster_core::State::new(
                    program.durable.config().clone(),
                    program.durable.incarnation(),
                );
                state.apply(now, &program.durable.snapshot());
                let term = state.term().next(nonce);
                let fresh = std::mem::take(&mut program.fresh);
                program.live = Some(state);
                program.tick_at = None;
                self.clusters[index].broken_at = self.now;
                self.note(format!("cluster {index} starts"));
                self.cluster(index, ClusterInput::Started { term, fresh });
                self.later(50, Message::Reconnect(who));
                self.later(15_000, Message::Report15(who));
            }
            Who::Worker(index) => {
                let program = &mut self.workers[index].program;
                if program.live.is_some() {
                    return;
                }
                let mut state = new_worker();
                state.apply(now, &program.durable.snapshot());
                program.start = nonce;
                let boot = [node_core::Write::Boot(state.boot() + 1)];
                state.apply(now, &boot);
                program.durable.apply(now, &boot);
                program.live = Some(state);
                program.tick_at = None;
                self.workers[index].broken_at = self.now;
                self.note(format!("worker {index} starts"));
                self.worker(index, NodeInput::Reconcile);
                self.later(100, Message::Reconnect(who));
                self.later(15_000, Message::Report15(who));
            }
        }
    }

    /// What every report interval brings, whatever happens.
    fn beat(&mut self, who: Who) {
        match who {
            Who::Root => {}
            Who::Cluster(index) => {
                if let Some(state) = &self.clusters[index].program.live
                    && self.clusters[index].session.is_some()
                {
                    let (held, beat) = (state.held(), up_beat(state.beat()));
                    self.send(Message::UpHeld(index, held, beat));
                }
                if self.clusters[index].program.live.is_some() {
                    self.later(15_000, Message::Report15(who));
                }
            }
            Who::Worker(index) => {
                if let Some(state) = &self.workers[index].program.live
                    && self.workers[index].session.is_some()
                {
                    let (held, beat) = (state.held(), down_beat(state.beat()));
                    self.send(Message::Held(index, held, beat));
                }
                if self.workers[index].program.live.is_some() {
                    self.later(15_000, Message::Report15(who));
                }
            }
        }
    }

    fn fault(&mut self) {
        if self.calm {
            return;
        }
        let delay = self.rng.between(500, 12_000);
        self.later(delay, Message::Fault);
        let worker = self.rng.below(self.workers.len() as u64) as usize;
        let cluster = self.rng.below(self.clusters.len() as u64) as usize;
        match self.rng.below(if self.stores_at_risk { 14 } else { 11 }) {
            0 => self.crash_if_live(Who::Root),
            1 => self.crash_if_live(Who::Cluster(cluster)),
            2 | 3 => self.crash_if_live(Who::Worker(worker)),
            4 => {
                self.note(format!("worker {worker} reboots"));
                let now = self.now;
                self.workers[worker].runtime.reboot(now);
                self.crash_if_live(Who::Worker(worker));
            }
            5 => self.cut(Link::Uplink(cluster)),
            6 | 7 => self.cut(Link::Worker(worker)),
            8..=10 => self.app_crash(worker),
            11 => self.empty_store(Who::Root, cluster, worker),
            12 => self.empty_store(Who::Cluster(cluster), cluster, worker),
            _ => self.empty_store(Who::Worker(worker), cluster, worker),
        }
        if self.rng.percent(20) {
            self.back_up();
        }
        if self.sabotage == Some(Sabotage::WorkerForgets)
            && let Some(old) = self.workers[worker].program.backup.take()
        {
            self.crash_if_live(Who::Worker(worker));
            self.workers[worker].program.durable = old;
        }
    }

    fn crash_if_live(&mut self, who: Who) {
        let live = match who {
            Who::Root => self.root.live.is_some(),
            Who::Cluster(index) => self.clusters[index].program.live.is_some(),
            Who::Worker(index) => self.workers[index].program.live.is_some(),
        };
        if live {
            self.crash(who);
        }
    }

    fn cut(&mut self, link: Link) {
        self.note(format!("cut {link:?}"));
        match link {
            Link::Uplink(index) if self.clusters[index].link => {
                self.clusters[index].link = false;
                self.break_uplink(index, true);
            }
            Link::Worker(index) if self.workers[index].link => {
                self.workers[index].link = false;
                self.break_link(index, true);
            }
            Link::Uplink(_) | Link::Worker(_) => return,
        }
        let long = self.rng.percent(25);
        let delay = if long {
            self.rng.between(30_000, 90_000)
        } else {
            self.rng.between(500, 20_000)
        };
        self.later(delay, Message::Heal(link));
    }

    fn app_crash(&mut self, worker: usize) {
        let running: Vec<InstanceId> = self.workers[worker]
            .runtime
            .running()
            .map(|(instance, _)| instance)
            .collect();
        let Some(instance) = self.rng.pick(&running).copied() else {
            return;
        };
        let now = self.now;
        let epoch = self.workers[worker].program.epoch;
        if let Some(exit) = self.workers[worker].runtime.crash(instance, now) {
            self.later(
                2,
                Message::Runtime {
                    worker,
                    epoch,
                    input: NodeInput::Exited { instance, exit },
                },
            );
        }
    }

    fn back_up(&mut self) {
        self.root.backup = Some(self.root.durable.clone());
        for sim in &mut self.clusters {
            sim.program.backup = Some(sim.program.durable.clone());
        }
        if self.sabotage == Some(Sabotage::WorkerForgets) {
            for sim in &mut self.workers {
                sim.program.backup = Some(sim.program.durable.clone());
            }
        }
    }

    /// A store is emptied, or goes back to its last backup: either way it has a new incarnation.
    fn empty_store(&mut self, who: Who, cluster: usize, worker: usize) {
        self.outcome.stores += 1;
        self.crash_if_live(who);
        let incarnation = Incarnation(self.rng.bits());
        let restore = self.rng.percent(50);
        self.note(format!(
            "the store of {who:?} is {}",
            if restore { "restored" } else { "emptied" }
        ));
        let now = self.time();
        match who {
            Who::Root => {
                let mut state =
                    root_core::State::new(self.root.durable.config().clone(), incarnation);
                if let Some(old) = self.root.backup.as_ref().filter(|_| restore) {
                    state.apply(now, &old.snapshot());
                }
                self.root.durable = state;
                self.root.fresh = true;
                // What the store no longer has was accepted in vain; what clusters hold comes back by adoption.
                self.accepted.clear();
                self.ended.clear();
                self.root_broken_at = self.now;
            }
            Who::Cluster(_) => {
                let mut state = cluster_core::State::new(
                    self.clusters[cluster].program.durable.config().clone(),
                    incarnation,
                );
                if let Some(old) = self.clusters[cluster]
                    .program
                    .backup
                    .as_ref()
                    .filter(|_| restore)
                {
                    state.apply(now, &old.snapshot());
                }
                self.clusters[cluster].program.durable = state;
                self.clusters[cluster].program.fresh = true;
                self.clusters[cluster].broken_at = self.now;
                self.ended.clear();
            }
            Who::Worker(_) => {
                // A dead SD card takes the applications along.
                self.workers[worker].program.durable = new_worker();
                self.workers[worker].runtime = Runtime::default();
                self.workers[worker].broken_at = self.now;
            }
        }
    }

    fn end(&mut self) {
        self.note("the faults stop");
        self.calm = true;
        for index in 0..self.clusters.len() {
            if !self.clusters[index].link {
                self.heal(Link::Uplink(index));
            }
        }
        for index in 0..self.workers.len() {
            if !self.workers[index].link {
                self.heal(Link::Worker(index));
            }
        }
    }

    // --- users ----------------------------------------------------------------------------------------------------

    fn user(&mut self) {
        if self.calm {
            return;
        }
        let delay = self.rng.between(200, 8_000);
        self.later(delay, Message::User);
        self.version += 1;
        let known: Vec<JobId> = self
            .accepted
            .keys()
            .filter(|id| !self.deleted.contains(id))
            .copied()
            .collect();
        let job = self.rng.pick(&known).copied();
        self.requests += 1;
        let request = root_core::RequestId(self.requests);
        match (self.rng.below(10), job) {
            (0..=4, _) | (_, None) => {
                let id = JobId::from_bits(self.rng.bits());
                let name = format!("job-{}", self.version);
                let replicas = self.rng.between(1, 3) as u32;
                let spec = users::document(&mut self.rng, &name, replicas, self.version);
                self.waiting
                    .insert(request.0, Asked::Submit(id, Arc::clone(&spec)));
                self.root(RootInput::Submit {
                    request,
                    drafts: vec![Draft { id, spec }],
                });
            }
            (5..=7, Some(id)) => {
                let Some(old) = self.accepted.get(&id).cloned() else {
                    return;
                };
                let spec = users::changed(&mut self.rng, &old, self.version);
                self.waiting
                    .insert(request.0, Asked::Put(Arc::clone(&spec)));
                self.root(RootInput::Put {
                    request,
                    path: id.to_string(),
                    draft: Draft { id, spec },
                });
            }
            (_, Some(id)) => {
                self.waiting.insert(request.0, Asked::Delete);
                self.root(RootInput::Delete {
                    request,
                    key: id.to_string(),
                });
            }
        }
    }

    fn answered(&mut self, request: u64, answer: &root_core::Answer) {
        use root_core::Answer;
        match (self.waiting.remove(&request), answer) {
            (Some(Asked::Submit(id, spec)), Answer::Accepted(_)) => {
                self.outcome.accepted += 1;
                self.accepted.insert(id, spec);
            }
            (Some(Asked::Put(spec)), Answer::Applied(id)) => {
                self.accepted.insert(*id, spec);
            }
            (Some(Asked::Delete), Answer::Deleting(id)) => {
                self.deleted.insert(*id);
            }
            (_, _) => {}
        }
    }
}

struct Fate {
    commits: bool,
    crashes: bool,
    acts: bool,
}

const fn up_beat(beat: cluster_core::Beat) -> root_core::Beat {
    root_core::Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}

const fn down_beat(beat: node_core::Beat) -> cluster_core::Beat {
    cluster_core::Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}

const fn program<S>(durable: S) -> Program<S> {
    Program {
        live: None,
        durable,
        backup: None,
        fresh: true,
        epoch: 0,
        tick_at: None,
        start: 0,
    }
}

fn new_cluster(index: usize, rng: &mut Rng) -> cluster_core::State {
    let name = users::new_name(&format!("cluster-{index}"));
    cluster_core::State::new(cluster_core::Config::new(name), Incarnation(rng.bits()))
}

fn new_worker() -> node_core::State {
    node_core::State::new(node_core::Config::default(), [RuntimeKind::Native])
}

fn facts(index: usize) -> NodeFacts {
    NodeFacts {
        name: users::new_name(&format!("worker-{index}")),
        hostname: format!("host-{index}"),
        addresses: vec![format!("192.0.2.{index}")],
        architecture: "x86_64".to_owned(),
        allocatable: Resources {
            cpu: Millicores(4_000),
            memory: Bytes::from_mb(4_096),
            disk: Bytes::from_mb(10_000),
        },
        accelerators: Vec::new(),
        sensors: Vec::new(),
        runtimes: BTreeSet::from([RuntimeKind::Native]),
        labels: BTreeMap::new(),
        engine_version: "0".to_owned(),
    }
}
