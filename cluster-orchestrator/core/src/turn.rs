//! One turn: a batch of inputs, and everything that follows from it.

use model::telling::keep_last;
use model::time::{Instant, Now};

use crate::{Action, Decision, Input, State, Write};

/// Decides a batch one after another on the working state, then reconciles until nothing is left to do.
///
/// The answer has the durable writes only. The caller commits them and only then performs the actions; if the commit fails it
/// rebuilds the state from its store.
pub fn turn(state: &mut State, now: Now, inputs: impl IntoIterator<Item = Input>) -> Decision {
    turn_of(state, now, &inputs.into_iter().collect::<Vec<_>>())
}

/// The same of inputs that the caller keeps.
pub fn turn_of(state: &mut State, now: Now, inputs: &[Input]) -> Decision {
    let mut total = Decision::default();
    let mut take = |state: &mut State, mut decision: Decision| {
        let idle = decision.is_empty();
        state.number_events(now, &mut decision.writes);
        state.tell_events(&mut decision.writes);
        state.apply(now, &decision.writes);
        // What need not survive is in the state now, and nobody's business any more.
        let durable = decision.writes.into_iter().filter(Write::is_durable);
        total.writes.extend(durable);
        total.writes.extend(state.leave_out(now));
        total.actions.extend(decision.actions);
        idle
    };
    let outage = state.own_outage(now);
    take(state, outage);
    for input in inputs {
        let decision = state.decide(now, input);
        take(state, decision);
    }
    loop {
        let decision = state.decide(now, &Input::Reconcile);
        if take(state, decision) {
            break;
        }
    }
    // One confirmation stands for all that were to be sent to the same worker before it.
    keep_last(&mut total.actions, |action| match action {
        Action::Confirm(node, _) => Some(*node),
        _ => None,
    });
    total
}

impl State {
    /// When the next [`Input::Reconcile`] is due, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let check = self.checks.first().map(|(at, _)| *at);
        let resend = self
            .unsynced
            .iter()
            .filter_map(|id| {
                self.nodes
                    .get(id)?
                    .desired
                    .resend_at(&self.config.timing)
                    .map(Instant)
            })
            .min();
        let aggregate = self.root_connected.then(|| self.aggregate_at()).flatten();
        let retell = self.untold.resend_at().filter(|_| self.root_connected);
        // A deleted job of which something is left expires when that is gone, whatever the time.
        let expiry = self
            .deleted
            .iter()
            .find(|(_, id)| self.book.get(*id).is_none_or(|job| self.is_over(job)))
            .map(|(at, _)| *at);
        // At least twice a keep-alive, so that an outage of our own is told from a quiet hour.
        let turn = self
            .last_turn
            .map(|last| last.plus(self.config.keep_alive / 2));
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let drain = self.drains.values().min().copied();
        // What was due at the last turn and is still there was looked at: only something else can change it.
        let again = self.again_at();
        [
            check,
            resend,
            aggregate,
            retell,
            expiry,
            deadline,
            drain,
            again,
            self.questions.next_at(),
            self.brake_at(),
            self.hold,
            turn,
        ]
        .into_iter()
        .flatten()
        .filter(|at| self.last_turn.is_none_or(|last| *at > last))
        .min()
    }
}
