//! Links: who is connected to whom, how a connection begins and how its end is noticed.

use cluster_core::{Action as ClusterAction, Input as ClusterInput};
use model::id::{ClusterId, NodeId};
use node_core::Input as NodeInput;
use root_core::{Action as RootAction, Input as RootInput};

use super::super::users;
use super::{Link, Message, Who, WorkerSim, World, facts};

impl World {
    pub(super) fn uplink(&self, cluster: usize) -> bool {
        let sim = &self.clusters[cluster];
        sim.link && sim.program.live.is_some() && self.root.live.is_some()
    }

    pub(super) fn link(&self, worker: usize) -> bool {
        let sim = &self.workers[worker];
        sim.link && sim.program.live.is_some() && self.clusters[sim.cluster].program.live.is_some()
    }

    pub(super) fn up(&mut self, cluster: usize, input: impl FnOnce(ClusterId) -> RootInput) {
        if let (true, Some(id)) = (self.uplink(cluster), self.clusters[cluster].id) {
            self.root(input(id));
        }
    }

    pub(super) fn inward(&mut self, worker: usize, input: impl FnOnce(NodeId) -> ClusterInput) {
        let id = self.workers[worker]
            .program
            .live
            .as_ref()
            .and_then(node_core::State::node);
        if let (true, Some(id)) = (self.link(worker), id) {
            self.cluster(self.workers[worker].cluster, input(id));
        }
    }

    pub(super) fn cluster_index(&self, id: ClusterId) -> Option<usize> {
        self.clusters.iter().position(|sim| sim.id == Some(id))
    }

    pub(super) fn worker_index(&self, cluster: usize, id: NodeId) -> Option<usize> {
        let is = |sim: &WorkerSim| sim.cluster == cluster && sim.program.durable.node() == Some(id);
        self.workers.iter().position(is)
    }

    pub(super) fn reconnect(&mut self, who: Who) {
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

    pub(super) fn join_root(&mut self, index: usize) {
        let now = self.time();
        let fresh = ClusterId::from_bits(self.rng.bits());
        let saved = self.clusters[index]
            .program
            .live
            .as_ref()
            .and_then(cluster_core::State::cluster);
        let live = self.clusters[index].program.live.as_ref();
        let store = live.map(|state| (state.incarnation(), state.term().clone()));
        let (boot, start) = store
            .as_ref()
            .map_or((0, 0), |(_, term)| (term.number, term.nonce));
        let registration = root_core::Registration {
            name: users::new_name(&format!("cluster-{index}")),
            location: model::location::Location::default(),
            http: None,
            saved,
            fresh,
            boot,
            start,
            store,
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
        let durable = decision.writes;
        self.note_root_events(&durable);
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

    pub(super) fn join_cluster(&mut self, index: usize) {
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
            verifies: false,
            sealing: None,
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
        let durable = decision.writes;
        self.note_cluster_events(cluster, &durable);
        self.clusters[cluster].program.durable.apply(now, &durable);
        let mut id = None;
        for action in decision.actions {
            match action {
                ClusterAction::Answer(_, cluster_core::Answer::Registered(given)) => {
                    id = Some(given);
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

    pub(super) fn uplink_closed(&mut self, cluster: usize, session: u64, by_root: bool) {
        if by_root {
            if let Some(id) = self.clusters[cluster].id {
                self.root(RootInput::Closed {
                    cluster: id,
                    session,
                    silent: false,
                });
            }
        } else if self.clusters[cluster].session == Some(session) {
            self.clusters[cluster].session = None;
            self.cluster(cluster, ClusterInput::RootClosed);
            self.later(200, Message::Reconnect(Who::Cluster(cluster)));
        }
    }

    pub(super) fn link_closed(
        &mut self,
        worker: usize,
        session: u64,
        by_cluster: bool,
        silent: bool,
    ) {
        let cluster = self.workers[worker].cluster;
        if by_cluster {
            if let Some(node) = self.workers[worker].program.durable.node() {
                self.cluster(
                    cluster,
                    ClusterInput::Closed {
                        node,
                        session,
                        silent,
                        leaving: None,
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
    pub(super) fn break_uplink(&mut self, cluster: usize, silent: bool) {
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

    pub(super) fn break_link(&mut self, worker: usize, silent: bool) {
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

    pub(super) fn heal(&mut self, link: Link) {
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
}
