//! Instances that move: to another worker of their cluster, or to another cluster; as a user asks, since their cluster or
//! worker is drained, or since the next copy of an update has no room where the present one is.
//!
//! # Flow
//! Inside a cluster the order goes along with a new assignment (`Handover`), and the cluster carries it out. Across
//! clusters the slot is assigned to a second one beside the first; when its copy is ready the first drains and leaves. With
//! stop first the first leaves, and the slot is filled anew where the order says.

use model::desired::{CopyReport, Desired, Handover, Offer};
use model::event::Tier;
use model::id::{ClusterId, InstanceId};
use model::job::{Job, PlacementRules};
use model::node::Scheduling;
use model::operation::Operation;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Role, Slot};
use model::time::{Instant, Now};
use schedulers::Unplaceable;

use crate::choosing::{Chosen, NotChosen, ORDER, class};
use crate::operations::{follows, why_not_ready};
use crate::state::{Holding, Moving, SlotRecord, Stage, State, Waiting};
use crate::{Decision, Soft};

impl State {
    /// One step of a move of a slot, or its begin; what waits for room, if it is not an operation's.
    pub(crate) fn move_on(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
    ) -> (Option<Waiting>, Decision) {
        let nothing = (None, Decision::default());
        let Some(job) = self.book.get(wanted.slot.job) else {
            return nothing;
        };
        let running = job.running();
        if let Some(moving) = record.moving.clone() {
            let ordered = moving.number == 0
                || running.is_some_and(|operation| operation.number == moving.number);
            return match moving.stage {
                _ if !ordered => (None, self.call_back(now, wanted, record)),
                Stage::Inside { instance } => {
                    (None, self.inside(now, job, wanted, (record, instance)))
                }
                Stage::Across { to } => self.across(now, job, wanted, (record, to, moving.number)),
                Stage::Away { .. } => nothing,
            };
        }
        let Some(index) = self.holder(wanted, record) else {
            return nothing;
        };
        if let Some(operation) = running
            && let Some(instance) = operation.replaces.get(&wanted.slot)
            && self.rollouts.may_replace(job, &wanted.slot)
        {
            return (
                None,
                self.begin(now, (job, operation), wanted, (record, index, *instance)),
            );
        }
        self.make_way(now, job, wanted, (record, index))
    }

    /// The assignment that stands for a slot, and is not the one that takes over.
    pub(crate) fn holder(&self, wanted: &Desired, record: &SlotRecord) -> Option<usize> {
        record.holdings.iter().position(|holding| {
            holding.counts() && !record.is_successor(holding) && !self.must_move(wanted, holding)
        })
    }

    /// The copy that an operation replaces begins to move, if it is still the one that stands.
    fn begin(
        &self,
        now: Now,
        (job, operation): (&Job, &Operation),
        wanted: &Desired,
        (record, index, instance): (&mut SlotRecord, usize, InstanceId),
    ) -> Decision {
        let nothing = Decision::default();
        let Some(holding) = record.holdings.get(index).cloned() else {
            return nothing;
        };
        let stands = self.report_of(&holding).is_some_and(|report| {
            let stands = |copy: &CopyReport| copy.instance == instance && copy.role == Role::Holder;
            report.copies.iter().any(stands)
        });
        if !stands || self.is_lost(holding.cluster) {
            return nothing;
        }
        let target = operation
            .cluster
            .as_ref()
            .and_then(|key| self.find_cluster(key));
        if target.is_some_and(|target| target != holding.cluster) {
            return self.begin_elsewhere(now, (job, operation), wanted, (record, index));
        }
        let takeover = &wanted.service.takeover;
        record.assignment += 1;
        let number = record.assignment;
        let usual = takeover.handover(number, self.rollouts.changing_beside(&wanted.slot));
        let next = Desired {
            instance: self.fresh_instance(now, &wanted.slot, number),
            generation: Generation {
                assignment: number,
                placement: 0,
            },
            handover: operation.handover(&wanted.slot, takeover, usual),
            ..wanted.clone()
        };
        if let Some(holding) = record.holdings.get_mut(index) {
            holding.desired = next;
        }
        record.moving = Some(Moving {
            number: operation.number,
            stage: Stage::Inside { instance },
        });
        nothing.soft(Soft::Begun(wanted.slot.clone()))
    }

    /// The operation names another cluster.
    fn begin_elsewhere(
        &self,
        now: Now,
        (job, operation): (&Job, &Operation),
        wanted: &Desired,
        (record, index): (&mut SlotRecord, usize),
    ) -> Decision {
        let begun = Decision::default().soft(Soft::Begun(wanted.slot.clone()));
        let number = operation.number;
        let from = record.holdings.get(index).map(|holding| holding.cluster);
        let step = if operation.starts_first(&wanted.service.takeover) {
            self.begin_across(now, job, wanted, (record, index, number))
        } else {
            self.target((job, operation), wanted, from).map(|to| {
                if let Some(holding) = record.holdings.get_mut(index) {
                    holding.leaving = true;
                }
                let to = to.cluster;
                record.moving = Some(Moving {
                    number,
                    stage: Stage::Away { to },
                });
                Decision::default()
            })
        };
        match step {
            Ok(step) => begun.and(step),
            Err(unplaceable) if self.may_be_heard(&unplaceable.rejections) => begun,
            Err(unplaceable) => {
                let why = self.why(&unplaceable, wanted);
                Self::fail(now, job, &wanted.slot, &why, begun)
            }
        }
    }

    /// Inside its cluster: done, refused, or under way.
    fn inside(
        &self,
        now: Now,
        job: &Job,
        wanted: &Desired,
        (record, instance): (&mut SlotRecord, InstanceId),
    ) -> Decision {
        let nothing = Decision::default();
        let Some(index) = self.holder(wanted, record) else {
            record.moving = None;
            return nothing;
        };
        let Some(holding) = record.holdings.get(index).cloned() else {
            return nothing;
        };
        let Some(report) = self
            .report_of(&holding)
            .filter(|report| report.assignment == holding.desired.generation.assignment)
        else {
            return nothing;
        };
        let taken_over = |copy: &CopyReport| {
            copy.role == Role::Holder && copy.instance != instance && follows(copy, &holding)
        };
        // Where the old one stopped first, and the next one has no room after all, it is filled like any other slot.
        if report.copies.iter().any(taken_over) || report.offer.is_some() {
            record.moving = None;
            return nothing;
        }
        let Some(refused) = report.refused.clone() else {
            return nothing;
        };
        let number = record.moving.as_ref().map_or(0, |moving| moving.number);
        self.keep(now, wanted, (record, index, instance));
        record.moving = None;
        let bound = job
            .running()
            .is_none_or(|operation| operation.cluster.is_some() || operation.replaces.is_empty());
        if !bound && !refused.rejections.is_empty() {
            let refusal = self.refusal(&holding, &refused);
            if let Ok(step) = self.begin_across(now, job, wanted, (record, index, number)) {
                return step.and(refusal);
            }
        }
        Self::fail(now, job, &wanted.slot, &refused.reason, nothing)
    }

    /// Across clusters: the second one's copy is ready, it refuses, or needs time.
    fn across(
        &self,
        now: Now,
        job: &Job,
        wanted: &Desired,
        (record, to, number): (&mut SlotRecord, ClusterId, u64),
    ) -> (Option<Waiting>, Decision) {
        let nothing = (None, Decision::default());
        let found = record
            .holdings
            .iter()
            .position(|holding| holding.cluster == to && holding.counts());
        let Some((index, successor)) =
            found.and_then(|index| Some((index, record.holdings.get(index)?.clone())))
        else {
            record.moving = None;
            return nothing;
        };
        let Some(old) = self.holder(wanted, record) else {
            // What stood cannot be heard any more: the next one stands.
            record.moving = None;
            return nothing;
        };
        if self.runs(&successor) {
            record.moving = None;
            return (None, self.taken_over(now, record, (old, to)));
        }
        let offer = self.offer(&successor).cloned();
        let lost = self.is_lost(to).then(|| {
            Reason::new(
                ReasonCode::ClusterLost,
                "the cluster that was to take over cannot be heard",
            )
        });
        let failed = self
            .report_of(&successor)
            .and_then(|report| report.copies.iter().find_map(why_not_ready));
        let Some(reason) = offer
            .as_ref()
            .map(|offer| offer.reason.clone())
            .or(lost)
            .or(failed)
        else {
            return nothing;
        };
        let refusal = offer
            .as_ref()
            .map_or_else(Decision::default, |offer| self.refusal(&successor, offer));
        if let Some(holding) = record.holdings.get_mut(index) {
            holding.leaving = true;
        }
        record.moving = None;
        // Another cluster may do better, unless the order names this one.
        let bound = job
            .running()
            .is_some_and(|operation| operation.number == number && operation.cluster.is_some());
        if offer.is_some()
            && !bound
            && self
                .target_except(job, wanted, (&[successor.cluster], number), record)
                .is_ok()
        {
            return (None, refusal.soft(Soft::Wake(wanted.slot.clone())));
        }
        if number == 0 {
            return (Some(Self::waits(wanted, reason)), refusal);
        }
        (None, Self::fail(now, job, &wanted.slot, &reason, refusal))
    }

    /// The copy in another cluster is ready: the one at `old` drains, which who follows the job's endpoints is told.
    fn taken_over(
        &self,
        now: Now,
        record: &mut SlotRecord,
        (old, to): (usize, ClusterId),
    ) -> Decision {
        let Some(holding) = record.holdings.get_mut(old) else {
            return Decision::default();
        };
        holding.draining = true;
        let mut told = holding.desired.clone();
        if let Some(copy) = self
            .report_of(holding)
            .and_then(model::desired::SlotReport::holder)
        {
            told.instance = copy.instance;
        }
        let name = self
            .clusters
            .get(&to)
            .map_or("", |cluster| cluster.record.name.as_str());
        let message = format!("its copy in cluster {name} has taken over");
        let state = ("RUNNING", "RUNNING");
        Self::event(now, &told, Tier::Root, state, "replaced", message)
    }

    /// Its cluster is drained, or drains the worker and has no other: it goes elsewhere when there is room.
    fn make_way(
        &self,
        now: Now,
        job: &Job,
        wanted: &Desired,
        (record, index): (&mut SlotRecord, usize),
    ) -> (Option<Waiting>, Decision) {
        let nothing = (None, Decision::default());
        let Some(holding) = record.holdings.get(index).cloned() else {
            return nothing;
        };
        let Some(cluster) = self.clusters.get(&holding.cluster) else {
            return nothing;
        };
        let drained = cluster.record.scheduling == Scheduling::Draining
            && wanted.service.placement.cluster.is_none();
        let refused = self
            .report_of(&holding)
            .filter(|report| report.assignment == holding.desired.generation.assignment)
            .and_then(|report| report.refused.as_ref())
            .filter(|refused| {
                !refused.rejections.is_empty() || holding.desired.handover.number == 0
            });
        let changing = self
            .rollouts
            .get(job.id)
            .is_some_and(|rollout| rollout.has_begun(&wanted.slot));
        let number = job
            .running()
            .filter(|_| changing && !drained)
            .map_or(0, |operation| operation.number);
        let evicted = refused.is_some() && (holding.desired.handover.number == 0 || changing);
        if !(drained || evicted) || self.is_lost(holding.cluster) {
            return nothing;
        }
        if changing && !drained {
            // An operation does not wait for it.
            let step = self.begin_across(now, job, wanted, (record, index, number));
            return step.map_or(nothing, |step| (None, step));
        }
        if let Some(waiting) = self.known_fault(now, wanted) {
            return (Some(waiting), Decision::default());
        }
        // What has it does not get it again meanwhile.
        let has: Vec<ClusterId> = record.holdings.iter().map(|it| it.cluster).collect();
        match self.choose(&wanted.slot, wanted, &has) {
            Ok(chosen) => (
                None,
                self.go_across(now, job, wanted, (record, number), &chosen),
            ),
            Err(why) => (Some(self.stays(now, wanted, why)), Decision::default()),
        }
    }

    /// A second cluster gets the slot beside the one at `index`.
    pub(crate) fn begin_across(
        &self,
        now: Now,
        job: &Job,
        wanted: &Desired,
        (record, index, number): (&mut SlotRecord, usize, u64),
    ) -> Result<Decision, Unplaceable> {
        let from = record.holdings.get(index).map(|holding| holding.cluster);
        let to = self.target_except(job, wanted, (from.as_slice(), number), record)?;
        Ok(self.go_across(now, job, wanted, (record, number), &to))
    }

    /// The chosen cluster gets the slot beside those that have it.
    fn go_across(
        &self,
        now: Now,
        job: &Job,
        wanted: &Desired,
        (record, number): (&mut SlotRecord, u64),
        chosen: &Chosen,
    ) -> Decision {
        let worker = job.running().and_then(|operation| operation.worker.clone());
        let mut next = wanted.clone();
        next.handover = Handover {
            worker,
            ..Handover::default()
        };
        let step = self.assign(now, &wanted.slot, &next, record, chosen);
        record.moving = Some(Moving {
            number,
            stage: Stage::Across { to: chosen.cluster },
        });
        step
    }

    /// The cluster for a move that an operation orders, away from one.
    fn target(
        &self,
        (job, operation): (&Job, &Operation),
        wanted: &Desired,
        from: Option<ClusterId>,
    ) -> Result<Chosen, Unplaceable> {
        let away = (from.as_slice(), operation.number);
        self.target_except(job, wanted, away, &SlotRecord::default())
    }

    fn target_except(
        &self,
        job: &Job,
        wanted: &Desired,
        (except, number): (&[ClusterId], u64),
        record: &SlotRecord,
    ) -> Result<Chosen, Unplaceable> {
        // Whoever only makes way is not bound by what is ordered for others.
        let named = job
            .running()
            .filter(|operation| operation.number == number)
            .and_then(|operation| operation.cluster.clone());
        let ordered = named.is_some();
        let mut bound = wanted.clone();
        if let Some(cluster) = named {
            let mut service = (*wanted.service).clone();
            service.placement = PlacementRules {
                cluster: Some(cluster),
                ..service.placement
            };
            bound.service = std::sync::Arc::new(service);
        }
        let mut except = except.to_vec();
        // What has it and is to give it back does not get it again meanwhile.
        except.extend(record.holdings.iter().map(|holding| holding.cluster));
        let mut chosen = self.choose_at_once(&wanted.slot, &bound, &except)?;
        if ordered {
            ORDER.clone_into(&mut chosen.by);
        }
        Ok(chosen)
    }

    /// What stands goes on as it is, under a new assignment.
    fn keep(
        &self,
        now: Now,
        wanted: &Desired,
        (record, index, instance): (&mut SlotRecord, usize, InstanceId),
    ) {
        record.assignment += 1;
        let assignment = record.assignment;
        let fresh = self.fresh_instance(now, &wanted.slot, assignment);
        if let Some(holding) = record.holdings.get_mut(index) {
            let same = holding.desired.service.workload.hash == wanted.service.workload.hash;
            holding.desired = Desired {
                instance: if same { instance } else { fresh },
                generation: Generation {
                    assignment,
                    placement: 0,
                },
                handover: Handover::default(),
                ..holding.desired.clone()
            };
        }
    }

    /// The order is taken back: the operation has ended meanwhile.
    fn call_back(&self, now: Now, wanted: &Desired, record: &mut SlotRecord) -> Decision {
        match record.moving.take().map(|moving| moving.stage) {
            Some(Stage::Inside { instance }) => {
                if let Some(index) = self.holder(wanted, record) {
                    self.keep(now, wanted, (record, index, instance));
                }
            }
            Some(Stage::Across { to }) => {
                let stands = record.holdings.iter().any(|holding| {
                    holding.cluster != to && holding.counts() && !self.must_move(wanted, holding)
                });
                for holding in record
                    .holdings
                    .iter_mut()
                    .filter(|holding| stands && holding.cluster == to)
                {
                    holding.leaving = true;
                }
            }
            Some(Stage::Away { .. }) | None => {}
        }
        Decision::default()
    }

    /// A cluster's refusal is remembered, so that it is not asked again before it has more.
    pub(crate) fn refusal(&self, holding: &Holding, offer: &Offer) -> Decision {
        let boot = self
            .clusters
            .get(&holding.cluster)
            .map_or(0, |cluster| cluster.capacity.0);
        let capacity = (boot, offer.capacity_revision);
        let slot = &holding.desired.slot;
        let known = self
            .refusals
            .get(slot)
            .and_then(|known| known.get(&holding.cluster));
        if known == Some(&capacity) {
            return Decision::default();
        }
        Decision::default().soft(Soft::Refused {
            slot: slot.clone(),
            cluster: holding.cluster,
            capacity,
        })
    }

    fn waits(wanted: &Desired, reason: Reason) -> Waiting {
        Waiting::because(reason, Rejections::default(), class(&wanted.service))
    }

    /// What is to go elsewhere stays meanwhile.
    fn stays(&self, now: Now, wanted: &Desired, why: NotChosen) -> Waiting {
        match why {
            NotChosen::Unplaceable(unplaceable) if unplaceable.by_scheduler().is_none() => {
                Self::waits(wanted, self.why(&unplaceable, wanted))
            }
            NotChosen::Unplaceable(_) | NotChosen::Asking(_) => self.not_chosen(now, wanted, why),
        }
    }

    fn why(&self, unplaceable: &Unplaceable, wanted: &Desired) -> Reason {
        if unplaceable.rejections.is_empty() {
            let message = "there is no other cluster than the one that it is to leave";
            return Reason::new(ReasonCode::NoCluster, message);
        }
        self.no_cluster(unplaceable, &wanted.service)
    }

    /// What was replaced leaves when its drain delay is over.
    pub(crate) fn drain(
        &self,
        now: Now,
        slot: &Slot,
        record: &mut SlotRecord,
        mut decision: Decision,
    ) -> Decision {
        let until = self.drains.get(slot).copied();
        let mut drains = false;
        for holding in record
            .holdings
            .iter_mut()
            .filter(|holding| holding.draining && !holding.leaving)
        {
            let delay = holding.desired.service.takeover.drain_delay;
            match until {
                Some(until) if until > now.steady => drains = true,
                None if !delay.is_zero() && !self.is_lost(holding.cluster) => {
                    decision = decision.soft(Soft::Drain {
                        slot: slot.clone(),
                        until: Some(now.steady.plus(delay)),
                    });
                    drains = true;
                }
                Some(_) | None => {
                    holding.draining = false;
                    holding.leaving = true;
                }
            }
        }
        if until.is_some() && !drains {
            decision = decision.soft(Soft::Drain {
                slot: slot.clone(),
                until: None,
            });
        }
        decision
    }

    /// The next assignment that was replaced and has stood long enough.
    pub(crate) fn drained(&self, now: Now) -> Option<Decision> {
        let over = |(slot, until): &(&Slot, &Instant)| {
            **until <= now.steady && !self.dirty.contains(*slot)
        };
        let (slot, _) = self.drains.iter().find(over)?;
        Some(Decision::default().soft(Soft::Wake(slot.clone())))
    }
}
