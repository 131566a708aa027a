//! Assignment: what should fill a slot against the clusters that have it. First placement, the next cluster after a
//! refusal, and re-placement are one path.

use std::cmp::Reverse;

use model::desired::{Desired, Handover, SlotReport};
use model::event::{Event, Tier};
use model::id::{ClusterId, InstanceId};
use model::job::{Job, OnPartition, Reconcile, ServiceSpec};
use model::node::Liveness;
use model::operation::Progress;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Role, Slot};
use model::time::Now;

use crate::choosing::{Chosen, class};
use crate::state::{Cluster, Holding, Moving, SlotRecord, Stage, State, Waiting};
use crate::{Decision, Soft, Write};

impl State {
    /// One slot: confirmed ends are forgotten, what must go is taken back, an offer is taken where another cluster
    /// can do better, and where nobody holds the slot somebody gets it.
    pub(crate) fn reconcile_slot(&self, now: Now, slot: &Slot) -> Decision {
        let mut decision = Decision::default().soft(Soft::Clean(slot.clone()));
        let known = self.slots.get(slot);
        let wanted = self.wanted(slot);
        let mut record = known.cloned().unwrap_or_default();
        let held = record.holdings.len();
        record
            .holdings
            .retain(|holding| self.clusters.contains_key(&holding.cluster));
        if record.holdings.len() < held {
            // Its cluster was forgotten, and with it where the slot was going.
            record.moving = None;
        }
        record
            .holdings
            .retain(|holding| !(holding.leaving && self.is_gone(holding)));
        for holding in &mut record.holdings {
            holding.leaving = holding.leaving || wanted.is_none();
        }
        let mut waiting = None;
        if let Some(wanted) = &wanted {
            decision = self.follow_document(now, &mut record, wanted, decision);
            let (waits, step) = self.move_on(now, wanted, &mut record);
            decision = decision.and(step);
            self.keep_one(&mut record, wanted);
            (waiting, decision) = self.fill(now, wanted, &mut record, decision);
            waiting = waiting.or(waits);
        } else {
            record.moving = None;
        }
        decision = self.drain(now, slot, &mut record, decision);
        let stands = wanted.as_ref().is_some_and(|wanted| {
            let holder = self.holder(wanted, &record);
            let holding = holder.and_then(|index| record.holdings.get(index));
            holding.is_some_and(|holding| self.offer(holding).is_none())
        });
        if let (Some(waiting), Some(wanted)) = (&waiting, &wanted)
            && !waiting.is_asking()
            && self.waiting.get(slot).is_none_or(Waiting::is_asking)
            && !stands
        {
            let from = if record.holdings.is_empty() {
                "REQUESTED"
            } else {
                "SCHEDULED_CLUSTER"
            };
            decision = decision.and(Self::event(
                now,
                wanted,
                Tier::Root,
                (from, "NOT_DEPLOYED"),
                waiting.reason.code.as_str(),
                waiting.reason.message.clone(),
            ));
        }
        if self.waiting.get(slot) != waiting.as_ref() {
            decision = decision.soft(Soft::Waiting {
                slot: slot.clone(),
                waiting,
            });
        }
        let over = wanted.is_none() && record.holdings.is_empty();
        let changed =
            known.map_or_else(|| record != SlotRecord::default(), |known| *known != record);
        if over && known.is_some() {
            decision.write(Write::Slot {
                slot: slot.clone(),
                record: None,
            })
        } else if changed && !over {
            decision.write(Write::Slot {
                slot: slot.clone(),
                record: Some(record),
            })
        } else {
            self.follow_operation(now, slot, &record, decision)
        }
    }

    /// A changed workload or rule is a new assignment: to the same cluster if the rules still allow it. What has to be
    /// replaced for it waits for its turn.
    fn follow_document(
        &self,
        now: Now,
        record: &mut SlotRecord,
        wanted: &Desired,
        mut decision: Decision,
    ) -> Decision {
        let generation = wanted.generation.assignment;
        let Some(job) = self.book.get(wanted.slot.job) else {
            return decision;
        };
        if record.service_generation == generation {
            if self.is_stuck(job, record) {
                // What failed is not followed any more; the next operation tries it again.
                record.service_generation = 0;
            }
            return decision;
        }
        for index in 0..record.holdings.len() {
            let Some(holding) = record
                .holdings
                .get(index)
                .filter(|holding| holding.counts())
            else {
                continue;
            };
            let stays = self
                .clusters
                .get(&holding.cluster)
                .is_some_and(|cluster| may_stay(holding.cluster, cluster, &wanted.service));
            let same = record.service_generation != 0
                && holding.desired.service.workload.hash == wanted.service.workload.hash;
            if stays && same {
                self.renew(now, wanted, (record, index), None);
                continue;
            }
            if !self.rollouts.may_replace(job, &wanted.slot) {
                return decision;
            }
            decision = decision.soft(Soft::Begun(wanted.slot.clone()));
            let changing = self.rollouts.changing_beside(&wanted.slot);
            let takeover = &wanted.service.takeover;
            let order = takeover.handover(record.assignment + 1, changing);
            if stays {
                self.renew(now, wanted, (record, index), Some(order));
                continue;
            }
            let number = job
                .operation
                .as_ref()
                .map_or(0, |operation| operation.number);
            let lost = self.is_lost(holding.cluster);
            let across = order.start_first && !lost && record.moving.is_none();
            match across.then(|| self.begin_across(now, job, wanted, (record, index, number))) {
                Some(Ok(step)) => decision = decision.and(step),
                Some(Err(_)) | None => {
                    if let Some(holding) = record.holdings.get_mut(index) {
                        holding.leaving = true;
                    }
                }
            }
        }
        record.service_generation = generation;
        decision
    }

    /// An assignment is given again, changed to what is wanted; without an order what runs is what is wanted.
    fn renew(
        &self,
        now: Now,
        wanted: &Desired,
        (record, index): (&mut SlotRecord, usize),
        order: Option<Handover>,
    ) {
        record.assignment += 1;
        let assignment = record.assignment;
        let fresh = self.fresh_instance(now, &wanted.slot, assignment);
        if let Some(holding) = record.holdings.get_mut(index) {
            holding.desired = Desired {
                instance: if order.is_none() {
                    holding.desired.instance
                } else {
                    fresh
                },
                generation: Generation {
                    assignment,
                    placement: 0,
                },
                handover: order.unwrap_or_default(),
                ..wanted.clone()
            };
        }
    }

    /// An operation has failed, and what it told the slot's cluster was refused.
    fn is_stuck(&self, job: &Job, record: &SlotRecord) -> bool {
        let failed = job
            .operation
            .as_ref()
            .is_some_and(|operation| matches!(operation.progress, Progress::Failed(_)));
        let refused = |holding: &Holding| {
            self.report_of(holding).is_some_and(|report| {
                report.assignment == holding.desired.generation.assignment
                    && report.refused.is_some()
            })
        };
        failed
            && record
                .holdings
                .iter()
                .filter(|holding| holding.counts())
                .any(refused)
    }

    /// When a cluster has come back beside the replacement of its work, the job's `reconcile` decides which stays.
    /// Nothing is decided before both are heard.
    fn keep_one(&self, record: &mut SlotRecord, wanted: &Desired) {
        let stands = |holding: &Holding| {
            holding.counts() && !record.is_successor(holding) && !self.is_lost(holding.cluster)
        };
        let keepers: Vec<ClusterId> = record
            .holdings
            .iter()
            .filter(|holding| stands(holding))
            .map(|holding| holding.cluster)
            .collect();
        let all_heard = keepers
            .iter()
            .all(|id| self.clusters.get(id).is_some_and(Cluster::is_heard));
        if keepers.len() < 2 || !all_heard {
            return;
        }
        let none = Generation::default();
        let rank = |holding: &&Holding| {
            let generation = holding.desired.generation;
            let ready = self.runs(holding);
            match wanted.job.reconcile {
                Reconcile::KeepOriginal => (!ready, 0, generation, Reverse(none)),
                Reconcile::KeepReplacement => (!ready, 0, none, Reverse(generation)),
                Reconcile::Best => (!ready, self.restarts(holding), generation, Reverse(none)),
            }
        };
        let winner = record
            .holdings
            .iter()
            .filter(|holding| keepers.contains(&holding.cluster) && holding.counts())
            .min_by_key(rank);
        let Some(winner) = winner.map(|holding| holding.cluster) else {
            return;
        };
        record.assignment += 1;
        for holding in record
            .holdings
            .iter_mut()
            .filter(|holding| keepers.contains(&holding.cluster))
        {
            if holding.cluster == winner {
                holding.desired.generation.assignment = record.assignment;
            } else {
                holding.leaving = true;
            }
        }
    }

    /// How often what stands was started again.
    fn restarts(&self, holding: &Holding) -> u32 {
        let report = self.report_of(holding);
        let copies = report.into_iter().flat_map(|report| &report.copies);
        copies
            .filter_map(|copy| copy.state.report())
            .map(|report| report.restarts)
            .min()
            .unwrap_or(0)
    }

    fn fill(
        &self,
        now: Now,
        wanted: &Desired,
        record: &mut SlotRecord,
        decision: Decision,
    ) -> (Option<Waiting>, Decision) {
        let slot = &wanted.slot;
        let holder = self.holder(wanted, record).or_else(|| {
            // What stood cannot be heard any more: what was to take over stands. What has left goes where it is ordered to.
            let away = |moving: &Moving| matches!(moving.stage, Stage::Away { .. });
            record.moving = record.moving.take().filter(away);
            self.holder(wanted, record)
        });
        if let Some(index) = holder {
            let Some(holding) = record.holdings.get_mut(index) else {
                return (None, decision);
            };
            let Some(offer) = self.offer(holding) else {
                return (None, decision);
            };
            let decision = decision.and(self.refusal(holding, offer));
            if record.moving.is_some() {
                return (None, decision);
            }
            // The cluster keeps the slot, and tries again itself, unless another one can have it now: which, is chosen when
            // it is given back.
            let elsewhere = self.choose_at_once(slot, wanted, &[holding.cluster]);
            if elsewhere.is_ok() {
                holding.leaving = true;
                return (None, decision);
            }
            let (reason, rejections) = (offer.reason.clone(), offer.rejections.clone());
            let waiting = Waiting::because(reason, rejections, class(&wanted.service));
            return (Some(waiting), decision);
        }
        if !self.is_vacant(wanted, record) {
            return (None, decision);
        }
        if let Some(until) = self.hold.filter(|until| *until > now.steady) {
            let seconds = until.since(now.steady).as_secs();
            let message = format!(
                "this root's store is new: for {seconds} s more it waits for clusters that may already have this"
            );
            let reason = Reason::new(ReasonCode::NoCluster, message);
            let waiting = Waiting::because(reason, Rejections::default(), class(&wanted.service));
            return (Some(waiting), decision);
        }
        let waiting = self.braked(now, wanted, record);
        if let Some(waiting) = waiting.or_else(|| self.known_fault(now, wanted)) {
            return (Some(waiting), decision);
        }
        match self.destination(slot, wanted, record) {
            Ok(chosen) => {
                record.moving = None;
                let lost = |holding: &Holding| self.is_lost(holding.cluster);
                let replaces = record.holdings.iter().any(lost);
                let assigned = self.assign(now, slot, wanted, record, &chosen);
                let decision = decision.and(assigned);
                let decision = if replaces {
                    decision.soft(Soft::Replaced)
                } else {
                    decision
                };
                (None, decision)
            }
            Err(why) => (Some(self.not_chosen(now, wanted, why)), decision),
        }
    }

    pub(crate) fn assign(
        &self,
        now: Now,
        slot: &Slot,
        wanted: &Desired,
        record: &mut SlotRecord,
        chosen: &Chosen,
    ) -> Decision {
        let cluster = chosen.cluster;
        record.assignment += 1;
        record.service_generation = wanted.generation.assignment;
        let desired = Desired {
            instance: self.fresh_instance(now, slot, record.assignment),
            generation: Generation {
                assignment: record.assignment,
                placement: 0,
            },
            ..wanted.clone()
        };
        record.holdings.retain(|holding| holding.cluster != cluster);
        record.holdings.push(Holding {
            cluster,
            desired: desired.clone(),
            leaving: false,
            draining: false,
            by: chosen.by.clone(),
        });
        let name = self
            .clusters
            .get(&cluster)
            .map_or("", |cluster| cluster.record.name.as_str());
        let waited = self.waiting.get(slot);
        let from = if waited.is_some_and(|waiting| !waiting.is_asking()) {
            "NOT_DEPLOYED"
        } else {
            "REQUESTED"
        };
        let message = format!("assigned to cluster {name} by {}", chosen.by);
        Self::event(
            now,
            &desired,
            Tier::Root,
            (from, "SCHEDULED_CLUSTER"),
            "assigned",
            message,
        )
    }

    pub(crate) fn fresh_instance(&self, now: Now, slot: &Slot, assignment: u64) -> InstanceId {
        InstanceId::derived(
            now.wall,
            sync::mark(&[&self.incarnation, &self.term.nonce, slot, &assignment]).0,
        )
    }

    /// What the cluster of an assignment says of its slot.
    pub(crate) fn report_of(&self, holding: &Holding) -> Option<&SlotReport> {
        self.report(holding.cluster, &holding.desired.slot)
    }

    fn report(&self, cluster: ClusterId, slot: &Slot) -> Option<&SlotReport> {
        self.clusters
            .get(&cluster)?
            .observed
            .states()
            .get(slot)
            .map(|entry| &entry.value)
    }

    /// The cluster's offer to give this very assignment back.
    pub(crate) fn offer(&self, holding: &Holding) -> Option<&model::desired::Offer> {
        let report = self.report(holding.cluster, &holding.desired.slot)?;
        report
            .offer
            .as_ref()
            .filter(|_| report.assignment == holding.desired.generation.assignment)
    }

    /// A copy of it runs, and is healthy if it has a check; or it was one that ends, and has ended well.
    pub(crate) fn runs(&self, holding: &Holding) -> bool {
        self.report_of(holding).is_some_and(|report| {
            let mut copies = report.copies.iter();
            copies.any(|copy| copy.role == Role::Holder && copy.state.is_ready())
        })
    }

    /// What a cluster observes was true when it no longer had the slot in its set.
    fn has_confirmed(&self, holding: &Holding) -> bool {
        let Some(cluster) = self.clusters.get(&holding.cluster) else {
            return true;
        };
        let left_at = self
            .left_at
            .get(&(holding.cluster, holding.desired.slot.clone()));
        cluster.observed.is_whole()
            && left_at.is_some_and(|at| cluster.observed_at >= *at && cluster.observed_at > 0)
    }

    /// Nothing is left of an assignment.
    fn is_gone(&self, holding: &Holding) -> bool {
        self.has_confirmed(holding)
            && self
                .report(holding.cluster, &holding.desired.slot)
                .is_none()
    }

    /// The cluster cannot be reached for longer than its `lost_after`.
    pub(crate) fn is_lost(&self, cluster: ClusterId) -> bool {
        self.clusters
            .get(&cluster)
            .is_none_or(|cluster| cluster.liveness == Liveness::Lost)
    }

    /// On a lost cluster: what the policy moves, and what was never seen running.
    pub(crate) fn must_move(&self, wanted: &Desired, holding: &Holding) -> bool {
        if !self.is_lost(holding.cluster) {
            return false;
        }
        let heard = self
            .clusters
            .get(&holding.cluster)
            .is_some_and(|cluster| cluster.observed.is_whole());
        let seen = self
            .report(holding.cluster, &wanted.slot)
            .is_some_and(|report| {
                report
                    .copies
                    .iter()
                    .any(|copy| copy.state.report().is_some())
            });
        wanted.job.on_partition == OnPartition::Move || (heard && !seen)
    }

    /// A slot is assigned again only when its former cluster has given it back, or cannot be reached.
    fn is_vacant(&self, wanted: &Desired, record: &SlotRecord) -> bool {
        record.holdings.iter().all(|holding| {
            if self.is_lost(holding.cluster) {
                return holding.leaving || self.must_move(wanted, holding);
            }
            holding.leaving && self.only_dangles(holding)
        })
    }

    /// Its cluster has given it back, and has at most copies of it on workers that cannot be heard.
    pub(crate) fn only_dangles(&self, holding: &Holding) -> bool {
        let dangles = |report: &SlotReport| {
            let mut copies = report.copies.iter();
            copies.all(|copy| copy.role == Role::Dangling)
        };
        self.has_confirmed(holding) && self.report_of(holding).is_none_or(dangles)
    }

    /// An event of a job's history; [`crate::turn`] numbers it.
    pub(crate) fn event(
        now: Now,
        desired: &Desired,
        tier: Tier,
        change: (&'static str, &'static str),
        cause: &str,
        message: String,
    ) -> Decision {
        let event = Event::of_instance(now, desired, tier, change, cause, message);
        Decision::default().write(Write::Event(event))
    }
}

/// Whether an assignment may stay at its cluster under changed rules: what never depends on room.
fn may_stay(id: ClusterId, cluster: &Cluster, service: &ServiceSpec) -> bool {
    let rules = &service.placement;
    let name = &cluster.record.name;
    rules
        .cluster
        .as_ref()
        .is_none_or(|pin| *pin == *name.as_str() || *pin == id.to_string())
        && rules.location.as_ref().is_none_or(|wish| {
            name.as_str().to_lowercase() == wish.to_lowercase()
                || cluster.record.location.matches(wish)
        })
}
