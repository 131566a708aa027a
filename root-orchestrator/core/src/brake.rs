//! The brake over this root's clusters: see `model::brake`.

use model::brake::Engaged;
use model::desired::Desired;
use model::reason::Rejections;
use model::time::{Instant, Now};

use crate::state::{Holding, SlotRecord, State, Waiting};
use crate::{Action, Answer, Decision, RequestId, Soft};

/// Fewer clusters are too few to tell a storm from bad luck.
const LEAST: usize = 4;

impl State {
    /// What becomes of the brake, or the next replacement that it lets through.
    pub(crate) fn brake_due(&self, now: Now) -> Option<Decision> {
        let children = (self.clusters.len(), LEAST);
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

    /// Why a slot whose clusters are lost is not filled now.
    pub(crate) fn braked(
        &self,
        now: Now,
        wanted: &Desired,
        record: &SlotRecord,
    ) -> Option<Waiting> {
        let engaged = self.brake.engaged()?;
        let next = self.brake.next()?;
        let lost = |holding: &Holding| self.is_lost(holding.cluster);
        if next <= now.steady || !record.holdings.iter().any(lost) {
            return None;
        }
        // A class of its own: room does not wake it.
        let class = format!("brake {}", crate::choosing::class(&wanted.service));
        let reason = engaged.reason(now.steady, "clusters");
        Some(Waiting::because(reason, Rejections::default(), class))
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
