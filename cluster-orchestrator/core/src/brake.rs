//! The brake over this cluster's workers: see `model::brake`.

use model::brake::Engaged;
use model::desired::Desired;
use model::reason::Rejections;
use model::time::{Instant, Now};

use crate::state::{SlotRecord, State, Waiting};
use crate::{Action, Answer, Decision, RequestId, Soft};

/// Fewer workers are too few to tell a storm from bad luck.
const LEAST: usize = 10;

impl State {
    /// What becomes of the brake, or the next replacement that it lets through.
    pub(crate) fn brake_due(&self, now: Now) -> Option<Decision> {
        let children = (self.nodes.len(), LEAST);
        let grace = self.config.grace();
        if let Some(engaged) = self.brake.due(now, children, grace, self.braked.is_empty()) {
            return Some(Decision::default().soft(Soft::Brake(engaged)));
        }
        if self.brake.next().is_some_and(|at| at > now.steady) {
            return None;
        }
        let slot = self
            .braked
            .iter()
            .find(|slot| !self.dirty.contains(*slot))?;
        Some(Decision::default().soft(Soft::Wake(slot.clone())))
    }

    /// When the brake lets the next replacement through, if one waits.
    pub(crate) fn brake_at(&self) -> Option<Instant> {
        self.brake.next().filter(|_| !self.braked.is_empty())
    }

    /// Why a slot whose copies are all lost is not filled now.
    pub(crate) fn braked(
        &self,
        now: Now,
        wanted: &Desired,
        record: &SlotRecord,
    ) -> Option<Waiting> {
        let engaged = self.brake.engaged()?;
        let next = self.brake.next()?;
        if record.copies.is_empty() || next <= now.steady {
            return None;
        }
        Some(Waiting {
            reason: engaged.reason(now.steady, "workers"),
            rejections: Rejections::default(),
            capacity_revision: self.capacity_revision,
            // A class of its own: room does not wake it.
            class: format!("brake {}", crate::waking::class(&wanted.service)),
            held_back: true,
            unheard: false,
            takes_over: false,
            again_at: None,
            asks: None,
        })
    }

    pub(crate) fn release_brake(&self, request: RequestId) -> Decision {
        let engaged = self.brake.engaged().copied();
        let decision =
            Decision::default().act(Action::Answer(request, Answer::Released(engaged.is_some())));
        match engaged {
            Some(engaged) => decision.soft(Soft::Brake(Some(engaged.let_go()))),
            None => decision,
        }
    }

    /// The brake, where it is engaged, and how many slots wait for it.
    pub fn brake(&self) -> Option<(&Engaged, usize)> {
        Some((self.brake.engaged()?, self.braked.len()))
    }
}
