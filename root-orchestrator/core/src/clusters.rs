//! Clusters: registration, liveness, acknowledgements, reports, and what is sent to them.

use model::desired::{CopyReport, Desired};
use model::event::Tier;
use model::id::ClusterId;
use model::instance::InstanceState;
use model::node::{Liveness, Scheduling};
use model::slot::{Role, Slot};
use model::time::{Instant, Now};
use sync::{Held, Reading, Term, UpReport};

use crate::state::{Cluster, ClusterRecord, Holding, State};
use crate::{
    Action, Answer, Beat, Decision, Registration, Report, RequestId, SlotEntry, Soft, Write,
};

impl State {
    pub(crate) fn started(&self, now: Now, term: &Term, fresh: bool) -> Decision {
        // A restored store may lack assignments that were made: nothing is assigned before its clusters could be heard.
        let restored = fresh && !self.clusters.is_empty();
        let hold = (restored || self.unsettled).then(|| now.steady.plus(self.config.grace()));
        let decision = Decision::default()
            .write(Write::Term(term.clone()))
            .soft(Soft::Started)
            .soft(Soft::Hold(hold));
        if restored {
            decision.write(Write::Unsettled(true))
        } else {
            decision
        }
    }

    /// A gap between two turns that is longer than an uplink's silence is our own outage: one grace for all.
    pub(crate) fn own_outage(&self, now: Now) -> Decision {
        let decision = Decision::default().soft(Soft::Turn);
        let outage = self
            .last_turn
            .is_some_and(|last| now.steady.since(last) > self.config.silence);
        if outage {
            decision.soft(Soft::Outage)
        } else {
            decision
        }
    }

    /// A cluster keeps the id on its disk if it is known here; otherwise the name of one that is not there brings that
    /// one's id, as a new incarnation: its disk was emptied or restored, or ours was.
    pub(crate) fn register(&self, request: RequestId, registration: &Registration) -> Decision {
        let name = &registration.name;
        let holder = self.names.get(name).copied();
        let is_there = |id: ClusterId| {
            self.clusters
                .get(&id)
                .is_some_and(|cluster| cluster.session.is_some())
        };
        let cluster = match (registration.saved, holder) {
            (Some(saved), Some(other)) if saved != other && is_there(other) => {
                return Decision::default().act(Action::Answer(
                    request,
                    Answer::ClusterNameInUse(name.clone()),
                ));
            }
            (Some(saved), _) if self.clusters.contains_key(&saved) => saved,
            (_, Some(other)) if is_there(other) => {
                return Decision::default().act(Action::Answer(
                    request,
                    Answer::ClusterNameInUse(name.clone()),
                ));
            }
            (_, Some(other)) => other,
            (Some(saved), None) => saved,
            (None, None) => registration.fresh,
        };
        if self.is_overtaken(cluster, registration) {
            let answer = Answer::ClusterOvertaken(name.clone());
            return Decision::default().act(Action::Answer(request, answer));
        }
        let known = self.clusters.get(&cluster).map(|cluster| &cluster.record);
        let record = ClusterRecord {
            name: name.clone(),
            location: registration.location.clone(),
            http: registration.http.clone(),
            scheduling: known.map(|known| known.scheduling).unwrap_or_default(),
            run: registration
                .run()
                .or_else(|| known.and_then(|known| known.run)),
            synced: known.and_then(|known| known.synced),
        };
        let mut decision = Decision::default();
        if known != Some(&record) {
            decision = decision.write(Write::Cluster {
                cluster,
                record: Box::new(record),
            });
        }
        decision
            .soft(Soft::Boot {
                cluster,
                boot: registration.boot,
                start: registration.start,
            })
            .act(Action::Answer(request, Answer::Registered(cluster)))
    }

    pub(crate) fn patch(&self, request: RequestId, key: &str, scheduling: Scheduling) -> Decision {
        let Some((id, cluster)) = self
            .find_cluster(key)
            .and_then(|id| Some((id, self.clusters.get(&id)?)))
        else {
            return Decision::default().act(Action::Answer(
                request,
                Answer::NoSuchCluster(key.to_owned()),
            ));
        };
        let record = ClusterRecord {
            scheduling,
            ..cluster.record.clone()
        };
        Decision::default()
            .write(Write::Cluster {
                cluster: id,
                record: Box::new(record),
            })
            .act(Action::Answer(request, Answer::Patched(id)))
    }

    pub(crate) fn cluster_connected(&self, cluster: ClusterId, session: u64) -> Decision {
        if !self.clusters.contains_key(&cluster) {
            return Decision::default();
        }
        Decision::default()
            .soft(Soft::Session {
                cluster,
                session: Some(session),
                silent: false,
            })
            .soft(Soft::Proof(cluster))
    }

    pub(crate) fn cluster_closed(
        &self,
        cluster: ClusterId,
        session: u64,
        silent: bool,
    ) -> Decision {
        let Some(known) = self
            .clusters
            .get(&cluster)
            .filter(|known| known.session == Some(session))
        else {
            return Decision::default();
        };
        let decision = Decision::default().soft(Soft::Session {
            cluster,
            session: None,
            silent,
        });
        // One that was lost already does not become less so by an end that nobody over there said.
        if silent && known.liveness == Liveness::Lost {
            return decision;
        }
        decision.soft(Soft::Liveness {
            cluster,
            liveness: Liveness::Suspect,
        })
    }

    pub(crate) fn cluster_held(
        &self,
        now: Now,
        id: ClusterId,
        held: &Held,
        beat: &Beat,
    ) -> Decision {
        let Some(cluster) = self.clusters.get(&id) else {
            return Decision::default();
        };
        let misses = cluster
            .observed
            .misses(beat.boot, beat.sequence, beat.observed_digest);
        let current = !misses && beat.settled;
        let noted = self.note_synced(id, cluster, held);
        let heeded = self.heed(cluster, held).and(noted);
        let mut decision = heeded.soft(Soft::Proof(id)).soft(Soft::Held {
            cluster: id,
            held: *held,
            current,
        });
        let heard = current && cluster.observed.is_whole() && cluster.liveness != Liveness::Alive;
        if heard {
            decision = decision.soft(Soft::Liveness {
                cluster: id,
                liveness: Liveness::Alive,
            });
        }
        if misses {
            decision.and(self.ask(now, id, cluster))
        } else {
            decision
        }
    }

    /// It holds a set of this store, for the first time.
    fn note_synced(&self, id: ClusterId, cluster: &Cluster, held: &Held) -> Decision {
        let here = Some(self.incarnation);
        if held.incarnation != here || cluster.record.synced == here {
            return Decision::default();
        }
        let record = ClusterRecord {
            synced: here,
            ..cluster.record.clone()
        };
        Decision::default().write(Write::Cluster {
            cluster: id,
            record: Box::new(record),
        })
    }

    /// A whole report where one was lost; not too often.
    fn ask(&self, now: Now, id: ClusterId, cluster: &Cluster) -> Decision {
        if self.asked_lately(now, cluster) {
            return Decision::default();
        }
        Decision::default()
            .soft(Soft::Asked(id))
            .act(Action::AskWhole(id))
    }

    fn asked_lately(&self, now: Now, cluster: &Cluster) -> bool {
        cluster
            .asked_at
            .is_some_and(|at| now.steady.since(at) < self.config.ask_again)
    }

    /// The next cluster that holds another store's set, which has to be taken over.
    pub(crate) fn next_adoption(&self, now: Now) -> Option<Decision> {
        if self.fenced {
            return None;
        }
        let wants = |cluster: &Cluster| {
            cluster.desired.wants_former(self.incarnation) && !self.asked_lately(now, cluster)
        };
        let id = self
            .unsynced
            .iter()
            .find(|id| self.clusters.get(id).is_some_and(wants))?;
        let cluster = self.clusters.get(id)?;
        // What it was told here, it holds: whoever comes with another store's set after that makes it up.
        if cluster.record.synced == Some(self.incarnation) {
            let digest = cluster.desired.held()?.desired_digest;
            return Some(Decision::default().soft(Soft::Adopted(*id, digest)));
        }
        Some(
            Decision::default()
                .soft(Soft::Asked(*id))
                .act(Action::AskAdopt(*id)),
        )
    }

    pub(crate) fn cluster_reported(
        &self,
        now: Now,
        id: ClusterId,
        report: &UpReport<SlotEntry>,
        held: &Held,
    ) -> Decision {
        let Some(cluster) = self.clusters.get(&id) else {
            return Decision::default();
        };
        let reading = cluster.observed.read(report);
        let noted = self.note_synced(id, cluster, held);
        let mut decision = self.heed(cluster, held).and(noted).soft(Soft::Proof(id));
        if reading == Reading::Stale {
            return decision;
        }
        let fresh = reading == Reading::Fresh;
        for entry in &report.states {
            let copies = &entry.value.copies;
            // One of an earlier version does not tell its events: they are what became different.
            if !report.tells {
                decision = self.slot_events(now, (id, cluster), &entry.key, copies, decision);
            }
            decision = self.leaving_events(now, (id, cluster), &entry.key, copies, decision);
        }
        for slot in report.gone.iter().filter(|_| !report.tells) {
            decision = self.slot_events(now, (id, cluster), slot, &[], decision);
        }
        decision = decision
            .soft(Soft::Reported(id, report.clone()))
            .soft(Soft::Held {
                cluster: id,
                held: *held,
                current: fresh,
            });
        if fresh && cluster.liveness != Liveness::Alive {
            decision = decision.soft(Soft::Liveness {
                cluster: id,
                liveness: Liveness::Alive,
            });
        }
        if fresh {
            decision
        } else {
            decision.and(self.ask(now, id, cluster))
        }
    }

    /// Copies that are to leave since the cluster's last report: who follows a job's endpoints turns away from them before they
    /// stop.
    fn leaving_events(
        &self,
        now: Now,
        (id, cluster): (ClusterId, &Cluster),
        slot: &Slot,
        copies: &[CopyReport],
        decision: Decision,
    ) -> Decision {
        let holding = self
            .slots
            .get(slot)
            .and_then(|record| record.holdings.iter().find(|holding| holding.cluster == id));
        let (Some(holding), Some(before)) = (holding, cluster.observed.states().get(slot)) else {
            return decision;
        };
        let stood = |copy: &&CopyReport| {
            let mut known = before.value.copies.iter();
            known.any(|known| known.instance == copy.instance && known.role != Role::Leaving)
        };
        let leave = copies.iter().filter(|copy| copy.role == Role::Leaving);
        leave.filter(stood).fold(decision, |decision, copy| {
            let desired = reported(holding, copy);
            let state = copy.state.as_str();
            let message = format!(
                "it leaves worker {} of cluster {}",
                copy.node_name, cluster.record.name
            );
            let change = (state, state);
            decision.and(Self::event(
                now,
                &desired,
                Tier::Root,
                change,
                "leaving",
                message,
            ))
        })
    }

    /// What became different for each copy of a slot since the cluster's last report; a copy that is in it no more ended.
    fn slot_events(
        &self,
        now: Now,
        (id, cluster): (ClusterId, &Cluster),
        slot: &Slot,
        copies: &[CopyReport],
        mut decision: Decision,
    ) -> Decision {
        let Some(holding) = self
            .slots
            .get(slot)
            .and_then(|record| record.holdings.iter().find(|holding| holding.cluster == id))
        else {
            return decision;
        };
        let before = cluster.observed.states().get(slot);
        for copy in copies {
            let known = before.and_then(|known| {
                known
                    .value
                    .copies
                    .iter()
                    .find(|old| old.instance == copy.instance)
            });
            let from = known.map_or("SCHEDULED_CLUSTER", |known| known.state.as_str());
            let to = copy.state.as_str();
            if from == to || (known.is_none() && !cluster.observed.is_whole()) {
                continue;
            }
            let desired = reported(holding, copy);
            let message = match &copy.state {
                InstanceState::Failed(report) => {
                    crate::view::reason_of(report).map(|reason| reason.message)
                }
                InstanceState::Requested
                | InstanceState::ScheduledCluster
                | InstanceState::ScheduledNode
                | InstanceState::Running(_)
                | InstanceState::NotDeployed { .. }
                | InstanceState::Unknown { .. }
                | InstanceState::Terminated { .. } => None,
            };
            let place = format!(
                "{to} on worker {} of cluster {}",
                copy.node_name, cluster.record.name
            );
            let cause = "observed";
            decision = decision.and(Self::event(
                now,
                &desired,
                Tier::Cluster,
                (from, to),
                cause,
                message.unwrap_or(place),
            ));
        }
        let ended = before
            .into_iter()
            .flat_map(|before| &before.value.copies)
            .filter(|old| !copies.iter().any(|copy| copy.instance == old.instance));
        for copy in ended.filter(|copy| !copy.state.is_final()) {
            let desired = reported(holding, copy);
            let message = format!(
                "nothing of it is left on worker {} of cluster {}",
                copy.node_name, cluster.record.name
            );
            decision = decision.and(Self::event(
                now,
                &desired,
                Tier::Cluster,
                (copy.state.as_str(), "TERMINATED"),
                "requested",
                message,
            ));
        }
        decision
    }

    pub(crate) fn cluster_aggregate(&self, id: ClusterId, report: &Report) -> Decision {
        if !self.clusters.contains_key(&id) {
            return Decision::default();
        }
        Decision::default()
            .soft(Soft::Proof(id))
            .soft(Soft::Aggregate(id, Box::new(report.clone())))
    }

    /// When silence makes a cluster suspect: two and a half report intervals.
    fn suspect_at(&self, cluster: &Cluster) -> Instant {
        cluster
            .proof
            .plus(self.config.report_interval.mul_f64(2.5))
            .max(cluster.spared_until)
    }

    /// The next cluster whose time is up.
    pub(crate) fn due_check(&self, now: Now) -> Option<Decision> {
        if self.hold.is_some_and(|until| until <= now.steady) {
            let decision = Decision::default().soft(Soft::Hold(None));
            return Some(if self.unsettled {
                decision.write(Write::Unsettled(false))
            } else {
                decision
            });
        }
        if let Some(decision) = self.drained(now).or_else(|| self.brake_due(now)) {
            return Some(decision);
        }
        let (_, id) = self.checks.first().filter(|(at, _)| *at <= now.steady)?;
        let cluster = self.clusters.get(id)?;
        let lost_at = cluster
            .proof
            .plus(self.config.lost_after)
            .max(cluster.spared_until);
        let unheard = match cluster.liveness {
            Liveness::Suspect | Liveness::Lost => true,
            Liveness::Reconnecting => cluster.session.is_none(),
            Liveness::Alive => false,
        };
        let suspect_at = self.suspect_at(cluster);
        let liveness = match cluster.liveness {
            Liveness::Alive | Liveness::Reconnecting if !unheard && suspect_at <= now.steady => {
                Liveness::Suspect
            }
            Liveness::Suspect | Liveness::Reconnecting if unheard && lost_at <= now.steady => {
                Liveness::Lost
            }
            same @ (Liveness::Alive
            | Liveness::Suspect
            | Liveness::Lost
            | Liveness::Reconnecting) => same,
        };
        if liveness != cluster.liveness {
            return Some(Decision::default().soft(Soft::Liveness {
                cluster: *id,
                liveness,
            }));
        }
        let later = now.steady.plus(self.config.lost_after);
        let at = match (unheard, cluster.liveness) {
            (true, Liveness::Lost) => later,
            (true, _) => lost_at,
            (false, _) => suspect_at,
        };
        Some(Decision::default().soft(Soft::Check {
            cluster: *id,
            at: at.max(Instant(now.steady.0 + 1)),
        }))
    }

    /// The next cluster whose revision the store does not have yet.
    pub(crate) fn next_revision(&self) -> Option<Decision> {
        let cluster = *self.revised.first()?;
        let revision = self.clusters.get(&cluster)?.desired.revision();
        Some(Decision::default().write(Write::Revision { cluster, revision }))
    }

    /// The next cluster to which something is due.
    pub(crate) fn next_assign(&self, now: Now) -> Option<Decision> {
        if self.fenced {
            return None;
        }
        self.unsynced.iter().find_map(|id| {
            let cluster = self.clusters.get(id)?;
            let changes = cluster.desired.due(
                now.steady.0,
                self.incarnation,
                &self.term,
                &self.config.timing,
            )?;
            Some(
                Decision::default()
                    .soft(Soft::Sent(*id, changes.clone()))
                    .act(Action::Assign(*id, changes)),
            )
        })
    }
}

/// What a copy that a cluster reports was made of, under its own id and generation.
fn reported(holding: &Holding, copy: &CopyReport) -> Desired {
    Desired {
        instance: copy.instance,
        generation: copy.generation,
        ..holding.desired.clone()
    }
}
