//! Who is heard: proofs of life, suspicion, loss, and our own outages (protocol, section 5).

use std::time::Duration;

use model::id::NodeId;
use model::node::{Leaving, Liveness, Scheduling};
use model::time::{Instant, Now};
use sync::{ParentMark, Term, Update};

use crate::state::{Node, State};
use crate::{Decision, Soft, Write};

impl State {
    pub(crate) fn started(&self, now: Now, term: &Term, fresh: bool) -> Decision {
        // A restored store may lack copies that run: nothing is placed before its workers could be heard.
        let restored = fresh && !self.nodes.is_empty();
        let hold = (restored || self.unsettled).then(|| {
            now.steady
                .plus(self.config.grace())
                .plus(self.config.lost_after)
        });
        let mut decision = Decision::default()
            .write(Write::Term(term.clone()))
            .soft(Soft::Started)
            .soft(Soft::Hold(hold));
        if !fresh {
            return decision;
        }
        if restored {
            decision = decision.write(Write::Unsettled(true));
        }
        let known = self.upstream.set().values().map(|entry| &entry.value);
        decision = decision
            .and(self.mark_used(known))
            .write(Write::Trust(false));
        let mark = self.upstream.mark();
        if mark.incarnation.is_none() {
            return decision;
        }
        // Holding no revision is what makes the root say what it wants, also when that is what a restored store has.
        decision.write(Write::Upstream(Update {
            mark: ParentMark {
                revision: 0,
                ..mark.clone()
            },
            put: Vec::new(),
            remove: Vec::new(),
        }))
    }

    /// A gap of more than one keep-alive between two turns of our own loop is our own outage: one grace for all.
    pub(crate) fn own_outage(&self, now: Now) -> Decision {
        let decision = Decision::default().soft(Soft::Turn);
        let outage = self
            .last_turn
            .is_some_and(|last| now.steady.since(last) > self.config.keep_alive);
        if outage {
            decision.soft(Soft::Outage)
        } else {
            decision
        }
    }

    /// The end of our own link to a broker is our own outage, not the workers'.
    pub(crate) fn broker(&self, reachable: bool) -> Decision {
        if self.deaf == reachable {
            Decision::default().soft(Soft::Deaf(!reachable))
        } else {
            Decision::default()
        }
    }

    pub(crate) fn node_connected(&self, node: NodeId, session: u64) -> Decision {
        if !self.nodes.contains_key(&node) {
            return Decision::default();
        }
        Decision::default()
            .soft(Soft::Session {
                node,
                session: Some(session),
                silent: false,
                leaving: None,
            })
            .soft(Soft::Proof(node))
    }

    pub(crate) fn node_closed(
        &self,
        id: NodeId,
        session: u64,
        silent: bool,
        leaving: Option<Leaving>,
    ) -> Decision {
        // The end of a displaced connection says nothing about the present one.
        let known = self.nodes.get(&id);
        let Some(known) = known.filter(|known| known.session == Some(session)) else {
            return Decision::default();
        };
        let decision = Decision::default()
            .soft(Soft::Session {
                node: id,
                session: None,
                silent,
                leaving,
            })
            .soft(Soft::Liveness {
                node: id,
                liveness: Liveness::Suspect,
            });
        match leaving {
            Some(Leaving::Gone) => decision.and(Self::gone_for_good(id, known)),
            Some(Leaving::Restart) | None => decision,
        }
    }

    /// A worker that said that it does not come back gets no work until somebody wants it again; what it has is lost at
    /// once (`lost_at`), and so placed elsewhere. This is where a drain of what can still be heard would begin.
    fn gone_for_good(id: NodeId, node: &Node) -> Decision {
        match node.record.scheduling {
            Scheduling::Open => {
                let mut record = node.record.clone();
                record.scheduling = Scheduling::Cordoned;
                Decision::default().write(Write::Node {
                    node: id,
                    record: Box::new(record),
                })
            }
            Scheduling::Cordoned | Scheduling::Draining | Scheduling::Quarantined => {
                Decision::default()
            }
        }
    }

    /// When a worker that is not heard counts as lost for a job with this option; `None` while it is heard, and while nobody
    /// can be.
    pub(crate) fn lost_at(&self, node: &Node, lost_after: Option<Duration>) -> Option<Instant> {
        let unheard = match node.liveness {
            Liveness::Suspect | Liveness::Lost => true,
            Liveness::Reconnecting => node.session.is_none(),
            Liveness::Alive => false,
        } && !self.deaf;
        let after = lost_after
            .unwrap_or_else(|| node.patience(self.config.lost_after))
            .max(self.config.silence());
        // Its connection is there and brings no messages: two and a half report intervals may be more than all the time that it
        // has, and then it still gets what a connection gets that is not heard.
        let silent = node
            .session
            .and(node.suspected_at)
            .map_or(node.proof, |at| at.plus(self.config.silence()));
        let at = match node.leaving_word {
            None => node.proof.plus(after).max(node.spared_until).max(silent),
            Some(Leaving::Restart) => {
                let after = after.max(self.config.restart_grace);
                node.proof.plus(after).max(node.spared_until)
            }
            Some(Leaving::Gone) => node.proof,
        };
        unheard.then_some(at)
    }

    /// When silence makes a worker suspect, whatever a broker says: two and a half report intervals.
    fn suspect_at(&self, node: &Node) -> Instant {
        let interval = node
            .record
            .report_interval
            .unwrap_or(self.config.report_interval);
        node.proof
            .plus(interval.mul_f64(2.5))
            .max(node.spared_until)
    }

    /// After an isolation: the uplink is back, and no worker is. They are as far as the root is, so they get one grace before
    /// anything is placed elsewhere or offered to the root.
    pub(crate) fn was_isolated(&self) -> bool {
        let silent = |node: &Node| matches!(node.liveness, Liveness::Suspect | Liveness::Lost);
        !self.nodes.is_empty() && self.nodes.values().all(silent)
    }

    /// All workers are back from such an isolation.
    fn is_whole_again(&self) -> bool {
        self.hold.is_some() && !self.unsettled && self.nodes.values().all(Node::is_heard)
    }

    /// The next worker whose time is up.
    pub(crate) fn due_check(&self, now: Now) -> Option<Decision> {
        if self.hold.is_some_and(|until| until <= now.steady) || self.is_whole_again() {
            let decision = Decision::default().soft(Soft::Hold(None));
            return Some(if self.unsettled {
                decision.write(Write::Unsettled(false))
            } else {
                decision
            });
        }
        if let Some(decision) = self
            .overdue_copy(now)
            .or_else(|| self.drained(now))
            .or_else(|| self.brake_due(now))
        {
            return Some(decision);
        }
        let (at, id) = self.checks.first().filter(|(at, _)| *at <= now.steady)?;
        debug_assert!(
            self.nodes
                .get(id)
                .is_some_and(|node| node.check_at == Some(*at))
        );
        let node = self.nodes.get(id)?;
        Some(self.check(now, *id, node))
    }

    /// The next copy that does not run in time. The time of one on a worker that cannot be heard does not count.
    fn overdue_copy(&self, now: Now) -> Option<Decision> {
        let (_, instance) = self.deadlines.first().filter(|(at, _)| *at <= now.steady)?;
        let heard = self
            .copies
            .get(instance)
            .and_then(|copy| self.nodes.get(&copy.node))
            .is_some_and(Node::is_heard);
        Some(Decision::default().soft(Soft::Deadline {
            instance: *instance,
            until: (!heard).then(|| now.steady.plus(self.config.deploy_deadline)),
        }))
    }

    fn check(&self, now: Now, id: NodeId, node: &Node) -> Decision {
        let own = self.lost_at(node, None);
        let decision = Decision::default();
        let liveness = match node.liveness {
            Liveness::Alive if self.suspect_at(node) <= now.steady => Liveness::Suspect,
            Liveness::Reconnecting
                if node.session.is_some() && self.suspect_at(node) <= now.steady =>
            {
                Liveness::Suspect
            }
            Liveness::Suspect | Liveness::Reconnecting
                if own.is_some_and(|at| at <= now.steady) =>
            {
                Liveness::Lost
            }
            same @ (Liveness::Alive
            | Liveness::Suspect
            | Liveness::Lost
            | Liveness::Reconnecting) => same,
        };
        if liveness != node.liveness {
            return decision.soft(Soft::Liveness { node: id, liveness });
        }
        // The slots of jobs with another `lost_after` are looked at when their own time is up.
        let later = self
            .thresholds(id, node)
            .filter(|at| *at > now.steady)
            .min();
        let next = match node.liveness {
            Liveness::Alive => self.suspect_at(node),
            Liveness::Reconnecting if node.session.is_some() => self.suspect_at(node),
            Liveness::Suspect | Liveness::Reconnecting | Liveness::Lost => {
                later.unwrap_or_else(|| {
                    now.steady
                        .plus(self.config.lost_after.max(Duration::from_mins(1)))
                })
            }
        };
        decision.soft(Soft::Check {
            node: id,
            at: next.max(Instant(now.steady.0 + 1)),
        })
    }

    /// All moments at which something on this worker becomes lost.
    fn thresholds<'a>(&'a self, id: NodeId, node: &'a Node) -> impl Iterator<Item = Instant> + 'a {
        let own = self.lost_at(node, None);
        let jobs: std::collections::BTreeSet<Duration> = self
            .copies_on(id)
            .filter_map(|(_, copy)| copy.desired.job.lost_after)
            .collect();
        own.into_iter().chain(
            jobs.into_iter()
                .filter_map(move |after| self.lost_at(node, Some(after))),
        )
    }
}
