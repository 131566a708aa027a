//! Slots that wait: which is tried again when something becomes free, and what the others say meanwhile.

use model::desired::Desired;
use model::id::ClusterId;
use model::slot::Slot;
use model::time::Now;
use schedulers::{Candidate, Request};

use crate::state::State;
use crate::{Decision, Soft};

impl State {
    /// The next waiting slot that may fit since something became free. Of a class a few are tried: what fits depends
    /// also on the cluster that offers a slot back, which is no candidate for it.
    pub(crate) fn wake_one(&self, now: Now) -> Option<Decision> {
        const TRIED: usize = 64;
        let class = self.awake.first()?;
        let asleep = Soft::Asleep(class.clone());
        let held = self.hold.is_some_and(|until| until > now.steady)
            || self
                .classes
                .get(class)
                .and_then(|slots| slots.first())
                .is_some_and(|slot| self.braked.contains(slot));
        let Some(slots) = self.classes.get(class).filter(|_| !held) else {
            return Some(Decision::default().soft(asleep));
        };
        let for_room = slots.iter().filter(|slot| self.waits_for_room(slot));
        let tried = for_room.take(TRIED);
        let mut wanted = tried.filter_map(|slot| Some((slot, self.wanted(slot)?)));
        let first = wanted.clone().next();
        if let Some((slot, _)) = wanted.find(|(slot, wanted)| self.fits_somewhere(slot, wanted)) {
            return Some(Decision::default().soft(Soft::Wake(slot.clone())));
        }
        let decision = first.map_or_else(Decision::default, |(slot, wanted)| {
            self.renew_reasons(now, class, slot, &wanted)
        });
        Some(decision.soft(asleep))
    }

    /// Who waits for a scheduler's word instead is woken by that.
    fn waits_for_room(&self, slot: &Slot) -> bool {
        let waiting = self.waiting.get(slot);
        waiting.is_none_or(|it| it.asks.is_none() && it.again_at.is_none())
    }

    /// Whether `fill` would give this slot to somebody.
    fn fits_somewhere(&self, slot: &Slot, wanted: &Desired) -> bool {
        let taken = self.taken(slot, wanted);
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        self.candidates(slot)
            .any(|candidate| !taken.contains(&candidate.id) && candidate.reject(&request).is_none())
    }

    /// The clusters that `fill` or a move would not choose: the one that offers the slot back, or, where what it has runs on
    /// and is to leave, all that have it.
    fn taken(&self, slot: &Slot, wanted: &Desired) -> Vec<ClusterId> {
        let Some(record) = self.slots.get(slot) else {
            return Vec::new();
        };
        let holder = self.holder(wanted, record);
        let Some(holding) = holder.and_then(|index| record.holdings.get(index)) else {
            return Vec::new();
        };
        if self.offer(holding).is_some() {
            return vec![holding.cluster];
        }
        let all = record.holdings.iter();
        all.map(|holding| holding.cluster).collect()
    }

    /// A class that still does not fit says so with its present reason. What a cluster has and offers back keeps that
    /// cluster's reason; the counts stay those of each slot's last try.
    fn renew_reasons(&self, now: Now, name: &str, first: &Slot, wanted: &Desired) -> Decision {
        let Err(unplaceable) = self.choose_at_once(first, wanted, &[]) else {
            return Decision::default();
        };
        let waiting = self.unplaced(now, name.to_owned(), unplaceable, &wanted.service);
        let outdated = |slot: &&Slot| {
            let held = self
                .slots
                .get(*slot)
                .is_some_and(|record| record.holdings.iter().any(|holding| !holding.leaving));
            let known = self.waiting.get(*slot);
            !held
                && self.waits_for_room(slot)
                && known.is_some_and(|known| known.reason.code != waiting.reason.code)
        };
        let slots = self.classes.get(name).into_iter().flatten();
        slots
            .filter(outdated)
            .fold(Decision::default(), |decision, slot| {
                decision.soft(Soft::Waiting {
                    slot: slot.clone(),
                    waiting: Some(waiting.clone()),
                })
            })
    }

    /// How a slot stands with each cluster: for operators and checkers.
    pub fn slot_status(&self, slot: &Slot) -> String {
        let Some(wanted) = self.wanted(slot) else {
            return "not wanted".to_owned();
        };
        let request = Request {
            workload: &wanted.service.workload,
            rules: &wanted.service.placement,
        };
        let clusters = self.candidates(slot).map(|candidate| {
            let capacity = self
                .clusters
                .get(&candidate.id)
                .map(|cluster| cluster.capacity);
            format!(
                "{}: rejected {:?} refused {} at {:?} capacity {capacity:?} pending {:?} room {:?}",
                candidate.name,
                candidate.reject(&request),
                candidate.refused,
                self.refusals
                    .get(slot)
                    .and_then(|known| known.get(&candidate.id)),
                candidate.pending,
                candidate.room(),
            )
        });
        let clusters: Vec<String> = clusters.collect();
        format!(
            "record {:?} moving {:?} waiting {:?} dirty {} awake {:?} clusters {clusters:#?}",
            self.slots.get(slot).map(|record| record
                .holdings
                .iter()
                .map(|holding| (
                    holding.cluster,
                    holding.desired.identity(),
                    holding.leaving,
                    holding.draining
                ))
                .collect::<Vec<_>>()),
            self.slots
                .get(slot)
                .and_then(|record| record.moving.as_ref()),
            self.waiting.get(slot).map(|waiting| &waiting.reason),
            self.dirty.contains(slot),
            self.awake,
        )
    }
}
