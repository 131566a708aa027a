//! Turns of the programs: decide, commit, act; and what their actions do.

use cluster_core::{Action as ClusterAction, Input as ClusterInput, Write as ClusterWrite};
use model::desired::Desired;
use model::id::InstanceId;
use model::slot::Slot;
use model::telling::Telling;
use node_core::{Action as NodeAction, Input as NodeInput, ProbeOutcome, Write as NodeWrite};
use root_core::{Action as RootAction, Input as RootInput};
use schedulers::{Answer as Advice, Question};
use sync::{Held, UpReport};

use super::{Fate, Message, Program, Sabotage, Who, World, down_beat, up_beat};

impl<S, W> Program<S, W> {
    /// What the shells store now: what can wait is stored with what cannot.
    fn due(&mut self, writes: Vec<W>, can_wait: impl Fn(&W) -> bool) -> Vec<W> {
        self.put_off.extend(writes);
        if self.put_off.iter().all(can_wait) {
            return Vec::new();
        }
        std::mem::take(&mut self.put_off)
    }
}

impl World {
    /// One turn of the root: decide, commit, act; or a crash before the commit or between commit and actions.
    pub(super) fn root(&mut self, input: RootInput) {
        let now = self.time();
        let Some(state) = &mut self.root.live else {
            return;
        };
        let decision = root_core::turn(state, now, [input]);
        let durable = decision.writes;
        let fate = self.fate(!durable.is_empty());
        if fate.commits {
            self.note_root_events(&durable);
            self.root.durable.apply(now, &durable);
        }
        if fate.acts {
            for action in decision.actions {
                self.root_action(action);
            }
        }
        if fate.crashes {
            self.crash(Who::Root);
        }
        self.plan(Who::Root);
    }

    pub(super) fn cluster(&mut self, index: usize, input: ClusterInput) {
        let now = self.time();
        let Some(state) = &mut self.clusters[index].program.live else {
            return;
        };
        let decision = cluster_core::turn(state, now, [input]);
        let program = &mut self.clusters[index].program;
        let durable = program.due(decision.writes, ClusterWrite::can_wait);
        let fate = self.fate(!durable.is_empty());
        if fate.commits {
            self.note_ended(index, &durable);
            self.note_cluster_events(index, &durable);
            self.clusters[index].program.durable.apply(now, &durable);
        }
        if fate.acts {
            for action in decision.actions {
                self.cluster_action(index, action);
            }
        }
        if fate.crashes {
            self.crash(Who::Cluster(index));
        }
        self.plan(Who::Cluster(index));
    }

    pub(super) fn worker(&mut self, index: usize, input: NodeInput) {
        let now = self.time();
        let Some(state) = &mut self.workers[index].program.live else {
            return;
        };
        let decision = node_core::turn(state, now, [input]);
        let program = &mut self.workers[index].program;
        let durable = program.due(decision.writes, NodeWrite::can_wait);
        let fate = self.fate(!durable.is_empty());
        if fate.commits {
            self.note_worker_events(index, &durable);
            self.workers[index].program.durable.apply(now, &durable);
        }
        if fate.acts {
            for action in decision.actions {
                self.worker_action(index, action);
            }
        }
        if fate.crashes {
            self.crash(Who::Worker(index));
        }
        self.plan(Who::Worker(index));
    }

    pub(super) fn fate(&mut self, durable: bool) -> Fate {
        let hasty = self.sabotage == Some(Sabotage::ActBeforeCommit);
        let odds = if hasty { 40 } else { 400 };
        let crashes = !self.calm && durable && self.rng.below(odds) == 0;
        let commits = !crashes || self.rng.percent(50);
        let acts = !crashes || (hasty && !commits);
        Fate {
            commits,
            crashes,
            acts,
        }
    }

    /// A copy that a cluster forgot because its end was confirmed must never run again.
    pub(super) fn note_ended(&mut self, index: usize, writes: &[cluster_core::Write]) {
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

    pub(super) fn plan(&mut self, who: Who) {
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

    pub(super) fn tick(&mut self, who: Who) {
        match who {
            Who::Root => self.root(RootInput::Reconcile),
            Who::Cluster(index) => self.cluster(index, ClusterInput::Reconcile),
            Who::Worker(index) => self.worker(index, NodeInput::Reconcile),
        }
    }

    pub(super) fn root_action(&mut self, action: RootAction) {
        match action {
            RootAction::Answer(request, answer) => self.answered(request.0, &answer),
            RootAction::Assign(id, changes) => {
                if let Some(cluster) = self.cluster_index(id) {
                    for change in changes {
                        self.send(Message::Assign(cluster, change));
                    }
                }
            }
            RootAction::Confirm(id, stamp) => {
                if let Some(cluster) = self.cluster_index(id) {
                    self.send(Message::RootConfirms(cluster, stamp));
                }
            }
            RootAction::AskScheduler(slot, question) => {
                self.advise((Who::Root, self.root.epoch), slot, &question);
            }
            RootAction::AskWhole(id) | RootAction::AskAdopt(id) => {
                let adopt = matches!(action, RootAction::AskAdopt(_));
                if let Some(cluster) = self.cluster_index(id) {
                    self.send(Message::RootAsks { cluster, adopt });
                }
            }
        }
    }

    pub(super) fn cluster_action(&mut self, index: usize, action: ClusterAction) {
        match action {
            ClusterAction::Answer(..) => {}
            ClusterAction::Control(id, changes) => {
                if let Some(worker) = self.worker_index(index, id) {
                    for change in changes {
                        self.send(Message::Control(worker, change));
                    }
                }
            }
            ClusterAction::Confirm(id, stamp) => {
                if let Some(worker) = self.worker_index(index, id) {
                    self.send(Message::ClusterConfirms(worker, stamp));
                }
            }
            ClusterAction::Tell(telling) => self.send(Message::UpTold(index, telling)),
            ClusterAction::AskScheduler(slot, question) => {
                let epoch = self.clusters[index].program.epoch;
                self.advise((Who::Cluster(index), epoch), slot, &question);
            }
            ClusterAction::AskWhole(id) | ClusterAction::AskAdopt(id) => {
                let adopt = matches!(action, ClusterAction::AskAdopt(_));
                if let Some(worker) = self.worker_index(index, id) {
                    self.send(Message::ClusterAsks { worker, adopt });
                }
            }
            ClusterAction::Acknowledge { held, beat } => {
                self.send(Message::UpHeld(index, held, up_beat(beat)));
            }
            ClusterAction::Report { report, held } => {
                self.send(Message::UpReport(index, report, held));
            }
            ClusterAction::Adopt { held, desired } => {
                self.send(Message::UpAdopt(index, held, desired));
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

    /// A scheduler elsewhere chooses any of those that will do; while there are faults it also is away, says what nobody
    /// understands, and answers late or never.
    fn advise(&mut self, (who, epoch): (Who, u64), slot: Slot, question: &Question) {
        let (mut delay, mut advice) = (self.rng.between(1, 40), None);
        if !self.calm {
            match self.rng.between(0, 20) {
                0 => advice = Some(Advice::Silence("it is away".to_owned())),
                1 => advice = Some(Advice::Unusable("it is drunk".to_owned())),
                2 => advice = Some(Advice::Choose("nobody".to_owned())),
                3 => delay = self.rng.between(1_000, 9_000),
                4 => return,
                _ => {}
            }
        }
        let advice = advice.unwrap_or_else(|| {
            let last = question.offers.len().saturating_sub(1);
            let chosen = self.rng.between(0, last as u64) as usize;
            Advice::Choose(question.offers[chosen].id.clone())
        });
        let message = Message::Advised {
            who,
            epoch,
            slot,
            number: question.number,
            advice,
        };
        self.later(delay, message);
    }

    pub(super) fn worker_action(&mut self, index: usize, action: NodeAction) {
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
            NodeAction::Probe { instance, id, .. } => {
                let outcome = ProbeOutcome::Good;
                let input = NodeInput::Probed {
                    instance,
                    id,
                    outcome,
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
            NodeAction::List(runtime) => {
                let blind = self.sabotage == Some(Sabotage::SecondProcess);
                let found = if blind {
                    Vec::new()
                } else {
                    self.workers[index].runtime.list()
                };
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
                self.send(Message::Held(index, held, down_beat(beat)));
            }
            NodeAction::Report { report, held } => self.worker_reports(index, report, held),
            NodeAction::Tell(telling) => self.worker_tells(index, telling),
            NodeAction::Adopt { held, desired } => self.send(Message::Adopt(index, held, desired)),
            NodeAction::ReportInterval(_) => {}
        }
    }

    fn worker_reports(
        &mut self,
        index: usize,
        mut report: UpReport<node_core::ReportEntry>,
        held: Held,
    ) {
        report.tells &= self.sabotage != Some(Sabotage::AlsoConcluded);
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

    fn worker_tells(&mut self, worker: usize, telling: Telling) {
        let last = telling.last();
        self.send(Message::Told(worker, telling));
        if self.sabotage == Some(Sabotage::Unconfirmed)
            && let Some(last) = last
        {
            let message = Message::Runtime {
                worker,
                epoch: self.workers[worker].program.epoch,
                input: NodeInput::Confirmed(last),
            };
            self.later(1, message);
        }
    }

    pub(super) fn runtime_start(&mut self, worker: usize, epoch: u64, desired: &Desired) {
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

    pub(super) fn runtime_stop(&mut self, worker: usize, epoch: u64, instance: InstanceId) {
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
}
