//! Turns of the programs: decide, commit, act; and what their actions do.

use std::collections::VecDeque;
use std::sync::Arc;

use cluster_core::{Action as ClusterAction, Answer, Input as ClusterInput, RequestId};
use model::book::JobAnswer;
use model::id::{JobId, NodeId};
use node_core::{Action as NodeAction, Input as NodeInput};

use super::parts::{Kept, Message, beat};
use super::setup::{self, WORKERS, engine, facts, node};
use super::world::World;
use super::{Cluster, Sabotage};

impl World {
    /// One turn of the cluster. What `silent` is true of is committed and not acted upon.
    pub(super) fn cluster(&mut self, input: ClusterInput, silent: bool) {
        let now = setup::time(self.ticks);
        let state = Kept::change(&mut self.cluster);
        let decision = cluster_core::turn(state, now, [input]);
        for write in &decision.writes {
            self.committed(write);
        }
        if silent {
            return;
        }
        for action in decision.actions {
            match action {
                ClusterAction::Answer(_, answer) => self.answered(&answer),
                ClusterAction::Control(id, parcel) => {
                    let parts = parcel.into_iter().map(Message::Control);
                    parts.for_each(|message| self.send(id, message));
                }
                ClusterAction::AskWhole(id) => self.send(id, Message::AskWhole),
                ClusterAction::AskAdopt(id) => self.send(id, Message::AskAdopt),
                // There is no root, and nothing is told: see `setup`.
                ClusterAction::Acknowledge { .. }
                | ClusterAction::Report { .. }
                | ClusterAction::Adopt { .. }
                | ClusterAction::Tell(_)
                | ClusterAction::Confirm(..)
                | ClusterAction::AskScheduler(..)
                | ClusterAction::Aggregate(_) => {}
            }
        }
    }

    fn committed(&mut self, write: &cluster_core::Write) {
        let now = setup::time(self.ticks);
        if let cluster_core::Write::Slot { slot, record } = write {
            let copies = record.iter().flat_map(|record| &record.copies);
            let copies = copies.map(|copy| (copy.desired.instance, copy.node));
            let (ticks, workers) = (self.ticks, &self.workers);
            let unheard = |id: NodeId| {
                let index = (0..WORKERS).find(|index| node(*index) == id);
                let worker = index.and_then(|index| workers.get(index));
                worker.map_or(u8::MAX, |worker| ticks - worker.heard)
            };
            self.truth.take(slot, copies.collect(), unheard);
        }
        if let cluster_core::Write::Job(job) = write
            && job.is_deleted()
        {
            self.truth.deleted.insert(job.id);
        }
        // Events decide nothing; without them histories that differ in nothing else are one state.
        if let cluster_core::Write::Event(event) = write {
            let forget = cluster_core::Write::ForgetEvent(event.job, event.id);
            Kept::change(&mut self.cluster).apply(now, &[forget]);
        }
    }

    fn answered(&mut self, answer: &Answer) {
        if let Answer::Job(JobAnswer::Accepted(jobs)) = answer {
            self.truth.accepted.extend(jobs);
        }
    }

    fn send(&mut self, id: NodeId, message: Message) {
        let worker = (0..WORKERS).find(|index| node(*index) == id);
        self.out.extend(worker.map(|worker| (worker, message)));
    }

    /// One turn of a worker's engine, and of those that the answers of its runtime call forth. What `silent` is true of
    /// is committed and not acted upon.
    pub(super) fn engine(&mut self, scene: &Cluster, index: usize, input: NodeInput, silent: bool) {
        let now = setup::time(self.ticks);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(worker) = self.workers.get_mut(index) else {
                return;
            };
            let decision = node_core::turn(Kept::change(&mut worker.engine), now, [input]);
            if silent {
                return;
            }
            for action in decision.actions {
                match action {
                    NodeAction::Start(desired) => {
                        let again = scene.sabotage == Some(Sabotage::SecondProcess);
                        inputs.push_back(worker.run(desired.instance, desired.slot, again));
                    }
                    NodeAction::Stop { instance, .. } => {
                        worker.stopping.insert(instance);
                    }
                    NodeAction::List(runtime) => {
                        let blind = scene.sabotage == Some(Sabotage::SecondProcess);
                        let found = if blind { Vec::new() } else { worker.list() };
                        inputs.push_back(NodeInput::Listed { runtime, found });
                    }
                    NodeAction::Acknowledge {
                        held,
                        beat: numbers,
                    } => {
                        self.out.push((index, Message::Held(held, beat(numbers))));
                    }
                    NodeAction::Report { report, held } => {
                        self.out.push((index, Message::Report(report, held)));
                    }
                    NodeAction::Adopt { held, desired } => {
                        self.out.push((index, Message::Adopt(held, desired)));
                    }
                    // Nothing has a health check here, and nothing is told, see `setup`.
                    NodeAction::ReportInterval(_)
                    | NodeAction::Probe { .. }
                    | NodeAction::Tell(_) => {}
                }
            }
        }
    }

    /// A message arrives at who it is for.
    pub(super) fn arrive(&mut self, scene: &Cluster, index: usize, message: Message, silent: bool) {
        let down = match message {
            Message::Control(change) => NodeInput::Control(change),
            Message::AskWhole => NodeInput::AskWhole,
            Message::AskAdopt => NodeInput::AskAdopt,
            Message::Held(held, beat) => {
                let input = ClusterInput::Held {
                    node: node(index),
                    held,
                    beat,
                    usage: None,
                };
                return self.hear(scene, index, input, silent);
            }
            Message::Report(report, held) => {
                let node = node(index);
                let input = ClusterInput::Reported { node, report, held };
                return self.hear(scene, index, input, silent);
            }
            Message::Adopt(held, desired) => {
                let node = node(index);
                let input = ClusterInput::Adopt {
                    node,
                    held,
                    desired,
                };
                return self.hear(scene, index, input, silent);
            }
        };
        self.engine(scene, index, down, silent);
    }

    fn hear(&mut self, scene: &Cluster, index: usize, input: ClusterInput, silent: bool) {
        self.note_heard(index);
        if scene.sabotage == Some(Sabotage::Deaf) && index == 0 {
            return;
        }
        self.cluster(input, silent);
    }

    pub(super) fn note_heard(&mut self, index: usize) {
        let ticks = self.ticks;
        if let Some(worker) = self.workers.get_mut(index) {
            worker.heard = ticks;
        }
    }

    /// What every report interval brings.
    pub(super) fn beats(&mut self) {
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.session.is_some() {
                let state = &worker.engine.state;
                let message = Message::Held(state.held(), beat(state.beat()));
                self.out.push((index, message));
            }
        }
    }

    /// A worker registers and connects.
    pub(super) fn join(&mut self, scene: &Cluster, index: usize) {
        let Some(worker) = self
            .workers
            .get(index)
            .filter(|worker| worker.session.is_none())
        else {
            return;
        };
        let registration = cluster_core::Registration {
            facts: facts(index),
            saved: worker.engine.state.node(),
            fresh: node(index),
            credential: [0; 32],
            verifies: false,
            sealing: None,
            boot: worker.engine.state.boot(),
            start: worker.start,
        };
        let input = ClusterInput::Register {
            request: RequestId(0),
            registration: Box::new(registration),
        };
        self.cluster(input, false);
        self.engine(scene, index, NodeInput::Registered(node(index)), false);
        let session = self.number();
        if let Some(worker) = self.workers.get_mut(index) {
            worker.session = Some(session);
        }
        self.note_heard(index);
        let connected = ClusterInput::Connected {
            node: node(index),
            session,
        };
        self.cluster(connected, false);
        self.engine(scene, index, NodeInput::Connected, false);
    }

    /// Both ends see that a connection has ended.
    pub(super) fn part(&mut self, scene: &Cluster, index: usize) {
        let worker = self.workers.get_mut(index);
        let Some(session) = worker.and_then(|worker| worker.session.take()) else {
            return;
        };
        self.note_heard(index);
        let closed = ClusterInput::Closed {
            node: node(index),
            session,
            silent: false,
            leaving: None,
        };
        self.cluster(closed, false);
        self.engine(scene, index, NodeInput::Disconnected, false);
    }

    /// An engine starts on what is on its disk.
    pub(super) fn start_engine(&mut self, scene: &Cluster, index: usize) {
        let now = setup::time(self.ticks);
        let start = self.number();
        let Some(worker) = self.workers.get_mut(index) else {
            return;
        };
        let mut state = engine();
        state.apply(now, &worker.engine.state.snapshot());
        state.apply(now, &[node_core::Write::Boot(state.boot() + 1)]);
        worker.engine = Arc::new(Kept::new(state));
        worker.start = start;
        worker.stopping.clear();
        self.engine(scene, index, NodeInput::Reconcile, false);
    }

    /// The cluster-orchestrator starts on what is in its store.
    pub(super) fn start_cluster(&mut self, fresh: bool) {
        let now = setup::time(self.ticks);
        let before = &self.cluster.state;
        let mut state = cluster_core::State::new(before.config().clone(), before.incarnation());
        state.apply(now, &before.snapshot());
        let term = state.term().next(self.counter + 1);
        self.counter += 1;
        self.cluster = Arc::new(Kept::new(state));
        self.cluster(ClusterInput::Started { term, fresh }, false);
        for index in 0..WORKERS {
            self.note_heard(index);
        }
    }

    /// Whether the cluster has this job.
    pub(super) fn owns(&self, id: JobId) -> bool {
        self.cluster.state.own(id).is_some()
    }
}
