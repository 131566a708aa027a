//! The small world: what may happen in it, and what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cluster_core::{Input as ClusterInput, RequestId};
use model::id::InstanceId;
use model::job::JobState;
use model::slot::Slot;
use node_core::Input as NodeInput;
use sync::Incarnation;

use super::parts::{Kept, Message, Worker};
use super::setup::{self, LOST, WORKERS, config};
use super::truth::Truth;
use super::{Budget, Cluster, Sabotage, Start, Step};
use crate::check::{Print, print};

/// Within so many keep-alives all agree when nothing is lost any more: a worker's loss, one grace, and the return.
const SETTLED: u8 = 8;
/// And with so many messages at most.
const MESSAGES: usize = 400;
/// What users ask in all.
const REQUESTS: u8 = 3;

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    left: Budget,
    /// Time since the beginning.
    pub(super) ticks: u8,
    pub(super) cluster: Arc<Kept<cluster_core::State>>,
    pub(super) workers: Vec<Worker>,
    /// Under way, with the worker that it is to or from.
    net: BTreeMap<u64, Arc<(usize, Message)>>,
    /// What this step sends.
    pub(super) out: Vec<(usize, Message)>,
    /// How many requests of users have come.
    requests: u8,
    /// The last number that was given to a connection or a start.
    pub(super) counter: u64,
    pub(super) truth: Truth,
}

impl World {
    /// Two workers that have joined, and as the scene has it both jobs.
    pub fn new(scene: &Cluster) -> Self {
        let honest = Cluster {
            sabotage: None,
            ..*scene
        };
        let state = cluster_core::State::new(config(), Incarnation(1));
        let mut world = Self {
            left: scene.budget,
            ticks: 0,
            cluster: Arc::new(Kept::new(state)),
            workers: (0..WORKERS).map(|_| Worker::new()).collect(),
            net: BTreeMap::new(),
            out: Vec::new(),
            requests: 0,
            counter: 0,
            truth: Truth::default(),
        };
        world.start_cluster(true);
        for index in 0..WORKERS {
            world.start_engine(&honest, index);
            world.join(&honest, index);
            world.exchange(&honest);
        }
        while scene.start != Start::Idle && world.requests < 2 {
            world.request(&honest, false);
            world.exchange(&honest);
        }
        if scene.start == Start::Lost {
            world.part(&honest, 0);
            for _ in 0..LOST {
                world.tick(&honest);
                world.exchange(&honest);
            }
        }
        world
    }

    /// What is true of it.
    pub(super) const fn truth(&self) -> &Truth {
        &self.truth
    }

    /// A number that was not given before.
    pub(super) const fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut print = Print::default()
            .and(&self.left)
            .and(&self.ticks)
            .and(&self.cluster.print())
            .and(&self.net.keys())
            .and(&self.requests)
            .and(&self.counter)
            .and(&self.truth);
        for worker in &self.workers {
            print = print
                .and(&worker.engine.print())
                .and(&worker.apps)
                .and(&worker.stopping)
                .and(&worker.session)
                .and(&worker.start)
                .and(&worker.heard);
        }
        print.end()
    }

    pub(super) fn steps(&self, scene: &Cluster) -> Vec<Step> {
        let mut steps = Vec::new();
        // After a broken rule nothing is of interest.
        if !self.truth.broken.is_empty() {
            return steps;
        }
        let left = self.left;
        if left.requests > 0 && self.requests < REQUESTS {
            steps.push(Step::Request);
            if left.cluster_crashes > 0 {
                steps.push(Step::RequestAndCrash);
            }
        }
        for (id, message) in &self.net {
            let (index, message) = &**message;
            if !self.is_linked(*index) {
                continue;
            }
            steps.push(Step::Deliver(*id));
            if left.repeats > 0 {
                steps.push(Step::Repeat(*id));
            }
            let crashes = if message.is_down() {
                left.engine_crashes
            } else {
                left.cluster_crashes
            };
            if crashes > 0 {
                steps.push(Step::DeliverAndCrash(*id));
            }
        }
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.session.is_none() {
                steps.push(Step::Join(index));
            } else if left.cuts > 0 {
                steps.push(Step::Cut(index));
            }
            if left.engine_crashes > 0 {
                steps.extend([Step::EngineCrash(index), Step::Reboot(index)]);
            }
            if scene.sabotage != Some(Sabotage::NoStop) {
                let stops = worker.stopping.iter();
                steps.extend(stops.map(|instance| Step::Stopped(index, *instance)));
            }
        }
        if left.cluster_crashes > 0 {
            steps.push(Step::ClusterCrash);
        }
        if left.ticks > 0 {
            steps.push(Step::Tick);
        }
        steps
    }

    fn is_linked(&self, index: usize) -> bool {
        let worker = self.workers.get(index);
        worker.is_some_and(|worker| worker.session.is_some())
    }

    pub(super) fn take(&mut self, scene: &Cluster, step: Step) {
        match step {
            Step::Request => {
                self.left.requests -= 1;
                self.request(scene, false);
            }
            Step::RequestAndCrash => {
                self.left.requests -= 1;
                self.left.cluster_crashes -= 1;
                self.request(scene, true);
                self.crash_cluster(scene);
            }
            Step::Tick => {
                self.left.ticks -= 1;
                self.tick(scene);
            }
            Step::Deliver(id) => {
                if let Some(message) = self.net.remove(&id) {
                    self.arrive(scene, message.0, message.1.clone(), false);
                }
            }
            Step::Repeat(id) => {
                self.left.repeats -= 1;
                if let Some(message) = self.net.get(&id).cloned() {
                    self.arrive(scene, message.0, message.1.clone(), false);
                }
            }
            Step::DeliverAndCrash(id) => {
                if let Some(message) = self.net.remove(&id) {
                    let index = message.0;
                    self.arrive(scene, index, message.1.clone(), true);
                    if message.1.is_down() {
                        self.left.engine_crashes -= 1;
                        self.crash_engine(scene, index);
                    } else {
                        self.left.cluster_crashes -= 1;
                        self.crash_cluster(scene);
                    }
                }
            }
            Step::Cut(index) => {
                self.left.cuts -= 1;
                self.part(scene, index);
            }
            Step::Join(index) => self.join(scene, index),
            Step::EngineCrash(index) => {
                self.left.engine_crashes -= 1;
                self.crash_engine(scene, index);
            }
            Step::Reboot(index) => {
                self.left.engine_crashes -= 1;
                if let Some(worker) = self.workers.get_mut(index) {
                    worker.apps.clear();
                }
                self.crash_engine(scene, index);
            }
            Step::ClusterCrash => {
                self.left.cluster_crashes -= 1;
                self.crash_cluster(scene);
            }
            Step::Stopped(index, instance) => self.stopped(scene, index, instance),
        }
        for message in std::mem::take(&mut self.out) {
            self.net.insert(print(&message), Arc::new(message));
        }
        self.judge();
    }

    fn judge(&mut self) {
        let mut truth = std::mem::take(&mut self.truth);
        let apps = self.workers.iter().flat_map(|worker| &worker.apps);
        let running = apps.map(|(instance, app)| (*instance, &app.slot, app.processes));
        truth.judge(running, |id| self.owns(id));
        self.truth = truth;
    }

    /// The next request of a user; `crashes`: the answer is not sent.
    fn request(&mut self, scene: &Cluster, crashes: bool) {
        let input = ClusterInput::Job {
            request: RequestId(1),
            asked: model::book::Asked::default(),
            ask: setup::request(self.requests),
        };
        self.requests += 1;
        if crashes && scene.sabotage == Some(Sabotage::AnswerFirst) {
            let before = Arc::clone(&self.cluster);
            self.cluster(input, false);
            self.cluster = before;
        } else {
            self.cluster(input, crashes);
        }
    }

    fn tick(&mut self, scene: &Cluster) {
        self.ticks += 1;
        self.cluster(ClusterInput::Reconcile, false);
        for index in 0..WORKERS {
            self.engine(scene, index, NodeInput::Reconcile, false);
        }
        self.beats();
    }

    fn crash_engine(&mut self, scene: &Cluster, index: usize) {
        self.part(scene, index);
        self.start_engine(scene, index);
    }

    fn crash_cluster(&mut self, scene: &Cluster) {
        for index in 0..WORKERS {
            let worker = self.workers.get_mut(index);
            if worker.and_then(|worker| worker.session.take()).is_some() {
                self.engine(scene, index, NodeInput::Disconnected, false);
            }
        }
        self.start_cluster(false);
    }

    fn stopped(&mut self, scene: &Cluster, index: usize, instance: InstanceId) {
        if let Some(worker) = self.workers.get_mut(index) {
            worker.stopping.remove(&instance);
            if scene.sabotage != Some(Sabotage::LyingStop) {
                worker.apps.remove(&instance);
            }
        }
        self.engine(scene, index, NodeInput::Stopped { instance }, false);
    }

    /// All that is sent arrives, and all that was asked of the runtimes is done.
    fn exchange(&mut self, scene: &Cluster) -> bool {
        let mut queue = VecDeque::new();
        for _ in 0..MESSAGES {
            queue.extend(std::mem::take(&mut self.out));
            if let Some((index, message)) = queue.pop_front() {
                if self.is_linked(index) {
                    self.arrive(scene, index, message, false);
                }
                continue;
            }
            let able = scene.sabotage != Some(Sabotage::NoStop);
            let mut stops = self.workers.iter().enumerate().filter(|_| able);
            let next = stops.find_map(|(index, worker)| Some((index, *worker.stopping.first()?)));
            match next {
                Some((index, instance)) => self.stopped(scene, index, instance),
                None => return true,
            }
        }
        false
    }

    /// With the faults over and what is under way lost, one copy of each job comes to run, and all know it.
    pub(super) fn settles(&self, scene: &Cluster) -> bool {
        let mut world = self.clone();
        world.net.clear();
        for _ in 0..SETTLED {
            for index in 0..WORKERS {
                world.join(scene, index);
            }
            if !world.exchange(scene) {
                return false;
            }
            if world.is_agreed() {
                return true;
            }
            world.tick(scene);
        }
        false
    }

    fn is_agreed(&self) -> bool {
        let live = self.live();
        let now = setup::time(self.ticks);
        self.truth.accepted.iter().all(|id| {
            let running: usize = live
                .iter()
                .filter(|(slot, _)| slot.job == *id)
                .map(|(_, count)| count)
                .sum();
            let copies = self.truth.copies.iter();
            let known: usize = copies
                .filter(|(slot, _)| slot.job == *id)
                .map(|(_, copies)| copies.len())
                .sum();
            let view = self
                .cluster
                .state
                .job(now, &model::book::Asked::default(), &id.to_string());
            let state = view.map(|view| view.state);
            if self.truth.deleted.contains(id) {
                running == 0 && known == 0
            } else {
                running == 1 && known == 1 && state == Some(JobState::Running)
            }
        })
    }

    /// Processes that run, by slot.
    fn live(&self) -> BTreeMap<&Slot, usize> {
        let mut live = BTreeMap::new();
        for app in self.workers.iter().flat_map(|worker| worker.apps.values()) {
            *live.entry(&app.slot).or_default() += app.processes;
        }
        live
    }

    /// Whether a slot has more copies than one.
    pub(super) fn has_two_copies(&self) -> bool {
        self.live().values().any(|count| *count > 1)
    }

    pub(super) fn tell(&self, step: Step) -> String {
        let message = match step {
            Step::Deliver(id) | Step::Repeat(id) | Step::DeliverAndCrash(id) => self.net.get(&id),
            Step::Request
            | Step::RequestAndCrash
            | Step::Tick
            | Step::Cut(_)
            | Step::Join(_)
            | Step::EngineCrash(_)
            | Step::Reboot(_)
            | Step::ClusterCrash
            | Step::Stopped(..) => None,
        };
        match message.map(|message| &**message) {
            Some((index, message)) => format!("{step:?} of worker {index}: {}", message.tell()),
            None => format!("{step:?}"),
        }
    }
}
