//! Faults: crashes, reboots, cuts, lost and restored stores, and the end of them all.

use cluster_core::Input as ClusterInput;
use model::id::InstanceId;
use node_core::Input as NodeInput;
use root_core::Input as RootInput;
use sync::Incarnation;

use super::super::runtime::Runtime;
use super::super::users;
use super::{Link, Message, Sabotage, Who, World, down_beat, new_worker, up_beat};

impl World {
    pub(super) fn crash(&mut self, who: Who) {
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
                self.clusters[index].program.put_off.clear();
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
                self.workers[index].program.put_off.clear();
                self.workers[index].program.epoch += 1;
                self.break_link(index, false);
                self.workers[index].session = None;
            }
        }
        let delay = self.rng.between(300, 25_000);
        self.later(delay, Message::Restart(who));
    }

    pub(super) fn restart(&mut self, who: Who) {
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
                self.root(RootInput::Quotas(users::quotas()));
                self.root(RootInput::Started { term, fresh });
                if let Some(policy) = self.elsewhere(who) {
                    let request = None;
                    self.root(RootInput::Schedule { request, policy });
                }
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
                if let Some(policy) = self.elsewhere(who) {
                    let request = None;
                    self.cluster(index, ClusterInput::Schedule { request, policy });
                }
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
                state.apply(now, &[node_core::Write::Line(nonce)]);
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
    pub(super) fn beat(&mut self, who: Who) {
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

    pub(super) fn fault(&mut self) {
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

    pub(super) fn crash_if_live(&mut self, who: Who) {
        let live = match who {
            Who::Root => self.root.live.is_some(),
            Who::Cluster(index) => self.clusters[index].program.live.is_some(),
            Who::Worker(index) => self.workers[index].program.live.is_some(),
        };
        if live {
            self.crash(who);
        }
    }

    pub(super) fn cut(&mut self, link: Link) {
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

    pub(super) fn app_crash(&mut self, worker: usize) {
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

    pub(super) fn back_up(&mut self) {
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
    pub(super) fn empty_store(&mut self, who: Who, cluster: usize, worker: usize) {
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
                self.learned = true;
                self.ledger.root_lost();
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
                self.ledger.cluster_lost(cluster);
                self.clusters[cluster].program.fresh = true;
                self.clusters[cluster].broken_at = self.now;
                self.ended.clear();
            }
            Who::Worker(_) => {
                // A dead SD card takes the applications along.
                self.workers[worker].program.durable = new_worker();
                self.ledger.worker_lost(worker);
                self.workers[worker].runtime = Runtime::default();
                self.workers[worker].broken_at = self.now;
            }
        }
    }

    pub(super) fn end(&mut self) {
        self.note("the faults stop");
        self.calm = true;
        // When everybody is up again, and was heard.
        self.later(40_000, Message::Open);
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
}
