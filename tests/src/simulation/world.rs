//! The world of a run: programs, stores, links, messages in flight, faults.

mod faults;
mod ledger;
mod links;
mod programs;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_core::Input as ClusterInput;
use model::desired::Desired;
use model::id::{ClusterId, InstanceId, JobId};
use model::job::JobSpec;
use model::node::NodeFacts;
use model::slot::Slot;
use model::telling::{Stamp, Telling};
use model::time::{Instant, Now, Wall};
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use node_core::Input as NodeInput;
use root_core::Input as RootInput;
use schedulers::{Algorithm, Answer as Advice, Policy, Remote};
use sync::{Change, Held, Incarnation, UpReport};

use super::checks::{self, Violation};
use super::rng::Rng;
use super::runtime::Runtime;
use super::users;
use ledger::Ledger;

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
    /// A runtime does not find what it runs, and starts a second process beside it.
    SecondProcess,
    /// A worker's store silently goes back to an older state.
    WorkerForgets,
    /// A runtime says that it stopped what it did not.
    LyingStop,
    /// A worker takes what it sent for confirmed.
    Unconfirmed,
    /// A cluster concludes from a worker's states what the worker tells as well.
    AlsoConcluded,
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
    /// Events of workers that the root was told.
    pub told: u64,
}

impl Outcome {
    /// Sums up.
    pub const fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.stores += other.stores;
        self.running += other.running;
        self.told += other.told;
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Message {
    Assign(usize, Change<root_core::AssignmentEntry>),
    RootConfirms(usize, Stamp),
    UpTold(usize, Telling),
    ClusterConfirms(usize, Stamp),
    Told(usize, Telling),
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
    /// A scheduler elsewhere answers the start of an orchestrator that asked.
    Advised {
        who: Who,
        epoch: u64,
        slot: Slot,
        number: u64,
        advice: Advice,
    },
    Restart(Who),
    Tick(Who),
    Report15(Who),
    Reconnect(Who),
    Heal(Link),
    Fault,
    User,
    End,
    /// Whoever is cordoned or drained gets work again.
    Open,
}

impl Message {
    /// The cluster over whose uplink it goes: one TCP connection, whose messages die with it.
    const fn uplink(&self) -> Option<usize> {
        match self {
            Self::Assign(cluster, _)
            | Self::RootConfirms(cluster, _)
            | Self::UpTold(cluster, _)
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
            Self::Held(worker, ..)
            | Self::Report(worker, ..)
            | Self::Adopt(worker, ..)
            | Self::Told(worker, ..) => Some(*worker),
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
pub(crate) struct Program<S, W> {
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
    /// Durable writes that are stored with the next commit.
    pub(crate) put_off: Vec<W>,
}

#[derive(Debug)]
pub(crate) struct ClusterSim {
    pub(crate) program: Program<cluster_core::State, cluster_core::Write>,
    pub(crate) id: Option<ClusterId>,
    pub(crate) session: Option<u64>,
    pub(crate) link: bool,
    /// When the path to the root was last broken.
    pub(crate) broken_at: u64,
}

#[derive(Debug)]
pub(crate) struct WorkerSim {
    pub(crate) program: Program<node_core::State, node_core::Write>,
    pub(crate) cluster: usize,
    pub(crate) runtime: Runtime,
    pub(crate) session: Option<u64>,
    pub(crate) link: bool,
    pub(crate) broken_at: u64,
}

/// Everything.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) root: Program<root_core::State, root_core::Write>,
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
    /// A worker or cluster was drained.
    pub(crate) drained: bool,
    /// The root has learned jobs from its clusters, which asks no quota.
    pub(crate) learned: bool,
    /// Accepted by the root, with the last document; not those of stores that were lost since.
    pub(crate) accepted: BTreeMap<JobId, Arc<JobSpec>>,
    pub(crate) deleted: BTreeSet<JobId>,
    waiting: BTreeMap<u64, Asked>,
    pub(crate) ended: BTreeSet<InstanceId>,
    /// What happened, and where it was told.
    pub(crate) ledger: Ledger,
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
            drained: false,
            learned: false,
            accepted: BTreeMap::new(),
            deleted: BTreeSet::new(),
            waiting: BTreeMap::new(),
            ended: BTreeSet::new(),
            ledger: Ledger::default(),
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
        self.outcome.told = self.ledger.heard();
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

    /// The scheduler elsewhere that is asked: in every fourth seed by the root, in every fourth by all orchestrators.
    pub(crate) fn elsewhere(&self, who: Who) -> Option<Policy> {
        let asks = match who {
            Who::Root => self.seed % 4 >= 2,
            Who::Cluster(_) => self.seed % 4 == 3,
            Who::Worker(_) => false,
        };
        let policy = Policy::Remote(Remote {
            url: "http://scheduler".to_owned(),
            deadline: schedulers::DEADLINE,
            // Half of them have nobody who chooses instead.
            fallback: (self.seed % 8 < 4).then_some(Algorithm::FirstFit),
        });
        asks.then_some(policy)
    }

    /// Over the network: late, lost or doubled.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a message that is sent is gone"
    )]
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

    #[expect(clippy::too_many_lines, reason = "one arm for each message")]
    fn step(&mut self, message: Message) {
        match message {
            Message::Assign(cluster, change) => {
                if self.uplink(cluster) {
                    self.cluster(cluster, ClusterInput::Assigned(change));
                }
            }
            Message::RootConfirms(cluster, stamp) if self.uplink(cluster) => {
                self.cluster(cluster, ClusterInput::RootConfirmed(stamp));
            }
            Message::UpTold(cluster, telling) => {
                self.up(cluster, |cluster| RootInput::Told { cluster, telling });
            }
            Message::ClusterConfirms(worker, stamp) if self.link(worker) => {
                self.worker(worker, NodeInput::Confirmed(stamp));
            }
            Message::RootConfirms(..) | Message::ClusterConfirms(..) => {}
            Message::Told(worker, telling) => {
                self.inward(worker, |node| ClusterInput::Told { node, telling });
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
                });
            }
            Message::UpAggregate(cluster, report) => {
                self.up(cluster, |cluster| RootInput::Aggregate { cluster, report });
            }
            Message::UpAdopt(cluster, held, desired) => {
                self.up(cluster, |cluster| RootInput::Adopt {
                    cluster,
                    held,
                    desired,
                });
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
                self.inward(worker, |node| ClusterInput::Reported { node, report, held });
            }
            Message::Adopt(worker, held, desired) => {
                self.inward(worker, |node| ClusterInput::Adopt {
                    node,
                    held,
                    desired,
                });
            }
            Message::Advised {
                who,
                epoch,
                slot,
                number,
                advice,
            } => match who {
                Who::Root if self.root.epoch == epoch => self.root(RootInput::Advised {
                    slot,
                    number,
                    advice,
                }),
                Who::Cluster(index) if self.clusters[index].program.epoch == epoch => {
                    let input = ClusterInput::Advised {
                        slot,
                        number,
                        advice,
                    };
                    self.cluster(index, input);
                }
                Who::Root | Who::Cluster(_) | Who::Worker(_) => {}
            },
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
            Message::Open => self.open_all(),
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

const fn program<S, W>(durable: S) -> Program<S, W> {
    Program {
        live: None,
        durable,
        backup: None,
        fresh: true,
        epoch: 0,
        tick_at: None,
        start: 0,
        put_off: Vec::new(),
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
